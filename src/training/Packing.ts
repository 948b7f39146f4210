/**
 * Packs tokenised examples into rows of T tokens with block-diagonal attention, or pads them one a row.
 *
 * Not a sampler: order comes from `Order` or `Sampler`. Pure; no I/O; nothing is buffered between calls: the plan is
 * made from the lengths alone, so a cursor is a row of the plan and a killed run loses nothing.
 *
 * Shapes: B rows, T tokens a row, as `model/TokenBatch.ts` has them; segments are 1, 2, ... in the row. The first token
 * of a segment has no label, so no segment is predicted from another.
 *
 * Source: first-fit bin packing over a window of examples in data order.
 */

import type { TokenBatch } from "../model/TokenBatch.ts"

/** Label of a token that carries no loss. */
const NO_LOSS = -100

/** A tokenised example; `imageAt` is the position of its first image placeholder, or -1. */
export interface TokenisedExample {
  readonly ids: ArrayLike<number>
  readonly labels: ArrayLike<number>
  readonly imageAt?: number
}

/** `first-fit` fills the first open row with room; `sequential` keeps data order and only looks at the last row. */
export interface PackingOptions {
  readonly tokens: number
  readonly strategy?: "first-fit" | "sequential"
  /** Examples planned together; a row never holds examples of two windows. Default 1024. */
  readonly window?: number
}

/** Row r of the plan holds the examples `members[starts[r] .. starts[r + 1])`, in that order. */
export interface PackingPlan {
  readonly rows: number
  readonly starts: Int32Array
  readonly members: Int32Array
  /** Examples longer than a row (or empty), in order: they are in no row and must be refused with a reason. */
  readonly refused: Int32Array
  /** Share of the rows' tokens that are no padding. */
  readonly fill: number
}

/**
 * Plans rows from lengths. Examples are taken in the order given (all, as they lie, by default).
 *
 * Throws `RangeError` for tokens or window below one.
 *
 * @example
 * const plan = planPacking(lengths, { tokens: 2048, order: order.epoch(0) })
 * const steps = Math.ceil(plan.rows / rowsPerStep)
 */
export const planPacking = (
  lengths: ArrayLike<number>,
  options: PackingOptions & { readonly order?: ArrayLike<number> }
): PackingPlan => {
  const { tokens } = options
  const window = options.window ?? 1024
  if (!(tokens >= 1) || !(window >= 1)) throw new RangeError(`tokens ${tokens} and window ${window} must be positive`)
  const strategy = options.strategy ?? "first-fit"
  const count = options.order?.length ?? lengths.length
  const refused: Array<number> = []
  const members: Array<number> = []
  const starts: Array<number> = [0]
  let used = 0
  for (let at = 0; at < count; at += window) {
    const rows: Array<{ readonly members: Array<number>; room: number }> = []
    for (let i = at; i < Math.min(count, at + window); i++) {
      const example = options.order?.[i] ?? i
      const length = lengths[example]
      if (length === undefined) throw new RangeError(`the order names example ${example}, which has no length`)
      if (length < 1 || length > tokens) {
        refused.push(example)
        continue
      }
      const open = strategy === "first-fit" ? rows : rows.slice(-1)
      const row = open.find(({ room }) => room >= length)
      if (row === undefined) rows.push({ members: [example], room: tokens - length })
      else {
        row.members.push(example)
        row.room -= length
      }
      used += length
    }
    for (const row of rows) {
      for (const example of row.members) members.push(example)
      starts.push(members.length)
    }
  }
  const rows = starts.length - 1
  return {
    rows,
    starts: Int32Array.from(starts),
    members: Int32Array.from(members),
    refused: Int32Array.from(refused),
    fill: rows === 0 ? 1 : used / (rows * tokens)
  }
}

/**
 * The examples of one row of a plan.
 *
 * @example
 * const examples = await rows.get([...plannedRow(plan, 0)])
 */
export const plannedRow = (plan: PackingPlan, row: number): Int32Array => {
  if (!(row >= 0 && row < plan.rows)) throw new RangeError(`row ${row} lies outside a plan of ${plan.rows} rows`)
  return plan.members.subarray(plan.starts[row], plan.starts[row + 1])
}

/** Where an image's placeholders start: `ids_BT[row, at]`; `example` counts through the rows given, in order. */
export interface ImagePlace {
  readonly row: number
  readonly at: number
  readonly example: number
}

/** A batch, and where its images are. */
export interface PackedRows {
  readonly batch: TokenBatch
  readonly images: ReadonlyArray<ImagePlace>
}

/**
 * Lays the examples of each row side by side in T tokens; what is left is padding (`padId`, no loss, segment 0).
 *
 * Throws `RangeError` when a row's examples do not fit, or ids and labels differ in length: a plan was not followed.
 *
 * @example
 * const { batch } = packRows(rows.map((row) => examplesOf(plannedRow(plan, row))), { tokens: 2048, padId: 50256 })
 */
export const packRows = (
  rows: ReadonlyArray<ReadonlyArray<TokenisedExample>>,
  { padId, tokens }: { readonly tokens: number; readonly padId: number }
): PackedRows => {
  const size = rows.length * tokens
  const ids = new Int32Array(size).fill(padId)
  const labels = new Int32Array(size).fill(NO_LOSS)
  const segments = new Int32Array(size)
  const images: Array<ImagePlace> = []
  let example = 0
  for (const [row, members] of rows.entries()) {
    let at = 0
    for (const [segment, member] of members.entries()) {
      const length = member.ids.length
      if (member.labels.length !== length || at + length > tokens) {
        throw new RangeError(
          `row ${row}, example ${segment}: ${length} ids and ${member.labels.length} labels do not fit ${tokens - at} tokens`
        )
      }
      const base = row * tokens + at
      for (let i = 0; i < length; i++) {
        ids[base + i] = member.ids[i]!
        segments[base + i] = segment + 1
        if (i > 0) labels[base + i] = member.labels[i]!
      }
      if (member.imageAt !== undefined && member.imageAt >= 0) images.push({ row, at: at + member.imageAt, example })
      at += length
      example++
    }
  }
  return {
    batch: { rows: rows.length, time: tokens, ids_BT: ids, labels_BT: labels, segments_BT: segments },
    images
  }
}

/**
 * One example a row, padded at the end to the longest (rounded up to `multipleOf`, default 1), or to `tokens`.
 *
 * Masks come from lengths: a padding id that is also the end of text hides nothing. Throws `RangeError` as `packRows`.
 *
 * @example
 * const { batch } = collate(examples, { padId: 50256, multipleOf: 64 })
 */
export const collate = (
  examples: ReadonlyArray<TokenisedExample>,
  options: { readonly padId: number; readonly multipleOf?: number; readonly tokens?: number }
): PackedRows => {
  const multiple = options.multipleOf ?? 1
  const longest = examples.reduce((most, { ids }) => Math.max(most, ids.length), 0)
  const tokens = options.tokens ?? Math.ceil(longest / multiple) * multiple
  return packRows(
    examples.map((example) => [example]),
    { tokens, padId: options.padId }
  )
}
