/**
 * Flat float32 memory of an engine, of which tensors, gradients and optimiser slices are parts.
 *
 * Not tensors: a vector has no shape and no gradient, and is changed in place. Parts share the memory of what they are
 * cut from. What data-parallel training keeps in flat buffers is made of these (`training/ShardedOptimizer.ts`).
 */
import type { Effect } from "effect"
import type { AdamWOptions } from "./AdamW.ts"
import type { TensorError } from "./Errors.ts"
import type { Tensor, Weights } from "./Ops.ts"

/** So many floats; what holds them is the engine's affair. */
export interface Vector {
  readonly size: number
}

/** A slice of weights with its moments and gradient, all of one size; `decays` says whether weight decay applies. */
export interface Slice {
  readonly weights: Vector
  readonly m: Vector
  readonly v: Vector
  readonly gradient: Vector
  readonly decays: boolean
}

export interface Vectors {
  /** Zeros. */
  readonly zeros: (size: number) => Effect.Effect<Vector, TensorError>
  /** The floats `at` to `at + size` of a vector, in its own memory. */
  readonly part: (of: Vector, at: number, size: number) => Effect.Effect<Vector, TensorError>
  /** Copies a tensor's values to place `at`. */
  readonly put: (tensor: Tensor, into: Vector, at: number) => Effect.Effect<void, TensorError>
  /** Copies a whole vector over another of its size. */
  readonly copy: (from: Vector, into: Vector) => Effect.Effect<void, TensorError>
  /** A tensor of the floats from `at`: in the vector's own memory, or a copy where the engine cannot share. */
  readonly view: (of: Vector, at: number, shape: ReadonlyArray<number>) => Effect.Effect<Tensor, TensorError>
  /** Whether `view` shares, so that a view need not be taken again when the vector has changed. */
  readonly shared: boolean
  /** Says that the values behind views have changed: what was derived from them is forgotten. */
  readonly changed: (views: Weights) => Effect.Effect<void>
  readonly read: (vector: Vector) => Effect.Effect<Float32Array, TensorError>
  readonly write: (values: Float32Array, into: Vector) => Effect.Effect<void, TensorError>
  readonly clear: (vector: Vector) => Effect.Effect<void, TensorError>
  readonly scale: (vector: Vector, by: number) => Effect.Effect<void, TensorError>
  /** The sum of squares of all of them. */
  readonly squares: (vectors: ReadonlyArray<Vector>) => Effect.Effect<number, TensorError>
  /** One AdamW update of slices, in place; their gradients keep no promised value. */
  readonly adamW: (
    slices: ReadonlyArray<Slice>,
    options: AdamWOptions,
    lr: number,
    update: number
  ) => Effect.Effect<void, TensorError>
  readonly free: (...vectors: ReadonlyArray<Vector>) => Effect.Effect<void>
}
