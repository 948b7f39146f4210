/** PNG files open in another decoder with the same pixels. */
import { expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import sharp from "sharp"
import { png, pngUrl } from "../../../src/cli/report/Png.ts"

const Side = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 24 }))
const Shape = Arbitrary.schema(Schema.Struct({ width: Side, height: Side, seed: Schema.Int }))

it.effect.prop("another decoder gets the same pixels", [Shape], ([{ height, seed, width }]) =>
  Effect.gen(function* () {
    const pixels_HWC = Uint8Array.from({ length: width * height * 3 }, (_, i) => Math.imul(i + seed, 2654435761) >>> 24)
    const { data, info } = yield* Effect.promise(() =>
      sharp(png({ width, height, pixels_HWC })).raw().toBuffer({ resolveWithObject: true })
    )
    expect([info.width, info.height, info.channels]).toEqual([width, height, 3])
    expect(Buffer.compare(data, pixels_HWC)).toBe(0)
  })
)

it("a picture of another size than its pixels is refused", () => {
  expect(() => png({ width: 2, height: 2, pixels_HWC: new Uint8Array(11) })).toThrow(RangeError)
  expect(() => png({ width: 0, height: 4, pixels_HWC: new Uint8Array(0) })).toThrow(RangeError)
  expect(pngUrl({ width: 1, height: 1, pixels_HWC: Uint8Array.of(1, 2, 3) })).toMatch(
    /^data:image\/png;base64,iVBORw0KGgo/
  )
})
