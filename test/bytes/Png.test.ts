/** An image that is written is the image that decoders read. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import sharp from "sharp"
import { encodePng, pngUrl } from "../../src/bytes/Png.ts"
import { decodeImage } from "../../src/data/Images.ts"

const side = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 40 }))
const noise = (width: number, height: number, seed: number) => ({
  width,
  height,
  pixels_HWC: Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i * 31 + i * 7 + seed * 97) & 255)
})

describe("encodePng", () => {
  it.effect.prop(
    "gives back every pixel, by libpng and by our reader",
    { width: side, height: side, seed: side },
    ({ height, seed, width }) =>
      Effect.gen(function* () {
        const picture = noise(width, height, seed)
        const file = encodePng(picture)
        const { data, info } = yield* Effect.promise(() => sharp(file).raw().toBuffer({ resolveWithObject: true }))
        expect([info.width, info.height, info.channels]).toEqual([width, height, 3])
        expect(Buffer.from(picture.pixels_HWC).equals(data)).toBe(true)
        const ours = yield* decodeImage(file, { name: "one.png" })
        expect(Buffer.from(ours.pixels_HWC).equals(data)).toBe(true)
      })
  )

  it.effect.prop(
    "deflated it has the same pixels",
    { width: side, height: side, seed: side },
    ({ height, seed, width }) =>
      Effect.gen(function* () {
        const picture = noise(width, height, seed)
        const { pixels_HWC } = yield* decodeImage(encodePng(picture, { deflate: true }), { name: "one.png" })
        expect(Buffer.from(pixels_HWC).equals(Buffer.from(picture.pixels_HWC))).toBe(true)
        const file = encodePng(picture, { deflate: true })
        const { data } = yield* Effect.promise(() => sharp(file).raw().toBuffer({ resolveWithObject: true }))
        expect(Buffer.from(picture.pixels_HWC).equals(data)).toBe(true)
      })
  )

  it("refuses an image of another size than its pixels", () => {
    expect(() => encodePng({ width: 2, height: 2, pixels_HWC: new Uint8Array(11) })).toThrow(RangeError)
    expect(() => encodePng({ width: 0, height: 4, pixels_HWC: new Uint8Array(0) })).toThrow(RangeError)
    expect(pngUrl({ width: 1, height: 1, pixels_HWC: Uint8Array.of(1, 2, 3) })).toMatch(
      /^data:image\/png;base64,iVBORw0KGgo/
    )
  })

  it.effect("writes more than one block where a picture is larger than 64 KiB", () =>
    Effect.gen(function* () {
      const picture = noise(200, 150, 1)
      const { pixels_HWC } = yield* decodeImage(encodePng(picture))
      expect(Buffer.from(pixels_HWC).equals(Buffer.from(picture.pixels_HWC))).toBe(true)
    })
  )
})
