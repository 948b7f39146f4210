/**
 * Retries and timeouts of a definition, applied to one attempt of a shard or a node.
 *
 * Not for defects: a bug gives the same result twice. Both are applied beside the caller, never inside a worker thread,
 * so that a thread that died, ran out of memory or hangs in a loop is timed out and tried again like any other attempt.
 */
import { Duration, Effect, Schedule, Schema } from "effect"
import type { AnyNode } from "../dag/Node.ts"

/** One attempt took longer than the definition allows. */
export class NodeTimeout extends Schema.TaggedError<NodeTimeout>()("NodeTimeout", {
  node: Schema.String,
  timeoutMs: Schema.Number,
  message: Schema.String,
  hint: Schema.String
}) {}

/** Ends an attempt that takes longer than the node's `timeout`. */
export const timed =
  (node: AnyNode) =>
  <A, E, R>(attempt: Effect.Effect<A, E, R>): Effect.Effect<A, E | NodeTimeout, R> => {
    const { timeout } = node.spec
    if (timeout === undefined) return attempt
    return Effect.timeoutOrElse(attempt, {
      duration: timeout,
      orElse: () => {
        const timeoutMs = Duration.toMillis(Duration.fromInputUnsafe(timeout))
        return Effect.fail(
          new NodeTimeout({
            node: node.id,
            timeoutMs,
            message: `no result after ${timeoutMs} ms`,
            hint: "Raise `timeout` in the node's declaration, or make its shards smaller."
          })
        )
      }
    })
  }

/** Repeats a failed attempt `retries` times, waiting 0.2 s, 0.4 s, 0.8 s ... between. */
export const retried =
  (node: AnyNode) =>
  <A, E, R>(attempt: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
    const { retries = 0 } = node.spec
    return retries === 0
      ? attempt
      : Effect.retry(attempt, { times: retries, schedule: Schedule.exponential("200 millis") })
  }

/** Both: every attempt is bounded. */
export const retrying =
  (node: AnyNode) =>
  <A, E, R>(attempt: Effect.Effect<A, E, R>): Effect.Effect<A, E | NodeTimeout, R> =>
    retried(node)(timed(node)(attempt))
