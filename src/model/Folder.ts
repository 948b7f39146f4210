/**
 * Model folders in the Hugging Face layout: config.json with its weights, opened and written.
 *
 * Not a cache and not a download. Opening reads headers only; weights are read one at a time when they are uploaded.
 */
import { mkdir, open, rename } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Schema, type Scope } from "effect"
import { readJsonDocument, WrongFileFault } from "../dag/WrongFile.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Tensor, Weights } from "../tensor/Ops.ts"
import { Tensors } from "../tensor/Tensors.ts"
import { type CheckpointError, openCheckpoint } from "./Checkpoint.ts"
import { type ConfigError, inFile } from "./ConfigError.ts"
import { configText } from "./ConfigText.ts"
import { type ClipConfig, clipConfigJson, decodeClipConfig } from "./clip/Config.ts"
import { clipSources } from "./clip/Names.ts"
import { fromFloat32 } from "./Dtype.ts"
import { decodeLlavaConfig, type LlavaConfig, llavaConfigJson } from "./llava/Config.ts"
import { llavaFileName, llavaSources } from "./llava/Names.ts"
import type { CheckpointMismatch } from "./Match.ts"
import { decodePhiConfig, type PhiConfig, phiConfigJson } from "./phi/Config.ts"
import { hasHeadBias, phiSources } from "./phi/Names.ts"
import { type SafetensorsError, writeCheckpoint } from "./Safetensors.ts"
import type { WeightSource } from "./Weights.ts"

