/**
 * Models as artifacts: the folder of an input opened (`model/Folder.ts` reads it), and weights written into a folder.
 *
 * Not a node. Folders hold `config.json` and weights, as safetensors or `pytorch_model.bin`, in shards or not; weights
 * go through memory one tensor at a time.
 */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Schema, type Scope } from "effect"
import type { Tree } from "../dag/Artifact.ts"
import { configText } from "../model/ConfigText.ts"
import { type ClipConfig, clipConfigJson } from "../model/clip/Config.ts"
import { fromFloat32 } from "../model/Dtype.ts"
import * as Folder from "../model/Folder.ts"
import { ModelFileError } from "../model/Folder.ts"
import { type PhiConfig, phiConfigJson } from "../model/phi/Config.ts"
import type { ProjectorConfig } from "../model/projector/Config.ts"
import { type TensorSource, writeCheckpoint } from "../model/Safetensors.ts"
import { uploadWeights, type WeightSource } from "../model/Weights.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Weights } from "../tensor/Ops.ts"
import { Tensors } from "../tensor/Tensors.ts"

export { type LoadError, type ModelFile, ModelFileError, readJsonFile } from "../model/Folder.ts"

/** What Phi's head has: its bias, or none (`design: headBias`). Chosen per preset, the same for every node. */
export const HeadBias = Schema.Literals(["keep", "drop"])
export type HeadBias = typeof HeadBias.Type

/** Element types a model's folder can be written with. */
export const ModelDtype = Schema.Literals(["float32", "float16", "bfloat16"])
export type ModelDtype = typeof ModelDtype.Type
export const stored = { float32: "F32", float16: "F16", bfloat16: "BF16" } as const

/** Writes text, or a JSON document as Python reads it (see `ConfigText`: sorted keys, floats that stay floats). */
export const writeTextFile = (
  path: string,
  content: string | Readonly<Record<string, unknown>>
): Effect.Effect<void, ModelFileError> =>
  Effect.tryPromise({
    try: () => writeFile(path, typeof content === "string" ? content : configText(content)),
    catch: (cause) =>
      new ModelFileError({
        path,
        message: cause instanceof Error ? cause.message : String(cause),
        hint: "Check the folder, its permissions and the free space.",
        cause
      })
  })

/** Opens a Phi folder. With `drop` the head's bias is not read. */
export const openPhi = (tree: Tree, headBias: HeadBias) => Folder.openPhi(tree.path, headBias)

/** What a vision tower's folder says of its shapes. */
export const readClipConfig = (tree: Tree) => Folder.readClipConfig(tree.path)

/** Opens a CLIP vision tower's folder, with or without a text tower in it. */
export const openClip = (tree: Tree) => Folder.openClip(tree.path)

/** Opens a projector's folder. */
export const openProjector = (tree: Tree) => Folder.openProjector(tree.path)

/** Opens the folder of a LLaVA with Phi, as `exportCheckpoint` writes it. */
export const openLlava = (tree: Tree, headBias: HeadBias) => Folder.openLlava(tree.path, headBias)

/** Uploads weights that nothing trains; they are freed with the scope. */
export const loadWeights = <E>(
  sources: ReadonlyArray<WeightSource<E>>
): Effect.Effect<Weights, E | TensorError, Tensors | Scope.Scope> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    return yield* Effect.acquireRelease(uploadWeights(sources, { frozen: true }), (weights) => tensors.free(weights))
  })

const tensorOf = <E, R>(
  name: string,
  shape: ReadonlyArray<number>,
  read: Effect.Effect<Float32Array, E, R>,
  dtype: ModelDtype
): TensorSource<E, R> => ({
  name,
  shape,
  dtype: stored[dtype],
  bytes: Effect.map(read, (values) => fromFloat32(values, stored[dtype]))
})

/** Weights on the engine as tensors to write, read back one at a time; `name` spells them for the file. */
export const fromEngine = (
  weights: Weights,
  dtype: ModelDtype,
  name: (ours: string) => string = (ours) => ours
): ReadonlyArray<TensorSource<TensorError, Tensors>> =>
  Object.entries(weights).map(([ours, tensor]) =>
    tensorOf(
      name(ours),
      tensor.shape,
      Effect.flatMap(Tensors, (tensors) => tensors.read(tensor) as Effect.Effect<Float32Array, TensorError>),
      dtype
    )
  )

/** Weights out of files (or seeds) as tensors to write. */
export const fromSources = <E, R = never>(
  sources: ReadonlyArray<Omit<WeightSource, "read"> & { readonly read: Effect.Effect<Float32Array, E, R> }>,
  dtype: ModelDtype,
  name: (ours: string) => string = (ours) => ours
): ReadonlyArray<TensorSource<E, R>> =>
  sources.map((source) => tensorOf(name(source.name), source.shape, source.read, dtype))

const writeModel = <E, R>(
  folder: string,
  config: Readonly<Record<string, unknown>>,
  tensors: ReadonlyArray<TensorSource<E, R>>
) => Effect.andThen(writeTextFile(join(folder, "config.json"), config), writeCheckpoint(folder, tensors))

/** Writes a Phi folder that transformers opens. */
export const writePhi = <E, R>(folder: string, config: PhiConfig, tensors: ReadonlyArray<TensorSource<E, R>>) =>
  Effect.asVoid(writeModel(folder, phiConfigJson(config), tensors))

/** Writes a CLIP vision tower's folder that transformers opens; every version knows the prefix `vision_model.`. */
export const writeClip = <E, R>(folder: string, config: ClipConfig, tensors: ReadonlyArray<TensorSource<E, R>>) =>
  Effect.asVoid(
    writeModel(
      folder,
      clipConfigJson(config),
      tensors.map((tensor) => ({ ...tensor, name: `vision_model.${tensor.name}` }))
    )
  )

/** Writes a projector's folder. */
export const writeProjector = <E, R>(
  folder: string,
  config: ProjectorConfig,
  tensors: ReadonlyArray<TensorSource<E, R>>
) => Effect.asVoid(writeModel(folder, { ...config }, tensors))
