/** Normalised pixels are (value / 255 - mean) / deviation, channel by channel, wherever they are put. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { CLIP_MEAN, CLIP_STD, normalisePixels, PixelSizeMismatch } from "../../../src/model/clip/Pixels.ts"

const Byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const side = 3
const picture = Arbitrary.schema(Schema.Array(Byte).check(Schema.isMinLength(27), Schema.isMaxLength(27)))

describe("normalisePixels", () => {
  it.prop("equals the formula within float32, and touches nothing beside its place", [picture], ([bytes]) => {
    const out = new Float32Array(2 + 27 + 2).fill(7)
    normalisePixels({ id: "a", pixels_HWC: Uint8Array.from(bytes) }, side, out, 2)
    expect([out[0], out[1], out[29], out[30]]).toEqual([7, 7, 7, 7])
    for (let channel = 0; channel < 3; channel++)
      for (let at = 0; at < 9; at++) {
        const expected = Math.fround((bytes[at * 3 + channel]! / 255 - CLIP_MEAN[channel]!) / CLIP_STD[channel]!)
        expect(out[2 + channel * 9 + at]).toBe(expected)
      }
  })

  it("refuses a picture of another size, and says which and what to do", () => {
    const wrong = () => normalisePixels({ id: "a", pixels_HWC: new Uint8Array(12) }, side, new Float32Array(27), 0)
    expect(wrong).toThrow(PixelSizeMismatch)
    expect(wrong).toThrow(/a has 12 bytes, the tower takes 3 x 3 x 3/)
  })
})
