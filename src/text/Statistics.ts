/**
 * How a whole number is spread over many rows: least, mean, percentiles, greatest, and a histogram in powers of two.
 *
 * Not a sketch: every value is kept (4 bytes each) and sorted, so percentiles are exact and are values that occur.
 */
import { Schema } from "effect"

/** `count` values that are less than `below` and not less than the bin before. */
export const Bin = Schema.Struct({ below: Schema.Number, count: Schema.Number })
export type Bin = typeof Bin.Type

/** Of no values everything is 0. Percentiles by nearest rank: `p90` is the least value that 90 % do not exceed. */
export const Spread = Schema.Struct({
  count: Schema.Number,
  sum: Schema.Number,
  mean: Schema.Number,
  min: Schema.Number,
  p10: Schema.Number,
  p50: Schema.Number,
  p90: Schema.Number,
  p99: Schema.Number,
  max: Schema.Number,
  /** Bins 1, 2, 4, 8, ... from the first to the last that is not empty. */
  histogram: Schema.Array(Bin)
})
export type Spread = typeof Spread.Type

/** Bins of sorted values, none of them negative. */
const binsOf = (sorted: Int32Array): ReadonlyArray<Bin> => {
  const bins: Array<Bin> = []
  let at = 0
  for (let below = 1; at < sorted.length; below *= 2) {
    const from = at
    while (at < sorted.length && sorted[at]! < below) at++
    if (at > from || bins.length > 0) bins.push({ below, count: at - from })
  }
  return bins
}

/** Collects values, none of them negative, each below 2^31. */
export class Spreading {
  #values = new Int32Array(1024)
  #count = 0

  add(value: number): void {
    if (this.#count === this.#values.length) {
      const larger = new Int32Array(2 * this.#count)
      larger.set(this.#values)
      this.#values = larger
    }
    this.#values[this.#count++] = value
  }

  /**
   * The spread of what was added so far.
   *
   * @example
   * ```ts
   * const turns = new Spreading()
   * for (const n of [2, 2, 4, 10]) turns.add(n)
   * turns.spread().p50 // 2
   * ```
   */
  spread(): Spread {
    const sorted = this.#values.slice(0, this.#count).sort()
    const count = sorted.length
    const sum = sorted.reduce((total, value) => total + value, 0)
    const rank = (percent: number) => sorted[Math.max(0, Math.ceil((percent * count) / 100) - 1)] ?? 0
    return {
      count,
      sum,
      mean: count === 0 ? 0 : sum / count,
      min: sorted[0] ?? 0,
      p10: rank(10),
      p50: rank(50),
      p90: rank(90),
      p99: rank(99),
      max: sorted[count - 1] ?? 0,
      histogram: binsOf(sorted)
    }
  }
}
