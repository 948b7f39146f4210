/**
 * CLIP's vision tower as LLaVA uses it: patch features of an early layer, without the class token.
 *
 * Not the contrastive model: no pooling, no text tower; layers above the wanted one and `post_layernorm` are not
 * computed.
 *
 * Shapes: B images, C channels, S image size and P patch size in pixels, G = S / P, N = G * G patches, D hidden.
 * `pixels_BCSS` are normalised (mean and deviation of CLIP).
 */
import { expectShape } from "../../tensor/Errors.ts"
import type { Tensor, Weights } from "../../tensor/Ops.ts"
import { tf } from "../../tensor/Ops.ts"
import type { Compute } from "../../tensor/Tensors.ts"
import { type Recompute, recomputes } from "../Recompute.ts"
import { under } from "../Weights.ts"
import { type ClipConfig, hiddenState, patchCount } from "./Config.ts"

/** Pixels to patches, flat as the convolution's weights are: `pixels_BCSS` -> `patches_BN(CPP)`. Two transposes. */
export const patchify = (config: ClipConfig, pixels_BCSS: Tensor): Tensor => {
  const { channels, imageSize, patchSize } = config
  const grid = imageSize / patchSize
  const batch = pixels_BCSS.shape[0]!
  expectShape(
    pixels_BCSS.shape.join() === [batch, channels, imageSize, imageSize].join(),
    "patchify",
    () => `pixels [${pixels_BCSS.shape.join(", ")}]`,
    `This tower takes [B, ${channels}, ${imageSize}, ${imageSize}].`
  )
  const bands = tf.reshape(pixels_BCSS, [batch * channels * grid, patchSize, grid, patchSize])
  const tiles = tf.reshape(tf.transpose(bands, [0, 2, 1, 3]), [batch, channels, grid * grid, patchSize * patchSize])
  return tf.reshape(tf.transpose(tiles, [0, 2, 1, 3]), [batch, grid * grid, channels * patchSize * patchSize])
}

const layer = (c: Compute, w: Weights, config: ClipConfig, x_BND: Tensor): Tensor => {
  const linear = (x: Tensor, name: string) => c.linear(x, w[`${name}.weight`]!, w[`${name}.bias`]!)
  const norm = (x: Tensor, name: string) =>
    c.layerNorm(x, w[`${name}.weight`]!, w[`${name}.bias`]!, config.layerNormEps)
  const y = norm(x_BND, "layer_norm1")
  const heads = c.attention(
    linear(y, "self_attn.q_proj"),
    linear(y, "self_attn.k_proj"),
    linear(y, "self_attn.v_proj"),
    {
      heads: config.heads,
      mask: { kind: "none" }
    }
  )
  const attended = tf.add(x_BND, linear(heads, "self_attn.out_proj"))
  const mlp = linear(c.gelu(linear(norm(attended, "layer_norm2"), "mlp.fc1"), config.activation), "mlp.fc2")
  return tf.add(attended, mlp)
}

/**
 * `hidden_states[featureLayer][:, 1:]` of `transformers`: `pixels_BCSS` -> `features_BND`; the default -2 is the output
 * of the last layer but one.
 *
 * @example const features = yield* tensors.run((c) => clipFeatures(c, weights, config, pixels))
 */
export const clipFeatures = (
  c: Compute,
  w: Weights,
  config: ClipConfig,
  pixels_BCSS: Tensor,
  options: { readonly featureLayer?: number; readonly recompute?: Recompute } = {}
): Tensor => {
  const batch = pixels_BCSS.shape[0]!
  const d = config.hiddenSize
  const wanted = options.featureLayer ?? -2
  const run = hiddenState(config, wanted) ?? -1
  expectShape(
    run >= 0,
    "clipFeatures",
    () => `feature layer ${wanted} of ${config.layers} layers`,
    "Hidden states are numbered 0 (embeddings) to the number of layers; negative counts from the end."
  )
  const filters = tf.reshape(w["embeddings.patch_embedding.weight"]!, [d, -1])
  const patches_BND = c.linear(patchify(config, pixels_BCSS), filters)
  const class_B1D = tf.tile(tf.reshape(w["embeddings.class_embedding"]!, [1, 1, d]), [batch, 1, 1])
  const embedded = tf.add(tf.concat([class_B1D, patches_BND], 1), w["embeddings.position_embedding.weight"]!)
  let x = c.layerNorm(embedded, w["pre_layrnorm.weight"]!, w["pre_layrnorm.bias"]!, config.layerNormEps)
  for (let i = 0; i < run; i++) {
    const own = under(w, `encoder.layers.${i}.`)
    // Scoped, so that a frozen tower holds one layer's activations and not all of them.
    const run = (y: Tensor) => tf.tidy(() => layer(c, own, config, y))
    x = recomputes(options.recompute ?? false, i) ? c.recomputed(run, x, own) : run(x)
  }
  return tf.slice(x, [0, 1, 0], [batch, patchCount(config), d])
}
