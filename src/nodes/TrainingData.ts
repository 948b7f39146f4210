/**
 * From stored examples, pixels and features to the batches a training step takes.
 *
 * Not a node. Rows are read by number when their step comes; nothing is buffered between steps.
 */
import { Effect, Schema, Stream } from "effect"
import type { Rows } from "../dag/Artifact.ts"
import type { ClipConfig } from "../model/clip/Config.ts"
import { patchCount } from "../model/clip/Config.ts"
import { pixelBytes, putPixels } from "../model/clip/Pixels.ts"
import type { LlavaConfig } from "../model/llava/Config.ts"
import { spliceIndex } from "../model/llava/Model.ts"
import { type AppliedLora, prepareTokens } from "../model/phi/Model.ts"
import type { Recompute } from "../model/Recompute.ts"
import type { TokenBatch } from "../model/TokenBatch.ts"
import { llavaTrainable, type PreparedLlava, type Trainable } from "../model/Trainable.ts"
import { tf } from "../tensor/Ops.ts"
import { collate, type TokenBatch as Packed, packRows } from "../training/Packing.ts"
import type { Cut } from "../training/Stage.ts"
import type { Examples, Features, Pixels } from "./Artifacts.ts"

export type Example = typeof Examples.schema.Type
type ExampleRows = Rows<Example>

/** An example is longer than the rows it was to be packed into. */
export class ExampleTooLong extends Schema.TaggedError<ExampleTooLong>()("ExampleTooLong", {
  examples: Schema.Array(Schema.String),
  maxTokens: Schema.Number,
  hint: Schema.String
}) {}

/** A stage was to be trained on no example. */
export class NoExamples extends Schema.TaggedError<NoExamples>()("NoExamples", {
  message: Schema.String,
  hint: Schema.String
}) {}

/**
 * Lengths of all examples of a stage, read once: tokens, words as a length-grouped sampler takes them, and what was cut off.
 *
 * Fails with `NoExamples` where there are none.
 */
export const readLengths = (
  rows: ExampleRows
): Effect.Effect<{ readonly tokens: Int32Array; readonly words: Int32Array; readonly cut: Cut }, NoExamples> =>
  Effect.gen(function* () {
    if (rows.length === 0)
      return yield* new NoExamples({
        message: "there is no example to train on: the input data has no rows",
        hint: "A notice of this run names the node that was left without rows; `quarantine` shows what each node refused."
      })
    const tokens = new Int32Array(rows.length)
    const words = new Int32Array(rows.length)
    const cut = { rows: 0, tokens: 0 }
    let at = 0
    yield* Stream.runForEach(rows.batches, (batch) =>
      Effect.sync(() => {
        for (const row of batch) {
          tokens[at] = row.ids.length
          words[at] = row.words
          if (row.cut > 0) cut.rows++
          cut.tokens += row.cut
          at++
        }
      })
    )
    return { tokens, words, cut }
  })

const toModel = (packed: Packed, examples: ReadonlyArray<ReadonlyArray<Example>>): TokenBatch => ({
  rows: packed.rows,
  time: packed.tokens,
  ids_BT: packed.ids_BT,
  segments_BT: packed.segments_BT,
  labels_BT: packed.labels_BT,
  rowIds: examples.map((row) => row.map((example) => example.id).join("+"))
})

/** Fetches the examples of packed rows in one read, in their order. */
const fetch = Effect.fnUntraced(function* (rows: ExampleRows, wanted: ReadonlyArray<ReadonlyArray<number>>) {
  const found = yield* rows.get(wanted.flat())
  let at = 0
  return wanted.map((row) => row.map(() => found[at++]!))
})

/** How rows become a rectangle: packed to `tokens`, or one example a row padded to a multiple of eight. */
export type Layout = { readonly kind: "packed"; readonly tokens: number } | { readonly kind: "padded" }

const lay = (examples: ReadonlyArray<ReadonlyArray<Example>>, layout: Layout, padId: number): Packed =>
  layout.kind === "packed"
    ? packRows(examples, { tokens: layout.tokens, padId })
    : collate(
        examples.map((row) => row[0]!),
        { padId, multipleOf: 8 }
      )

/** Batches of text. */
export const textBatch = Effect.fnUntraced(function* (
  rows: ExampleRows,
  wanted: ReadonlyArray<ReadonlyArray<number>>,
  layout: Layout,
  padId: number
) {
  const examples = yield* fetch(rows, wanted)
  return toModel(lay(examples, layout, padId), examples)
})

