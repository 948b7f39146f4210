/**
 * An exported checkpoint as something to talk to: questions and a picture in, text as it is made out.
 *
 * Not a node, no terminal and no history: who asks gives the whole conversation each time. Keys and values of the last
 * conversation stay on the engine (`model/generate/Memory.ts`), so that of a next turn only what is new is read.
 * Prompts are those of training (Vicuna v1.1, the picture before the first question), pictures are cropped or padded as
 * the folder's processor says.
 */

import { readFile } from "node:fs/promises"
import { basename, join } from "node:path"
import { Effect, Schema, type Scope, Stream } from "effect"
import { BadImage, fitImage, withImage } from "../data/Images.ts"
import { patchCount } from "../model/clip/Config.ts"
import { type LoadError, openLlava } from "../model/Folder.ts"
import type { NewToken } from "../model/Generate.ts"
import { remembering } from "../model/generate/Memory.ts"
import { type BadSampling, checkSampling, type Sampling } from "../model/generate/Sampling.ts"
import type { LlavaConfig } from "../model/llava/Config.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Tensors } from "../tensor/Tensors.ts"
import type { ConversationTurn } from "../text/Conversation.ts"
import { type BadExample, promptFor } from "../text/Template.ts"
import { textStream } from "../text/TextStream.ts"
import { type BadTokenizer, controlIds, loadTokenizer, sameImageToken } from "./LoadTokenizer.ts"
import { loadWeights, ModelFileError, readJsonFile } from "./ModelFiles.ts"
import { readFit } from "./ProcessorFile.ts"

