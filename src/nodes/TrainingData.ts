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
import type { LlavaBatch } from "../model/llava/Model.ts"
import type { TokenBatch } from "../model/TokenBatch.ts"
import { collate, type PackedRows, packRows } from "../training/Packing.ts"
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
 * Lengths of all examples of a stage, read once: tokens, words as a length-grouped sampler takes them, and what was cut
 * off.
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

/** What rows are called in an error. */
const rowIdsOf = (examples: ReadonlyArray<ReadonlyArray<Example>>): ReadonlyArray<string> =>
  examples.map((row) => row.map((example) => example.id).join("+"))

/** Fetches the examples of packed rows in one read, in their order. */
const fetch = Effect.fnUntraced(function* (rows: ExampleRows, wanted: ReadonlyArray<ReadonlyArray<number>>) {
  const found = yield* rows.get(wanted.flat())
  let at = 0
  return wanted.map((row) => row.map(() => found[at++]!))
})

/** How rows become a rectangle: packed to `tokens`, or one example a row padded to a multiple of eight. */
export type Layout = { readonly kind: "packed"; readonly tokens: number } | { readonly kind: "padded" }

const lay = (examples: ReadonlyArray<ReadonlyArray<Example>>, layout: Layout, padId: number): PackedRows =>
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
): Effect.fn.Return<TokenBatch> {
  const examples = yield* fetch(rows, wanted)
  return { ...lay(examples, layout, padId).batch, rowIds: rowIdsOf(examples) }
})

/** All rows in order, in groups of `size`, one example a row: for measuring a loss. */
export const everyRow = (rows: ExampleRows, size: number): ReadonlyArray<ReadonlyArray<ReadonlyArray<number>>> => {
  const out: Array<ReadonlyArray<ReadonlyArray<number>>> = []
  for (let at = 0; at < rows.length; at += size)
    out.push(Array.from({ length: Math.min(size, rows.length - at) }, (_, i) => [at + i]))
  return out
}

/** Images' features are of another hidden state of the tower than what is trained on them. */
export class FeatureLayerMismatch extends Schema.TaggedError<FeatureLayerMismatch>()("FeatureLayerMismatch", {
  message: Schema.String,
  hint: Schema.String
}) {}

type Pixel = typeof Pixels.schema.Type
type Feature = typeof Features.schema.Type

/** The images of a LLaVA batch. */
type BatchImages = Pick<LlavaBatch, "images" | "pixels" | "features_MND">

/** How images reach the model: as pixels that go through the tower in each step, or as features computed before. */
export interface ImageInput {
  /** Images of each shard. */
  readonly shards: ReadonlyArray<number>
  /** The hidden state that features are of; undefined for pixels, and where there is no image. */
  readonly featureLayer: number | undefined
  readonly needsTower: boolean
  /** Reads images by number, in the order asked for. */
  readonly read: (numbers: ReadonlyArray<number>) => Effect.Effect<BatchImages, FeatureLayerMismatch>
}

const pixelInput = (rows: Rows<Pixel>, { imageSize }: ClipConfig): ImageInput => ({
  shards: rows.shards,
  featureLayer: undefined,
  needsTower: true,
  read: Effect.fnUntraced(function* (numbers) {
    const found = yield* rows.get(numbers)
    const size = pixelBytes(imageSize)
    const pixels = new Uint8Array(found.length * size)
    for (const [i, row] of found.entries()) putPixels(row, imageSize, pixels, i * size)
    return { images: found.length, pixels }
  })
})

const featureInput = (rows: Rows<Feature>, vision: ClipConfig, featureLayer: number): ImageInput => ({
  shards: rows.shards,
  featureLayer,
  needsTower: false,
  read: Effect.fnUntraced(function* (numbers) {
    const found = yield* rows.get(numbers)
    const size = patchCount(vision) * vision.hiddenSize
    const features_MND = new Float32Array(found.length * size)
    for (const [i, row] of found.entries()) {
      if (row.featureLayer !== featureLayer)
        return yield* new FeatureLayerMismatch({
          message: `features of ${row.id} are of hidden state ${row.featureLayer}, those of the first image of ${featureLayer}`,
          hint: "Compute all of them with one `featureLayer`."
        })
      features_MND.set(row.features_PD, i * size)
    }
    return { images: found.length, pixels: new Uint8Array(0), features_MND }
  })
})

/** Opens what an image port was given. The first row says whether it holds pixels or features; none is as pixels. */
export const openImages = (rows: Rows<Pixel | Feature>, vision: ClipConfig): Effect.Effect<ImageInput> =>
  Effect.map(rows.length === 0 ? Effect.succeed<ReadonlyArray<Pixel | Feature>>([]) : rows.get([0]), ([first]) =>
    first !== undefined && "features_PD" in first
      ? featureInput(rows as Rows<Feature>, vision, first.featureLayer)
      : pixelInput(rows as Rows<Pixel>, vision)
  )

/** Number of the first image of each shard. */
const startsOf = (shards: ReadonlyArray<number>): ReadonlyArray<number> => {
  const starts = [0]
  for (const rows of shards) starts.push(starts[starts.length - 1]! + rows)
  return starts
}

/** Batches of text with their images, those of row 0 first. */
export const imageBatch = Effect.fnUntraced(function* (
  rows: ExampleRows,
  images: ImageInput,
  wanted: ReadonlyArray<ReadonlyArray<number>>,
  layout: Layout,
  padId: number
): Effect.fn.Return<LlavaBatch, FeatureLayerMismatch> {
  const examples = yield* fetch(rows, wanted)
  const packed = lay(examples, layout, padId)
  const starts = startsOf(images.shards)
  const inOrder = examples.flat()
  const numbers = packed.images.map(({ example }) => {
    const { image, shard } = inOrder[example]!
    return starts[shard]! + image
  })
  return { ...packed.batch, rowIds: rowIdsOf(examples), ...(yield* images.read(numbers)) }
})
