/**
 * From whatever a node's effect ended with to one `NodeFailed` that a person can act on.
 *
 * Not a swallower: the original cause travels along; interruption stays interruption.
 */
import { inspect } from "node:util"
import { Cause, Effect, Result } from "effect"
import { scrub } from "../dag/Secrets.ts"
import { tooManyFilesHint } from "../store/OpenFiles.ts"
import { NodeFailed } from "./Run.ts"

/** A string field of an error that is not empty. */
const field = (error: unknown, name: string): string | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  const found = (error as Record<string, unknown>)[name]
  return typeof found === "string" && found !== "" ? found : undefined
}

/** What an error says to do, if it does, or what its system error asks for. */
export const hintOf = (error: unknown): string | undefined => field(error, "hint") ?? tooManyFilesHint(error)

/** What an error says that is neither text nor an `Error` with words: all its fields, short, secrets hidden. */
const inspected = (error: unknown): string =>
  inspect(error, { depth: 2, breakLength: Number.POSITIVE_INFINITY, maxStringLength: 200 })

const described = (error: unknown): string => {
  if (typeof error === "string") return error === "" ? "an empty text" : error
  if (typeof error !== "object" || error === null) return String(error)
  const tag = field(error, "_tag")
  const message = field(error, "message")
  if (tag === undefined) {
    if (!(error instanceof Error)) return message ?? inspected(error)
    const inner = error instanceof AggregateError ? error.errors.slice(0, 3).map(described).join("; ") : ""
    return `${error.name}: ${message ?? (inner === "" ? "(no message)" : inner)}`
  }
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

/**
 * `Tag: message` of any thrown or failed value; a bare tag shows the error's other fields. No secret of the pipeline.
 */
export const describeError = (error: unknown): string => {
  try {
    return scrub(described(error))
  } catch {
    return "an error that cannot be shown" // its own fields throw
  }
}

/** Whether an error says nothing that a person could act on: no `Error`, no tag, no message. */
const isBare = (error: unknown): boolean =>
  !(error instanceof Error) && field(error, "_tag") === undefined && field(error, "message") === undefined

const BARE =
  "Fail with an `Error` or a `Schema.TaggedError`: their `message` and `hint` are shown here. Finished work is kept."

/** What to do about a node's error that has no hint of its own. `bug`: a defect, which nothing declared. */
export const hintFor = (error: unknown, bug: boolean): string =>
  scrub(
    hintOf(error) ??
      (isBare(error)
        ? BARE
        : bug
          ? "This looks like a bug in the node; MILLRACE_DEBUG=1 shows the stack."
          : "Fix the cause and run the same command again: finished work is kept.")
  )

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
          hint: hintFor(error, bug),
          cause: bug && error instanceof Error ? (error.stack ?? error) : error
        })
      )
    })
