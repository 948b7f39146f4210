/**
 * Names and shapes of Phi's weights, and the ways files spell them.
 *
 * Ours are those of `PhiForCausalLM`. Files may be a language model alone (`model.layers.0...`, or without `model.`),
 * part of a LLaVA written by transformers 4.57 or 5.x (`language_model.model.layers.0...`), part of one named as in
 * memory (`model.language_model.layers.0...`), or old, with q, k and v fused as `query_key_value`.
 */
import { Effect } from "effect"
import type { Checkpoint, CheckpointError } from "../Checkpoint.ts"
import { release } from "../Dtype.ts"
import { type CheckpointMismatch, type Found, type Part, sourcesFrom } from "../Match.ts"
import type { Shapes, WeightSource } from "../Weights.ts"
import type { PhiConfig } from "./Config.ts"

/** Every weight of the model and its shape, in the order of computation. */
export const phiShapes = (config: PhiConfig): Shapes => {
  const [d, f, v] = [config.hiddenSize, config.intermediateSize, config.vocabSize]
  const shapes: Record<string, ReadonlyArray<number>> = { "model.embed_tokens.weight": [v, d] }
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `model.layers.${layer}`
    shapes[`${at}.input_layernorm.weight`] = [d]
    shapes[`${at}.input_layernorm.bias`] = [d]
    for (const part of ["q_proj", "k_proj", "v_proj", "dense"]) {
      shapes[`${at}.self_attn.${part}.weight`] = [d, d]
      shapes[`${at}.self_attn.${part}.bias`] = [d]
    }
    shapes[`${at}.mlp.fc1.weight`] = [f, d]
    shapes[`${at}.mlp.fc1.bias`] = [f]
    shapes[`${at}.mlp.fc2.weight`] = [d, f]
    shapes[`${at}.mlp.fc2.bias`] = [d]
  }
  shapes["model.final_layernorm.weight"] = [d]
  shapes["model.final_layernorm.bias"] = [d]
  shapes["lm_head.weight"] = [v, d]
  if (config.headBias) shapes["lm_head.bias"] = [v]
  return shapes
}

/** Our name for a tensor of a file, or undefined when it is not the language model's. */
export const phiName = (file: string): string | undefined => {
  const inner = /^(?:model\.)?language_model\.(.*)$/.exec(file)?.[1]
  const name = inner ?? file
  if (name.startsWith("lm_head.")) return name
  const bare = name.startsWith("model.") ? name.slice(6) : name
  return /^(embed_tokens|layers|final_layernorm)\./.test(bare) ? `model.${bare}` : undefined
}

/** Splits fused `query_key_value`, stored as [head, 3, head size] rows, into q, k and v. */
const splitFused = (found: Record<string, Found>, config: PhiConfig): Record<string, Found> => {
  const out: Record<string, Found> = {}
  const rowsPerHead = config.hiddenSize / config.heads
  for (const [name, source] of Object.entries(found)) {
    const fused = /^(.*\.self_attn\.)query_key_value\.(weight|bias)$/.exec(name)
    if (fused === null || source.shape[0] !== 3 * config.hiddenSize) {
      out[name] = source
      continue
    }
    const columns = source.shape.slice(1).reduce((product, n) => product * n, 1)
    const block = rowsPerHead * columns
    for (const [part, letter] of ["q", "k", "v"].entries())
      out[`${fused[1]}${letter}_proj.${fused[2]}`] = {
        file: source.file,
        shape: [config.hiddenSize, ...source.shape.slice(1)],
        read: Effect.map(source.read, (values) => {
          const own = new Float32Array(values.length / 3)
          for (let head = 0; head < config.heads; head++)
            own.set(values.subarray((head * 3 + part) * block, (head * 3 + part + 1) * block), head * block)
          release(values)
          return own
        })
      }
  }
  return out
}

/** The language model as a part of a checkpoint. */
export const phiPart = (config: PhiConfig, prefix = ""): Part => ({
  prefix,
  shapes: phiShapes(config),
  canonical: phiName,
  split: (found) => splitFused(found, config),
  unused: new Set(["lm_head.bias"])
})

/** Whether the checkpoint's head has a bias. */
export const hasHeadBias = (checkpoint: Checkpoint): boolean =>
  [...checkpoint.entries.keys()].some((name) => phiName(name) === "lm_head.bias")

/**
 * Phi's weights out of a checkpoint, one read at a time. Without `config.headBias` a bias in the file is left there.
 *
 * @example yield* uploadWeights(yield* phiSources(yield* openCheckpoint(folder), config))
 */
export const phiSources = (
  checkpoint: Checkpoint,
  config: PhiConfig
): Effect.Effect<ReadonlyArray<WeightSource<CheckpointError>>, CheckpointMismatch> =>
  sourcesFrom(checkpoint, [phiPart(config)], (file) =>
    /^(?:model\.)?(?:vision_tower|vision_model|multi_modal_projector)\./.test(file)
  )
