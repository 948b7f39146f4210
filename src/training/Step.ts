/**
 * One training step: gradients of micro-batches, summed, and one AdamW update. And its state, to and from arrays.
 *
 * Not a loop: order, schedule and checkpoints are the caller's. The step is a pure function of (state, batch, lr, seed,
 * step): the same on the same engine, bit for bit, however the state got there.
 *
 * The loss is normalised over the supervised tokens of the global batch, so micro-batches of unequal lengths weigh
 * right.
 */
import { Effect, Schema } from "effect"
import type { HelperFailed } from "../dag/Helpers.ts"
import { lossTokens, type TokenBatch } from "../model/TokenBatch.ts"
import type { Trainable } from "../model/Trainable.ts"
import { type AdamWOptions, type OptimiserTensors, recipeAdamW, zeroMoments } from "../tensor/AdamW.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Tensor, Weights } from "../tensor/Ops.ts"
import { tf } from "../tensor/Ops.ts"
import { Tensors } from "../tensor/Tensors.ts"
import { clipCoefficient } from "./Clip.ts"
import { type GradientWorkers, singleThread } from "./GradientWorkers.ts"

/** The loss or a gradient is NaN or infinite. The state from before the step is untouched. */
export class NonFiniteLoss extends Schema.TaggedError<NonFiniteLoss>()("NonFiniteLoss", {
  step: Schema.Number,
  /** `NaN`, `Infinity` or, when the loss is finite, the norm of the gradient. */
  value: Schema.String,
  quantity: Schema.Literals(["loss", "gradient"]),
  rows: Schema.Array(Schema.String),
  hint: Schema.String
}) {}

/** No row of the global batch has a token to learn. */
export class NothingToLearn extends Schema.TaggedError<NothingToLearn>()("NothingToLearn", {
  step: Schema.Number,
  message: Schema.String,
  rows: Schema.Array(Schema.String),
  hint: Schema.String
}) {}

/** Trained weights, their moments, and how many updates they have had. Owned by whoever holds it. */
export interface TrainState extends OptimiserTensors {
  readonly update: number
}

export interface StepOptions {
  /** Learning rate of this step. */
  readonly lr: number
  readonly seed: number
  /** Number of the step: names its dropout masks, and is what an error reports. */
  readonly step: number
  /** Default: the recipe's. */
  readonly adamW?: AdamWOptions
  /** Default true: dropout at the model's own rate. */
  readonly dropout?: boolean
  /** Scales a longer gradient down to this norm, as torch does (`Clip.ts`). Default: no clipping, as in the recipe. */
  readonly maxGradNorm?: number
  /** Threads that compute micro-batches; the bits are the same with any. Default: this one. */
  readonly workers?: GradientWorkers
}

export interface StepResult {
  readonly state: TrainState
  /** Mean over the supervised tokens of the global batch, before the update. */
  readonly loss: number
  readonly tokens: number
  readonly gradNorm: number
}

/**
 * A state for these weights, which it takes over: zero moments, no update yet.
 *
 * @example const state = yield* initialState(yield* uploadWeights(sources))
 */
export const initialState = (weights: Weights): Effect.Effect<TrainState, TensorError, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const { m, v } = yield* tensors.run(
      () => zeroMoments(weights) as unknown as { m: tf.NamedTensorMap; v: tf.NamedTensorMap }
    )
    return { weights, m, v, update: 0 }
  })

/**
 * Cuts weights into those that are trained and those that are frozen.
 *
 * @example const { trained, frozen } = splitTrained(weights, (name) => name.startsWith("projector."))
 */
export const splitTrained = (
  weights: Weights,
  isTrained: (name: string) => boolean
): { readonly trained: Weights; readonly frozen: Weights } => ({
  trained: Object.fromEntries(Object.entries(weights).filter(([name]) => isTrained(name))),
  frozen: Object.fromEntries(Object.entries(weights).filter(([name]) => !isTrained(name)))
})

/** What the rows of batches are called in an error. */
export const rowsOf = (batches: ReadonlyArray<TokenBatch>): Array<string> =>
  batches.flatMap(
    (batch) => batch.rowIds ?? Array.from({ length: batch.rows }, (_, i) => String(batch.rowNumbers?.[i] ?? i))
  )

/** Rows with their numbers in the global batch, in order, where the caller gave none. */
const numbered = <B extends TokenBatch>(
  batches: ReadonlyArray<B>
): ReadonlyArray<{ batch: B; rows: Array<number> }> => {
  let next = 0
  return batches.map((batch) => {
    const rows = Array.from({ length: batch.rows }, (_, i) => batch.rowNumbers?.[i] ?? next + i)
    next += batch.rows
    return { batch, rows }
  })
}

/**
 * One step. Consumes `state` when it succeeds, and leaves it untouched when it fails.
 *
 * Fails with `NonFiniteLoss` (with the step and the row ids of the micro-batch), `NothingToLearn`, an engine's error,
 * or a helper's.
 *
 * Long: gradients are freed wherever it fails, so it is one sequence.
 *
 * @example const { state: next, loss } = yield* trainStep(phiTrainable(config), state, {}, [batch], { lr: 3e-5, seed, step })
 */
