/** Fetches a source and publishes its progress as that of a node. */
import { Clock, Effect } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import { isRemote } from "../dag/Source.ts"
import { type SourceHere, type SourceLook, Store } from "../store/Store.ts"
import { Events } from "./Events.ts"
import { progressOf } from "./NodeEvents.ts"
import { specOf } from "./PlanContext.ts"
import { Interrupted, Stop } from "./Run.ts"
import type { RunError } from "./RunSession.ts"

/** Publishes how the fetch of a source ended. */
const publishEnd = Effect.fnUntraced(function* (
  node: AnyNode,
  startedMs: number,
  status: "ran" | "failed" | "interrupted",
  error?: RunError
) {
  const events = yield* Events
  const at = yield* Clock.currentTimeMillis
  yield* events.publish({
    event: "node-end",
    at,
    node: node.id,
    kind: "source",
    status,
    seconds: (at - startedMs) / 1000,
    rowsIn: 0,
    rowsOut: 0,
    refused: 0,
    refusedBy: {},
    ...(error === undefined ? {} : { error: { tag: error._tag, message: error.message, hint: error.hint } })
  })
})

/** Fetches a remote source and publishes its events; publishes none where it is already local. */
export const fetchSource = Effect.fn("run.fetchSource")(function* (
  pipeline: string,
  node: AnyNode,
  found: SourceLook
): Effect.fn.Return<SourceHere, RunError, Store | Events | Stop> {
  const store = yield* Store
  const spec = specOf(node)
  if (found.here)
    return isRemote(spec.location) || found.partly === true ? yield* store.fetchSource(spec, { pipeline }) : found
  const events = yield* Events
  const stop = yield* Stop
  const started = yield* Clock.currentTimeMillis
  const because = [`fetching ${found.address}`]
  yield* events.publish({ event: "node-start", at: started, node: node.id, kind: "source", because })
  const progress = yield* progressOf(node)
  const clock = yield* Clock.Clock
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const fetching = store.fetchSource(spec, {
    pipeline,
    onNotice: (message) => {
      fork(events.publish({ event: "notice", at: clock.currentTimeMillisUnsafe(), node: node.id, message }))
    },
    onBytes: (bytes, bytesTotal) => progress({ bytes, ...(bytesTotal === undefined ? {} : { bytesTotal }) })
  })
  const stopped = new Interrupted({
    message: `${node.id} stopped while it was fetched; the part that arrived is kept`,
    hint: "Run the same command again: the download continues from there."
  })
  return yield* Effect.raceFirst(fetching, Effect.andThen(stop.wait, Effect.fail(stopped))).pipe(
    Effect.onInterrupt(() => publishEnd(node, started, "interrupted")),
    Effect.tapError((error) =>
      publishEnd(node, started, error instanceof Interrupted ? "interrupted" : "failed", error)
    ),
    Effect.tap(() => publishEnd(node, started, "ran"))
  )
})
