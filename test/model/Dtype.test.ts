/** Checkpoint number formats: decoding is exact, encoding rounds to nearest even, as a slow search says. */
import { describe, expect, it } from "@effect/vitest"
import { fromFloat32, toFloat32, toInt32 } from "../../src/model/Dtype.ts"

const bytesOf = (xs: ArrayLike<number> & { buffer: ArrayBufferLike }) => new Uint8Array(xs.buffer)
const all16 = Uint16Array.from({ length: 65536 }, (_, i) => i)

describe("Dtype", () => {
  for (const dtype of ["F16", "BF16"] as const) {
    it(`${dtype}: every finite value survives a round trip`, () => {
      const floats = toFloat32(bytesOf(all16), dtype)!
      const back = new Uint16Array(fromFloat32(floats, dtype).slice().buffer)
      for (let i = 0; i < 65536; i++)
        if (Number.isNaN(floats[i]!))
          expect(Number.isNaN(toFloat32(bytesOf(Uint16Array.of(back[i]!)), dtype)![0]!)).toBe(true)
        else if (back[i] !== i) throw new Error(`${i.toString(16)} became ${back[i]!.toString(16)}`)
    })

    it(`${dtype}: encoding takes the nearest value, the even one of two`, () => {
      // Ascending finite non-negative values; index is the bit pattern.
      const limit = dtype === "F16" ? 0x7c00 : 0x7f80
      const values = toFloat32(bytesOf(all16), dtype)!.subarray(0, limit)
      for (let i = 0; i + 1 < limit; i += 37) {
        const [low, high] = [values[i]!, values[i + 1]!]
        const middle = (low + high) / 2
        const even = i % 2 === 0 ? i : i + 1
        const just = (x: number, toward: number) => x + (toward - x) * 0.01
        const encode = (x: number) => new Uint16Array(fromFloat32(Float32Array.of(x), dtype).slice().buffer)[0]!
        if (Math.fround(middle) === middle) expect(encode(middle)).toBe(even)
        if (Math.fround(just(middle, low)) < middle) expect(encode(just(middle, low))).toBe(i)
        if (Math.fround(just(middle, high)) > middle) expect(encode(just(middle, high))).toBe(i + 1)
        expect(encode(-high) & 0x7fff).toBe(i + 1)
      }
    })
  }

  it("F16: past the largest value is infinity, below half the smallest is zero", () => {
    const encode = (x: number) => new Uint16Array(fromFloat32(Float32Array.of(x), "F16").slice().buffer)[0]!
    expect(encode(65504)).toBe(0x7bff)
    expect(encode(65519)).toBe(0x7bff)
    expect(encode(65520)).toBe(0x7c00)
    expect(encode(-1e30)).toBe(0xfc00)
    expect(encode(2 ** -25)).toBe(0)
    expect(encode(2 ** -25 * 1.01)).toBe(1)
  })

  it("integers: values that fit are exact, a value that does not is refused", () => {
    expect(toInt32(bytesOf(BigInt64Array.of(-100n, 50256n) as unknown as Float32Array), "I64")).toEqual(
      Int32Array.of(-100, 50256)
    )
    expect(toInt32(bytesOf(BigInt64Array.of(1n << 31n) as unknown as Float32Array), "I64")).toBeUndefined()
    expect(toInt32(bytesOf(Int16Array.of(-3)), "I16")).toEqual(Int32Array.of(-3))
    expect(toInt32(bytesOf(Float32Array.of(1)), "F32")).toBeUndefined()
  })

  it("bytes that start anywhere are read", () => {
    const shifted = new Uint8Array(9).subarray(1)
    shifted.set(bytesOf(Float32Array.of(1.5, -2)))
    expect(toFloat32(shifted, "F32")).toEqual(Float32Array.of(1.5, -2))
  })
})