export const trainStep = <Batch extends TokenBatch, Prepared extends tf.TensorContainer>(
  model: Trainable<Batch, Prepared>,
  state: TrainState,
  frozen: Weights,
  microBatches: ReadonlyArray<Batch>,
  options: StepOptions
): Effect.Effect<StepResult, TensorError | NonFiniteLoss | NothingToLearn | HelperFailed, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const tokens = microBatches.reduce((sum, batch) => sum + lossTokens(batch), 0)
    if (tokens === 0)
      return yield* new NothingToLearn({
        step: options.step,
        message: `no token of step ${options.step}'s ${rowsOf(microBatches).length} rows carries loss`,
        rows: rowsOf(microBatches),
        hint: "Every label is -100 or cut off: drop rows without an answer, and truncate after image expansion."
      })
    const workers = options.workers ?? singleThread
    const micros = numbered(microBatches).map(({ batch, rows }) => ({
      batch,
      normaliser: tokens,
      ...(options.dropout === false ? {} : { dropout: { seed: options.seed, step: options.step, rows } })
    }))
    let grads: Weights | undefined
    let loss = 0
    const accumulate = Effect.gen(function* () {
      const gradients = yield* workers.begin(model, state.weights, frozen, micros)
      for (const [i, { batch }] of micros.entries()) {
        const result = yield* gradients.gradient(i, grads)
        grads = result.grads
        loss += result.value
        if (!Number.isFinite(result.value))
          return yield* new NonFiniteLoss({
            step: options.step,
            value: String(result.value),
            quantity: "loss",
            rows: rowsOf([batch]),
            hint: "Look at these rows, lower the learning rate, or go back to the last good checkpoint."
          })
      }
    })
    const update = Effect.gen(function* () {
      yield* accumulate
      const summed = grads!
      const gradNorm = yield* tensors.norm(summed)
      if (!Number.isFinite(gradNorm))
        return yield* new NonFiniteLoss({
          step: options.step,
          value: String(gradNorm),
          quantity: "gradient",
          rows: rowsOf(microBatches),
          hint: "The loss is finite but its gradient is not: look at these rows, or lower the learning rate."
        })
      const scale = clipCoefficient(gradNorm, options.maxGradNorm)
      if (scale < 1) {
        grads = yield* tensors.run(
          () =>
            Object.fromEntries(
              Object.entries(summed).map(([name, g]) => [name, tf.mul(g, tf.scalar(scale))])
            ) as tf.NamedTensorMap
        )
        yield* tensors.free(summed)
      }
      return gradNorm
    }).pipe(Effect.onError(() => (grads === undefined ? Effect.void : tensors.free(grads))))
    const gradNorm = yield* update
    const next = yield* tensors.adamW(state, grads!, options.adamW ?? recipeAdamW, options.lr, state.update + 1)
    return { state: { ...next, update: state.update + 1 }, loss, tokens, gradNorm }
  })

/**
 * The mean loss of batches, without dropout and without gradients; for evaluation.
 *
 * @example const { loss } = yield* evaluateLoss(phiTrainable(config), state.weights, heldOut)
 */
export const evaluateLoss = <Batch extends TokenBatch, Prepared extends tf.TensorContainer>(
  model: Trainable<Batch, Prepared>,
  weights: Weights,
  batches: ReadonlyArray<Batch>
): Effect.Effect<{ readonly loss: number; readonly tokens: number }, TensorError, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const tokens = batches.reduce((sum, batch) => sum + lossTokens(batch), 0)
    let loss = 0
    for (const batch of batches) {
      const scalar = yield* tensors.run((c) =>
        model.loss(c, weights, model.prepare(c, weights, batch), { normaliser: Math.max(1, tokens) })
      )
      loss += (yield* tensors.read(scalar))[0]!
      yield* tensors.free(scalar)
    }
    return { loss, tokens }
  })

/** A tensor's values with its shape. */
export interface SavedTensor {
  readonly shape: ReadonlyArray<number>
  readonly values: Float32Array
}

/** A state as plain arrays: what a checkpoint stores. Names are `weights/<name>`, `m/<name>`, `v/<name>`. */
export interface SavedState {
  readonly update: number
  readonly tensors: Readonly<Record<string, SavedTensor>>
}

const parts = ["weights", "m", "v"] as const

/**
 * Reads a state back from the engine; the state stays as it is.
 *
 * @example const { update, tensors } = yield* saveState(state)
 */
export const saveState = (state: TrainState): Effect.Effect<SavedState, TensorError, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const saved: Record<string, SavedTensor> = {}
    for (const part of parts)
      for (const [name, tensor] of Object.entries(state[part]))
        saved[`${part}/${name}`] = {
          shape: [...tensor.shape],
          values: (yield* tensors.read(tensor)) as Float32Array
        }
    return { update: state.update, tensors: saved }
  })

/**
 * Uploads a saved state: equal bits in, equal bits on. Names outside the three parts are ignored.
 *
 * @example const state = yield* restoreState({ update: 300, tensors })
 */
export const restoreState = (saved: SavedState): Effect.Effect<TrainState, TensorError, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const state = { weights: {}, m: {}, v: {} } as Record<(typeof parts)[number], Record<string, Tensor>>
    yield* Effect.forEach(
      parts,
      (part) =>
        Effect.gen(function* () {
          for (const [name, { values, shape }] of Object.entries(saved.tensors))
            if (name.startsWith(`${part}/`))
              state[part][name.slice(part.length + 1)] = yield* tensors.upload(values, shape)
        }),
      { discard: true }
    ).pipe(Effect.onError(() => tensors.free(state.weights, state.m, state.v)))
    return { ...state, update: saved.update }
  })

/** Frees a state. */
export const freeState = (state: TrainState): Effect.Effect<void, never, Tensors> =>
  Effect.flatMap(Tensors, (tensors) => tensors.free(state.weights, state.m, state.v))
