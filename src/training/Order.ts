/**
 * The order of the data: which row stands at which position of an epoch, as a pure function of (seed, epoch).
 *
 * Not a sampler by length (see `Sampler`) and without state: a cursor is a position, and any position can be asked for
 * first, so a resumed run reads exactly the rows that an uninterrupted one would.
 *
 * Memory: 4 bytes a row for each of the two epochs kept.
 */
import { permutation, stream } from "../tensor/Random.ts"

/** Row indices of one epoch. */
export type EpochOrder = (epoch: number) => Int32Array

/** Rows in order of epochs: position `p` of the run is position `p % rows` of epoch `floor(p / rows)`. */
export interface Order {
  readonly rows: number
  /** Row at a position of an epoch. */
  readonly at: (epoch: number, position: number) => number
  /** Rows at `count` positions of the run from `position`, across the ends of epochs. */
  readonly slice: (position: number, count: number) => Int32Array
  /** All rows of an epoch in order; read only. */
  readonly epoch: EpochOrder
}

/**
 * An order from a function of the epoch that gives its rows (a shuffle, a sampler); keeps the last two epochs.
 *
 * Throws `RangeError` for positions outside an epoch, and when an epoch does not hold `rows` rows.
 *
 * @example
 * const order = orderBy(lengths.length, (epoch) => lengthGrouped(lengths, { ...options, epoch }))
 */
export const orderBy = (rows: number, make: EpochOrder): Order => {
  const kept = new Map<number, Int32Array>()
  const epoch: EpochOrder = (wanted) => {
    const known = kept.get(wanted)
    if (known !== undefined) return known
    const made = make(wanted)
    if (made.length !== rows) throw new RangeError(`epoch ${wanted} has ${made.length} rows, not ${rows}`)
    if (kept.size === 2) kept.delete(kept.keys().next().value!)
    kept.set(wanted, made)
    return made
  }
  const at = (wanted: number, position: number): number => {
    const row = epoch(wanted)[position]
    if (row === undefined) throw new RangeError(`position ${position} lies outside an epoch of ${rows} rows`)
    return row
  }
  const slice = (position: number, count: number): Int32Array => {
    if (rows === 0 && count > 0) throw new RangeError("there are no rows to take")
    const out = new Int32Array(count)
    for (let i = 0; i < count; i++) out[i] = at(Math.floor((position + i) / rows), (position + i) % rows)
    return out
  }
  return { rows, at, slice, epoch }
}

/**
 * A uniformly random order of all rows, another one each epoch.
 *
 * @example
 * const order = shuffledOrder({ seed: 0, rows: 157_712 })
 * order.slice(step * batch, batch)
 */
export const shuffledOrder = ({ rows, seed }: { readonly seed: number; readonly rows: number }): Order =>
  orderBy(rows, (epoch) => permutation(stream(seed, "order", epoch), rows))

/**
 * The rows as they lie, the same each epoch.
 *
 * @example
 * sequentialOrder(10).slice(8, 4) // 8, 9, 0, 1
 */
export const sequentialOrder = (rows: number): Order =>
  orderBy(rows, () => Int32Array.from({ length: rows }, (_, row) => row))
