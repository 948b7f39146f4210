/**
 * What a stage's examples come to: rows, steps, tokens, labels, and its largest micro-batch.
 *
 * From real examples with the code that training plans its batches with (`training/BatchPlan.ts`), so equal to what a
 * run counts. Where there are none, from published numbers of rows and mean lengths, as if all rows were alike.
 */
import type { Tokens } from "../model/Flops.ts"
import { groupedPlan, packedPlan, shuffledPlan } from "../training/BatchPlan.ts"
import { splitStep } from "../training/BatchSharding.ts"
import type { Micro } from "./Memory.ts"

/** How rows become batches: packed to so many tokens, or one example a row, in a plain or a length-grouped shuffle. */
export type Layout =
  | { readonly kind: "packed"; readonly tokens: number }
  | { readonly kind: "shuffled" }
  | { readonly kind: "grouped" }

export interface Batching {
  readonly layout: Layout
  readonly epochs: number
  readonly batch: number
  readonly microBatch: number
  readonly seed: number
}

/** Examples as training sees them, an entry an example. */
export interface Lengths {
  readonly tokens: ArrayLike<number>
  /** Tokens with a loss. */
  readonly labels: ArrayLike<number>
  /** For the length-grouped order; negative for text. */
  readonly words: ArrayLike<number>
  readonly pictured: ArrayLike<number>
}

/** Published numbers of a stage's data, means a row; what is guessed in them is said in `source`. */
export interface Assumed {
  readonly examples: number
  /** Tokens of an example without its image's placeholders. */
  readonly text: number
  readonly labels: number
  /** Share of rows with an image. */
  readonly pictured: number
  readonly source: string
}

/** All epochs together. `tokens` counts padding. */
export interface Amount extends Tokens {
  readonly examples: number
  readonly rows: number
  readonly steps: number
  readonly images: number
  readonly micro: Micro
  /** The most micro-batches that one device has in a step. */
  readonly microBatches: number
  readonly exact: boolean
  /** False where nothing is known of the examples: the counts are zeros then, and are not reported. */
  readonly known: boolean
  readonly source: string
}

const chunks = <A>(items: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size))

const planOf = (lengths: Lengths, { layout, ...settings }: Batching) =>
  layout.kind === "packed"
    ? packedPlan(lengths.tokens, { ...settings, tokens: layout.tokens })
    : layout.kind === "shuffled"
      ? shuffledPlan(lengths.tokens.length, settings)
      : groupedPlan(lengths.words, settings)

/** Rows are padded to a multiple of this. */
const MULTIPLE = 8

/** Counts what a run over these examples takes, step by step. */
export const exactAmount = (lengths: Lengths, batching: Batching, world: number): Amount => {
  const { layout, microBatch } = batching
  const plan = planOf(lengths, batching)
  const sum = { rows: 0, tokens: 0, labels: 0, pairs: 0, images: 0 }
  let micro: Micro = { rows: 0, time: 0, labels: 0, images: 0 }
  let microBatches = 0
  for (let step = 0; step < plan.steps; step++) {
    const rows = plan.rows(step)
    const micros = world > 1 ? splitStep(rows, microBatch, world).map((cut) => cut.rows) : chunks(rows, microBatch)
    microBatches = Math.max(microBatches, Math.ceil(micros.length / world))
    for (const some of micros) {
      const one = { labels: 0, images: 0 }
      let longest = 0
      for (const row of some) {
        let used = 0
        for (const example of row) {
          const length = lengths.tokens[example]!
          used += length
          one.labels += lengths.labels[example]!
          one.images += lengths.pictured[example]!
          sum.pairs += length ** 2 / 2
        }
        longest = Math.max(longest, used)
      }
      const time = layout.kind === "packed" ? layout.tokens : Math.ceil(longest / MULTIPLE) * MULTIPLE
      sum.rows += some.length
      sum.tokens += some.length * time
      sum.labels += one.labels
      sum.images += one.images
      if (some.length * time > micro.rows * micro.time) micro = { rows: some.length, time, ...one }
    }
  }
  return {
    ...sum,
    examples: lengths.tokens.length,
    steps: plan.steps,
    micro,
    microBatches,
    exact: true,
    known: true,
    source: "its examples are in the store"
  }
}

/** Share of a packed row that is no padding, as first-fit leaves it. */
const FILL = 0.98

/**
 * The same from published numbers: rows of mean length. `patches` are an image's placeholders, `held` the share that is
 * not trained on, `longest` the longest row there can be, which decides the memory.
 */
export const assumedAmount = (
  assumed: Assumed,
  batching: Batching,
  world: number,
  { held, longest, patches }: { readonly patches: number; readonly held: number; readonly longest: number }
): Amount => {
  const { batch, epochs, layout, microBatch } = batching
  const examples = Math.round(assumed.examples * (1 - held))
  const length = assumed.text + assumed.pictured * patches
  const packed = layout.kind === "packed"
  const rows = packed ? Math.ceil((examples * length) / (layout.tokens * FILL)) : examples
  const time = packed ? layout.tokens : Math.ceil(length / MULTIPLE) * MULTIPLE
  const some = Math.min(microBatch, Math.ceil(batch / world))
  const top = packed ? layout.tokens : layout.kind === "grouped" ? longest : Math.min(longest, time + 64)
  return {
    examples,
    rows: rows * epochs,
    steps: Math.ceil(rows / batch) * epochs,
    tokens: rows * time * epochs,
    labels: examples * assumed.labels * epochs,
    pairs: (examples * length ** 2 * epochs) / 2,
    images: examples * assumed.pictured * epochs,
    micro: {
      rows: some,
      time: top,
      labels: Math.ceil((some * top * assumed.labels) / Math.max(1, length)),
      images: packed ? 0 : Math.ceil(some * Math.ceil(assumed.pictured))
    },
    microBatches: Math.ceil(batch / (world * some)),
    exact: false,
    known: assumed.examples > 0,
    source: assumed.source
  }
}
