/**
 * The training loop as the functions of a fold node: start, step, checkpoint, finish.
 *
 * Not a model and not a recipe: a `Stage` says what is trained, on which batches, with which settings. A step is a pure
 * function of (state, step), so a run restored at any step ends with the bits of one that never stopped, on as many
 * threads as there are (`Crew.ts`).
 *
 * Where there is a meeting (`World`), processes do the steps together (`Sharded.ts`): rank 0 runs the fold and says before
 * each step what comes; the others follow. Checkpoints are the same files however many wrote them.
 */
import { Effect, Schema, type Scope } from "effect"
import type { FoldFunctions, FoldProgress } from "../dag/Fold.ts"
import { type HelperFailed, Helpers } from "../dag/Helpers.ts"
import { type LoaderFailed, Loading } from "../dag/Loader.ts"
import { World } from "../dag/World.ts"
import type { SafetensorsError } from "../model/Safetensors.ts"
import type { TokenBatch } from "../model/TokenBatch.ts"
import type { Trainable } from "../model/Trainable.ts"
import { Collective, CollectiveFailed } from "../tensor/Collective.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Weights } from "../tensor/Ops.ts"
import { Tensors } from "../tensor/Tensors.ts"
import { type Ahead, loadAhead, type RowsOf } from "./Ahead.ts"
import type { BatchPlan } from "./BatchPlan.ts"
import { type BadCheckpoint, decodeLoop, encodeLoop } from "./Checkpoint.ts"
import { alone, type Crew, crewOf, helperOf } from "./Crew.ts"
import {
  type Concluded,
  conclude,
  HeldOutSettings,
  type HeldOutWatch,
  heldOutSaved,
  isDue,
  measureHeldOut,
  type NothingHeldOut,
  noteLoss,
  watchHeldOut
} from "./HeldOut.ts"
import { schedule } from "./Schedule.ts"
import { type Sharded, share } from "./Sharded.ts"
import { cutStep } from "./Share.ts"
import {
  freeState,
  initialState,
  type NonFiniteLoss,
  NothingToLearn,
  restoreState,
  saveState,
  type TrainState,
  trainStep
} from "./Step.ts"

/** What a training node is tuned by: part of its parameters, and so of its key. */
export const TrainingSettings = {
  epochs: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  /** Peak learning rate. */
  lr: Schema.Number.check(Schema.isGreaterThanOrEqualTo(0)),
  decay: Schema.Literals(["linear", "cosine", "constant"]),
  /** Share of all steps over which the rate rises from zero. */
  warmupRatio: Schema.Number.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
  /** Rows of the global batch, and rows computed at a time (gradients are summed). */
  batch: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
  microBatch: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
  beta1: Schema.Number,
  beta2: Schema.Number,
  eps: Schema.Number,
  /** Decoupled; not applied to biases and norms. */
  weightDecay: Schema.Number,
  /** Longest gradient, by Euclidean norm; null does not clip. Zero, which some trainers read so, would stop all learning. */
  maxGradNorm: Schema.NullOr(Schema.Number.check(Schema.isGreaterThan(0))),
  /** Dropout at the model's own rate while training. */
  dropout: Schema.Boolean,
  /** Blocks of which only the input is kept, to be computed again for their gradients: all, every k-th, none. The same bits. */
  recompute: Schema.Union([Schema.Boolean, Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))]),
  /** Of data order and dropout. */
  seed: Schema.Int,
  ...HeldOutSettings
} as const
const Settings = Schema.Struct(TrainingSettings)
export type TrainingSettings = typeof Settings.Type

/** Examples that were cut at the context's end, and the tokens they lost. */
export interface Cut {
  readonly rows: number
  readonly tokens: number
}

/** What a stage trains and on what. Made anew when a run resumes, so it must be a pure function of the node's inputs. */
export interface Stage<Batch extends TokenBatch> {
  readonly model: Trainable<Batch, any>
  /** Weights that are trained, uploaded; asked for only when the stage starts from its beginning. */
  readonly initial: Effect.Effect<Weights, any, any>
  /** Weights that are not; freed with the scope by whoever made the stage. */
  readonly frozen: Weights
  readonly settings: TrainingSettings
  readonly plan: BatchPlan
  /** What was cut off the examples at the context's end; nothing when left out. */
  readonly cut?: Cut
  /** Loads the rows of one micro-batch: lists of example numbers. */
  readonly load: (rows: RowsOf) => Effect.Effect<Batch, any, any>
  /** Batches whose loss is measured, at the end or before, and never trained on; each is loaded when its turn comes. */
  readonly heldOut: ReadonlyArray<Effect.Effect<Batch, any, any>>
}

