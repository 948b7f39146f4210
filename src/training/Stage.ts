/**
 * A training stage as the loop sees it: a model, its initial weights, a batch plan, a loader of micro-batches,
 * settings.
 *
 * Not a node and not a loop: nodes make a `Stage` from their inputs, `TrainingFold.ts` trains it. Settings are part of
 * a training node's parameters, and so of its key.
 */
import { type Effect, Schema } from "effect"
import type { TokenBatch } from "../model/TokenBatch.ts"
import type { Trainable } from "../model/Trainable.ts"
import type { Weights } from "../tensor/Ops.ts"
import type { BatchPlan } from "./BatchPlan.ts"
import { type Concluded, HeldOutSettings } from "./HeldOut.ts"
import type { RowsOf } from "./Prefetch.ts"
import { schedule } from "./Schedule.ts"

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
  /**
   * Longest gradient, by Euclidean norm; null does not clip. Zero, which some trainers read so, would stop all
   * learning.
   */
  maxGradNorm: Schema.NullOr(Schema.Number.check(Schema.isGreaterThan(0))),
  /** Dropout at the model's own rate while training. */
  dropout: Schema.Boolean,
  /**
   * Blocks of which only the input is kept, to be computed again for their gradients: all, every k-th, none. The same
   * bits.
   */
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

/**
 * What a stage trains and on what. Made anew when a run resumes, so it must be a pure function of the node's inputs.
 */
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
/** What loading a stage's weights and batches may fail with, and needs. */
export type StageError<S extends Stage<any>> = Effect.Error<Loads<S>>
export type StageServices<S extends Stage<any>> = Effect.Services<Loads<S>>

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

/** The learning rate of each step: the peak, times the schedule's multiplier. */
export const learningRateOf = ({ plan, settings }: Stage<any>): ((step: number) => number) => {
  const { decay, lr, warmupRatio } = settings
  const multiplier = schedule({ decay, warmupRatio, totalSteps: plan.steps })
  return (step) => lr * multiplier(step)
}
