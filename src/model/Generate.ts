/**
 * Generation with a key-value cache, for a batch of prompts of different lengths: a stream of tokens.
 *
 * No tokenizer: token ids in, token ids out (`text/TextStream.ts` makes text of them), and no way to choose of its own
 * (`generate/Sampling.ts`). Prompts are embeddings, so that images may be in them.
 *
 * Shapes: B prompts, T the longest prompt (right padded), D hidden, K keys so far, V vocabulary.
 */
import { Effect, Option, Stream } from "effect"
import { expectShape, type TensorError } from "../tensor/Errors.ts"
import type { Tensor, Weights } from "../tensor/Ops.ts"
import { tf } from "../tensor/Ops.ts"
import { type Compute, Tensors } from "../tensor/Tensors.ts"
import { type BadSampling, checkSampling, isGreedy, type Sampling, sampleToken } from "./generate/Sampling.ts"
import type { LlavaConfig } from "./llava/Config.ts"
import { givenFeatures, type LlavaBatch, llavaEmbed, pixelsOf, spliceIndex, towerFeatures } from "./llava/Model.ts"
import type { PhiConfig } from "./phi/Config.ts"
import { type PhiCache, phiEmbed, phiExtend, phiLogits } from "./phi/Model.ts"
import { positionsOf, segmentsOfLengths } from "./TokenBatch.ts"
import { under } from "./Weights.ts"

export interface GenerateOptions extends Sampling {
  readonly maxNewTokens: number
  /** A row ends with the first of these, which is emitted too. Default none. */
  readonly stopTokens?: ReadonlyArray<number>
  /** Asked of each emitted token, in order; true ends its row. For what is not seen in ids, such as text. */
  readonly stop?: (row: number, id: number) => boolean
  /** What the rows' draws are named by; default their places in the batch. */
  readonly rowNumbers?: ReadonlyArray<number>
  /** What a single row has read already: the prompt goes on from there. Consumed. */
  readonly past?: Past
  /** Is given the cache when the stream ends, and frees it. */
  readonly keep?: (past: Past) => void
}

/** Keys and values of the first `tokens` tokens of a row. */
export interface Past extends PhiCache {
  readonly tokens: number
}

/** One new token of one row. */
export interface NewToken {
  readonly row: number
  /** 0 for the first new token of the row. */
  readonly step: number
  readonly id: number
  /** On a row's last token: a stop token, `stop` said so, or as many as were asked for. */
  readonly ended?: "token" | "stop" | "length"
}

/** What lives on the engine between two steps. `choice_B` are tokens (greedy), or `[B, V]` logits to draw from. */
interface State extends PhiCache {
  readonly choice: Tensor
}

/**
 * Continuations of prompts as they are made: of each step the tokens of the rows that go on, lowest row first.
 *
 * `embed` makes the prompt's `x_BTD`; `lengths` are the real tokens of each row. Weights are Phi's own names. A step is
 * computed when it is asked for, so who stops listening stops the work; the cache is freed then. Positions past the
 * model's context go on, as in `transformers`. Fails with `BadSampling`, or with `ShapeMismatch` for an empty prompt.
 *
 * Long: the loop over tokens owns the cache, and frees it wherever it ends.
 *
 * @example
 * generate(weights, config, (c) => phiEmbed(c, weights, ids), [5, 3], { maxNewTokens: 32, stopTokens: [50256] })
 */
