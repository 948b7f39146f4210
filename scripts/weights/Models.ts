/**
 * The models whose files can be made with random weights: Phi-2 and CLIP ViT-L/14-336 as published, or smaller.
 *
 * Not models that say anything: norms are one, biases zero, the rest normal with deviation 0.02. A tensor repeats its
 * first 65,536 draws, so that billions of weights take seconds.
 */
import { Effect } from "effect"
import { type ClipConfig, clipConfigJson } from "../../src/model/clip/Config.ts"
import { clipShapes } from "../../src/model/clip/Names.ts"
import { fromFloat32 } from "../../src/model/Dtype.ts"
import { type PhiConfig, phiConfigJson } from "../../src/model/phi/Config.ts"
import { phiShapes } from "../../src/model/phi/Names.ts"
import type { TensorSource } from "../../src/model/Safetensors.ts"
import { initialWeights, type Shapes } from "../../src/model/Weights.ts"

export type FileDtype = "F32" | "F16" | "BF16"

const torchNames = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const

/** What a folder holds: its config.json, and the tensors in the file's own names. */
export interface Made {
  readonly config: Readonly<Record<string, unknown>>
  readonly tensors: ReadonlyArray<TensorSource>
}

const DRAWN = 1 << 16

const random = (shapes: Shapes, dtype: FileDtype, seed: number): ReadonlyArray<TensorSource> =>
  Object.entries(shapes).map(([name, shape]) => {
    const count = shape.reduce((product, n) => product * n, 1)
    const [first] = initialWeights({ [name]: [Math.min(count, DRAWN)] }, seed, 0.02)
    return {
      name,
      dtype,
      shape,
      bytes: Effect.map(first!.read, (values) => {
        const drawn = fromFloat32(values, dtype)
        const bytes = new Uint8Array((count * drawn.length) / values.length)
        for (let at = 0; at < bytes.length; at += drawn.length)
          bytes.set(drawn.subarray(0, Math.min(drawn.length, bytes.length - at)), at)
        return bytes
      })
    }
  })

export const phiFiles = (config: PhiConfig, dtype: FileDtype, seed: number): Made => ({
  config: phiConfigJson(config, torchNames[dtype]),
  tensors: random(phiShapes(config), dtype, seed)
})

/** The text tower beside it, whose size nothing here depends on. */
const textShapes = (tower: ClipConfig): Shapes => {
  const [width, projected] = [768, tower.projectionDim]
  const layers = clipShapes({ ...tower, hiddenSize: width, intermediateSize: 3072, layers: 12 })
  return {
    "text_model.embeddings.token_embedding.weight": [49408, width],
    "text_model.embeddings.position_embedding.weight": [77, width],
    ...Object.fromEntries(
      Object.entries(layers).flatMap(([name, shape]) =>
        name.startsWith("encoder.") ? [[`text_model.${name}`, shape]] : []
      )
    ),
    "text_model.final_layer_norm.weight": [width],
    "text_model.final_layer_norm.bias": [width],
    "visual_projection.weight": [projected, tower.hiddenSize],
    "text_projection.weight": [projected, width],
    logit_scale: []
  }
}

const positions = (name: string, count: number): TensorSource => ({
  name,
  dtype: "I64",
  shape: [1, count],
  bytes: Effect.sync(() => new Uint8Array(BigInt64Array.from({ length: count }, (_, i) => BigInt(i)).buffer))
})

/** A whole CLIP as its hub folder has it: two towers, projections, and the saved positions of older versions. */
export const clipFiles = (tower: ClipConfig, dtype: FileDtype, seed: number): Made => {
  const vision = Object.fromEntries(
    Object.entries(clipShapes(tower)).map(([name, shape]) => [`vision_model.${name}`, shape])
  )
  const patches = (tower.imageSize / tower.patchSize) ** 2
  return {
    config: {
      architectures: ["CLIPModel"],
      dtype: torchNames[dtype],
      model_type: "clip",
      projection_dim: tower.projectionDim,
      vision_config: clipConfigJson(tower, torchNames[dtype])
    },
    tensors: [
      ...random({ ...textShapes(tower), ...vision }, dtype, seed),
      positions("text_model.embeddings.position_ids", 77),
      positions("vision_model.embeddings.position_ids", patches + 1)
    ]
  }
}
