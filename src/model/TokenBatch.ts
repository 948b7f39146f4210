/**
 * Rows of tokens as a language model takes them: right padded, or packed with segments. Host arrays, pure.
 *
 * Shapes: B rows, T tokens a row, flat in row-major order. `segments_BT`: 0 is padding, equal numbers see one another.
 * `labels_BT` are aligned with the tokens (-100 = no loss): the token before predicts them, inside its segment only.
 */
import { expectShape } from "../tensor/Errors.ts"

export interface TokenBatch {
  readonly rows: number
  readonly time: number
  readonly ids_BT: Int32Array
  readonly segments_BT: Int32Array
  readonly labels_BT: Int32Array
  /** What a row is called in an error; default its number. */
  readonly rowIds?: ReadonlyArray<string>
  /** Number of each row in the global batch: names its dropout masks, so micro-batching changes nothing. Default 0.. */
  readonly rowNumbers?: ReadonlyArray<number>
}

/** Where a loss is: flat positions of the hidden states that predict, and the labels they predict. */
export interface Supervised {
  readonly positions: Int32Array
  readonly labels: Int32Array
}

/**
 * Positions with a label to predict. Nothing else needs logits, so the head runs on these rows alone: exact.
 *
 * @example supervised(batch).labels.length // tokens that count in the loss
 */
export const supervised = (batch: TokenBatch): Supervised => {
  const positions: Array<number> = []
  const labels: Array<number> = []
  for (let row = 0; row < batch.rows; row++)
    for (let t = 0; t + 1 < batch.time; t++) {
      const at = row * batch.time + t
      const label = batch.labels_BT[at + 1]!
      const segment = batch.segments_BT[at + 1]!
      if (label < 0 || segment === 0 || segment !== batch.segments_BT[at]) continue
      positions.push(at)
      labels.push(label)
    }
  return { positions: Int32Array.from(positions), labels: Int32Array.from(labels) }
}

/** Tokens that count in the loss. */
export const lossTokens = (batch: TokenBatch): number => supervised(batch).labels.length

/**
 * Position of each token in its segment; padding counts from the start of the row, as `transformers` does.
 *
 * @example positionsOf(Int32Array.of(1, 1, 2, 2, 0), 1, 5) // 0 1 0 1 4
 */
export const positionsOf = (segments_BT: Int32Array, rows: number, time: number): Int32Array => {
  const positions = new Int32Array(rows * time)
  for (let row = 0; row < rows; row++) {
    let start = 0
    for (let t = 0; t < time; t++) {
      const at = row * time + t
      if (t > 0 && segments_BT[at] !== segments_BT[at - 1]) start = t
      positions[at] = segments_BT[at] === 0 ? t : t - start
    }
  }
  return positions
}

/**
 * Segments of right-padded rows: 1 up to the row's length, then 0.
 *
 * @example segmentsOfLengths([2, 1], 3) // 1 1 0 1 0 0
 */
export const segmentsOfLengths = (lengths: ReadonlyArray<number>, time: number): Int32Array => {
  const segments = new Int32Array(lengths.length * time)
  for (const [row, length] of lengths.entries()) segments.fill(1, row * time, row * time + length)
  return segments
}

/** Throws `ShapeMismatch` unless the arrays have rows * time elements. */
export const checkTokenBatch = (batch: TokenBatch): void => {
  const n = batch.rows * batch.time
  expectShape(
    batch.ids_BT.length === n && batch.segments_BT.length === n && batch.labels_BT.length === n,
    "tokenBatch",
    () =>
      `${batch.rows} x ${batch.time}: ids ${batch.ids_BT.length}, segments ${batch.segments_BT.length}, labels ${batch.labels_BT.length}`,
    "ids, segments and labels are flat arrays of rows * time elements."
  )
}
