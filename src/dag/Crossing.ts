/**
 * Error classes that are decoded to the same class in another thread or process, by tag.
 *
 * Not every error's: one that is not named here crosses with its tag, fields, message and hint
 * (`run/SerializedExit.ts`), which is what `Effect.catchTag` and people go by. A class is named here where somebody
 * asks `instanceof`.
 */
import type { Schema } from "effect"

/** A class made by `Schema.TaggedError`. */
export type ErrorClass = Schema.Top & (new (...args: Array<any>) => Error & { readonly _tag: string })

const classes = new Map<string, ErrorClass>()

/** Names classes of errors that cross; the tag is the class's own. The first of a tag stays. */
export const crossing = (...named: ReadonlyArray<ErrorClass>): void => {
  for (const one of named) {
    const tag = tagOf(one)
    if (tag !== undefined && !classes.has(tag)) classes.set(tag, one)
  }
}

const tagOf = (one: ErrorClass): string | undefined => {
  const { identifier } = one as { readonly identifier?: unknown }
  return typeof identifier === "string" ? identifier : one.name
}

/** The class of a tag, where it was named. */
export const classOf = (tag: unknown): ErrorClass | undefined =>
  typeof tag === "string" ? classes.get(tag) : undefined