/** A folder whose config.json cannot be read or written. */
export class ModelFolderError extends Schema.TaggedError<ModelFolderError>()("ModelFolderError", {
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

export type FolderError = ModelFolderError | ConfigError | CheckpointMismatch | CheckpointError

/** A model's shape and where its weights can be read while the scope is open. */
export interface OpenModel<Config> {
  readonly config: Config
  readonly sources: ReadonlyArray<WeightSource<CheckpointError>>
}

/** The file of a model's shape in its folder. */
const CONFIG = "config.json"

const readConfig = (folder: string): Effect.Effect<unknown, ModelFolderError> => {
  const path = join(folder, "config.json")
  return Effect.tryPromise({
    try: () => readJsonDocument(path),
    catch: (cause) =>
      new ModelFolderError({
        path,
        message: cause instanceof WrongFileFault ? `config.json ${cause.message}` : "config.json cannot be read",
        hint: cause instanceof WrongFileFault ? cause.hint : "Give the folder that holds config.json and the weights.",
        cause
      })
  })
}

/** `drop` leaves a head bias in the file unread, so that the model has none (the stock LLaVA class has none either). */
export interface HeadBias {
  readonly headBias?: "keep" | "drop"
}

/**
 * Opens a `PhiForCausalLM` folder (or the language model of a LLaVA's weights beside a Phi config).
 *
 * @example const { config, sources } = yield* openPhi("phi-2", { headBias: "drop" }); const w = yield* uploadWeights(sources)
 */
export const openPhi = (
  folder: string,
  options: HeadBias = {}
): Effect.Effect<OpenModel<PhiConfig>, FolderError, Scope.Scope> =>
  Effect.gen(function* () {
    const checkpoint = yield* openCheckpoint(folder)
    const headBias = options.headBias !== "drop" && hasHeadBias(checkpoint)
    const config = yield* decodePhiConfig(yield* readConfig(folder), { headBias }).pipe(inFile(join(folder, CONFIG)))
    return { config, sources: yield* phiSources(checkpoint, config) }
  })

/**
 * Opens the vision tower in a folder of CLIP, of its vision model, or of a LLaVA.
 *
 * @example const { config, sources } = yield* openClip("clip-vit-large-patch14-336")
 */
export const openClip = (folder: string): Effect.Effect<OpenModel<ClipConfig>, FolderError, Scope.Scope> =>
  Effect.gen(function* () {
    const config = yield* decodeClipConfig(yield* readConfig(folder)).pipe(inFile(join(folder, CONFIG)))
    return { config, sources: yield* clipSources(yield* openCheckpoint(folder), config) }
  })

/**
 * Opens a `LlavaForConditionalGeneration` folder with a Phi language model.
 *
 * @example const { config, sources } = yield* openLlava("llava-phi")
 */
export const openLlava = (
  folder: string,
  options: HeadBias = {}
): Effect.Effect<OpenModel<LlavaConfig>, FolderError, Scope.Scope> =>
  Effect.gen(function* () {
    const checkpoint = yield* openCheckpoint(folder)
    const headBias = options.headBias !== "drop" && hasHeadBias(checkpoint)
    const config = yield* decodeLlavaConfig(yield* readConfig(folder), { headBias }).pipe(inFile(join(folder, CONFIG)))
    return { config, sources: yield* llavaSources(checkpoint, config) }
  })

export interface SaveOptions {
  /** Stored format; default F32. */
  readonly dtype?: "F32" | "F16" | "BF16"
  /** Largest file; default 5 GB. */
  readonly maxShardBytes?: number
}

const torchDtype = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const

/** Writes config.json (temporary file, fsync, rename) and the weights, one in memory at a time. Returns the file names. */
const saveFolder = (
  folder: string,
  config: Readonly<Record<string, unknown>>,
  weights: Weights,
  nameOf: (name: string) => string,
  options: SaveOptions
): Effect.Effect<ReadonlyArray<string>, ModelFolderError | SafetensorsError | TensorError, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const path = join(folder, "config.json")
    yield* Effect.tryPromise({
      try: async () => {
        await mkdir(folder, { recursive: true })
        const handle = await open(`${path}.partial`, "w")
        await handle.writeFile(configText(config))
        await handle.sync()
        await handle.close()
        await rename(`${path}.partial`, path)
      },
      catch: (cause) =>
        new ModelFolderError({
          path,
          message: "cannot be written",
          hint: "Check the folder and the free space.",
          cause
        })
    })
    const dtype = options.dtype ?? "F32"
    const bytes = (tensor: Tensor) =>
      Effect.map(tensors.read(tensor), (values) => fromFloat32(values as Float32Array, dtype))
    const files = yield* writeCheckpoint(
      folder,
      Object.entries(weights).map(([name, tensor]) => ({
        name: nameOf(name),
        dtype,
        shape: tensor.shape,
        bytes: bytes(tensor)
      })),
      options.maxShardBytes === undefined ? {} : { maxShardBytes: options.maxShardBytes }
    )
    return ["config.json", ...files]
  })

/** Writes a Phi as a `PhiForCausalLM` folder. */
export const savePhi = (folder: string, config: PhiConfig, weights: Weights, options: SaveOptions = {}) =>
  saveFolder(folder, phiConfigJson(config, torchDtype[options.dtype ?? "F32"]), weights, (name) => name, options)

/** Writes a vision tower as a `CLIPVisionModel` folder, with the `vision_model.` prefix that every version reads. */
export const saveClip = (folder: string, config: ClipConfig, weights: Weights, options: SaveOptions = {}) =>
  saveFolder(
    folder,
    clipConfigJson(config, torchDtype[options.dtype ?? "F32"]),
    weights,
    (name) => `vision_model.${name}`,
    options
  )

/**
 * Writes a LLaVA as a `LlavaForConditionalGeneration` folder; tokenizer and processor files are the export node's.
 *
 * @example yield* saveLlava("out", config, { ...frozen, ...state.weights }, { dtype: "BF16" })
 */
export const saveLlava = (folder: string, config: LlavaConfig, weights: Weights, options: SaveOptions = {}) =>
  saveFolder(folder, llavaConfigJson(config, torchDtype[options.dtype ?? "F32"]), weights, llavaFileName, options)
