/** Normalised pixels are (value / 255 - mean) / deviation, channel by channel, image by image. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import {
  CLIP_MEAN,
  CLIP_STD,
  clipPixels,
  PixelSizeMismatch,
  pixelBytes,
  putPixels
} from "../../../src/model/clip/Pixels.ts"
import * as Engine from "../../../src/tensor/Engine.ts"
import { Tensors } from "../../../src/tensor/Tensors.ts"

const Byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const side = 3
const picture = Arbitrary.schema(Schema.Array(Byte).check(Schema.isMinLength(27), Schema.isMaxLength(27)))

describe("clipPixels", () => {
  it.effect.prop("equals the formula in float32, channels first", [picture, picture], (pictures) =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const bytes_MSSC = new Uint8Array(2 * pixelBytes(side))
      for (const [i, bytes] of pictures.entries())
        putPixels({ id: "a", pixels_HWC: Uint8Array.from(bytes) }, side, bytes_MSSC, i * pixelBytes(side))
      const pixels = yield* tensors.run((c) => clipPixels(c, bytes_MSSC, side))
      expect(pixels.shape).toEqual([2, 3, 3, 3])
      const found = yield* tensors.read(pixels)
      yield* tensors.free(pixels)
      for (const [image, bytes] of pictures.entries())
        for (let channel = 0; channel < 3; channel++)
          for (let at = 0; at < 9; at++) {
            const expected = Math.fround((bytes[at * 3 + channel]! / 255 - CLIP_MEAN[channel]!) / CLIP_STD[channel]!)
            expect(found[(image * 3 + channel) * 9 + at]).toBe(expected)
          }
    }).pipe(Effect.provide(Engine.wasm))
  )

  it("refuses a picture of another size, and says which and what to do", () => {
    const wrong = () => putPixels({ id: "a", pixels_HWC: new Uint8Array(12) }, side, new Uint8Array(27), 0)
    expect(wrong).toThrow(PixelSizeMismatch)
    expect(wrong).toThrow(/a has 12 bytes, the tower takes 3 x 3 x 3/)
  })
})
