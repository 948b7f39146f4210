import { Effect, Schema, Stream } from "effect"
import type { Rows, Tree } from "../dag/Artifact.ts"
import { patchCount } from "../model/clip/Config.ts"
import { pixelBytes, putPixels } from "../model/clip/Pixels.ts"
import { greedyLlava } from "../model/Generate.ts"
import { segmentsOfLengths } from "../model/TokenBatch.ts"
import { promptFor } from "../text/Template.ts"
import type { PicturedConversations, Pixels } from "./Artifacts.ts"
import { controlIds, loadTokenizer, sameImageToken } from "./LoadTokenizer.ts"
import { HeadBias, loadWeights, openLlava } from "./ModelFiles.ts"
import { Positive } from "./Params.ts"

/** The exported model and the held-out data do not fit together. */
export class NothingToAsk extends Schema.TaggedError<NothingToAsk>()("NothingToAsk", {
  message: Schema.String,
  hint: Schema.String
}) {}

/** How questions are asked. */
export const AskingParams = {
  /** Tokens of an answer at most. */
  maxNewTokens: Positive,
  /** Questions answered together. */
  batch: Positive,
  headBias: HeadBias
} as const

/** The scene half the list away, or the next one after it that shows another image; -1 where there is none. */
export const otherScene = (scenes: ReadonlyArray<{ readonly image: string | null }>, scene: number): number => {
  const count = scenes.length
  for (let step = 0; step < count; step++) {
    const other = (scene + (count >> 1) + step) % count
    if (scenes[other]!.image !== scenes[scene]!.image) return other
  }
  return -1
}

/** Images by name: the k-th row with an image belongs to the k-th row of pixels. */
export const openAlbum = Effect.fnUntraced(function* (
  pictured: Rows<typeof PicturedConversations.schema.Type>,
  pixels: Rows<typeof Pixels.schema.Type>
) {
  const batches = yield* Stream.runCollect(pictured.batches)
  const scenes = batches.flat().filter((row) => row.image !== null)
  const places = new Map<string, number>()
  for (const [i, { image }] of scenes.entries()) if (!places.has(image!)) places.set(image!, i)
  return {
    /** Scenes with an image. */
    count: scenes.length,
    has: (image: string): boolean => places.has(image),
    /** The image of that name. */
    own: (image: string): number => places.get(image)!,
    /** Another image: what a question is asked about blindly. */
    other: (image: string): Effect.Effect<number, NothingToAsk> => {
      const found = otherScene(scenes, places.get(image)!)
      return found >= 0
        ? Effect.succeed(found)
        : new NothingToAsk({
            message: `all ${scenes.length} scenes show the image ${scenes[0]!.image}`,
            hint: "The blind baseline needs at least two different images."
          })
    },
    get: pixels.get
  }
})

/**
 * Opens an exported model for questions; it is freed with the scope. A batch is answered in the order it is asked.
 *
 * @example const answers = yield* (yield* openAsker(model, params))(["What is it?"], pixels)
 */
export const openAsker = Effect.fnUntraced(function* (
  model: Tree,
  params: { readonly maxNewTokens: number; readonly headBias: HeadBias }
) {
  const tokenizer = yield* loadTokenizer(model)
  const { eosId, imageId, padId } = yield* controlIds(tokenizer, model.path)
  const { config, sources } = yield* openLlava(model, params.headBias)
  yield* sameImageToken(config.imageToken, imageId, model.path)
  const weights = yield* loadWeights(sources)
  const patches = patchCount(config.vision)
  const side = config.vision.imageSize
  const bytes = pixelBytes(side)
  return Effect.fnUntraced(function* (
    questions: ReadonlyArray<string>,
    images: ReadonlyArray<typeof Pixels.schema.Type>
  ) {
    const prompts = yield* Effect.forEach(questions, (question) =>
      Effect.fromResult(
        promptFor(
          tokenizer,
          { turns: [{ from: "human", value: question }], image: true },
          { template: "v1", imageTokens: patches, imageTokenId: imageId, eosId }
        )
      )
    )
    const lengths = prompts.map(({ ids }) => ids.length)
    const time = Math.max(...lengths)
    const ids_BT = new Int32Array(questions.length * time).fill(padId)
    for (const [row, { ids }] of prompts.entries()) ids_BT.set(ids, row * time)
    const bytes_MSSC = new Uint8Array(images.length * bytes)
    for (const [i, row] of images.entries()) putPixels(row, side, bytes_MSSC, i * bytes)
    const made = yield* greedyLlava(
      weights,
      config,
      {
        rows: questions.length,
        time,
        ids_BT,
        segments_BT: segmentsOfLengths(lengths, time),
        labels_BT: new Int32Array(questions.length * time).fill(-100),
        images: images.length,
        pixels: bytes_MSSC
      },
      lengths,
      { maxNewTokens: params.maxNewTokens, endToken: eosId }
    )
    return made.map((ids) => tokenizer.decode(ids, { skipSpecial: true }).trim())
  })
})
