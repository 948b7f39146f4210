/**
 * Model folders in the Hugging Face layout: config.json with its weights, opened.
 *
 * Not a cache and not a download. Opening reads headers only; weights are read one at a time when they are uploaded.
 */
import { join } from "node:path"
import { Effect, Schema, type Scope } from "effect"
import { readJsonDocument, WrongFileFault } from "../dag/WrongFile.ts"
import { type Checkpoint, type CheckpointError, openCheckpoint } from "./Checkpoint.ts"
import { type ConfigError, inFile } from "./ConfigError.ts"
import { type ClipConfig, decodeClipConfig } from "./clip/Config.ts"
import { clipSources } from "./clip/Names.ts"
import { decodeLlavaConfig, type LlavaConfig } from "./llava/Config.ts"
import { llavaSources } from "./llava/Names.ts"
import type { CheckpointMismatch } from "./Match.ts"
import { decodePhiConfig, type PhiConfig } from "./phi/Config.ts"
import { hasHeadBias, phiSources } from "./phi/Names.ts"
import { ProjectorConfig } from "./projector/Config.ts"
import { projectorSources } from "./projector/Names.ts"
import type { WeightSource } from "./Weights.ts"

/** A model's folder lacks a file or holds one that cannot be read or written. */
export class ModelFileError extends Schema.TaggedError<ModelFileError>()("ModelFileError", {
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** Why a model's folder cannot be opened. */
export type LoadError = ModelFileError | ConfigError | CheckpointError | CheckpointMismatch

/** A model's config, and where each weight can be read while the scope is open. */
export interface ModelFile<Config> {
  readonly config: Config
  readonly sources: ReadonlyArray<WeightSource<CheckpointError>>
}

/**
 * What becomes of the bias of Phi's head. `keep`: the file must have one. `drop`: it is not read, and the model has
 * none, as the stock LLaVA class has none. `asStored`: the model has one where the file does.
 */
export type HeadBiasRule = "keep" | "drop" | "asStored"

/** The file of a model's shape in its folder. */
const configOf = (folder: string): string => join(folder, "config.json")

export const readJsonFile = (path: string): Effect.Effect<unknown, ModelFileError> =>
  Effect.tryPromise({
    try: () => readJsonDocument(path),
    catch: (cause) =>
      new ModelFileError({
        path,
        message: cause instanceof Error ? cause.message : String(cause),
        hint:
          cause instanceof WrongFileFault
            ? cause.hint
            : "A model's folder holds config.json and model.safetensors, as transformers' save_pretrained writes them.",
        cause
      })
  })

const hasBias = (rule: HeadBiasRule, checkpoint: Checkpoint): boolean =>
  rule === "asStored" ? hasHeadBias(checkpoint) : rule === "keep"

/**
 * Opens a `PhiForCausalLM` folder (or the language model of a LLaVA's weights beside a Phi config).
 *
 * @example const { config, sources } = yield* openPhi("phi-2", "drop"); const w = yield* uploadWeights(sources)
 */
export const openPhi = Effect.fnUntraced(function* (
  folder: string,
  headBias: HeadBiasRule = "asStored"
): Effect.fn.Return<ModelFile<PhiConfig>, LoadError, Scope.Scope> {
  const path = configOf(folder)
  const json = yield* readJsonFile(path)
  const checkpoint = yield* openCheckpoint(folder)
  const config = yield* decodePhiConfig(json, { headBias: hasBias(headBias, checkpoint) }).pipe(inFile(path))
  return { config, sources: yield* phiSources(checkpoint, config) }
})

/** What a vision tower's folder says of its shapes. */
export const readClipConfig = (folder: string): Effect.Effect<ClipConfig, ModelFileError | ConfigError> =>
  Effect.flatMap(readJsonFile(configOf(folder)), decodeClipConfig).pipe(inFile(configOf(folder)))

/**
 * Opens the vision tower in a folder of CLIP, of its vision model, or of a LLaVA.
 *
 * @example const { config, sources } = yield* openClip("clip-vit-large-patch14-336")
 */
export const openClip = Effect.fnUntraced(function* (
  folder: string
): Effect.fn.Return<ModelFile<ClipConfig>, LoadError, Scope.Scope> {
  const config = yield* readClipConfig(folder)
  return { config, sources: yield* clipSources(yield* openCheckpoint(folder), config) }
})

/** Opens a projector's folder. */
export const openProjector = Effect.fnUntraced(function* (
  folder: string
): Effect.fn.Return<ModelFile<ProjectorConfig>, LoadError, Scope.Scope> {
  const path = configOf(folder)
  const config = yield* Schema.decodeUnknownEffect(ProjectorConfig)(yield* readJsonFile(path), {
    onExcessProperty: "error"
  }).pipe(
    Effect.mapError(
      (cause) =>
        new ModelFileError({ path, message: cause.message, hint: "A projector's config.json states its sizes.", cause })
    )
  )
  return { config, sources: yield* projectorSources(yield* openCheckpoint(folder), config) }
})

/**
 * Opens a `LlavaForConditionalGeneration` folder with a Phi language model.
 *
 * @example const { config, sources } = yield* openLlava("llava-phi")
 */
export const openLlava = Effect.fnUntraced(function* (
  folder: string,
  headBias: HeadBiasRule = "asStored"
): Effect.fn.Return<ModelFile<LlavaConfig>, LoadError, Scope.Scope> {
  const path = configOf(folder)
  const json = yield* readJsonFile(path)
  const checkpoint = yield* openCheckpoint(folder)
  const config = yield* decodeLlavaConfig(json, { headBias: hasBias(headBias, checkpoint) }).pipe(inFile(path))
  return { config, sources: yield* llavaSources(checkpoint, config) }
})
