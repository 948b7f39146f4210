/**
 * Which examples make which step: the whole of training's data order as a pure function of lengths and a seed.
 *
 * Not a loader. Nothing is buffered between steps, so a resumed run needs the step's number alone. A step's batch is a
 * list of rows, a row a list of example numbers (more than one where rows are packed).
 */
import { shuffledOrder } from "./Order.ts"
import { type PackingPlan, plannedRow, planPacking } from "./Packing.ts"
import { lengthGrouped } from "./Sampler.ts"

export interface BatchPlan {
  /** Optimiser steps over all epochs; an epoch's last batch may be smaller. */
  readonly steps: number
  /** Rows of step `step`, 0 <= step < steps. */
  readonly rows: (step: number) => ReadonlyArray<ReadonlyArray<number>>
  /** Examples that fit in no row; they must not be lost silently. */
  readonly refused: ReadonlyArray<number>
}

interface Epoch {
  readonly rows: number
  readonly row: (row: number) => ReadonlyArray<number>
  readonly refused: ReadonlyArray<number>
}

/** Cuts epochs into batches. `make` is called again when an epoch is entered anew; only one epoch stays in memory. */
const overEpochs = (epochs: number, batch: number, make: (epoch: number) => Epoch): BatchPlan => {
  if (!Number.isInteger(batch) || batch < 1) throw new RangeError(`a batch of ${batch} rows`)
  const starts = [0]
  let refused: ReadonlyArray<number> = []
  for (let epoch = 0; epoch < epochs; epoch++) {
    const made = make(epoch)
    starts.push(starts[epoch]! + Math.ceil(made.rows / batch))
    refused = made.refused
  }
  let current: { readonly epoch: number; readonly made: Epoch } | undefined
  return {
    steps: starts[epochs]!,
    refused,
    rows: (step) => {
      const epoch = starts.findIndex((_, i) => step >= starts[i]! && step < (starts[i + 1] ?? 0))
      if (epoch < 0) throw new RangeError(`step ${step} of ${starts[epochs]}`)
      if (current?.epoch !== epoch) current = { epoch, made: make(epoch) }
      const { made } = current
      const first = (step - starts[epoch]!) * batch
      return Array.from({ length: Math.min(batch, made.rows - first) }, (_, i) => made.row(first + i))
    }
  }
}

/**
 * Packed rows of at most `tokens` tokens, in a new order each epoch: for text whose lengths vary widely.
 *
 * @example
 * packedPlan(lengths, { tokens: 2048, batch: 128, epochs: 2, seed: 0 }).rows(0)
 */
export const packedPlan = (
  lengths: ArrayLike<number>,
  options: { readonly tokens: number; readonly batch: number; readonly epochs: number; readonly seed: number }
): BatchPlan => {
  const order = shuffledOrder({ rows: lengths.length, seed: options.seed })
  return overEpochs(options.epochs, options.batch, (epoch) => {
    const plan: PackingPlan = planPacking(lengths, { tokens: options.tokens, order: order.epoch(epoch) })
    return { rows: plan.rows, row: (row) => [...plannedRow(plan, row)], refused: [...plan.refused] }
  })
}

const oneEach = (order: Int32Array): Epoch => ({ rows: order.length, row: (row) => [order[row]!], refused: [] })

/** One example a row, shuffled anew each epoch: for captions, whose lengths hardly differ. */
export const shuffledPlan = (
  examples: number,
  options: { readonly batch: number; readonly epochs: number; readonly seed: number }
): BatchPlan => {
  const order = shuffledOrder({ rows: examples, seed: options.seed })
  return overEpochs(options.epochs, options.batch, (epoch) => oneEach(order.epoch(epoch)))
}

/**
 * One example a row, batches of one modality, their rows long to short (LLaVA's sampler): for instruction data, where
 * an image's hundreds of tokens make packing wasteful. Micro-batches are cut in that order, so their rows are alike in
 * length and little is padded; a batch computed whole pads as if it were unsorted. `words` is negative for text.
 */
export const groupedPlan = (
  words: ArrayLike<number>,
  options: { readonly batch: number; readonly epochs: number; readonly seed: number }
): BatchPlan =>
  overEpochs(options.epochs, options.batch, (epoch) =>
    oneEach(lengthGrouped(words, { seed: options.seed, epoch, batch: options.batch, ranks: 1 }))
  )
