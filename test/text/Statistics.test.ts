import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { Spreading } from "../../src/text/Statistics.ts"

const Values = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5000 })))
const spreadOf = (values: ReadonlyArray<number>) => {
  const spreading = new Spreading()
  for (const value of values) spreading.add(value)
  return spreading.spread()
}

describe("Spreading", () => {
  it.prop("agrees with a sorted list", [Values], ([values]) => {
    const sorted = [...values].sort((a, b) => a - b)
    const spread = spreadOf(values)
    expect(spread.count).toBe(values.length)
    expect(spread.sum).toBe(values.reduce((sum, value) => sum + value, 0))
    expect([spread.min, spread.max]).toEqual([sorted[0] ?? 0, sorted.at(-1) ?? 0])
    for (const [percent, found] of [
      [10, spread.p10],
      [50, spread.p50],
      [90, spread.p90],
      [99, spread.p99]
    ] as const) {
      if (values.length === 0) expect(found).toBe(0)
      else {
        expect(values).toContain(found)
        expect(values.filter((value) => value <= found).length * 100).toBeGreaterThanOrEqual(percent * values.length)
        expect(values.filter((value) => value < found).length * 100).toBeLessThan(percent * values.length)
      }
    }
  })

  it.prop("counts every value in one bin, and no bin at either end is empty", [Values], ([values]) => {
    const { histogram } = spreadOf(values)
    for (const [i, { below, count }] of histogram.entries()) {
      const from = below === 1 ? 0 : below / 2
      if (i > 0) expect(histogram[i - 1]!.below).toBe(from)
      expect(count).toBe(values.filter((value) => value >= from && value < below).length)
    }
    expect(histogram.reduce((sum, { count }) => sum + count, 0)).toBe(values.length)
    if (histogram.length > 0) expect([histogram[0]!.count, histogram.at(-1)!.count]).not.toContain(0)
  })

  it("takes more values than it has room for at first", () => {
    expect(spreadOf(Array.from({ length: 5000 }, (_, i) => i))).toMatchObject({ count: 5000, p50: 2499, max: 4999 })
  })
})
