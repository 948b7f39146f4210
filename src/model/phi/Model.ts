/**
 * Phi: a decoder whose attention and MLP read the same layer norm side by side, with partial rotary embeddings.
 *
 * Written once on `Compute`; not tied to an engine. No sampling (`Generate.ts`), no files (`Names.ts`).
 *
 * Shapes: B rows, T tokens a row, D hidden, V vocabulary, N supervised positions. Follows `PhiForCausalLM`.
 */
import type { Tensor, Weights } from "../../tensor/Ops.ts"
import { tf } from "../../tensor/Ops.ts"
import { extend, type RandomStream, stream } from "../../tensor/Random.ts"
import type { Compute } from "../../tensor/Tensors.ts"
import { type Adapting, adaptedLinear } from "../lora/Linear.ts"
import { type Recompute, recomputes } from "../Recompute.ts"
import { checkTokenBatch, positionsOf, supervised, type TokenBatch } from "../TokenBatch.ts"
import { under } from "../Weights.ts"
import { type PhiConfig, rotaryDim } from "./Config.ts"

/** Where tokens stand; must outlive the gradient pass, so it is made before it. */
export interface Layout {
  readonly segments_BT: Tensor
  readonly positions_BT: Tensor
}

/** Names the dropout masks of a step: a pure function of (seed, step, row, layer, site). */
export interface Dropout {
  readonly seed: number
  readonly step: number
  /** Number of each of the B rows in the global batch. */
  readonly rows: ReadonlyArray<number>
}

export interface PhiOptions {
  /** Blocks whose inputs alone are kept, to be computed again for their gradients; default none. */
  readonly recompute?: Recompute
  /** Absent: no dropout (evaluation). */
  readonly dropout?: Dropout
  /** How adapters among the weights are applied: their scale, and their dropout's rate while training. */
  readonly lora?: AppliedLora
}

/** What a model must know of its adapters besides their weights. */
export interface AppliedLora {
  readonly scale: number
  readonly dropout: number
}

/** Embeddings of tokens: `ids_BT` int32 -> `x_BTD`. */
export const phiEmbed = (c: Compute, w: Weights, ids_BT: Tensor): Tensor =>
  c.rows(w["model.embed_tokens.weight"]!, ids_BT)

/** How a block's queries meet keys: over the row itself, or over a cache. */
type Attend = (q_BTD: Tensor, k_BTD: Tensor, v_BTD: Tensor) => Tensor
type Drop = (x_BTD: Tensor, site: string) => Tensor

/**
 * Positions in the rotary table: the model's, or the next power of two past it for longer rows, as `transformers` goes
 * on.
 */
const rotaryPositions = (config: PhiConfig, length: number): number =>
  length <= config.maxPositions ? config.maxPositions : 2 ** Math.ceil(Math.log2(length))

/**
 * One block: x + dense(attention(LN x)) + fc2(gelu(fc1(LN x))). `w` holds this layer's names; positions are below
 * `length`.
 */
const block = (
  c: Compute,
  w: Weights,
  config: PhiConfig,
  x_BTD: Tensor,
  positions_BT: Tensor,
  length: number,
  attend: Attend,
  drop: Drop,
  adapting?: Adapting
): Tensor => {
  const linear = (x: Tensor, name: string) => adaptedLinear(c, w, name, x, adapting)
  const y_BTD = c.layerNorm(x_BTD, w["input_layernorm.weight"]!, w["input_layernorm.bias"]!, config.layerNormEps)
  const turn = (x: Tensor) =>
    c.rotary(x, positions_BT, {
      heads: config.heads,
      rotaryDim: rotaryDim(config),
      theta: config.ropeTheta,
      maxPositions: rotaryPositions(config, length)
    })
  const heads_BTD = attend(
    turn(linear(y_BTD, "self_attn.q_proj")),
    turn(linear(y_BTD, "self_attn.k_proj")),
    linear(y_BTD, "self_attn.v_proj")
  )
  const attention_BTD = drop(linear(heads_BTD, "self_attn.dense"), "attention")
  const mlp_BTD = drop(linear(c.gelu(linear(y_BTD, "mlp.fc1"), config.activation), "mlp.fc2"), "mlp")
  return tf.add(tf.add(attention_BTD, mlp_BTD), x_BTD)
}

