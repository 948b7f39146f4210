import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import {
  extend,
  fillNormal,
  fillUniform,
  normalQuantile,
  permutation,
  philox,
  sample,
  shuffle,
  stream,
  uint32,
  uniform
} from "../../src/tensor/Random.ts"

const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 300 }))
const Seed = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

describe("Philox", () => {
  it("gives Random123's known answers", () => {
    const out = new Uint32Array(4)
    expect([...philox(out, 0, 0, 0, 0, 0, 0)]).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8])
    const ones = 0xffffffff
    expect([...philox(out, ones, ones, ones, ones, ones, ones)]).toEqual([
      0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd
    ])
    expect([...philox(out, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0)]).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1
    ])
  })
})

describe("streams", () => {
  it("are told apart by seed, by order, by kind of step and by where a label is cut", () => {
    const keys = [
      stream(0),
      stream(1),
      stream(2 ** 40),
      stream(0, 1),
      stream(0, "1"),
      stream(0, 1, 2),
      stream(0, 2, 1),
      stream(0, "ab"),
      stream(0, "a", "b"),
      stream(0, ""),
      stream(0, "abcd"),
      stream(0, "abcd\u0000")
    ].map(({ high, low }) => `${high}:${low}`)
    expect(new Set(keys).size).toBe(keys.length)
  })

  it.prop("extend by parts as by the whole path", [Seed, Schema.String, Count], ([seed, label, n]) => {
    expect(extend(stream(seed, label), n)).toEqual(stream(seed, label, n))
  })

  it("refuse a seed that would be rounded", () => {
    expect(() => stream(-1)).toThrow(RangeError)
    expect(() => stream(0.5)).toThrow(RangeError)
    expect(() => stream(0, 2 ** 53)).toThrow(RangeError)
  })

  it("stay what they are (a change here changes every seeded result)", () => {
    expect(uint32(0)).toBe(0x6627e8d5)
    expect(uint32(7, "order", 3)).toMatchInlineSnapshot(`2119979767`)
    expect(uniform(7, "order", 3)).toMatchInlineSnapshot(`0.49359625386365147`)
    expect([...permutation(stream(7, "order", 3), 10)]).toMatchInlineSnapshot(`
      [
        9,
        6,
        8,
        1,
        4,
        2,
        5,
        0,
        7,
        3,
      ]
    `)
    expect([...sample(stream(7), 4, 100)]).toMatchInlineSnapshot(`
      [
        22,
        39,
        83,
        91,
      ]
    `)
    expect([...fillNormal(stream(7), new Float32Array(3))]).toMatchInlineSnapshot(`
      [
        -0.012433711439371109,
        -0.49239012598991394,
        1.2125372886657715,
      ]
    `)
  })
})

describe("fills", () => {
  it.prop("depend on the element's place alone", [Seed, Count, Count], ([seed, offset, length]) => {
    const key = stream(seed)
    const whole = fillNormal(key, new Float32Array(offset + length))
    expect(fillNormal(key, new Float32Array(length), { offset })).toEqual(whole.slice(offset))
    const flat = fillUniform(key, new Float32Array(offset + length))
    expect(fillUniform(key, new Float32Array(length), { offset })).toEqual(flat.slice(offset))
  })

  it("have the moments they claim", () => {
    const n = 1 << 18
    const moments = (values: Float32Array): ReadonlyArray<number> => {
      const mean = values.reduce((sum, x) => sum + x, 0) / n
      const central = (power: number): number => values.reduce((sum, x) => sum + (x - mean) ** power, 0) / n
      return [mean, central(2), central(3), central(4)]
    }
    const normal = moments(fillNormal(stream(11), new Float32Array(n)))
    for (const [i, expected] of [0, 1, 0, 3].entries()) expect(Math.abs(normal[i]! - expected)).toBeLessThan(0.04)
    const flat = moments(fillUniform(stream(11), new Float32Array(n), { low: -1, high: 3 }))
    for (const [i, expected] of [1, 4 / 3, 0].entries()) expect(Math.abs(flat[i]! - expected)).toBeLessThan(0.02)
  })

  it("keep to the quantiles of the normal distribution", () => {
    const known: ReadonlyArray<readonly [number, number]> = [
      [0.5, 0],
      [0.975, 1.959963984540054],
      [0.01, -2.3263478740408408],
      [1e-10, -6.361340902404056],
      [1e-20, -9.262340089798409]
    ]
    for (const [p, z] of known) expect(Math.abs(normalQuantile(p) - z)).toBeLessThanOrEqual(2e-15 * Math.abs(z))
  })
})

describe("orders", () => {
  it.prop("hold every element once", [Seed, Count], ([seed, n]) => {
    expect([...permutation(stream(seed), n)].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i))
  })

  it.prop("sample distinct elements in order", [Seed, Count, Count], ([seed, a, b]) => {
    const [k, n] = [Math.min(a, b), Math.max(a, b)]
    const taken = [...sample(stream(seed), k, n)]
    expect(new Set(taken).size).toBe(k)
    expect(taken).toEqual([...taken].sort((x, y) => x - y))
    expect(taken.every((x) => x >= 0 && x < n)).toBe(true)
  })

  it("favour no order", () => {
    const counts = new Map<string, number>()
    for (let i = 0; i < 24_000; i++) {
      const order = shuffle(stream(5, i), ["a", "b", "c", "d"]).join("")
      counts.set(order, (counts.get(order) ?? 0) + 1)
    }
    expect(counts.size).toBe(24)
    const chi2 = [...counts.values()].reduce((sum, seen) => sum + (seen - 1000) ** 2 / 1000, 0)
    expect(chi2).toBeLessThan(49.7) // 23 degrees of freedom, p = 0.001
  })
})
