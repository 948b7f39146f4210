/**
 * What can go wrong in an engine, as typed errors with a hint.
 *
 * Regions are plain functions that throw these; `Tensors.run` and `valueAndGrad` turn them into typed failures.
 */
import { Schema } from "effect"
import { crossing } from "../dag/Crossing.ts"

/** Shapes that do not fit an operation. Shapes are written `[2, 3]`. */
export class ShapeMismatch extends Schema.TaggedError<ShapeMismatch>()("ShapeMismatch", {
  operation: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

/** The engine could not allocate; bytes asked for and bytes held. */
export class OutOfMemory extends Schema.TaggedError<OutOfMemory>()("OutOfMemory", {
  engine: Schema.String,
  requestedBytes: Schema.Number,
  heldBytes: Schema.Number,
  hint: Schema.String
}) {}

/** The engine that was asked for cannot be used here. */
export class EngineUnavailable extends Schema.TaggedError<EngineUnavailable>()("EngineUnavailable", {
  engine: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** An operation failed inside the engine. */
export class EngineFailure extends Schema.TaggedError<EngineFailure>()("EngineFailure", {
  engine: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** All that `Tensors` can fail with once a layer is built. */
export type TensorError = ShapeMismatch | OutOfMemory | EngineFailure

/** Whether `u` is one of the errors above, which pass through unchanged. */
export const isTensorError = (u: unknown): u is TensorError =>
  u instanceof ShapeMismatch || u instanceof OutOfMemory || u instanceof EngineFailure

/** Throws `ShapeMismatch` unless `ok`. The message is built only on failure. */
export const expectShape = (ok: boolean, operation: string, message: () => string, hint: string): void => {
  if (!ok) throw new ShapeMismatch({ operation, message: message(), hint })
}

crossing(ShapeMismatch, OutOfMemory, EngineUnavailable, EngineFailure)
