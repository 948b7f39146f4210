/**
 * The training loop as the functions of a fold node: start, step, checkpoint, finish.
 *
 * Not a model and not a recipe: a `Stage` says what is trained, on which batches, with which settings; a `Stepper`
 * takes the steps, in this process or in a process group. A step is a pure function of (state, step), so a run restored
 * at any step ends with the bits of one that never stopped.
 */
import { Effect, type Scope } from "effect"
import type { FoldFunctions, FoldProgress } from "../dag/Fold.ts"
import type { SafetensorsError } from "../model/Safetensors.ts"
import type { Collective, CollectiveFailed } from "../tensor/Collective.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Weights } from "../tensor/Ops.ts"
import type { Tensors } from "../tensor/Tensors.ts"
import { type BadCheckpoint, decodeLoop, encodeLoop } from "./Checkpoint.ts"
import { helperOf } from "./GradientWorkers.ts"
import {
  conclude,
  type HeldOutWatch,
  heldOutSaved,
  isDue,
  type NothingHeldOut,
  noteLoss,
  watchHeldOut
} from "./HeldOut.ts"
import type { RowsOf } from "./Prefetch.ts"
import { followRankZero, joinGroup, rankStepper } from "./RankStepper.ts"
import { learningRateOf, type Stage, type StageError, type StageServices, type Trained } from "./Stage.ts"
import { initialState, NothingToLearn, restoreState, type TrainState } from "./Step.ts"
import { heldOutLoss, localStepper, type Stepper, type StepperError } from "./Stepper.ts"

interface LoopState {
  readonly stage: Stage<any>
  readonly stepper: Stepper<any, any>
  readonly learningRate: (step: number) => number
  step: number
  lossTokens: number
  readonly losses: Array<number>
  readonly watch: HeldOutWatch
}

type LoopError = StepperError | NothingHeldOut

/** A stage that has no example ends before its first step; with 0 epochs it is skipped. */
const somethingToLearn = ({ plan, settings }: Stage<any>): Effect.Effect<void, NothingToLearn> =>
  plan.steps > 0 || settings.epochs === 0
    ? Effect.void
    : Effect.fail(
        new NothingToLearn({
          step: 0,
          message: "there is no example to train on",
          rows: [],
          hint: "The quarantines of the nodes before say where they went. With epochs 0 the stage is skipped."
        })
      )

const progressOf = ({ learningRate, losses, stage, step, watch }: LoopState): FoldProgress => {
  const loss = losses.at(-1)
  const last = watch.evaluations.at(-1)
  const heldOut = last?.step === step ? { heldOutLoss: last.loss } : {}
  return {
    step,
    total: stage.plan.steps,
    // The rate that the last step was taken with.
    metrics: loss === undefined ? {} : { loss, lr: learningRate(step - 1), ...heldOut }
  }
}

/**
 * Fold functions of a stage. `open` loads what is frozen and plans the batches; `finish` turns trained weights into the
 * node's outputs. `openLoad` gives the stage's own `load` in a thread that has no engine; without it, batches are
 * loaded in the thread that trains.
 *
 * Long: the functions of one fold, which share the types of its stage.
 *
 * @example
 * fold({ id: "trainLanguageModel", ... }, trainingFold(openStage, (context, trained) => Effect.succeed({ ... }), openBatches))
 */
export const trainingFold = <C, S extends Stage<any>, E, R, Out, E2, R2>(
  open: (context: C) => Effect.Effect<S, E, R>,
  finish: (context: C, trained: Trained) => Effect.Effect<Out, E2, R2>,
  openLoad?: (
    context: C
  ) => Effect.Effect<
    (rows: RowsOf) => Effect.Effect<Effect.Success<ReturnType<S["load"]>>, StageError<S>, Scope.Scope>,
    E,
    Scope.Scope
  >
): FoldFunctions<
  C,
  LoopState,
  Out,
  E | StageError<S> | LoopError,
  R | StageServices<S> | Tensors | Scope.Scope,
  StageError<S> | LoopError,
  StageServices<S> | Tensors,
  E2 | StageError<S> | LoopError,
  R2 | StageServices<S> | Tensors | Scope.Scope,
  TensorError | CollectiveFailed,
  Tensors,
  E | StageError<S> | LoopError | BadCheckpoint | SafetensorsError,
  R | StageServices<S> | Tensors | Scope.Scope
