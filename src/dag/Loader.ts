/**
 * Another thread that loads what a fold's next steps need: what a fold sees of it.
 *
 * Not a thread: the runner starts that one, and a fold that finds none loads in its own. Neither changes a bit of a
 * result, so it is no parameter and reaches no key. The loader has opened the same node on the same inputs (`load` of
 * `FoldFunctions`). It loads what it is asked for and nothing else, so that the fold bounds the memory.
 *
 * Requests are plain data, copied. What was loaded is plain data too, and given away: the buffers of typed arrays that
 * fill theirs are handed over, not copied, and are gone where they were made.
 */
import { Context, Effect, Schema, type Scope } from "effect"

/** The loader could not open the node, or its thread ended. */
export class LoaderFailed extends Schema.TaggedError<LoaderFailed>()("LoaderFailed", {
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

export interface Loader {
  /** Whether it loads by now, or has failed to; before that, what is needed at once is loaded sooner without it. */
  readonly isOpen: () => boolean
  /** Waits until it loads. */
  readonly opened: Effect.Effect<void, LoaderFailed>
  /**
   * Asks for something; the effect it gives waits for that, which need not be awaited. What is asked first is loaded
   * first. Fails as `load` does, with the error's tag and fields, or with `LoaderFailed`.
   */
  readonly ask: (request: unknown) => Effect.Effect<Effect.Effect<unknown, any>>
}

const none: Effect.Effect<Loader | undefined> = Effect.undefined

/** Gives a loader that ends with the scope; undefined where the caller loads in its own thread. */
export const Loading = Context.Reference<Effect.Effect<Loader | undefined, never, Scope.Scope>>("millrace/dag/Loader", {
  defaultValue: () => none
})
