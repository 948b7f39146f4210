/**
 * Takes a stage's optimiser steps and holds its state: what the training loop drives, wherever the steps are computed.
 *
 * Not the loop (`TrainingFold.ts`: which step is next, checkpoints, the log). There are two: `localStepper` computes in
 * this process, on as many threads as there are; `rankStepper` (`RankStepper.ts`) in a process group, with the
 * optimiser's state cut over the ranks (ZeRO-1). Checkpoints are the same files with both.
 */
import { Effect, type Scope } from "effect"
import { type HelperFailed, Helpers } from "../dag/Helpers.ts"
import { type LoaderFailed, Loading } from "../dag/Loader.ts"
import type { TokenBatch } from "../model/TokenBatch.ts"
import type { Collective, CollectiveFailed } from "../tensor/Collective.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Weights } from "../tensor/Ops.ts"
import { Tensors } from "../tensor/Tensors.ts"
import { splitStep } from "./BatchSharding.ts"
import { gradientWorkers } from "./GradientWorkers.ts"
import { measureHeldOut } from "./HeldOut.ts"
import { type Prefetch, prefetch, type RowsOf } from "./Prefetch.ts"
import { learningRateOf, type Stage } from "./Stage.ts"
import {
  freeState,
  type NonFiniteLoss,
  type NothingToLearn,
  type SavedState,
  type StepOptions,
  type StepResult,
  saveState,
  type TrainState,
  trainStep
} from "./Step.ts"

/** What a step may fail with, beside what loading its batches may. */
export type StepperError = TensorError | NonFiniteLoss | NothingToLearn | HelperFailed | LoaderFailed | CollectiveFailed

/** `E` and `R` are those of loading a batch. */
export interface Stepper<E, R> {
  /** The trained weights as the last step left them. Owned by the stepper; the next step may free them. */
  readonly weights: () => Weights
  /** Step `step`. Fails as `trainStep` does, and leaves the state as it was. */
  readonly step: (step: number) => Effect.Effect<Pick<StepResult, "loss" | "tokens">, E | StepperError, R | Tensors>
  /** The whole state as plain arrays, after `step` steps. */
  readonly save: (step: number) => Effect.Effect<SavedState, TensorError | CollectiveFailed, Tensors>
  /** Held-out loss of the weights after `step` steps; null where nothing is held out. */
  readonly measure: (step: number) => Effect.Effect<number | null, E | StepperError, R | Tensors>
  /** No step comes any more: other processes may go. The weights stay until the scope closes. */
  readonly close: Effect.Effect<void, CollectiveFailed>
}

/** Which part of a process group this is. */
export interface Rank {
  readonly rank: number
  readonly world: number
}

const chunk = <A>(items: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> => {
  const out: Array<ReadonlyArray<A>> = []
  for (let at = 0; at < items.length; at += size) out.push(items.slice(at, at + size))
  return out
}

/** The micro-batches of steps, loaded ahead: all of them, or one rank's. */
export const prefetchStage = <E, R>(
  { load, plan, settings }: Stage<any>,
  group?: Rank
): Effect.Effect<Prefetch<TokenBatch, E, R>, never, Scope.Scope> =>
  Effect.gen(function* () {
    return yield* prefetch(load as (rows: RowsOf) => Effect.Effect<TokenBatch, E, R>, {
      steps: plan.steps,
      parts: (step): ReadonlyArray<RowsOf> =>
        group === undefined
          ? chunk(plan.rows(step), settings.microBatch)
          : splitStep(plan.rows(step), settings.microBatch, group.world).flatMap(({ index, rows }) =>
              index % group.world === group.rank ? [rows] : []
            ),
      loader: plan.steps === 0 ? undefined : yield* yield* Loading
    })
  })

/** What a step is taken with, beside its rows. */
export const stepOptions = ({ settings }: Stage<any>, lr: number, step: number): Omit<StepOptions, "workers"> => ({
  lr,
  seed: settings.seed,
  step,
  adamW: settings,
  dropout: settings.dropout,
  ...(settings.maxGradNorm === null ? {} : { maxGradNorm: settings.maxGradNorm })
})

/** The held-out loss of trained weights; by all ranks of a group together, or by this process. */
export const heldOutLoss = <E, R>(
  { frozen, heldOut, model }: Stage<any>,
  trained: Weights,
  step: number,
  group?: Collective["Service"]
): Effect.Effect<number | null, E | TensorError | NonFiniteLoss | CollectiveFailed, R | Tensors> =>
  Effect.map(
    measureHeldOut(
      model,
      { ...frozen, ...trained },
      heldOut as ReadonlyArray<Effect.Effect<TokenBatch, E, R>>,
      step,
      group
    ),
    ({ loss }) => loss
  )

/**
 * Steps in this process, from `initial`, which it takes over and frees with the scope.
 *
 * @example
 * const stepper = yield* localStepper(stage, yield* initialState(weights))
 * const { loss } = yield* stepper.step(0)
 */
export const localStepper = <E, R>(
  stage: Stage<any>,
  initial: TrainState
): Effect.Effect<Stepper<E, R>, TensorError, Tensors | Scope.Scope> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const { batch, microBatch } = stage.settings
    const learningRate = learningRateOf(stage)
    // Each micro-batch of a step may have a thread; a single one stays in this thread.
    const useful = tensors.oneThread ? Math.ceil(batch / microBatch) - 1 : 0
    const helpers = useful === 0 ? [] : yield* (yield* Helpers)(useful)
    const workers = yield* Effect.onError(gradientWorkers(helpers, initial.weights), () => freeState(initial))
    const batches = yield* prefetchStage<E, R>(stage) // last: helpers take their threads first
    let state = initial
    yield* Effect.addFinalizer(() => Effect.provideService(freeState(state), Tensors, tensors))
    return {
      weights: () => state.weights,
      step: Effect.fnUntraced(function* (step) {
        yield* batches.begin(step)
        const micros = yield* Effect.forEach(chunk(stage.plan.rows(step), microBatch), batches.load)
        const options = { ...stepOptions(stage, learningRate(step), step), workers }
        const { loss, state: next, tokens } = yield* trainStep(stage.model, state, stage.frozen, micros, options)
        state = next
        return { loss, tokens }
      }),
      save: () => saveState(state),
      measure: (step) => heldOutLoss<E, R>(stage, state.weights, step),
      close: Effect.void
    }
  })
