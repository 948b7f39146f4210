/**
 * Retries and timeouts of a definition, applied to one attempt of a shard or a node.
 *
 * Not for defects: a bug gives the same result twice. Both are applied beside the caller, never inside a worker thread,
 * so that a thread that died, ran out of memory or hangs in a loop is timed out and tried again like any other attempt.
 */
import { Clock, Context, Duration, Effect, Schema } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import { describeError } from "./Failure.ts"

/** One attempt took longer than the definition allows. */
export class NodeTimeout extends Schema.TaggedError<NodeTimeout>()("NodeTimeout", {
  node: Schema.String,
  timeoutMs: Schema.Number,
  message: Schema.String,
  hint: Schema.String
}) {}

/** Ends an attempt that takes longer than the node's `timeout`; in a worker thread, the thread is ended. */
export const timed =
  (node: AnyNode) =>
  <A, E, R>(attempt: Effect.Effect<A, E, R>): Effect.Effect<A, E | NodeTimeout, R> => {
    const { timeout } = node.spec
    if (timeout === undefined) return attempt
    const timeoutMs = Duration.toMillis(Duration.fromInputUnsafe(timeout))
    const smaller = node.spec.kind === "sharded" ? "make its shards smaller" : "give it less to do"
    const hint = `Raise \`timeout\` in the node's declaration, or ${smaller}.`
    const message = `no result after ${timeoutMs} ms`
    return Effect.timeoutOrElse(attempt, {
      duration: timeout,
      orElse: () => Effect.fail(new NodeTimeout({ node: node.id, timeoutMs, message, hint }))
    })
  }

/**
 * The same for an attempt beside the caller. What computes without a pause cannot be ended there: it fails when it is
 * over, so that a limit is never passed in silence.
 */
const timedHere =
  (node: AnyNode) =>
  <A, E, R>(attempt: Effect.Effect<A, E, R>): Effect.Effect<A, E | NodeTimeout, R> =>
    node.spec.timeout === undefined
      ? attempt
      : Effect.gen(function* () {
          const started = yield* Clock.currentTimeMillis
          const built = yield* timed(node)(attempt)
          const ms = (yield* Clock.currentTimeMillis) - started
          const timeoutMs = Duration.toMillis(Duration.fromInputUnsafe(node.spec.timeout!))
          if (ms <= timeoutMs) return built
          return yield* new NodeTimeout({
            node: node.id,
            timeoutMs,
            message:
              `it took ${ms} ms, ${timeoutMs} are allowed; it computed without a pause and could not be ended ` +
              "before",
            hint: 'Declare `runs: "worker"` and run with worker threads: a thread is ended in time. Or raise `timeout`.'
          })
        })

/** One attempt that failed, of a node that declares `retries`. */
export interface FailedAttempt {
  readonly node: string
  readonly shard?: number
  /** From 1, and how many there may be. */
  readonly attempt: number
  readonly of: number
  readonly message: string
  /** Milliseconds until the next one; absent after the last. */
  readonly waitMs?: number
}

/** Hears of each failed attempt of a node with `retries`; does nothing where a node runs by itself. */
export const Attempts = Context.Reference<(failed: FailedAttempt) => Effect.Effect<void>>("millrace/run/Attempts", {
  defaultValue: () => () => Effect.void
})

/** Milliseconds before the second attempt; twice as long before each further one. */
const FIRST_WAIT_MS = 200

/**
 * Repeats a failed attempt `retries` times, waiting 0.2 s, 0.4 s, 0.8 s ... between. `Attempts` hears of each failure.
 */
export const retried =
  (node: AnyNode, shard?: number) =>
  <A, E, R>(attempt: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
    const { retries = 0 } = node.spec
    if (retries === 0) return attempt
    const from = (number: number): Effect.Effect<A, E, R> =>
      Effect.catch(attempt, (error) =>
        Effect.gen(function* () {
          const last = number > retries
          const waitMs = FIRST_WAIT_MS * 2 ** (number - 1)
          yield* (yield* Attempts)({
            node: node.id,
            ...(shard === undefined ? {} : { shard }),
            attempt: number,
            of: retries + 1,
            message: describeError(error),
            ...(last ? {} : { waitMs })
          })
          if (last) return yield* Effect.fail(error)
          yield* Effect.sleep(waitMs)
          return yield* from(number + 1)
        })
      )
    return Effect.suspend(() => from(1))
  }

/** Both: every attempt is bounded. */
export const retrying =
  (node: AnyNode, shard?: number) =>
  <A, E, R>(attempt: Effect.Effect<A, E, R>): Effect.Effect<A, E | NodeTimeout, R> =>
    retried(node, shard)(timedHere(node)(attempt))