export const generate = (
  weights: Weights,
  config: PhiConfig,
  embed: (compute: Compute) => Tensor,
  lengths: ReadonlyArray<number>,
  options: GenerateOptions
): Stream.Stream<NewToken, TensorError | BadSampling, Tensors> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const { keep, past } = options
      const freeCache = (cache: PhiCache | undefined) =>
        cache === undefined ? Effect.void : tensors.free(...cache.keys, ...cache.values)
      const batch = lengths.length
      const bad = checkSampling(options)
      if (bad !== undefined || batch === 0 || options.maxNewTokens <= 0) {
        yield* freeCache(past)
        return bad === undefined ? Stream.empty : yield* bad
      }
      const cached = past?.tokens ?? 0
      const longest = Math.max(...lengths)
      const time = cached + longest
      const greedily = isGreedy(options)
      const choose = (logits_BV: Tensor) => (greedily ? tf.argMax(logits_BV, 1) : logits_BV)

      const prompt = tensors.run((c) => {
        expectShape(
          Math.min(...lengths) > 0,
          "generate",
          () => `prompts of ${lengths.join(", ")} tokens`,
          "A prompt has at least one token."
        )
        expectShape(
          past === undefined || (batch === 1 && past.keys.every((keys) => keys.shape[1] === cached)),
          "generate",
          () => `a past of ${cached} tokens before ${batch} rows`,
          "Only a single row goes on from a past, which has the keys of all its tokens."
        )
        const x_BTD = embed(c)
        expectShape(
          x_BTD.shape[0] === batch && x_BTD.shape[1] === longest,
          "generate",
          () => `embeddings [${x_BTD.shape.join(", ")}] for ${batch} prompts of at most ${longest}`,
          "Pad the prompts on the right to the longest of them."
        )
        const positions = positionsOf(segmentsOfLengths(lengths, longest), batch, longest).map((at) => cached + at)
        const positions_BT = tf.tensor2d(positions, [batch, longest], "int32")
        const segments = segmentsOfLengths(
          lengths.map((length) => cached + length),
          time
        )
        const segments_BK = tf.tensor2d(segments, [batch, time], "int32")
        const { hidden_BTD, keys, values } = phiExtend(c, weights, config, x_BTD, positions_BT, segments_BK, past)
        const last = Int32Array.from(lengths, (length, row) => row * longest + length - 1)
        const hidden_BD = c.rows(tf.reshape(hidden_BTD, [-1, config.hiddenSize]), tf.tensor1d(last, "int32"))
        return { keys, values, choice: choose(phiLogits(c, weights, hidden_BD)) }
      })

      /** The state after `made` new tokens of each row, the last of them `ids`. */
      const extend = (cache: State, ids: Int32Array, made: number) =>
        tensors.run((c) => {
          const keyCount = time + made
          const seen = new Int32Array(batch * keyCount).fill(1)
          for (let row = 0; row < batch; row++)
            seen.fill(0, row * keyCount + cached + lengths[row]!, row * keyCount + time)
          const x = phiEmbed(c, weights, tf.tensor2d(ids, [batch, 1], "int32"))
          const at = Int32Array.from(lengths, (length) => cached + length + made - 1)
          const positions = tf.tensor2d(at, [batch, 1], "int32")
          const segments_BK = tf.tensor2d(seen, [batch, keyCount], "int32")
          const { hidden_BTD, keys, values } = phiExtend(c, weights, config, x, positions, segments_BK, cache)
          const logits_BV = phiLogits(c, weights, tf.reshape(hidden_BTD, [batch, config.hiddenSize]))
          return { keys, values, choice: choose(logits_BV) }
        })

      let state: State | undefined
      const free = (old: State | undefined) =>
        old === undefined ? freeCache(past) : Effect.andThen(freeCache(old), tensors.free(old.choice))
      yield* Effect.addFinalizer(() =>
        Effect.suspend(() => {
          if (state === undefined || keep === undefined) return free(state)
          const { choice, keys, values } = state
          keep({ keys, values, tokens: keys[0]?.shape[1] ?? 0 })
          return tensors.free(choice)
        })
      )
      const ended = lengths.map(() => false)
      let ids = new Int32Array(batch)

      return Stream.paginate(0, (step) =>
        Effect.gen(function* () {
          const before = state
          yield* Effect.uninterruptible(
            Effect.gen(function* () {
              state = yield* before === undefined ? prompt : extend(before, ids, step)
              yield* free(before)
            })
          )
          const read = yield* tensors.read(state!.choice)
          const width = read.length / batch
          ids = greedily
            ? Int32Array.from(read)
            : Int32Array.from(lengths, (_, row) => {
                if (ended[row]) return ids[row]!
                const logits_V = (read as Float32Array).subarray(row * width, (row + 1) * width)
                return sampleToken(logits_V, options, options.rowNumbers?.[row] ?? row, step)
              })
          const tokens: Array<NewToken> = []
          for (const [row, id] of ids.entries()) {
            if (ended[row]) continue
            const why =
              options.stopTokens?.includes(id) === true
                ? "token"
                : options.stop?.(row, id) === true
                  ? "stop"
                  : step + 1 >= options.maxNewTokens
                    ? "length"
                    : undefined
            ended[row] = why !== undefined
            tokens.push({ row, step, id, ...(why === undefined ? {} : { ended: why }) })
          }
          return [tokens, ended.every((e) => e) ? Option.none<number>() : Option.some(step + 1)]
        })
      )
    })
  )

