/**
 * Other threads that compute parts of a fold's steps: what a fold sees of them.
 *
 * Not threads: the runner starts those, and a fold that finds none computes alone. How many there are must change no
 * bit of a result, so it is no parameter and reaches no key. A helper has opened the same node on the same inputs
 * (`help` of `FoldFunctions`); tasks and answers are copied between threads, so they are plain data, and large ones lie
 * in a `SharedArrayBuffer`.
 */
import { Context, Effect, Schema, type Scope } from "effect"

/** A helper could not open the node, or its thread ended. */
export class HelperFailed extends Schema.TaggedError<HelperFailed>()("HelperFailed", {
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** One helper. It does its tasks one after another, in the order in which they were sent. */
export interface Helper {
  /** Sends a task; the effect it gives waits for the answer, which need not be asked for. */
  readonly ask: (task: unknown) => Effect.Effect<Effect.Effect<unknown, HelperFailed>>
}

const none: Effect.Effect<ReadonlyArray<Helper>> = Effect.succeed([])

/** Gives at most so many helpers, none where the caller computes alone; they end with the scope. */
export const Helpers = Context.Reference<(wanted: number) => Effect.Effect<ReadonlyArray<Helper>, never, Scope.Scope>>(
  "millrace/dag/Helpers",
  { defaultValue: () => () => none }
)
