/**
 * Floating-point operations of a training step's products: what a plan multiplies out and what MFU counts.
 *
 * Not what a card executes: padding of heads, the optimiser, norms and the scores that fused attention makes again are
 * not counted; blocks that are recomputed are, by functions of their own. A multiply and an add are two. A weight
 * matrix costs 2 a token forward, 2 for the gradient of its input, 2 for its own; attention costs as much as its
 * products, of which a causal mask needs half.
 *
 * For a language model that is trained whole, on full rows: 6 N + 12 L d T / 2 a token, N every weight that a token is
 * multiplied with (all but the embedding table and vectors), L layers, d hidden, T tokens a row.
 */
import { type ClipConfig, hiddenState, patchCount } from "./clip/Config.ts"
import type { LlavaConfig } from "./llava/Config.ts"
import { type Lora, loraShapes } from "./lora/Lora.ts"
import type { PhiConfig } from "./phi/Config.ts"
import { type Recompute, recomputes } from "./Recompute.ts"

/** What goes through a language model: the head sees only tokens with a label. */
export interface Tokens {
  readonly tokens: number
  readonly labels: number
  /** Query and key pairs of causal attention: half of the squared lengths, added up over segments. */
  readonly pairs: number
}

/** Rows that are one segment each. */
export const fullRows = (rows: number, time: number, labels: number): Tokens => ({
  tokens: rows * time,
  labels,
  pairs: (rows * time * time) / 2
})

/** One block's products forward: four square matrices, two of the MLP, and attention. */
const block = ({ hiddenSize: d, intermediateSize: f }: PhiConfig | ClipConfig, tokens: number) =>
  2 * tokens * (4 * d * d + 2 * d * f)

/** How many of so many blocks are computed again. */
const again = (layers: number, policy: Recompute): number =>
  Array.from({ length: layers }, (_, layer) => recomputes(policy, layer)).filter(Boolean).length

/** Forward and backward of Phi. `trained` false: gradients pass through it, its weights have none. */
export const phiFlops = (config: PhiConfig, { labels, pairs, tokens }: Tokens, trained: boolean): number => {
  const { hiddenSize: d, layers, vocabSize } = config
  const matrices = layers * block(config, tokens) + 2 * labels * vocabSize * d
  return (trained ? 3 : 2) * matrices + 3 * 4 * layers * d * pairs
}

/** What recomputed blocks add: their products forward once more. The head keeps no logits and makes none twice. */
export const phiAgain = (config: PhiConfig, { pairs, tokens }: Tokens, policy: Recompute): number =>
  again(config.layers, policy) * (block(config, tokens) + 4 * config.hiddenSize * pairs)

/** Products of all adapters forward: as much again for their inputs' gradients, and for their own. */
export const loraFlops = (config: PhiConfig, lora: Pick<Lora, "rank" | "targets">, tokens: number): number =>
  2 * tokens * Object.values(loraShapes(config, lora)).reduce((sum, [rows, columns]) => sum + rows! * columns!, 0)

/** Share of the blocks that are computed again. */
export const shareAgain = (config: PhiConfig, policy: Recompute): number =>
  config.layers === 0 ? 0 : again(config.layers, policy) / config.layers

/** Layers of a tower up to the one whose features are taken. */
export const layersUsed = (config: ClipConfig, featureLayer: number): number =>
  hiddenState(config, featureLayer) ?? config.layers

/**
 * Whether features depend on a weight of the tower: not on the layers above the one that is taken, nor on the last
 * norm.
 */
export const isUsed = (name: string, { featureLayer, vision }: LlavaConfig): boolean => {
  const layer = /^encoder\.layers\.(\d+)\./.exec(name)?.[1]
  return !name.startsWith("post_layernorm.") && Number(layer ?? -1) < layersUsed(vision, featureLayer)
}

/**
 * A tower up to the layer whose features are taken: forward where it is frozen, else gradients too (none of pixels).
 */
export const clipFlops = (config: ClipConfig, featureLayer: number, images: number, trained = false): number => {
  const { channels, hiddenSize: d, patchSize } = config
  const layers = layersUsed(config, featureLayer)
  const patches = patchCount(config)
  const tokens = patches + 1
  const embedding = 2 * patches * d * channels * patchSize * patchSize
  const blocks = layers * block(config, tokens) + 4 * layers * d * tokens * tokens
  return images * (trained ? 2 * embedding + 3 * blocks : embedding + blocks)
}

/** What recomputed blocks of a trained tower add. */
export const clipAgain = (config: ClipConfig, featureLayer: number, images: number, policy: Recompute): number => {
  const tokens = patchCount(config) + 1
  return (
    images *
    again(layersUsed(config, featureLayer), policy) *
    (block(config, tokens) + 4 * config.hiddenSize * tokens * tokens)
  )
}

/** Forward and backward of the trained projector; features have a gradient where the tower is trained too. */
export const projectorFlops = (config: LlavaConfig, images: number, towerTrained = false): number => {
  const [from, to] = [config.vision.hiddenSize, config.text.hiddenSize]
  return images * patchCount(config.vision) * ((towerTrained ? 6 : 4) * from * to + 6 * to * to)
}