type Loads<S extends Stage<any>> = S["initial"] | ReturnType<S["load"]> | S["heldOut"][number]
type StageError<S extends Stage<any>> = Effect.Error<Loads<S>>
type StageServices<S extends Stage<any>> = Effect.Services<Loads<S>>

/** A finished stage, before its weights are freed. */
export interface Trained {
  readonly weights: Weights
  readonly log: {
    readonly steps: number
    readonly lossTokens: number
    readonly losses: ReadonlyArray<number>
    readonly cutRows: number
    readonly cutTokens: number
  } & Concluded["log"]
}

interface LoopState {
  readonly stage: Stage<any>
  readonly ahead: Ahead<TokenBatch, any, any>
  readonly multiplier: (step: number) => number
  readonly crew: Crew
  /** Present where several processes hold the state; `train` then has no moments. */
  readonly together: Together | undefined
  train: TrainState
  step: number
  lossTokens: number
  readonly losses: Array<number>
  readonly watch: HeldOutWatch
}

/** A state that processes hold together, and how rank 0 says what comes. */
interface Together {
  readonly sharded: Sharded
  readonly collective: Collective["Service"]
  /** Runs what all ranks do at rank 0's word. */
  readonly after: <A, E, R>(
    word: Word,
    step: number,
    work: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | CollectiveFailed, R>
  /** Lets the others go. */
  readonly end: Effect.Effect<void, CollectiveFailed>
}

/** What rank 0 says: take a step, give your part of the state, measure your part of the held-out rows, go. */
const words = { end: 0, step: 1, save: 2, measure: 3 } as const
type Word = keyof typeof words

/** How long the last word may take where something went wrong before. */
const LAST_WORD = "5 seconds"

/** This process's place among those that do the fold together; undefined where it is alone. */
const joined: Effect.Effect<Collective["Service"] | undefined, CollectiveFailed, Tensors | Scope.Scope> = Effect.gen(
  function* () {
    const meeting = yield* World
    if (meeting === undefined) return undefined
    const { fingerprint, join } = yield* Tensors
    if (join !== undefined) return yield* join(meeting)
    return yield* new CollectiveFailed({
      rank: meeting.rank,
      world: meeting.world,
      operation: "join",
      message: `the engine ${fingerprint.engine} cannot compute in several processes`,
      hint: "Use --engine torch, or one process."
    })
  }
)

const chunk = <A>(items: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> => {
  const out: Array<ReadonlyArray<A>> = []
  for (let at = 0; at < items.length; at += size) out.push(items.slice(at, at + size))
  return out
}

type LoopError =
  | TensorError
  | NonFiniteLoss
  | NothingToLearn
  | NothingHeldOut
  | HelperFailed
  | LoaderFailed
  | CollectiveFailed

/**
 * Fold functions of a stage. `open` loads what is frozen and plans the batches; `finish` turns trained weights into the
 * node's outputs. `openLoad` gives the stage's own `load` in a thread that has no engine; without it, batches are loaded in
 * the thread that trains.
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
  type Load<A> = Effect.Effect<A, StageError<S>, StageServices<S>>
  /** Shares a state with the processes that follow; they are let go with the scope at the latest. */
  const lead = (collective: Collective["Service"], train: TrainState) =>
    Effect.gen(function* () {
      const sharded = yield* Effect.provideService(share(train), Collective, collective)
      let over = false
      const say = (word: Word, step: number) =>
        Effect.suspend(() => {
          if (over) return Effect.void
          over = word === "end"
          return collective.tell([words[word], step])
        })
      yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeout(say("end", 0), LAST_WORD)))
      const together: Together = {
        sharded,
        collective,
        after: (word, step, work) =>
          Effect.andThen(say(word, step), work).pipe(
            // What failed here fails there, or is told by the runner.
            Effect.tapCause(() =>
              Effect.sync(() => {
                over = true
              })
            )
          ),
        end: say("end", 0)
      }
      return together
    })
  /** Micro-batches of steps, loaded ahead: all, or those of one rank. Asked for last: helpers take their threads before. */
  const aheadOf = (stage: Stage<any>, place?: { readonly rank: number; readonly world: number }) =>
    Effect.gen(function* () {
      const { load, plan, settings } = stage
      return yield* loadAhead(load as (rows: RowsOf) => Load<TokenBatch>, {
        steps: plan.steps,
        parts: (step): ReadonlyArray<RowsOf> =>
          place === undefined
            ? chunk(plan.rows(step), settings.microBatch)
            : cutStep(plan.rows(step), settings.microBatch, place.world).flatMap(({ index, rows }) =>
                index % place.world === place.rank ? [rows] : []
              ),
        loader: plan.steps === 0 ? undefined : yield* yield* Loading
      })
    })
  /** A step of all ranks, this one's part of it. */
  const stepTogether = (
    stage: Stage<any>,
    ahead: Ahead<TokenBatch, any, any>,
    multiplier: (step: number) => number,
    sharded: Sharded,
    world: number,
    step: number
  ) => {
    const { settings } = stage
    const taken = sharded.step(
      stage.model,
      stage.frozen,
      {
        cuts: cutStep(stage.plan.rows(step), settings.microBatch, world),
        load: (rows) => ahead.load(rows) as Load<TokenBatch>
      },
      {
        lr: settings.lr * multiplier(step),
        seed: settings.seed,
        step,
        adamW: settings,
        dropout: settings.dropout,
        ...(settings.maxGradNorm === null ? {} : { maxGradNorm: settings.maxGradNorm })
      }
    )
    return Effect.andThen(ahead.begin(step), taken)
  }
  const begin = (
    stage: Stage<any>,
    train: TrainState,
    collective: Collective["Service"] | undefined,
    at: Omit<LoopState, "stage" | "ahead" | "multiplier" | "crew" | "together" | "train">
  ) =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const { batch, decay, microBatch, warmupRatio } = stage.settings
      const multiplier = schedule({ decay, warmupRatio, totalSteps: stage.plan.steps })
      if (collective !== undefined) {
        const together = yield* Effect.onError(lead(collective, train), () => freeState(train))
        const ahead = yield* aheadOf(stage, collective)
        return { stage, ahead, multiplier, crew: alone, together, train: together.sharded.train(), ...at } as LoopState
      }
      // Each micro-batch of a step may have a thread; one that is alone stays where it is.
      const useful = tensors.oneThread ? Math.ceil(batch / microBatch) - 1 : 0
      const helpers = useful === 0 ? [] : yield* (yield* Helpers)(useful)
      const crew = yield* Effect.onError(crewOf(helpers, train.weights), () => freeState(train))
      const state: LoopState = {
        stage,
        ahead: yield* aheadOf(stage),
        crew,
        multiplier,
        together: undefined,
        train,
        ...at
      }
      yield* Effect.addFinalizer(() => Effect.provideService(freeState(state.train), Tensors, tensors))
      return state
    })
  const savedOf = (state: LoopState) =>
    state.together === undefined
      ? saveState(state.train)
      : state.together.after("save", state.step, state.together.sharded.save)
  /** The held-out loss of these weights; by all ranks, or by this one alone. */
  const measured = (
    { frozen, heldOut, model }: Stage<any>,
    trained: Weights,
    step: number,
    collective?: Collective["Service"]
  ) =>
    Effect.map(
      measureHeldOut(model, { ...frozen, ...trained }, heldOut as ReadonlyArray<Load<TokenBatch>>, step, collective),
      ({ loss }) => loss
    )
  /** Measures the held-out rows where they are due. */
  const watched = (state: LoopState) =>
    Effect.gen(function* () {
      const { stage, step, together, train, watch } = state
      if (!isDue(watch, step)) return state
      const loss =
        together === undefined
          ? yield* measured(stage, train.weights, step)
          : yield* together.after("measure", step, measured(stage, train.weights, step, together.collective))
      yield* noteLoss(watch, step, loss, train.weights)
      return state
    })
  const advanced = (state: LoopState, train: TrainState, loss: number, tokens: number): LoopState => {
    state.train = train
    // JSON has no minus zero, so neither has the log: a restored one is equal to one that went on.
    state.losses.push(loss + 0)
    state.lossTokens += tokens
    state.step++
    return state
  }
  return {
    init: (context) =>
      Effect.gen(function* () {
        const collective = yield* joined
        const stage = yield* open(context)
        const watch = yield* watchHeldOut(stage.settings, stage.heldOut.length)
        if (stage.plan.steps === 0 && stage.settings.epochs > 0)
          return yield* new NothingToLearn({
            step: 0,
            message: "there is no example to train on",
            rows: [],
            hint: "The quarantines of the nodes before say where they went. With epochs 0 the stage is skipped."
          })
        const train = yield* initialState(yield* stage.initial as Load<Weights>)
        return yield* begin(stage, train, collective, { step: 0, lossTokens: 0, losses: [], watch })
      }),
    step: (_, state) =>
      Effect.gen(function* () {
        const { frozen, model, plan, settings } = state.stage
        const { together } = state
        if (together !== undefined) {
          const { loss, tokens } = yield* together.after(
            "step",
            state.step,
            stepTogether(
              state.stage,
              state.ahead,
              state.multiplier,
              together.sharded,
              together.collective.world,
              state.step
            )
          )
          return yield* watched(advanced(state, together.sharded.train(), loss, tokens))
        }
        const rows = chunk(plan.rows(state.step), settings.microBatch)
        yield* state.ahead.begin(state.step) as Load<void>
        const batches = yield* Effect.forEach(rows, (some) => state.ahead.load(some) as Load<TokenBatch>)
        const result = yield* trainStep(model, state.train, frozen, batches, {
          lr: settings.lr * state.multiplier(state.step),
          seed: settings.seed,
          step: state.step,
          adamW: settings,
          dropout: settings.dropout,
          crew: state.crew,
          ...(settings.maxGradNorm === null ? {} : { maxGradNorm: settings.maxGradNorm })
        })
        return yield* watched(advanced(state, result.state, result.loss, result.tokens))
      }),
    progress: (state): FoldProgress => {
      const { multiplier, stage, step, watch } = state
      const loss = state.losses[state.losses.length - 1]
      const last = watch.evaluations.at(-1)
      const heldOut = last?.step === step ? { heldOutLoss: last.loss } : {}
      return {
        step,
        total: stage.plan.steps,
        // The rate that the last step was taken with.
        metrics: loss === undefined ? {} : { loss, lr: stage.settings.lr * multiplier(step - 1), ...heldOut }
      }
    },
    finish: (context, state) =>
      Effect.gen(function* () {
        if (state.together !== undefined) yield* state.together.end
        const { stage, step, train, watch } = state
        const { log, weights } = yield* conclude(watch, step, train.weights, measured(stage, train.weights, step))
        return yield* finish(context, {
          weights,
          log: {
            steps: state.step,
            lossTokens: state.lossTokens,
            losses: [...state.losses],
            cutRows: state.stage.cut?.rows ?? 0,
            cutTokens: state.stage.cut?.tokens ?? 0,
            ...log
          }
        })
      }),
    state: {
      encode: (state) =>
        Effect.map(savedOf(state), (saved) => {
          const { position, tensors } = heldOutSaved(state.watch)
          return encodeLoop(
            { step: state.step, lossTokens: state.lossTokens, losses: [...state.losses], ...position },
            { ...saved, tensors: { ...saved.tensors, ...tensors } }
          )
        }),
      decode: (context, files) =>
        Effect.gen(function* () {
          const { position, saved } = yield* decodeLoop(files)
          const collective = yield* joined
          const stage = yield* open(context)
          const from = { position: position.heldOut, tensors: saved.tensors }
          const watch = yield* watchHeldOut(stage.settings, stage.heldOut.length, from)
          const train = yield* restoreState(saved)
          return yield* begin(stage, train, collective, {
            step: position.step,
            lossTokens: position.lossTokens,
            losses: [...position.losses],
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
        const collective = (yield* joined)!
        const stage = yield* open(context)
        const sharded = yield* Effect.provideService(share(undefined), Collective, collective)
        const { decay, warmupRatio } = stage.settings
        const multiplier = schedule({ decay, warmupRatio, totalSteps: stage.plan.steps })
        const ahead = yield* aheadOf(stage, collective)
        for (;;) {
          const [word, step] = yield* collective.hear(2)
          if (word === words.end) return
          if (word === words.save) yield* sharded.save
          else if (word === words.measure) yield* measured(stage, sharded.train().weights, step!, collective)
          else yield* stepTogether(stage, ahead, multiplier, sharded, collective.world, step!)
        }
      })
  }
}
