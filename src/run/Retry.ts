/** Retries and timeouts of a definition, applied to one attempt of a shard or a node. */
import { Duration, Effect, Schedule, Schema } from "effect"
import type { AnyNode } from "../dag/Node.ts"

/** One attempt took longer than the definition allows. */
export class NodeTimeout extends Schema.TaggedError<NodeTimeout>()("NodeTimeout", {
  node: Schema.String,
  timeoutMs: Schema.Number,
  message: Schema.String,
  hint: Schema.String
}) {}

/** Bounds each attempt by the node's timeout and repeats failed ones, waiting 0.2 s, 0.4 s, 0.8 s ... between. */
export const retrying =
  (node: AnyNode) =>
  <A, E, R>(attempt: Effect.Effect<A, E, R>): Effect.Effect<A, E | NodeTimeout, R> => {
    const { timeout, retries = 0 } = node.spec
    const bounded: Effect.Effect<A, E | NodeTimeout, R> =
      timeout === undefined
        ? attempt
        : Effect.timeoutOrElse(attempt, {
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
    return retries === 0
      ? bounded
      : Effect.retry(bounded, { times: retries, schedule: Schedule.exponential("200 millis") })
  }