export interface GreedyOptions {
  readonly maxNewTokens: number
  /** Generation of a row ends with this token, which is returned too; undefined runs to `maxNewTokens`. */
  readonly endToken?: number | undefined
}

/**
 * The greedy continuation of each prompt, whole: at each step the token of the largest logit (the lowest id of equals).
 *
 * @example yield* greedy(weights, config, (c) => phiEmbed(c, weights, ids), [5, 3], { maxNewTokens: 32, endToken: 50256 })
 */
export const greedy = (
  weights: Weights,
  config: PhiConfig,
  embed: (compute: Compute) => Tensor,
  lengths: ReadonlyArray<number>,
  { endToken, maxNewTokens }: GreedyOptions
): Effect.Effect<ReadonlyArray<ReadonlyArray<number>>, TensorError, Tensors> =>
  Effect.suspend(() => {
    const outputs: Array<Array<number>> = lengths.map(() => [])
    const stopTokens = endToken === undefined ? [] : [endToken]
    return generate(weights, config, embed, lengths, { maxNewTokens, stopTokens }).pipe(
      Stream.runForEach(({ id, row }) => Effect.sync(() => outputs[row]!.push(id))),
      Effect.catchTag("BadSampling", Effect.die),
      Effect.as(outputs)
    )
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
  options: GreedyOptions
): Effect.Effect<ReadonlyArray<ReadonlyArray<number>>, TensorError, Tensors> =>
  greedy(
    weights,
    config,
    (c) => phiEmbed(c, weights, tf.tensor2d(ids_BT, [lengths.length, ids_BT.length / lengths.length], "int32")),
    lengths,
    options
  )

/** Embeddings of prompts with images in their places. */
export const embedLlava = (weights: Weights, config: LlavaConfig, batch: LlavaBatch) => (c: Compute) => {
  const shape: [number, number] = [batch.rows, batch.time]
  const pixels = pixelsOf(c, config, batch)
  const features = pixels === undefined ? givenFeatures(config, batch) : towerFeatures(c, weights, config, pixels)
  return llavaEmbed(
    c,
    weights,
    config,
    tf.tensor2d(batch.ids_BT, shape, "int32"),
    tf.tensor2d(spliceIndex(config, batch, batch.images), shape, "int32"),
    features
  )
}

/**
 * Continuations of prompts with images, as they are made; weights are a LLaVA's.
 *
 * @example generateLlava(weights, config, batch, lengths, { maxNewTokens: 64, stopTokens: [50256], temperature: 0.7 })
 */
export const generateLlava = (
  weights: Weights,
  config: LlavaConfig,
  batch: LlavaBatch,
  lengths: ReadonlyArray<number>,
  options: GenerateOptions
): Stream.Stream<NewToken, TensorError | BadSampling, Tensors> =>
  generate(under(weights, "language."), config.text, embedLlava(weights, config, batch), lengths, options)

/**
 * Greedy continuations of prompts with images, whole; weights are a LLaVA's.
 *
 * @example const answers = yield* greedyLlava(weights, config, batch, lengths, { maxNewTokens: 32, endToken: 50256 })
 */
export const greedyLlava = (
  weights: Weights,
  config: LlavaConfig,
  batch: LlavaBatch,
  lengths: ReadonlyArray<number>,
  options: GreedyOptions
): Effect.Effect<ReadonlyArray<ReadonlyArray<number>>, TensorError, Tensors> =>
  greedy(under(weights, "language."), config.text, embedLlava(weights, config, batch), lengths, options)
