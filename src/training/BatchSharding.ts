/**
 * What of a step each process computes, and where each weight's gradient lies in flat buckets: arithmetic alone.
 *
 * Not communication (`ShardedOptimizer.ts`). All of it is a pure function of sizes, so that every rank knows it without
 * asking.
 *
 * A step's rows are cut into micro-batches, in order; micro-batch i is rank `i mod world`'s. A bucket holds whole
 * weights, all of them decayed or none, and is padded to a size that `world` divides: rank r owns the r-th of its
 * `world` equal slices.
 */

/** One micro-batch of a global batch. */
export interface Cut<A> {
  /** Its number among the micro-batches of all ranks. */
  readonly index: number
  /** Number of its first row in the global batch. */
  readonly first: number
  readonly rows: ReadonlyArray<A>
}

/**
 * The micro-batches of a step for `world` ranks: of at most `microBatch` rows, and as even as they can be, so that no
 * rank waits for another that has a whole one more.
 *
 * @example splitStep([0, 1, 2, 3, 4, 5], 4, 2).map(({ rows }) => rows) // [[0, 1, 2], [3, 4, 5]]
 */
export const splitStep = <A>(rows: ReadonlyArray<A>, microBatch: number, world: number): ReadonlyArray<Cut<A>> => {
  const rounds = Math.ceil(rows.length / (world * microBatch))
  const size = Math.max(1, Math.ceil(rows.length / (world * Math.max(1, rounds))))
  const cuts: Array<Cut<A>> = []
  for (let first = 0; first < rows.length; first += size)
    cuts.push({ index: cuts.length, first, rows: rows.slice(first, first + size) })
  return cuts
}

/** A weight's place in a bucket. */
export interface PlacedWeight {
  readonly name: string
  readonly shape: ReadonlyArray<number>
  readonly at: number
  readonly size: number
}

export interface Bucket {
  /** Floats, padding included. */
  readonly size: number
  /** Weight decay is for weights of two dimensions and more. */
  readonly decays: boolean
  readonly places: ReadonlyArray<PlacedWeight>
}

/** Names and shapes of weights, in the model's order. */
export type Shapes = ReadonlyArray<readonly [name: string, shape: ReadonlyArray<number>]>

const sizeOf = (shape: ReadonlyArray<number>): number => shape.reduce((all, one) => all * one, 1)

/** Floats of a bucket: a sixteenth of all, from 1 to 32 MiB. A larger weight has a bucket to itself. */
export const bucketFloats = (total: number): number => Math.min(2 ** 23, Math.max(2 ** 18, Math.ceil(total / 16)))

/**
 * Buckets for weights, last weights first: a backward pass gives their gradients first.
 *
 * @example cutBuckets([["a", [2, 3]], ["b", [3]]], 2, 100)[0] // { size: 4, decays: false, places: [{ name: "b", ... }] }
 */
export const cutBuckets = (shapes: Shapes, world: number, floats?: number): ReadonlyArray<Bucket> => {
  const room = floats ?? bucketFloats(shapes.reduce((sum, [, shape]) => sum + sizeOf(shape), 0))
  const buckets: Array<Bucket> = []
  const open = { true: [] as Array<PlacedWeight>, false: [] as Array<PlacedWeight> }
  const filled = (places: ReadonlyArray<PlacedWeight>): number => {
    const last = places[places.length - 1]
    return last === undefined ? 0 : last.at + last.size
  }
  const close = (decays: boolean): void => {
    const places = open[`${decays}`]
    if (places.length === 0) return
    buckets.push({ size: Math.ceil(filled(places) / world) * world, decays, places })
    open[`${decays}`] = []
  }
  for (const [name, shape] of shapes.toReversed()) {
    const decays = shape.length > 1
    const size = sizeOf(shape)
    if (filled(open[`${decays}`]) + size > room) close(decays)
    const places = open[`${decays}`]
    places.push({ name, shape, at: filled(places), size })
    if (filled(places) >= room) close(decays)
  }
  close(false)
  close(true)
  return buckets
}
