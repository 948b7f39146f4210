/** Writes models as Hugging Face folders: what `Folder` opens again. Recipes write theirs by `nodes/ModelFiles.ts`. */
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect } from "effect"
import { configText } from "../../src/model/ConfigText.ts"
import { type ClipConfig, clipConfigJson } from "../../src/model/clip/Config.ts"
import { fromFloat32 } from "../../src/model/Dtype.ts"
import { type LlavaConfig, llavaConfigJson } from "../../src/model/llava/Config.ts"
import { llavaFileName } from "../../src/model/llava/Names.ts"
import { type PhiConfig, phiConfigJson } from "../../src/model/phi/Config.ts"
import { type SafetensorsError, writeCheckpoint } from "../../src/model/Safetensors.ts"
import type { TensorError } from "../../src/tensor/Errors.ts"
import type { Tensor, Weights } from "../../src/tensor/Ops.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"

export interface SaveOptions {
  /** Stored format; default F32. */
  readonly dtype?: "F32" | "F16" | "BF16"
  /** Largest file; default 5 GB. */
  readonly maxShardBytes?: number
}

const torchDtype = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const

/** Writes config.json and the weights, one in memory at a time. Returns the file names. */
const saveFolder = (
  folder: string,
  config: Readonly<Record<string, unknown>>,
  weights: Weights,
  nameOf: (name: string) => string,
  options: SaveOptions
): Effect.Effect<ReadonlyArray<string>, SafetensorsError | TensorError, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    yield* Effect.promise(async () => {
      await mkdir(folder, { recursive: true })
      await writeFile(join(folder, "config.json"), configText(config))
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