/** All rows in order, in groups of `size`, one example a row: for measuring a loss. */
export const everyRow = (rows: ExampleRows, size: number): ReadonlyArray<ReadonlyArray<ReadonlyArray<number>>> => {
  const out: Array<ReadonlyArray<ReadonlyArray<number>>> = []
  for (let at = 0; at < rows.length; at += size)
    out.push(Array.from({ length: Math.min(size, rows.length - at) }, (_, i) => [at + i]))
  return out
}

/** A LLaVA batch whose image features were computed before: M x P x D floats. */
export interface FeatureBatch extends TokenBatch {
  readonly images: number
  readonly features_MPD: Float32Array
}

/** Where pictures come from: rows by number, and how one is laid into a batch. */
export interface Pictures<Row, Values extends Float32Array | Uint8Array> {
  readonly rows: Rows<Row>
  /** Values of one picture. */
  readonly size: number
  readonly room: (size: number) => Values
  readonly put: (row: Row, out: Values, at: number) => void
  /** What is wrong with a row's picture; undefined where nothing is. */
  readonly fault?: (row: Row) => FeatureLayerMismatch | undefined
}

/** Pictures' features are of another hidden state of the tower than what is trained on them. */
export class FeatureLayerMismatch extends Schema.TaggedError<FeatureLayerMismatch>()("FeatureLayerMismatch", {
  message: Schema.String,
  hint: Schema.String
}) {}

/** Pixels as they are stored: bytes, normalised on the engine. */
export const pixelPictures = (
  rows: Rows<typeof Pixels.schema.Type>,
  { imageSize }: ClipConfig
): Pictures<typeof Pixels.schema.Type, Uint8Array> => ({
  rows,
  size: pixelBytes(imageSize),
  room: (size) => new Uint8Array(size),
  put: (row, out, at) => putPixels(row, imageSize, out, at)
})

/** Features as they are stored. */
export const featurePictures = (
  rows: Rows<typeof Features.schema.Type>,
  vision: ClipConfig,
  featureLayer: number | undefined
): Pictures<typeof Features.schema.Type, Float32Array> => ({
  rows,
  size: patchCount(vision) * vision.hiddenSize,
  room: (size) => new Float32Array(size),
  put: (row, out, at) => out.set(row.features_PD, at),
  fault: (row) =>
    row.featureLayer === featureLayer
      ? undefined
      : new FeatureLayerMismatch({
          message: `features of ${row.id} are of hidden state ${row.featureLayer}, those of the first picture of ${featureLayer}`,
          hint: "Compute all of them with one `featureLayer`."
        })
})

const startsOf = (shards: ReadonlyArray<number>): ReadonlyArray<number> => {
  const starts = [0]
  for (const rows of shards) starts.push(starts[starts.length - 1]! + rows)
  return starts
}

/** Tokens and the values of their pictures, those of row 0 first. */
export const picturedBatch = Effect.fnUntraced(function* <Row, Values extends Float32Array | Uint8Array>(
  rows: ExampleRows,
  pictures: Pictures<Row, Values>,
  wanted: ReadonlyArray<ReadonlyArray<number>>,
  layout: Layout,
  padId: number
) {
  const examples = yield* fetch(rows, wanted)
  const packed = lay(examples, layout, padId)
  const starts = startsOf(pictures.rows.shards)
  const inOrder = examples.flat()
  const numbers = packed.images.map(({ example }) => {
    const { picture, shard } = inOrder[example]!
    return starts[shard]! + picture
  })
  const found = yield* pictures.rows.get(numbers)
  for (const row of found) {
    const fault = pictures.fault?.(row)
    if (fault !== undefined) return yield* fault
  }
  const values = pictures.room(found.length * pictures.size)
  found.forEach((row, i) => {
    pictures.put(row, values, i * pictures.size)
  })
  return { ...toModel(packed, examples), images: found.length, values }
})

/** The LLaVA whose frozen tower has run already: takes `features_MPD` where `llavaTrainable` takes pixels. */
export const llavaOnFeatures = (
  config: LlavaConfig,
  options: { readonly checkpoint: Recompute; readonly lora?: AppliedLora }
): Trainable<FeatureBatch, PreparedLlava & tf.TensorContainerObject> => ({
  ...llavaTrainable(config, options),
  prepare: (c, _, batch) => ({
    ...prepareTokens(config.text, batch, c.logitsAtOnce),
    splice_BT: tf.tensor2d(spliceIndex(config, batch, batch.images), [batch.rows, batch.time], "int32"),
    features_MND:
      batch.images === 0
        ? undefined
        : tf.tensor3d(batch.features_MPD, [batch.images, patchCount(config.vision), config.vision.hiddenSize]),
    pixels_MCSS: undefined
  })
})
