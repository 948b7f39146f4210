/**
 * One row at a time, remembered: keys and values of the last stay on the engine, and what begins alike is read from
 * where it differs. A conversation's next turn so costs its own tokens, not all before them, and an image is seen once.
 *
 * Not a history: the whole row is given each time. One row is remembered; a second that is asked for meanwhile is read
 * whole. Logits differ from those of a row read at once by rounding alone.
 */
import { Effect, type Scope, Stream } from "effect"
import type { TensorError } from "../../tensor/Errors.ts"
import { tf, type Weights } from "../../tensor/Ops.ts"
import { Tensors } from "../../tensor/Tensors.ts"
import { type GenerateOptions, generate, generateLlava, type NewToken, type Past } from "../Generate.ts"
import type { LlavaConfig } from "../llava/Config.ts"
import { phiEmbed } from "../phi/Model.ts"
import { segmentsOfLengths } from "../TokenBatch.ts"
import { under } from "../Weights.ts"
import type { BadSampling } from "./Sampling.ts"

/** Tokens with placeholders for one image, whose bytes (S x S x 3) are known by being the same array. */
export interface Row {
  readonly ids_T: Int32Array
  readonly pixels_HWC: Uint8Array | undefined
}

type Options = Omit<GenerateOptions, "past" | "keep">

/** Tokens that two rows begin with, but the last of `ids`, which is read in any case; 0 where their images differ. */
const sharedTokens = (before: Row, { ids_T, pixels_HWC }: Row, imageToken: number): number => {
  if (before.pixels_HWC !== pixels_HWC) return 0
  const most = Math.min(before.ids_T.length, ids_T.length - 1)
  let shared = 0
  while (shared < most && before.ids_T[shared] === ids_T[shared]) shared++
  return ids_T.subarray(shared).includes(imageToken) ? 0 : shared
}

/**
 * A generator of continuations that remembers; what it holds is freed with the scope. Weights are a LLaVA's.
 *
 * @example
 * const continued = yield* remembering(weights, config)
 * const tokens = continued({ ids_T, pixels_HWC }, { maxNewTokens: 64, stopTokens: [50256] })
 */
export const remembering = (
  weights: Weights,
  config: LlavaConfig
): Effect.Effect<
  (row: Row, options: Options) => Stream.Stream<NewToken, TensorError | BadSampling>,
  never,
  Tensors | Scope.Scope
> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const language = under(weights, "language.")
    let held: (Row & { readonly past: Past }) | undefined
    const freePast = ({ keys, values }: Past) => tensors.free(...keys, ...values)
    const forget = Effect.suspend(() => {
      const old = held
      held = undefined
      return old === undefined ? Effect.void : freePast(old.past)
    })
    yield* Effect.addFinalizer(() => forget)

    /** The first tokens of a past; the rest of it is freed. */
    const cut = (past: Past, tokens: number) =>
      tensors
        .run(() => {
          const first = (all: ReadonlyArray<tf.Tensor>) =>
            all.map((x) => tf.slice(x, [0, 0, 0], [1, tokens, x.shape[2]!]))
          return { keys: first(past.keys), values: first(past.values) }
        })
        .pipe(
          Effect.map((kept): Past => ({ ...kept, tokens })),
          Effect.ensuring(freePast(past))
        )

    return (row, options) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const before = held
          const shared = before === undefined ? 0 : sharedTokens(before, row, config.imageToken)
          const made: Array<number> = []
          const keep = (past: Past): void => {
            const other = held
            const ids_T = Int32Array.from([...row.ids_T, ...made].slice(0, past.tokens))
            held = { ids_T, pixels_HWC: row.pixels_HWC, past }
            if (other !== undefined) Effect.runSync(freePast(other.past))
          }
          const time = row.ids_T.length
          let tokens: Stream.Stream<NewToken, TensorError | BadSampling, Tensors>
          if (before === undefined || shared === 0) {
            yield* forget
            const batch = {
              rows: 1,
              time,
              ids_BT: row.ids_T,
              segments_BT: segmentsOfLengths([time], time),
              labels_BT: new Int32Array(time).fill(-100),
              images: row.pixels_HWC === undefined ? 0 : 1,
              pixels: row.pixels_HWC ?? new Uint8Array(0)
            }
            tokens = generateLlava(weights, config, batch, [time], { ...options, keep })
          } else {
            held = undefined
            const rest = row.ids_T.slice(shared)
            tokens = generate(
              language,
              config.text,
              (c) => phiEmbed(c, language, tf.tensor2d(rest, [1, rest.length], "int32")),
              [rest.length],
              { ...options, keep, past: yield* cut(before.past, shared) }
            )
          }
          return Stream.tap(tokens, ({ id }) => Effect.sync(() => made.push(id)))
        })
      ).pipe(Stream.provideService(Tensors, tensors))
  })