/** The folder holds another kind of model. */
export class NotLlava extends Schema.TaggedError<NotLlava>()("NotLlava", {
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

/** The conversation leaves no room for an answer. */
export class ContextFull extends Schema.TaggedError<ContextFull>()("ContextFull", {
  /** Tokens of the prompt, the picture's among them. */
  tokens: Schema.Number,
  contextLength: Schema.Number,
  message: Schema.String,
  hint: Schema.String
}) {}

/** A picture as the tower takes it: S x S x 3 bytes. */
export interface Picture {
  readonly pixels_HWC: Uint8Array
}

/** A part of an answer. */
export interface Piece {
  /** May be empty: a character or a stop text may not be finished. */
  readonly text: string
  /**
   * On the last piece: the end of text came, a stop text did, as many tokens as were asked for were made, or the
   * model's context is full.
   */
  readonly stopped?: "end" | "text" | "length" | "context"
}

/** How an answer is made. */
export interface AnswerOptions extends Sampling {
  readonly maxNewTokens: number
  /** The answer ends before the first of these. */
  readonly stopText?: ReadonlyArray<string>
  /** Names the draws of this answer, so that the answers of a conversation draw for themselves. Default 0. */
  readonly number?: number
}

export type AskError = BadExample | BadSampling | ContextFull | TensorError

/** All that opening a model, reading a picture and asking can fail with. */
export type ChatError = AskError | BadImage | BadTokenizer | LoadError | NotLlava

/** A model that answers. It lives as long as the scope it was opened in. */
export interface ChatModel {
  readonly config: LlavaConfig
  /** Tokens that a conversation can have, its answers among them. */
  readonly contextLength: number
  /** Reads a picture for the tower. */
  readonly picture: (path: string) => Effect.Effect<Picture, BadImage | ModelFileError>
  /** Answers the last of `turns`, one piece a token. Leading blanks are left out. */
  readonly ask: (
    turns: ReadonlyArray<ConversationTurn>,
    picture: Picture | undefined,
    options: AnswerOptions
  ) => Stream.Stream<Piece, AskError>
}

const Kind = Schema.Struct({ model_type: Schema.optional(Schema.String) })

/** Fails with `NotLlava` for another model's folder. */
const checkKind = Effect.fnUntraced(function* (folder: string) {
  const path = join(folder, "config.json")
  const { model_type: type } = yield* Schema.decodeUnknownEffect(Kind)(yield* readJsonFile(path)).pipe(
    Effect.catchTag("SchemaError", () => Effect.succeed<typeof Kind.Type>({}))
  )
  if (type !== "llava")
    return yield* new NotLlava({
      path,
      message: type === undefined ? "it does not say what model it is" : `it is a ${type} model`,
      hint: "Give the folder of a LLaVA with Phi, as exportCheckpoint writes it (model_type llava)."
    })
})

/**
 * Opens an exported checkpoint and uploads its weights, which are freed with the scope.
 *
 * Long: `picture` and `ask` share the opened model.
 *
 * @example
 * const model = yield* openChatModel("llava-phi")
 * const pieces = model.ask([{ from: "human", value: "Who are you?" }], undefined, { maxNewTokens: 64 })
 */
export const openChatModel = Effect.fnUntraced(function* (
  folder: string
): Effect.fn.Return<ChatModel, ChatError, Tensors | Scope.Scope> {
  yield* checkKind(folder)
  const tokenizer = yield* loadTokenizer({ path: folder })
  const { eosId, imageId } = yield* controlIds(tokenizer, folder)
  const { config, sources } = yield* openLlava(folder)
  yield* sameImageToken(config.imageToken, imageId, folder)
  const fit = yield* readFit(folder, config.vision.imageSize)
  const continued = yield* remembering(yield* loadWeights(sources), config)
  const contextLength = config.text.maxPositions

  const picture = (path: string) =>
    Effect.tryPromise({
      try: () => readFile(path),
      catch: (cause) =>
        new ModelFileError({
          path,
          message: cause instanceof Error ? cause.message : String(cause),
          hint: "Give the path of a JPEG, PNG, GIF or WebP file.",
          cause
        })
    }).pipe(
      Effect.flatMap((bytes) =>
        withImage(bytes, { name: basename(path), misnamed: "accept" }, (image): Picture => {
          const { pixels_HWC } = fitImage(image, { size: config.vision.imageSize, fit })
          return { pixels_HWC: pixels_HWC.slice() }
        })
      ),
      Effect.mapError((error) =>
        error._tag === "BadImage" && error.reason === "too-large"
          ? new BadImage({ ...error, hint: "Scale it down." })
          : error
      )
    )

  const ask: ChatModel["ask"] = (turns, picture, options) =>
    Stream.unwrap(
      Effect.gen(function* () {
        const bad = checkSampling(options)
        if (bad !== undefined) return yield* bad
        const prompt = yield* Effect.fromResult(
          promptFor(
            tokenizer,
            { turns, image: picture !== undefined },
            { template: "v1", imageTokens: patchCount(config.vision), imageTokenId: imageId, eosId }
          )
        )
        const time = prompt.ids.length
        const room = contextLength - time
        if (room < 1)
          return yield* new ContextFull({
            tokens: time,
            contextLength,
            message: `the conversation has ${time} tokens, the model's context ${contextLength}: no room for an answer`,
            hint: "Begin a new conversation (/reset), or ask for less at once."
          })
        const text = textStream(tokenizer, options.stopText ?? [])
        let more = ""
        const tokens = continued(
          { ids_T: prompt.ids, pixels_HWC: picture?.pixels_HWC },
          {
            ...options,
            maxNewTokens: Math.min(options.maxNewTokens, room),
            stopTokens: [eosId],
            rowNumbers: [options.number ?? 0],
            stop: (_, id) => {
              more += text.push(id)
              return text.stopped()
            }
          }
        )
        const why = (ended: NonNullable<NewToken["ended"]>): NonNullable<Piece["stopped"]> =>
          ended === "token" ? "end" : ended === "stop" ? "text" : room < options.maxNewTokens ? "context" : "length"
        let begun = false
        return Stream.map(tokens, ({ ended }): Piece => {
          const all = ended === undefined ? more : more + text.end()
          more = ""
          const shown = begun ? all : all.trimStart()
          begun ||= shown !== ""
          return ended === undefined ? { text: shown } : { text: shown, stopped: why(ended) }
        })
      })
    )

  return { config, contextLength, picture, ask }
})
