/**
 * What the processes of a training step do together: sum, gather and broadcast flat vectors in an engine's memory.
 *
 * Not processes (`run/Coordinator.ts`) and not an optimiser (`training/ShardedOptimizer.ts`). Every rank calls the same
 * operations on vectors of the same sizes in the same order. An operation is started by its effect; the effect that
 * this gives waits for its end, so that other work goes on in between. All but `hear` end within a limit, with
 * `CollectiveFailed`.
 */
import { Context, type Effect, Schema, type Scope } from "effect"
import { crossing } from "../dag/Crossing.ts"
import type { Rendezvous } from "../dag/ProcessGroup.ts"
import type { TensorError } from "./Errors.ts"
import type { Weights } from "./Ops.ts"
import type { Vector, Vectors } from "./Vectors.ts"

/** A collective broke: a rank ended, did not come in time, or the network failed. `rank` is the one that noticed. */
export class CollectiveFailed extends Schema.TaggedError<CollectiveFailed>()("CollectiveFailed", {
  rank: Schema.Number,
  world: Schema.Number,
  operation: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}
crossing(CollectiveFailed)

/** Waits for the end of what was started. */
export type Pending = Effect.Effect<void, CollectiveFailed>

/** Where the gradient of a weight belongs. */
export interface Placed {
  readonly name: string
  readonly bucket: number
  readonly at: number
}

/** Collects gradients in buckets, and sums the buckets over ranks. */
export interface Sink {
  /**
   * Runs one backward pass, whose gradients are added to the buckets and freed; gives its value. With `last`, a
   * bucket's sum over ranks is started as soon as all its gradients are there.
   */
  readonly take: <E, R>(
    pass: Effect.Effect<{ readonly value: number; readonly grads: Weights }, E, R>,
    last: boolean
  ) => Effect.Effect<number, E | TensorError, R>
  /** Starts the sums of a rank that has no pass in this step. */
  readonly none: Effect.Effect<void, TensorError>
  /** Waits until this rank's part of every bucket is the sum over ranks; the rest of a bucket is undefined. */
  readonly summed: Effect.Effect<void, CollectiveFailed>
}

export interface CollectiveShape extends Vectors {
  /** From 0; 0 leads. */
  readonly rank: number
  readonly world: number
  /** Buckets are of sizes that `world` divides. `weights` are the tensors that passes differentiate by. */
  readonly sink: (
    weights: Weights,
    places: ReadonlyArray<Placed>,
    buckets: ReadonlyArray<Vector>
  ) => Effect.Effect<Sink, TensorError, Scope.Scope>
  /** Every rank's part of a vector to all of them; rank r's part is the r-th of `world` equal ones. In place. */
  readonly gather: (vector: Vector) => Effect.Effect<Pending, TensorError>
  /** Rank 0's values to all. In place. */
  readonly broadcast: (vector: Vector) => Effect.Effect<Pending, TensorError>
  /** The sums of a few numbers over ranks, in doubles: the same bits on every rank. */
  readonly sum: (numbers: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<number>, CollectiveFailed>
  /** Rank 0 tells a few numbers to all others. */
  readonly tell: (numbers: ReadonlyArray<number>) => Effect.Effect<void, CollectiveFailed>
  /** What rank 0 tells next, so many numbers; waits for as long as it takes. */
  readonly hear: (count: number) => Effect.Effect<ReadonlyArray<number>, CollectiveFailed>
}

/** This process's place among those that compute together. */
export class Collective extends Context.Service<Collective, CollectiveShape>()("millrace/tensor/Collective") {}

/** An engine's way to a `Collective` at a rendezvous; left with the scope. */
export type Join = (rendezvous: Rendezvous) => Effect.Effect<CollectiveShape, CollectiveFailed, Scope.Scope>

/** Text as numbers, for `tell`: UTF-16 code units. */
export const numbersOf = (text: string): ReadonlyArray<number> =>
  Array.from({ length: text.length }, (_, i) => text.charCodeAt(i))

/** Text from what `hear` gave. */
export const textOf = (numbers: ReadonlyArray<number>): string => {
  let text = ""
  for (const unit of numbers) text += String.fromCharCode(unit)
  return text
}
