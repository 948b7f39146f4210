/**
 * Reads models that were exported, by us or by others, back into the recipe's artifacts: a LLaVA of transformers'
 * layout, one of LLaVA's own, or a projector alone.
 *
 * Not a download (`source` fetches) and no conversion of numbers: what float32 holds comes back bit for bit. Language
 * models other than Phi are refused by name.
 */
import { existsSync, statSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import type { Tree } from "../dag/Artifact.ts"
import { whole } from "../dag/Node.ts"
import { type Checkpoint, openCheckpoint } from "../model/Checkpoint.ts"
import { inFile } from "../model/ConfigError.ts"
import { projectorOf } from "../model/llava/Config.ts"
import {
  decodeOriginal,
  ORIGINAL_TYPES,
  type OriginalFields,
  originalFields,
  originalLanguage,
  originalProjector,
  PROJECTOR_FILE,
  sizesOf
} from "../model/llava/Original.ts"
import { decodePhiConfig } from "../model/phi/Config.ts"
import { openTorchFile } from "../model/pickle/TorchFile.ts"
import type { WeightSource } from "../model/Weights.ts"
import { IMAGE_MARK } from "../text/Template.ts"
import * as A from "./Artifacts.ts"
import { loadTokenizer, sameImageToken } from "./LoadTokenizer.ts"
import {
  fromSources,
  HeadBias,
  ModelDtype,
  openLlava,
  openProjector,
  readJsonFile,
  writeClip,
  writePhi,
  writeProjector,
  writeTextFile
} from "./ModelFiles.ts"

/** The folder is whole, and of another model or layout than this node reads. */
export class OtherModel extends Schema.TaggedError<OtherModel>()("OtherModel", {
  path: Schema.String,
  tensor: Schema.optional(Schema.String),
  message: Schema.String,
  hint: Schema.String
}) {}

const Kind = Schema.Struct({
  model_type: Schema.optional(Schema.String),
  architectures: Schema.optional(Schema.NullOr(Schema.Array(Schema.String))),
  text_config: Schema.optional(Schema.Struct({ model_type: Schema.optional(Schema.String) }))
})

/** What config.json says it is; an unreadable kind is no kind. */
const kindOf = Effect.fnUntraced(function* (folder: string) {
  const path = join(folder, "config.json")
  const json = yield* readJsonFile(path)
  const kind = yield* Schema.decodeUnknownEffect(Kind)(json).pipe(
    Effect.catchTag("SchemaError", () => Effect.succeed<typeof Kind.Type>({}))
  )
  return { path, json, kind }
})

/** The weights whose names begin so, without that beginning. */
const part = <E>(sources: ReadonlyArray<WeightSource<E>>, prefix: string): ReadonlyArray<WeightSource<E>> =>
  sources.flatMap((one) => (one.name.startsWith(prefix) ? [{ ...one, name: one.name.slice(prefix.length) }] : []))

const params = Schema.Struct({
  headBias: HeadBias,
  /** What the parts are stored as; `float32` loses nothing. */
  dtype: ModelDtype
})

export const importLlava = whole(
  {
    id: "importLlava",
    version: "1",
    about: "The parts of a LLaVA with Phi in transformers' layout, of any version's names.",
    params,
    inputs: { files: A.Checkpoint },
    outputs: { model: A.LanguageModel, projector: A.Projector, vision: A.VisionTower, tokenizer: A.TokenizerFile }
  },
  ({ inputs, params }) =>
    Effect.gen(function* () {
      const { path: folder } = inputs.files
      const { kind, path } = yield* kindOf(folder)
      const text = kind.text_config?.model_type
      if (kind.model_type !== "llava")
        return yield* new OtherModel({
          path,
          message:
            kind.model_type === undefined ? "it does not say what model it is" : `it is a ${kind.model_type} model`,
          hint: kind.model_type?.startsWith("llava_")
            ? "That is LLaVA's own layout: importOriginal reads it."
            : "Give the folder of a LlavaForConditionalGeneration (model_type llava)."
        })
      if (text !== undefined && text !== "phi")
        return yield* new OtherModel({
          path,
          message: `its language model is ${text}`,
          hint: "Only Phi language models are computed here (text_config.model_type phi)."
        })
      const { config, sources } = yield* openLlava(inputs.files, params.headBias)
      const tokenizer = yield* loadTokenizer(inputs.files)
      yield* sameImageToken(config.imageToken, tokenizer.tokenToId(IMAGE_MARK), folder)
      const { dtype } = params
      return {
        model: (into: string) => writePhi(into, config.text, fromSources(part(sources, "language."), dtype)),
        projector: (into: string) =>
          writeProjector(into, projectorOf(config), fromSources(part(sources, "projector."), dtype)),
        vision: (into: string) => writeClip(into, config.vision, fromSources(part(sources, "vision."), dtype)),
        tokenizer: (into: string) => writeTextFile(join(into, "tokenizer.json"), tokenizer.json())
      }
    })
)

/** The hidden state that LLaVA's scripts train on, and so what a file means that states none. */
const DEFAULT_LAYER = -2

/** A projector's widths, and that they are those the config states. */
const checkedSizes = (checkpoint: Checkpoint, fields: OriginalFields | undefined) => {
  const sizes = sizesOf(checkpoint)
  if (sizes === undefined) {
    const linear = [...checkpoint.entries.keys()].find((name) => /mm_projector\.(weight|bias)$/.test(name))
    return Effect.fail(
      new OtherModel({
        path: checkpoint.path,
        ...(linear === undefined ? {} : { tensor: linear }),
        message:
          linear === undefined ? "it holds no mm_projector.0.weight" : `${linear} is of a projector of one layer`,
        hint: "Give a projector of two linear layers (mlp2x_gelu), as LLaVA 1.5's mm_projector.bin holds it."
      })
    )
  }
  const { inputSize: inputs, outputSize: outputs } = fields ?? {}
  if ((inputs ?? sizes.inputSize) !== sizes.inputSize || (outputs ?? sizes.outputSize) !== sizes.outputSize)
    return Effect.fail(
      new OtherModel({
        path: checkpoint.path,
        tensor: "mm_projector.0.weight",
        message: `it is ${sizes.inputSize} to ${sizes.outputSize} wide, config.json says ${inputs ?? "-"} to ${outputs ?? "-"}`,
        hint: "Take config.json and mm_projector.bin from one training."
      })
    )
  return Effect.succeed(sizes)
}

export const importOriginal = whole(
  {
    id: "importOriginal",
    version: "1",
    about: "The language model and the projector of a LLaVA with Phi in LLaVA's own layout.",
    params,
    inputs: { files: A.OriginalLlava },
    outputs: { model: A.LanguageModel, projector: A.Projector }
  },
  ({ inputs, params }) =>
    Effect.gen(function* () {
      const { path: folder } = inputs.files
      const { json, kind, path } = yield* kindOf(folder)
      const names = [kind.model_type ?? "", ...(kind.architectures ?? [])]
      if (!ORIGINAL_TYPES.some((type) => type === kind.model_type))
        return yield* new OtherModel({
          path,
          message: `it is a ${names.filter((name) => name !== "").join(", ") || "model that does not say its kind"}`,
          hint:
            kind.model_type === "llava"
              ? "That is transformers' layout: importLlava reads it."
              : "Only Phi language models are computed here (model_type llava_phi)."
        })
      const fields = yield* decodeOriginal(json).pipe(inFile(path))
      const config = yield* decodePhiConfig(json, {
        headBias: params.headBias === "keep",
        modelTypes: ORIGINAL_TYPES,
        others: originalFields
      }).pipe(inFile(path))
      const weights = yield* openCheckpoint(folder)
      const apart = join(folder, PROJECTOR_FILE)
      const isApart = existsSync(apart)
      const file: Checkpoint = isApart ? yield* openTorchFile(apart) : weights
      const sizes = yield* checkedSizes(file, fields)
      const projector = yield* originalProjector(file, sizes, isApart)
      const language = yield* originalLanguage(weights, config)
      const featureLayer = fields.featureLayer ?? DEFAULT_LAYER
      return {
        model: (into: string) => writePhi(into, config, fromSources(language, params.dtype)),
        projector: (into: string) =>
          writeProjector(into, { ...sizes, featureLayer }, fromSources(projector, params.dtype))
      }
    })
)

/** Where a projector's file is: the path itself, or inside of a folder; undefined for a folder of our own layout. */
const projectorFile = ({ path }: Tree): string | undefined =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
    ? existsSync(join(path, PROJECTOR_FILE))
      ? join(path, PROJECTOR_FILE)
      : undefined
    : path

export const importProjector = whole(
  {
    id: "importProjector",
    version: "1",
    about:
      "A projector alone: LLaVA's mm_projector.bin, with its config.json or without, or a projector's folder of ours.",
    params: Schema.Struct({
      dtype: ModelDtype,
      /** The hidden state it was trained on, where no config.json says it; -2, LLaVA's, when left out. */
      featureLayer: Schema.optionalKey(Schema.Int)
    }),
    inputs: { files: A.ProjectorFile },
    outputs: { projector: A.Projector }
  },
  ({ inputs, params }) =>
    Effect.gen(function* () {
      const file = projectorFile(inputs.files)
      /** The layer of the file, or of the parameter where no file states one. */
      const agreed = (found: number, path: string, stated: boolean) =>
        !stated || params.featureLayer === undefined || params.featureLayer === found
          ? Effect.succeed(stated ? found : (params.featureLayer ?? found))
          : new OtherModel({
              path,
              message: `its projector was trained on hidden state ${found}, the parameter says ${params.featureLayer}`,
              hint: "Leave `featureLayer` out: the file knows it."
            })
      if (file === undefined) {
        if (!existsSync(join(inputs.files.path, "config.json")))
          return yield* new OtherModel({
            path: inputs.files.path,
            message: `it holds neither ${PROJECTOR_FILE} nor a projector's config.json`,
            hint: "Give the folder that exportProjector wrote, or LLaVA's pretraining, or the file itself."
          })
        const { config, sources } = yield* openProjector(inputs.files)
        yield* agreed(config.featureLayer, join(inputs.files.path, "config.json"), true)
        return { projector: (into: string) => writeProjector(into, config, fromSources(sources, params.dtype)) }
      }
      const json = join(inputs.files.path, "config.json")
      const fields = existsSync(json) ? yield* decodeOriginal(yield* readJsonFile(json)).pipe(inFile(json)) : undefined
      const checkpoint = yield* openTorchFile(file)
      const sizes = yield* checkedSizes(checkpoint, fields)
      const sources = yield* originalProjector(checkpoint, sizes, true)
      const config = {
        ...sizes,
        featureLayer: yield* agreed(fields?.featureLayer ?? DEFAULT_LAYER, json, fields?.featureLayer !== undefined)
      }
      return { projector: (into: string) => writeProjector(into, config, fromSources(sources, params.dtype)) }
    })
)
