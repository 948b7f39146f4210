/**
 * From whatever a node's effect ended with to one `NodeFailed` that a person can act on.
 *
 * Not a swallower: the original cause travels along; interruption stays interruption.
 */
import { Cause, Effect, Result } from "effect"
import { NodeFailed } from "./Run.ts"

/** A string field of an error that is not empty. */
const field = (error: unknown, name: string): string | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  const found = (error as Record<string, unknown>)[name]
  return typeof found === "string" && found !== "" ? found : undefined
}

/** What an error says to do, if it does. */
export const hintOf = (error: unknown): string | undefined => field(error, "hint")

/** `Tag: message` of any thrown or failed value, in one line; a bare tag shows the error's other fields. */
export const describeError = (error: unknown): string => {
  const tag = field(error, "_tag")
  const message = field(error, "message") ?? (tag === undefined ? String(error) : undefined)
  if (tag === undefined) return error instanceof Error ? `${error.name}: ${error.message}` : (message ?? String(error))
  if (message !== undefined && message !== tag) return `${tag}: ${message}`
  const rest = Object.entries(error as Record<string, unknown>)
    .filter(
      ([name, value]) =>
        !["_tag", "hint", "cause", "message", "stack", "name"].includes(name) &&
        ["string", "number", "boolean"].includes(typeof value)
    )
    .map(([name, value]) => `${name}=${value}`)
  return rest.length === 0 ? tag : `${tag}: ${rest.join(" ")}`
}

/** Makes every failure and defect of `effect` a `NodeFailed` of this node (and shard). */
export const asNodeFailed =
  (node: string, shard?: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, NodeFailed, R> =>
    Effect.catchCause(effect, (cause): Effect.Effect<never, NodeFailed> => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
      const failed = Cause.findError(cause)
      const error: unknown = Result.isSuccess(failed) ? failed.success : Cause.squash(cause)
      if (error instanceof NodeFailed) return Effect.fail(error)
      const bug = !Result.isSuccess(failed) && field(error, "_tag") === undefined
      return Effect.fail(
        new NodeFailed({
          node,
          ...(shard === undefined ? {} : { shard }),
          message: describeError(error),
          hint:
            hintOf(error) ??
            (bug
              ? "This looks like a bug in the node; MILLRACE_DEBUG=1 shows the stack."
              : "Mend the cause and run the same command again: finished work is kept."),
          cause: bug && error instanceof Error ? (error.stack ?? error) : error
        })
      )
    })
