/**
 * Held-out loss: measured at the end of training, and where it is asked for every few steps, with the best weights
 * kept.
 *
 * Not a stopping rule: every step is taken. Losses so far and the kept weights are part of the loop's checkpoint, so a
 * resumed run keeps what one that never stopped would keep. Kept weights lie in plain memory, not in the engine's.
 *
 * Losses are means over supervised tokens: a batch's in the engine's f32, their sum over batches in doubles, in order.
 */
import { Effect, Schema, type Scope } from "effect"
import type { TokenBatch } from "../model/TokenBatch.ts"
import type { Trainable } from "../model/Trainable.ts"
import type { Collective, CollectiveFailed } from "../tensor/Collective.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Tensor, Weights } from "../tensor/Ops.ts"
import { Tensors } from "../tensor/Tensors.ts"
import { evaluateLoss, NonFiniteLoss, rowsOf, type SavedTensor } from "./Step.ts"

/** Parameters of a training node; left out, they are in no key, and rows are measured at the end alone. */
export const HeldOutSettings = {
  /** Steps between two measurements of the held-out rows; null or left out: only at the end. */
  evaluateEvery: Schema.optionalKey(Schema.NullOr(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)))),
  /** Give the weights of the lowest held-out loss measured, not those of the last step. Of equal ones the first. */
  keepBest: Schema.optionalKey(Schema.Boolean)
} as const

/** Settings ask for a measurement that cannot be made. */
export class NothingHeldOut extends Schema.TaggedError<NothingHeldOut>()("NothingHeldOut", {
  message: Schema.String,
  hint: Schema.String
}) {}

/** The loss of the held-out rows after so many steps. */
export const Evaluated = Schema.Struct({ step: Schema.Number, loss: Schema.Number })
export type Evaluated = typeof Evaluated.Type

/** What a checkpoint's `loop.json` says of it; the weights of `best` are tensors `best/<name>`. */
export const HeldOutPosition = Schema.Struct({
  evaluations: Schema.Array(Evaluated),
  best: Schema.optionalKey(Evaluated)
})
export type HeldOutPosition = typeof HeldOutPosition.Type

type Saved = Readonly<Record<string, SavedTensor>>

/** What has been measured so far. */
export interface HeldOutWatch {
  /** Undefined: only at the end. */
  readonly every: number | undefined
  readonly keepBest: boolean
  readonly evaluations: Array<Evaluated>
  best: (Evaluated & { readonly weights: Saved }) | undefined
}

const BEST = "best/"

/**
 * A watch for these settings, from the start or as a checkpoint left it.
 *
 * Fails with `NothingHeldOut` where there is nothing to measure.
 */
export const watchHeldOut = (
  settings: { readonly evaluateEvery?: number | null; readonly keepBest?: boolean },
  batches: number,
  from: { readonly position: HeldOutPosition | undefined; readonly tensors: Saved } = {
    position: undefined,
    tensors: {}
  }
): Effect.Effect<HeldOutWatch, NothingHeldOut> =>
  Effect.suspend(() => {
    const every = settings.evaluateEvery ?? undefined
    const keepBest = settings.keepBest === true
    if (keepBest && every === undefined)
      return new NothingHeldOut({
        message: "keepBest compares held-out losses, and evaluateEvery does not say when to measure them",
        hint: "Set evaluateEvery to a number of steps."
      })
    if (every !== undefined && batches === 0)
      return new NothingHeldOut({
        message: `the held-out rows are to be measured every ${every} steps, and there are none`,
        hint: "Raise the share that is held out, or leave evaluateEvery out."
      })
    const best = from.position?.best
    const weights = Object.fromEntries(
      Object.entries(from.tensors).flatMap(([name, tensor]) =>
        name.startsWith(BEST) ? [[name.slice(BEST.length), tensor] as const] : []
      )
    )
    return Effect.succeed({
      every,
      keepBest,
      evaluations: [...(from.position?.evaluations ?? [])],
      best: best === undefined ? undefined : { ...best, weights }
    })
  })

/** Whether the rows are measured after this many steps. */
export const isDue = ({ every }: Pick<HeldOutWatch, "every">, step: number): boolean =>
  every !== undefined && step > 0 && step % every === 0

/** The watch as a checkpoint keeps it; nothing where no measurement was asked for. */
export const heldOutSaved = ({
  best,
  evaluations,
  every
}: HeldOutWatch): { readonly position: { readonly heldOut?: HeldOutPosition }; readonly tensors: Saved } =>
  every === undefined
    ? { position: {}, tensors: {} }
    : {
        position: {
          heldOut: {
            evaluations: [...evaluations],
            ...(best === undefined ? {} : { best: { step: best.step, loss: best.loss } })
          }
        },
        tensors: Object.fromEntries(Object.entries(best?.weights ?? {}).map(([name, one]) => [BEST + name, one]))
      }