> => {
  /** The loop over a state, which its stepper takes over. */
  const begin = (
    stage: Stage<any>,
    train: TrainState,
    group: Collective["Service"] | undefined,
    at: Pick<LoopState, "step" | "lossTokens" | "losses" | "watch">
  ) =>
    Effect.map(
      group === undefined
        ? localStepper<StageError<S>, StageServices<S>>(stage, train)
        : rankStepper<StageError<S>, StageServices<S>>(stage, train, group),
      (stepper): LoopState => ({ stage, stepper, learningRate: learningRateOf(stage), ...at })
    )
  return {
    init: (context) =>
      Effect.gen(function* () {
        const group = yield* joinGroup
        const stage = yield* open(context)
        const watch = yield* watchHeldOut(stage.settings, stage.heldOut.length)
        yield* somethingToLearn(stage)
        const weights = yield* stage.initial as Effect.Effect<Weights, StageError<S>, StageServices<S>>
        return yield* begin(stage, yield* initialState(weights), group, { step: 0, lossTokens: 0, losses: [], watch })
      }),
    step: (_, state) =>
      Effect.gen(function* () {
        const stepper: Stepper<StageError<S>, StageServices<S>> = state.stepper
        const { loss, tokens } = yield* stepper.step(state.step)
        // JSON has no minus zero, so neither has the log: a restored one is equal to one that went on.
        state.losses.push(loss + 0)
        state.lossTokens += tokens
        state.step++
        if (isDue(state.watch, state.step))
          yield* noteLoss(state.watch, state.step, yield* stepper.measure(state.step), stepper.weights())
        return state
      }),
    progress: progressOf,
    finish: (context, state) =>
      Effect.gen(function* () {
        const { lossTokens, losses, stage, step, stepper, watch } = state
        yield* stepper.close
        const last = heldOutLoss<StageError<S>, StageServices<S>>(stage, stepper.weights(), step)
        const { log, weights } = yield* conclude(watch, step, stepper.weights(), last)
        const cut = { cutRows: stage.cut?.rows ?? 0, cutTokens: stage.cut?.tokens ?? 0 }
        return yield* finish(context, {
          weights,
          log: { steps: step, lossTokens, losses: [...losses], ...cut, ...log }
        })
      }),
    state: {
      encode: ({ lossTokens, losses, step, stepper, watch }) =>
        Effect.map(stepper.save(step), (saved) => {
          const { position, tensors } = heldOutSaved(watch)
          return encodeLoop(
            { step, lossTokens, losses: [...losses], ...position },
            { ...saved, tensors: { ...saved.tensors, ...tensors } }
          )
        }),
      decode: (context, files) =>
        Effect.gen(function* () {
          const { position, saved } = yield* decodeLoop(files)
          const { heldOut, losses, lossTokens, step } = position
          const group = yield* joinGroup
          const stage = yield* open(context)
          const from = { position: heldOut, tensors: saved.tensors }
          const watch = yield* watchHeldOut(stage.settings, stage.heldOut.length, from)
          return yield* begin(stage, yield* restoreState(saved), group, {
            step,
            lossTokens,
            losses: [...losses],
            watch
          })
        })
    },
    ...(openLoad === undefined
      ? {}
      : { load: (context: C) => Effect.map(openLoad(context), (load) => (rows: unknown) => load(rows as RowsOf)) }),
    help: (context) => Effect.flatMap(open(context), ({ frozen, model }) => helperOf(model, frozen)),
    follow: (context) =>
      Effect.gen(function* () {
        const group = (yield* joinGroup)!
        yield* followRankZero<StageError<S>, StageServices<S>>(yield* open(context), group)
      })
  }
}