/**
 * Hidden states after the final norm: `x_BTD` embeddings -> `hidden_BTD`.
 *
 * @example const hidden_BTD = phiHidden(c, w, config, phiEmbed(c, w, ids_BT), layout)
 */
export const phiHidden = (
  c: Compute,
  w: Weights,
  config: PhiConfig,
  x_BTD: Tensor,
  layout: Layout,
  options: PhiOptions = {}
): Tensor => {
  const { dropout, lora } = options
  const streams: ReadonlyArray<RandomStream> =
    dropout === undefined ? [] : dropout.rows.map((row) => stream(dropout.seed, "dropout", dropout.step, row))
  let hidden_BTD = x_BTD
  for (let layer = 0; layer < config.layers; layer++) {
    const own = under(w, `model.layers.${layer}.`)
    const dropping =
      (rate: number): Drop =>
      (x, site) =>
        dropout === undefined || rate === 0
          ? x
          : c.dropout(
              x,
              streams.map((s) => extend(s, layer, site)),
              rate
            )
    const drop = dropping(config.residualDropout)
    const adapting = lora === undefined ? undefined : { scale: lora.scale, drop: dropping(lora.dropout) }
    const attend: Attend = (q, k, v) =>
      c.attention(q, k, v, { heads: config.heads, mask: { kind: "causal", segments_BT: layout.segments_BT } })
    const length = x_BTD.shape[1]!
    // Scoped, so that what no gradient needs is freed after each block and not after the model.
    const run = (x: Tensor) =>
      tf.tidy(() => block(c, own, config, x, layout.positions_BT, length, attend, drop, adapting))
    hidden_BTD = recomputes(options.recompute ?? false, layer) ? c.recomputed(run, hidden_BTD, own) : run(hidden_BTD)
  }
  return finalNorm(c, w, config, hidden_BTD)
}

const finalNorm = (c: Compute, w: Weights, config: PhiConfig, x: Tensor): Tensor =>
  c.layerNorm(x, w["model.final_layernorm.weight"]!, w["model.final_layernorm.bias"]!, config.layerNormEps)

/** The head: `hidden_..D` -> `logits_..V`. */
export const phiLogits = (c: Compute, w: Weights, hidden: Tensor): Tensor =>
  c.linear(hidden, w["lm_head.weight"]!, w["lm_head.bias"])

/** A batch on the engine, made before the gradient pass. */
export interface PreparedTokens {
  readonly ids_BT: Tensor
  readonly layout: { readonly segments_BT: Tensor; readonly positions_BT: Tensor }
  /** Supervised positions and labels, cut into runs that the head takes at once. */
  readonly targets: Array<{ readonly positions_N: Tensor; readonly labels_N: Tensor }>
}

/**
 * Uploads a batch; the head takes at most `maxLogits` logits at once. Throws `ShapeMismatch`.
 *
 * @example const prepared = yield* tensors.run((c) => ({ ...prepareTokens(config, batch, c.logitsAtOnce) }))
 */
export const prepareTokens = (config: PhiConfig, batch: TokenBatch, maxLogits: number): PreparedTokens => {
  checkTokenBatch(batch)
  const shape: [number, number] = [batch.rows, batch.time]
  const { positions, labels } = supervised(batch)
  const step = Math.max(1, Math.floor(maxLogits / config.vocabSize))
  const targets = []
  for (let at = 0; at < positions.length; at += step)
    targets.push({
      positions_N: tf.tensor1d(positions.subarray(at, at + step), "int32"),
      labels_N: tf.tensor1d(labels.subarray(at, at + step), "int32")
    })
  return {
    ids_BT: tf.tensor2d(batch.ids_BT, shape, "int32"),
    layout: {
      segments_BT: tf.tensor2d(batch.segments_BT, shape, "int32"),
      positions_BT: tf.tensor2d(positionsOf(batch.segments_BT, batch.rows, batch.time), shape, "int32")
    },
    targets
  }
}

