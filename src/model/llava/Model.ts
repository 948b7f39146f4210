/**
 * LLaVA: image features, projected, take the places of the image tokens in the language model's input.
 *
 * Not an image reader and not a template: tokens come expanded (one image token a patch), pixels normalised.
 *
 * Shapes: B rows, T tokens, M images in the batch, N patches an image, D the language model's width.
 */
import { expectShape } from "../../tensor/Errors.ts"
import type { Tensor, Weights } from "../../tensor/Ops.ts"
import { tf } from "../../tensor/Ops.ts"
import type { Compute } from "../../tensor/Tensors.ts"
import { patchCount } from "../clip/Config.ts"
import { clipFeatures } from "../clip/Model.ts"
import { clipPixels } from "../clip/Pixels.ts"
import { phiEmbed } from "../phi/Model.ts"
import { project } from "../projector/Model.ts"
import type { Recompute } from "../Recompute.ts"
import type { TokenBatch } from "../TokenBatch.ts"
import { under } from "../Weights.ts"
import { type LlavaConfig, projectorOf } from "./Config.ts"

/** Tokens with their images: those of row 0 first, in the order of their image tokens. */
export interface LlavaBatch extends TokenBatch {
  /**
   * M images, flat: normalised float32 `[M, C, S, S]`, or the bytes `[M, S, S, C]` as they are stored. Empty for text
   * alone, and where features are given.
   */
  readonly pixels: Float32Array | Uint8Array
  readonly images: number
  /** What the frozen tower gives for the images, where it was computed before: flat `[M, N, width of the tower]`. */
  readonly features_MND?: Float32Array
}

/**
 * For each token the row it takes from [embeddings; features]: its own, or `rows * time` + the number of the feature.
 *
 * Throws `ShapeMismatch` unless the image tokens are exactly the images' patches.
 *
 * @example tf.tensor2d(spliceIndex(config, batch, batch.images), [batch.rows, batch.time], "int32")
 */
export const spliceIndex = (config: LlavaConfig, batch: TokenBatch, images: number): Int32Array => {
  const n = batch.rows * batch.time
  const index = new Int32Array(n)
  let feature = 0
  for (let i = 0; i < n; i++) index[i] = batch.ids_BT[i] === config.imageToken ? n + feature++ : i
  expectShape(
    feature === images * patchCount(config.vision),
    "spliceIndex",
    () => `${feature} image tokens, ${images} images of ${patchCount(config.vision)} patches`,
    "Expand <image> to one token a patch, and truncate rows so that no image is cut."
  )
  return index
}

/** The batch's pixels on the engine, normalised; undefined for text alone, and where features are given. */
export const pixelsOf = (
  c: Compute,
  { vision }: LlavaConfig,
  { features_MND, images, pixels }: LlavaBatch
): Tensor | undefined =>
  images === 0 || features_MND !== undefined
    ? undefined
    : pixels instanceof Uint8Array
      ? clipPixels(c, pixels, vision.imageSize)
      : tf.tensor4d(pixels, [images, vision.channels, vision.imageSize, vision.imageSize])

/** The batch's features on the engine, where they are given and there is an image. */
export const givenFeatures = ({ vision }: LlavaConfig, { features_MND, images }: LlavaBatch): Tensor | undefined =>
  images === 0 || features_MND === undefined
    ? undefined
    : tf.tensor3d(features_MND, [images, patchCount(vision), vision.hiddenSize])

/** Image features as the language model takes them: `features_MND` of the tower -> `[M, N, width]`. */
export const imageFeatures = (c: Compute, w: Weights, config: LlavaConfig, features_MND: Tensor): Tensor =>
  project(c, under(w, "projector."), projectorOf(config), features_MND)

/** Features of the vision tower, before the projector. */
export const towerFeatures = (
  c: Compute,
  w: Weights,
  config: LlavaConfig,
  pixels_MCSS: Tensor,
  recompute: Recompute = false
): Tensor =>
  clipFeatures(c, under(w, "vision."), config.vision, pixels_MCSS, { featureLayer: config.featureLayer, recompute })

/**
 * Embeddings with image features in place: `x_BTD`. `features_MND` is the tower's output, undefined for text alone.
 *
 * @example const x_BTD = llavaEmbed(c, weights, config, ids_BT, splice_BT, features_MND)
 */
export const llavaEmbed = (
  c: Compute,
  w: Weights,
  config: LlavaConfig,
  ids_BT: Tensor,
  splice_BT: Tensor,
  features_MND: Tensor | undefined
): Tensor => {
  const x_BTD = phiEmbed(c, under(w, "language."), ids_BT)
  if (features_MND === undefined) return x_BTD
  const width = config.text.hiddenSize
  const image = tf.reshape(imageFeatures(c, w, config, features_MND), [-1, width])
  return c.rows(tf.concat([tf.reshape(x_BTD, [-1, width]), image], 0), splice_BT)
}
