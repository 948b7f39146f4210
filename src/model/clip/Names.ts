/**
 * Names and shapes of CLIP's vision tower, and the ways files spell them.
 *
 * Ours have no prefix (`encoder.layers.0...`). Files put `vision_model.`, `vision_tower.`, `vision_tower.vision_model.`
 * or `model.vision_tower...` before them, and may hold a text tower, which is ignored.
 */
import type { Effect } from "effect"
import type { Checkpoint, CheckpointError } from "../Checkpoint.ts"
import { type CheckpointMismatch, type Part, sourcesFrom } from "../Match.ts"
import type { Shapes, WeightSource } from "../Weights.ts"
import { type ClipConfig, patchCount } from "./Config.ts"

/** Every weight of the tower and its shape; the last layer and `post_layernorm` too, though features need neither. */
export const clipShapes = (config: ClipConfig): Shapes => {
  const [d, f] = [config.hiddenSize, config.intermediateSize]
  const shapes: Record<string, ReadonlyArray<number>> = {
    "embeddings.class_embedding": [d],
    "embeddings.patch_embedding.weight": [d, config.channels, config.patchSize, config.patchSize],
    "embeddings.position_embedding.weight": [patchCount(config) + 1, d],
    "pre_layrnorm.weight": [d],
    "pre_layrnorm.bias": [d]
  }
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `encoder.layers.${layer}`
    for (const norm of ["layer_norm1", "layer_norm2"]) {
      shapes[`${at}.${norm}.weight`] = [d]
      shapes[`${at}.${norm}.bias`] = [d]
    }
    for (const part of ["q_proj", "k_proj", "v_proj", "out_proj"]) {
      shapes[`${at}.self_attn.${part}.weight`] = [d, d]
      shapes[`${at}.self_attn.${part}.bias`] = [d]
    }
    shapes[`${at}.mlp.fc1.weight`] = [f, d]
    shapes[`${at}.mlp.fc1.bias`] = [f]
    shapes[`${at}.mlp.fc2.weight`] = [d, f]
    shapes[`${at}.mlp.fc2.bias`] = [d]
  }
  shapes["post_layernorm.weight"] = [d]
  shapes["post_layernorm.bias"] = [d]
  return shapes
}

/** Our name for a tensor of a file, or undefined when it is not the vision tower's. */
export const clipName = (file: string): string | undefined => {
  const name = file.replace(/^(model\.)?(vision_tower\.)?(vision_model\.)?/, "")
  if (/^(model\.)?(text_model|language_model|multi_modal_projector)\./.test(file)) return undefined
  return /^(embeddings\.(class_embedding$|patch_embedding|position_embedding)|pre_layrnorm|encoder\.layers|post_layernorm)/.test(
    name
  ) && name !== "embeddings.position_ids"
    ? name
    : undefined
}

/** The vision tower as a part of a checkpoint. */
export const clipPart = (config: ClipConfig, prefix = ""): Part => ({
  prefix,
  shapes: clipShapes(config),
  canonical: clipName
})

/** What CLIP's files hold beside the vision tower. */
export const isClipText = (file: string): boolean =>
  /^text_model\.|^(?:visual|text)_projection\.weight$|^logit_scale$/.test(file)

/** The tower's weights out of a checkpoint of CLIP, of its vision tower, or of a LLaVA. */
export const clipSources = (
  checkpoint: Checkpoint,
  config: ClipConfig
): Effect.Effect<ReadonlyArray<WeightSource<CheckpointError>>, CheckpointMismatch> =>
  sourcesFrom(
    checkpoint,
    [clipPart(config)],
    (file) => isClipText(file) || /^lm_head\.|^(?:model\.)?(?:language_model|multi_modal_projector)\./.test(file)
  )
