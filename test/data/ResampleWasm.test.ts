import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { compileKernel, kernels, root } from "../../scripts/build-wasm.ts"
import { cut, type Raster, resizeReference } from "../../src/data/Resample.ts"
import { resize } from "../../src/data/ResampleWasm.ts"

/** Pixels from a small generator, with runs of extremes so that the filter overshoots and clips. */
const noise = (width: number, height: number, seed: number): Raster => {
  const pixels = new Uint8Array(width * height * 3)
  let state = seed | 1
  for (let at = 0; at < pixels.length; at++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9
    const value = (state >>> 9) & 0x1ff
    pixels[at] = value > 255 ? (value & 1) * 255 : value
  }
  return { width, height, pixels_HWC: pixels }
}

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

describe("ResampleWasm", () => {
  it.prop(
    "gives the reference's pixels for every size and every window",
    {
      width: between(1, 90),
      height: between(1, 90),
      toWidth: between(1, 90),
      toHeight: between(1, 90),
      window: Schema.Tuple([between(0, 99), between(0, 99), between(0, 99), between(0, 99)]),
      seed: Schema.Int
    },
    ({ width, height, toWidth, toHeight, window: [a, b, c, d], seed }) => {
      const source = noise(width, height, seed)
      const left = Math.floor((a / 100) * toWidth)
      const top = Math.floor((b / 100) * toHeight)
      const window = {
        left,
        top,
        width: 1 + Math.floor((c / 100) * (toWidth - left)),
        height: 1 + Math.floor((d / 100) * (toHeight - top))
      }
      const expected = resizeReference(source, toWidth, toHeight, window)
      assert.deepStrictEqual(resize(source, toWidth, toHeight, window), expected)
      assert.deepStrictEqual(cut(resizeReference(source, toWidth, toHeight), window), expected)
    },
    { arbitrary: { runs: 150 } }
  )

  it.prop(
    "gives the pixels of a canvas that was never built",
    { width: between(1, 60), height: between(1, 60), size: between(1, 60), seed: Schema.Int },
    ({ width, height, size, seed }) => {
      const source = noise(width, height, seed)
      const side = Math.max(width, height)
      const left = (side - width) >> 1
      const top = (side - height) >> 1
      const built = new Uint8Array(side * side * 3)
      for (let at = 0; at < built.length; at += 3) built.set([122, 116, 104], at)
      for (let y = 0; y < height; y++) {
        const from = y * width * 3
        built.set(source.pixels_HWC.subarray(from, from + width * 3), ((top + y) * side + left) * 3)
      }
      assert.deepStrictEqual(
        resize(source, size, size, undefined, { width: side, height: side, left, top, background: [122, 116, 104] }),
        resizeReference({ width: side, height: side, pixels_HWC: built }, size, size)
      )
    },
    { arbitrary: { runs: 100 } }
  )

  it("swaps the passes for pictures over 100 times as high as wide, as Pillow does", () => {
    for (const height of [200, 201, 203, 700]) {
      const source = noise(2, height, height)
      const window = { left: 0, top: 9, width: 1, height: 50 }
      assert.deepStrictEqual(resize(source, 1, 99, window), resizeReference(source, 1, 99, window))
    }
  })

  it("goes through pictures larger than a band", () => {
    const source = noise(1501, 1203, 7)
    assert.deepStrictEqual(resize(source, 64, 51), resizeReference(source, 64, 51))
  })

  for (const { source, wasm } of kernels) {
    it(`commits what ${source} compiles to`, async () => {
      assert.strictEqual(Buffer.compare(await compileKernel(source), readFileSync(`${root}${wasm}`)), 0)
    })
  }
})
