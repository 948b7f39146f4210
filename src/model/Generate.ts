/**
 * Greedy decoding with a key-value cache, for a batch of prompts of different lengths.
 *
 * Not sampling, and no tokenizer: token ids in, token ids out. Prompts are embeddings, so that images may be in them.
 *
 * Shapes: B prompts, T the longest prompt (right padded), D hidden, K keys so far.
 */
import { Effect } from "effect"
import { expectShape, type TensorError } from "../tensor/Errors.ts"
import type { Tensor, Weights } from "../tensor/Ops.ts"
import { tf } from "../tensor/Ops.ts"
import { type Compute, Tensors } from "../tensor/Tensors.ts"
import type { LlavaConfig } from "./llava/Config.ts"
import { type LlavaBatch, llavaEmbed, pixelsOf, spliceIndex, towerFeatures } from "./llava/Model.ts"
import type { PhiConfig } from "./phi/Config.ts"
import { type PhiCache, phiEmbed, phiExtend, phiLogits } from "./phi/Model.ts"
import { positionsOf, segmentsOfLengths } from "./TokenBatch.ts"
import { under } from "./Weights.ts"

export interface GenerateOptions {
  readonly maxNewTokens: number
  /** Generation of a row ends with this token, which is returned too; undefined runs to `maxNewTokens`. */
  readonly endToken?: number | undefined
}

/**
 * The greedy continuation of each prompt: at each step the token of the largest logit (the lowest id of equals).
 *
 * `embed` makes the prompt's `x_BTD`; `lengths` are the real tokens of each row. Weights are Phi's own names. Fails with
 * `ShapeMismatch` for an empty prompt. Positions past the model's context go on, as in `transformers`.
 *
 * @example yield* greedy(weights, config, (c) => phiEmbed(c, weights, ids), [5, 3], { maxNewTokens: 32, endToken: 50256 })
 */
export const greedy = (
  weights: Weights,
  config: PhiConfig,
  embed: (compute: Compute) => Tensor,
  lengths: ReadonlyArray<number>,
  options: GenerateOptions
): Effect.Effect<ReadonlyArray<ReadonlyArray<number>>, TensorError, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const batch = lengths.length
    const outputs: Array<Array<number>> = lengths.map(() => [])
    if (batch === 0 || options.maxNewTokens <= 0) return outputs
    const time = Math.max(...lengths)
    const segments = segmentsOfLengths(lengths, time)
    let next = yield* tensors.run((c) => {
      expectShape(
        Math.min(...lengths) > 0,
        "greedy",
        () => `prompts of ${lengths.join(", ")} tokens`,
        "A prompt has at least one token."
      )
      const x_BTD = embed(c)
      expectShape(
        x_BTD.shape[0] === batch && x_BTD.shape[1] === time,
        "greedy",
        () => `embeddings [${x_BTD.shape.join(", ")}] for ${batch} prompts of at most ${time}`,
        "Pad the prompts on the right to the longest of them."
      )
      const shape: [number, number] = [batch, time]
      const positions_BT = tf.tensor2d(positionsOf(segments, batch, time), shape, "int32")
      const { hidden_BTD, keys, values } = phiExtend(
        c,
        weights,
        config,
        x_BTD,
        positions_BT,
        tf.tensor2d(segments, shape, "int32")
      )
      const last = Int32Array.from(lengths, (length, row) => row * time + length - 1)
      const hidden = c.rows(tf.reshape(hidden_BTD, [-1, config.hiddenSize]), tf.tensor1d(last, "int32"))
      return { keys, values, token: tf.argMax(phiLogits(c, weights, hidden), 1) }
    })
    const ended = lengths.map(() => false)
    const decode = Effect.gen(function* () {
      for (let made = 1; ; made++) {
        const ids = Int32Array.from(yield* tensors.read(next.token))
        for (const [row, id] of ids.entries())
          if (!ended[row]) {
            outputs[row]!.push(id)
            ended[row] = id === options.endToken
          }
        if (made >= options.maxNewTokens || ended.every((e) => e)) return outputs
        const keyCount = time + made
        const seen = new Int32Array(batch * keyCount).fill(1)
        for (let row = 0; row < batch; row++) seen.fill(0, row * keyCount + lengths[row]!, row * keyCount + time)
        const before = next
        const cache: PhiCache = before
        next = yield* tensors.run((c) => {
          const x = phiEmbed(c, weights, tf.tensor2d(ids, [batch, 1], "int32"))
          const positions = tf.tensor2d(
            Int32Array.from(lengths, (length) => length + made - 1),
            [batch, 1],
            "int32"
          )
          const segments_BK = tf.tensor2d(seen, [batch, keyCount], "int32")
          const { hidden_BTD, keys, values } = phiExtend(c, weights, config, x, positions, segments_BK, cache)
          const logits = phiLogits(c, weights, tf.reshape(hidden_BTD, [batch, config.hiddenSize]))
          return { keys, values, token: tf.argMax(logits, 1) }
        })
        yield* free(before)
      }
    })
    const free = (state: typeof next) => tensors.free(...state.keys, ...state.values, state.token)
    return yield* decode.pipe(Effect.ensuring(Effect.suspend(() => free(next))))
  })

/**
 * Greedy continuations of token prompts, flat and right padded: `ids_BT` of `lengths`.
 *
 * @example const [answer] = yield* greedyText(weights, config, ids, [ids.length], { maxNewTokens: 32, endToken: 50256 })
 */
export const greedyText = (
  weights: Weights,
  config: PhiConfig,
  ids_BT: Int32Array,
  lengths: ReadonlyArray<number>,
  options: GenerateOptions
): Effect.Effect<ReadonlyArray<ReadonlyArray<number>>, TensorError, Tensors> =>
  greedy(
    weights,
    config,
    (c) => phiEmbed(c, weights, tf.tensor2d(ids_BT, [lengths.length, ids_BT.length / lengths.length], "int32")),
    lengths,
    options
  )

/**
 * Greedy continuations of prompts with images; weights are a LLaVA's.
 *
 * @example const answers = yield* greedyLlava(weights, config, batch, lengths, { maxNewTokens: 32, endToken: 50256 })
 */
export const greedyLlava = (
  weights: Weights,
  config: LlavaConfig,
  batch: LlavaBatch,
  lengths: ReadonlyArray<number>,
  options: GenerateOptions
): Effect.Effect<ReadonlyArray<ReadonlyArray<number>>, TensorError, Tensors> =>
  greedy(
    under(weights, "language."),
    config.text,
    (c) => {
      const shape: [number, number] = [batch.rows, batch.time]
      const pixels = pixelsOf(c, config, batch)
      const features = pixels === undefined ? undefined : towerFeatures(c, weights, config, pixels)
      return llavaEmbed(
        c,
        weights,
        config,
        tf.tensor2d(batch.ids_BT, shape, "int32"),
        tf.tensor2d(spliceIndex(config, batch, batch.images), shape, "int32"),
        features
      )
    },
    lengths,
    options
  )
