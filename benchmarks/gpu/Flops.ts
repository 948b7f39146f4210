/**
 * Floating-point operations that a training step needs: what MFU counts.
 *
 * Not what is executed: recomputed activations, padding of heads and the optimiser are not counted. A multiply and an add
 * are two. A weight matrix costs 2 a token forward, 2 for the gradient of its input, 2 for its own; attention costs as
 * much as its products, of which a causal mask needs half.
 *
 * For a language model that is trained whole, on full rows: 6 N + 12 L d T / 2 a token, N every weight that a token is
 * multiplied with (all but the embedding table and vectors), L layers, d hidden, T tokens a row.
 */
import { type ClipConfig, patchCount } from "../../src/model/clip/Config.ts"
import type { LlavaConfig } from "../../src/model/llava/Config.ts"
import type { PhiConfig } from "../../src/model/phi/Config.ts"

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

/** Forward and backward of Phi. `trained` false: gradients pass through it, its weights have none. */
export const phiFlops = (config: PhiConfig, { labels, pairs, tokens }: Tokens, trained: boolean): number => {
  const { hiddenSize: d, intermediateSize: f, layers, vocabSize } = config
  const matrices = 2 * (tokens * layers * (4 * d * d + 2 * d * f) + labels * vocabSize * d)
  const attention = 4 * layers * d * pairs
  return (trained ? 3 : 2) * matrices + 3 * attention
}

/** Forward of a frozen tower up to the layer whose features are taken. */
export const clipFlops = (config: ClipConfig, featureLayer: number, images: number): number => {
  const { channels, hiddenSize: d, intermediateSize: f, patchSize } = config
  const layers = config.layers + 1 + featureLayer
  const patches = patchCount(config)
  const tokens = patches + 1
  const embedding = 2 * patches * d * channels * patchSize * patchSize
  return images * (embedding + 2 * tokens * layers * (4 * d * d + 2 * d * f) + 4 * layers * d * tokens * tokens)
}

/** Forward and backward of the trained projector. */
export const projectorFlops = (config: LlavaConfig, images: number): number => {
  const [from, to] = [config.vision.hiddenSize, config.text.hiddenSize]
  return 6 * images * patchCount(config.vision) * (from * to + to * to)
}