/** A loss, and over how many supervised tokens it is the mean; null over none. */
export interface Measured {
  readonly loss: number | null
  readonly tokens: number
}

/** Several processes that measure together, each its share of the batches. */
type Ranks = Pick<Collective["Service"], "rank" | "world" | "sum">

/**
 * Mean loss over the supervised tokens of all batches. The same bits on any number of ranks.
 *
 * Fails with `NonFiniteLoss`, which names the rows of the first batch whose loss is none.
 */
export const measureHeldOut = <Batch extends TokenBatch, E, R>(
  model: Trainable<Batch, any>,
  weights: Weights,
  batches: ReadonlyArray<Effect.Effect<Batch, E, R>>,
  step: number,
  ranks?: Ranks
): Effect.Effect<Measured, E | TensorError | NonFiniteLoss | CollectiveFailed, R | Tensors> =>
  Effect.gen(function* () {
    const mine = new Float64Array(2 * batches.length)
    for (const [i, load] of batches.entries()) {
      if (ranks !== undefined && i % ranks.world !== ranks.rank) continue
      const { loss, tokens } = yield* evaluateLoss(model, weights, [yield* load])
      mine.set([loss, tokens], 2 * i)
    }
    // A batch is one rank's, and zeros are added to it.
    const found = ranks === undefined ? mine : yield* ranks.sum([...mine])
    let sum = 0
    let tokens = 0
    for (const [i, load] of batches.entries()) {
      const [loss, count] = [found[2 * i]!, found[2 * i + 1]!]
      if (!Number.isFinite(loss))
        return yield* new NonFiniteLoss({
          step,
          value: String(loss),
          quantity: "loss",
          rows: rowsOf([yield* load]),
          hint: "These are held-out rows: look at them, lower the learning rate, or go back to the last good checkpoint."
        })
      sum += loss * count
      tokens += count
    }
    return { loss: tokens === 0 ? null : sum / tokens, tokens }
  })

/** Takes note of a loss; where it is the lowest so far and the best is kept, copies the weights that had it. */
export const noteLoss = (
  watch: HeldOutWatch,
  step: number,
  loss: number | null,
  trained: Weights
): Effect.Effect<void, TensorError, Tensors> =>
  Effect.gen(function* () {
    if (loss === null) return
    watch.evaluations.push({ step, loss })
    if (!watch.keepBest || (watch.best !== undefined && watch.best.loss <= loss)) return
    const tensors = yield* Tensors
    const weights: Record<string, SavedTensor> = {}
    for (const [name, tensor] of Object.entries(trained))
      weights[name] = { shape: [...tensor.shape], values: (yield* tensors.read(tensor)) as Float32Array }
    watch.best = { step, loss, weights }
  })

/** What training ends with: the weights that are given on, their held-out loss, and how it went. */
export interface Concluded {
  readonly weights: Weights
  readonly log: {
    /** Mean over held-out tokens, of these weights; null when nothing was held out. */
    readonly heldOutLoss: number | null
    readonly evaluations?: ReadonlyArray<Evaluated>
    readonly keptStep?: number
  }
}

/** Weights out of plain memory, freed with the scope. */
const upload = Effect.fnUntraced(function* (saved: Saved) {
  const tensors = yield* Tensors
  const out: Record<string, Tensor> = {}
  yield* Effect.addFinalizer(() => tensors.free(out))
  for (const [name, { shape, values }] of Object.entries(saved)) out[name] = yield* tensors.upload(values, shape)
  return out
})

/** Ends the watch after the last step. `measure` is asked for the loss where it has not been measured there. */
export const conclude = <E, R>(
  watch: HeldOutWatch,
  step: number,
  trained: Weights,
  measure: Effect.Effect<number | null, E, R>
): Effect.Effect<Concluded, E | TensorError, R | Tensors | Scope.Scope> =>
  Effect.gen(function* () {
    const { best, evaluations, every, keepBest } = watch
    const last = evaluations.at(-1)
    const loss = last?.step === step ? last.loss : yield* measure
    if (every === undefined) return { weights: trained, log: { heldOutLoss: loss } }
    const all = last?.step === step || loss === null ? [...evaluations] : [...evaluations, { step, loss }]
    if (!keepBest) return { weights: trained, log: { heldOutLoss: loss, evaluations: all } }
    if (best === undefined || best.step === step || (loss !== null && loss < best.loss))
      return { weights: trained, log: { heldOutLoss: loss, evaluations: all, keptStep: step } }
    return {
      weights: yield* upload(best.weights),
      log: { heldOutLoss: best.loss, evaluations: all, keptStep: best.step }
    }
  })
