/**
 * What the training step needs of a model: upload a batch, then a loss that is a pure function of weights.
 *
 * Not a loop and not an optimiser. Which weights are trained is not known here: frozen ones are simply not
 * differentiated for, by the engine.
 */
import type { Tensor, Weights } from "../tensor/Ops.ts"
import { tf } from "../tensor/Ops.ts"
import type { Compute } from "../tensor/Tensors.ts"
import type { LlavaConfig } from "./llava/Config.ts"
import { givenFeatures, type LlavaBatch, llavaEmbed, pixelsOf, spliceIndex, towerFeatures } from "./llava/Model.ts"
import type { PhiConfig } from "./phi/Config.ts"
import {
  type AppliedLora,
  type Dropout,
  type PreparedTokens,
  phiEmbed,
  phiHidden,
  phiLoss,
  prepareTokens
} from "./phi/Model.ts"
import type { Recompute } from "./Recompute.ts"
import type { TokenBatch } from "./TokenBatch.ts"
import { under } from "./Weights.ts"

export interface LossOptions {
  /** Supervised tokens of the global batch. */
  readonly normaliser: number
  /** Absent: no dropout. */
  readonly dropout?: Dropout
}

export interface Trainable<in Batch extends TokenBatch, Prepared extends tf.TensorContainer> {
  readonly id: string
  /** Uploads a batch and computes what no gradient is wanted of (a frozen tower). Not recorded. */
  readonly prepare: (c: Compute, weights: Weights, batch: Batch) => Prepared
  /** The share of the loss that this batch has in the global batch; a scalar. */
  readonly loss: (c: Compute, weights: Weights, prepared: Prepared, options: LossOptions) => Tensor
}

/**
 * A Phi language model. `recompute` trades time for memory, never bits.
 *
 * @example phiTrainable(config, { recompute: true })
 */
export const phiTrainable = (
  config: PhiConfig,
  options: { readonly recompute?: Recompute; readonly lora?: AppliedLora } = {}
): Trainable<TokenBatch, PreparedTokens & tf.TensorContainerObject> => ({
  id: "phi",
  prepare: (c, _, batch) => ({ ...prepareTokens(config, batch, c.logitsAtOnce) }),
  loss: (c, w, prepared, { normaliser, dropout }) => {
    const x_BTD = phiEmbed(c, w, prepared.ids_BT)
    const hidden = phiHidden(c, w, config, x_BTD, prepared.layout, {
      recompute: options.recompute ?? false,
      ...(options.lora === undefined ? {} : { lora: options.lora }),
      ...(dropout === undefined ? {} : { dropout })
    })
    return phiLoss(c, w, hidden, prepared.targets, normaliser)
  }
})

/** A LLaVA batch on the engine: `features_MND` of a frozen tower, or `pixels_MCSS` when the tower is trained. */
export interface PreparedLlava extends PreparedTokens {
  readonly splice_BT: Tensor
  readonly features_MND: Tensor | undefined
  readonly pixels_MCSS: Tensor | undefined
}

/**
 * A LLaVA. With `trainsVision` the tower is inside the gradient pass; else its features are computed before it, here or
 * by whoever made the batch.
 *
 * @example llavaTrainable(config, { recompute: true })
 */
export const llavaTrainable = (
  config: LlavaConfig,
  options: { readonly recompute?: Recompute; readonly trainsVision?: boolean; readonly lora?: AppliedLora } = {}
): Trainable<LlavaBatch, PreparedLlava & tf.TensorContainerObject> => {
  const recompute = options.recompute ?? false
  return {
    id: "llava",
    prepare: (c, w, batch) => {
      const splice = spliceIndex(config, batch, batch.images)
      const pixels = pixelsOf(c, config, batch)
      const frozen = pixels !== undefined && options.trainsVision !== true
      return {
        ...prepareTokens(config.text, batch, c.logitsAtOnce),
        splice_BT: tf.tensor2d(splice, [batch.rows, batch.time], "int32"),
        features_MND: frozen ? towerFeatures(c, w, config, pixels) : givenFeatures(config, batch),
        pixels_MCSS: frozen ? undefined : pixels
      }
    },
    loss: (c, w, prepared, { normaliser, dropout }) => {
      const features =
        prepared.features_MND ??
        (prepared.pixels_MCSS === undefined ? undefined : towerFeatures(c, w, config, prepared.pixels_MCSS, recompute))
      const x_BTD = llavaEmbed(c, w, config, prepared.ids_BT, prepared.splice_BT, features)
      const language = under(w, "language.")
      const hidden = phiHidden(c, language, config.text, x_BTD, prepared.layout, {
        recompute,
        ...(options.lora === undefined ? {} : { lora: options.lora }),
        ...(dropout === undefined ? {} : { dropout })
      })
      return phiLoss(c, language, hidden, prepared.targets, normaliser)
    }
  }
}