/**
 * Loss of hidden states: sum over supervised tokens of the cross-entropy, divided by `normaliser`; a scalar.
 *
 * `normaliser` is the number of supervised tokens of the global batch, so that micro-batches add up exactly.
 *
 * @example const loss = phiLoss(c, w, hidden_BTD, prepared.targets, lossTokens(batch))
 */
export const phiLoss = (
  c: Compute,
  w: Weights,
  hidden_BTD: Tensor,
  targets: PreparedTokens["targets"],
  normaliser: number
): Tensor => {
  const flat_ND = tf.reshape(hidden_BTD, [-1, hidden_BTD.shape[2]!])
  const head = Object.fromEntries(Object.entries(w).filter(([name]) => name.startsWith("lm_head.")))
  const losses = targets.map(({ positions_N, labels_N }) => {
    const part = (x: Tensor) =>
      c.linearCrossEntropy(c.rows(x, positions_N), w["lm_head.weight"]!, w["lm_head.bias"], labels_N, normaliser)
    return targets.length === 1 ? part(flat_ND) : c.recomputed(part, flat_ND, head)
  })
  // A batch without labels still has a gradient: zero.
  return losses.length === 0 ? tf.mul(tf.sum(flat_ND), tf.scalar(0)) : losses.reduce((sum, loss) => tf.add(sum, loss))
}

/** Keys and values seen so far, for each layer `[B, K, D]`. */
export interface PhiCache {
  readonly keys: ReadonlyArray<Tensor>
  readonly values: ReadonlyArray<Tensor>
}

/**
 * Hidden states of new tokens over a cache, and the cache with them. For decoding: no gradient, no dropout.
 *
 * `segments_BK` covers cached and new keys (0 = not to be seen). One token of each row sees all of them; several, with
 * or without a cache before them, see each other causally.
 */
export const phiExtend = (
  c: Compute,
  w: Weights,
  config: PhiConfig,
  x_BTD: Tensor,
  positions_BT: Tensor,
  segments_BK: Tensor,
  cache?: PhiCache
): { readonly hidden_BTD: Tensor; readonly keys: Array<Tensor>; readonly values: Array<Tensor> } => {
  const [keys, values]: [Array<Tensor>, Array<Tensor>] = [[], []]
  let hidden_BTD = x_BTD
  for (let layer = 0; layer < config.layers; layer++) {
    const next = tf.tidy(() => {
      let seen: readonly [Tensor, Tensor] | undefined
      const attend: Attend = (q, k, v) => {
        const allKeys = cache === undefined ? k : tf.concat([cache.keys[layer]!, k], 1)
        const allValues = cache === undefined ? v : tf.concat([cache.values[layer]!, v], 1)
        seen = [allKeys, allValues]
        const { heads } = config
        if (cache === undefined)
          return c.attention(q, allKeys, allValues, { heads, mask: { kind: "causal", segments_BT: segments_BK } })
        const [rows, queries, width] = q.shape as [number, number, number]
        if (queries === 1) return c.attention(q, allKeys, allValues, { heads, mask: { kind: "keys", segments_BK } })
        // Queries of zeros stand where the cached ones were: little beside the products that the cache saves.
        const cached = segments_BK.shape[1]! - queries
        const all = tf.concat([tf.zeros([rows, cached, width]), q], 1)
        const out = c.attention(all, allKeys, allValues, { heads, mask: { kind: "causal", segments_BT: segments_BK } })
        return tf.slice(out, [0, cached, 0], [rows, queries, width])
      }
      const own = under(w, `model.layers.${layer}.`)
      const hidden = block(c, own, config, hidden_BTD, positions_BT, segments_BK.shape[1]!, attend, (x) => x)
      return { hidden, key: seen![0], value: seen![1] }
    })
    hidden_BTD = next.hidden
    keys.push(next.key)
    values.push(next.value)
  }
  return { hidden_BTD: finalNorm(c, w, config, hidden_BTD), keys, values }
}
