/**
 * The events of one node: its plan, and while it runs its start, its progress, its notices. The scheduler publishes
 * its end.
 */
import { Clock, Effect } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import type { PlanStep } from "../dag/Plan.ts"
import type { PendingEntry } from "../store/Store.ts"
import { type Event, Events } from "./Events.ts"
import type { NodeWatch } from "./NodeTask.ts"

/** Progress events of one node are published at most this often. */
const PROGRESS_EVERY_MS = 100
/** Steps of a fold more often: curves are drawn from them, and a step that trains something is seldom shorter. */
const STEP_EVERY_MS = 10

/** What is planned for one node. */
export const planEvent = (step: PlanStep<any>): Extract<Event, { event: "plan" }> => ({
  event: "plan",
  node: step.node.id,
  status: step.status,
  because: step.because,
  ...(step.rows === undefined ? {} : { rows: step.rows }),
  ...(step.rowsByPort === undefined ? {} : { rowsByPort: step.rowsByPort }),
  ...(step.bytes === undefined ? {} : { bytes: step.bytes })
})

/** Publishes progress of one node, not more often than every so many milliseconds. */
export const progressOf = Effect.fnUntraced(function* (node: AnyNode, everyMs = PROGRESS_EVERY_MS) {
  const events = yield* Events
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const fork = Effect.runForkWith(context)
  let last = 0
  return (progress: Omit<Extract<Event, { event: "node-progress" }>, "event" | "at" | "node">, always = false) => {
    const at = clock.currentTimeMillisUnsafe()
    if (!always && at - last < everyMs) return
    last = at
    fork(events.publish({ event: "node-progress", at, node: node.id, ...progress }))
  }
})

/** Publishes a notice about a node. */
export const notice = Effect.fnUntraced(function* (node: AnyNode, message: string) {
  const events = yield* Events
  yield* events.publish({ event: "notice", at: yield* Clock.currentTimeMillis, node: node.id, message })
})

/** What is known of a node when it starts. */
export interface NodeStart {
  readonly node: AnyNode
  readonly because: ReadonlyArray<string>
  readonly work: Pick<PendingEntry, "shards">
  /** Shards of a sharded node. */
  readonly count: number | undefined
  /** Rows that will be read, where that is known. */
  readonly rowsIn: number | undefined
  readonly onStart: () => void
}

/** Publishes that a node starts, a fold from the checkpoint of a step. */
export const announce = Effect.fnUntraced(function* (start: NodeStart, resumedAt?: number) {
  const { because, count, node, rowsIn, work } = start
  const events = yield* Events
  const at = yield* Clock.currentTimeMillis
  start.onStart()
  yield* events.publish({
    event: "node-start",
    at,
    node: node.id,
    kind: node.spec.kind as "sharded" | "whole" | "fold",
    because,
    ...(count === undefined
      ? {}
      : { shards: count, shardsDone: [...work.shards.keys()].filter((i) => i < count).length }),
    ...(resumedAt === undefined ? {} : { resumedAt }),
    ...(rowsIn === undefined ? {} : { rowsIn })
  })
})

/** A watch that publishes what a whole or fold node reports. */
export const watchOf = Effect.fnUntraced(function* (start: NodeStart): Effect.fn.Return<NodeWatch, never, Events> {
  const { node } = start
  const events = yield* Events
  const progress = yield* progressOf(node, node.spec.kind === "fold" ? STEP_EVERY_MS : PROGRESS_EVERY_MS)
  const started = Effect.fnUntraced(function* (from: Parameters<NodeWatch["started"]>[0]) {
    yield* announce(start, from?.step)
    for (const name of from?.skipped ?? [])
      yield* notice(node, `checkpoint ${name} is damaged and was skipped; going on from step ${from!.step}`)
  })
  return {
    started: (from) => Effect.provideService(started(from), Events, events),
    step: (step, total, metrics) => Effect.sync(() => progress({ step, total, metrics }, step === total)),
    saved: (step) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) => events.publish({ event: "checkpoint", at, node: node.id, step })),
    rows: (rows) => Effect.sync(() => progress({ rows })),
    metrics: (metrics) => Effect.sync(() => progress({ metrics }, true))
  }
})
