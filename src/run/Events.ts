/**
 * What happens in a run, as one typed stream that the terminal, the run's record and any page read alike.
 *
 * Not logging: every figure is measured, and what is not known is absent. Times are milliseconds since the epoch and
 * live here only, never in artifacts.
 */
import { Context, Effect, Layer, PubSub, Schema, Stream } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import { type Manifest, rowsByPort, rowsOut, rowsRefused } from "../store/Manifest.ts"

/** `skipped`: it was not begun, because a node before it failed (`--keep-going`). */
const Status = Schema.Literals(["ran", "cached", "failed", "interrupted", "skipped"])
const count = Schema.Number

export const Event = Schema.Union([
  Schema.Struct({
    event: Schema.Literal("start"),
    at: count,
    run: Schema.String,
    pipeline: Schema.String,
    preset: Schema.String,
    engine: Schema.optional(Schema.String),
    /** Why that engine, where the name that was asked for left it open. */
    engineWhy: Schema.optional(Schema.String),
    nodes: count
  }),
  /** One line of the plan. `source` nodes are files from outside. */
  Schema.Struct({
    event: Schema.Literal("plan"),
    node: Schema.String,
    status: Schema.Literals(["source", "cached", "run", "maybe"]),
    because: Schema.Array(Schema.String),
    rows: Schema.optional(count),
    /** Rows of each rows output, of a node with several. */
    rowsByPort: Schema.optional(Schema.Record(Schema.String, count)),
    bytes: Schema.optional(count)
  }),
  /** What the plan's training will cost, as the recipe counts it. */
  Schema.Struct({ event: Schema.Literal("cost"), figures: Schema.Json }),
  Schema.Struct({
    event: Schema.Literal("node-start"),
    at: count,
    node: Schema.String,
    /** A `source` starts when it is fetched. */
    kind: Schema.Literals(["sharded", "whole", "fold", "source"]),
    because: Schema.Array(Schema.String),
    /** Shards of a sharded node, and how many an earlier run left finished. */
    shards: Schema.optional(count),
    shardsDone: Schema.optional(count),
    /** The checkpoint's step that a fold goes on from. */
    resumedAt: Schema.optional(count),
    /** Rows that will be read, where that is known. */
    rowsIn: Schema.optional(count)
  }),
  Schema.Struct({
    event: Schema.Literal("node-progress"),
    at: count,
    node: Schema.String,
    /** Rows written so far (sharded, whole). */
    rows: Schema.optional(count),
    shardsDone: Schema.optional(count),
    /** Bytes that are here and in all (source). */
    bytes: Schema.optional(count),
    bytesTotal: Schema.optional(count),
    /** Steps done and in all (fold). */
    step: Schema.optional(count),
    total: Schema.optional(count),
    /** Figures of the last step; `loss` among them while training. */
    metrics: Schema.optional(Schema.Record(Schema.String, count))
  }),
  Schema.Struct({ event: Schema.Literal("checkpoint"), at: count, node: Schema.String, step: count }),
  /** An attempt of a node that declares `retries` failed; another follows after `waitMs`, unless it was the last. */
  Schema.Struct({
    event: Schema.Literal("attempt"),
    at: count,
    node: Schema.String,
    shard: Schema.optional(count),
    /** From 1, and how many there may be. */
    attempt: count,
    of: count,
    message: Schema.String,
    waitMs: Schema.optional(count)
  }),
  /** Something a person should know that is not an error: an old entry taken, a damaged checkpoint skipped. */
  Schema.Struct({
    event: Schema.Literal("notice"),
    at: count,
    node: Schema.optional(Schema.String),
    message: Schema.String
  }),
  Schema.Struct({
    event: Schema.Literal("node-end"),
    at: count,
    node: Schema.String,
    kind: Schema.Literals(["source", "sharded", "whole", "fold"]),
    status: Status,
    seconds: count,
    /** Rows of all inputs together, and of each where there are several. Of a sharded node those of its first input. */
    rowsIn: count,
    rowsInByPort: Schema.optional(Schema.Record(Schema.String, count)),
    /** Rows of all ports together, and of each port where there are several. */
    rowsOut: count,
    rowsByPort: Schema.optional(Schema.Record(Schema.String, count)),
    refused: count,
    refusedBy: Schema.Record(Schema.String, count),
    key: Schema.optional(Schema.String),
    /** Code digest of the entry: the code that made it, which an accepted entry does not share with this run. */
    code: Schema.optional(Schema.String),
    peakMemory: Schema.optional(count),
    /** Of a skipped node: the failed nodes that it needs. */
    skippedFor: Schema.optional(Schema.Array(Schema.String)),
    error: Schema.optional(
      Schema.Struct({
        tag: Schema.String,
        message: Schema.String,
        hint: Schema.String,
        detail: Schema.optional(Schema.String)
      })
    )
  }),
  /** Always the last. */
  Schema.Struct({
    event: Schema.Literal("run"),
    status: Schema.Literals(["completed", "failed", "interrupted"]),
    nodesRun: count,
    nodesCached: count,
    outputs: Schema.Record(
      Schema.String,
      Schema.Struct({ key: Schema.String, digest: Schema.String, path: Schema.String })
    ),
    metrics: Schema.Json
  })
])
export type Event = typeof Event.Type

/**
 * The run's stream of events. `publish` never waits for a slow reader; `stream` starts at the moment of subscription.
 */
export class Events extends Context.Service<
  Events,
  {
    readonly publish: (event: Event) => Effect.Effect<void>
    readonly stream: Stream.Stream<Event>
  }
>()("millrace/run/Events") {
  static readonly layer = Layer.effect(
    Events,
    Effect.gen(function* () {
      const hub = yield* PubSub.unbounded<Event>()
      return Events.of({
        publish: (event) => Effect.asVoid(PubSub.publish(hub, event)),
        stream: Stream.fromPubSub(hub)
      })
    })
  )
}

/** Rows of each rows output in the order that the node declares them; a manifest read back has them by name. */
const rowsInOrder = (node: AnyNode, manifest: Manifest): Record<string, number> => {
  const rows = rowsByPort(manifest)
  return Object.fromEntries(
    Object.keys(node.spec.outputs).flatMap((port) => (port in rows ? [[port, rows[port]!]] : []))
  )
}

/** The end of a node that has its result. */
export const nodeEnd = (
  node: AnyNode,
  status: "ran" | "cached",
  seconds: number,
  at: number,
  manifest: Manifest,
  rowsInByPort?: Readonly<Record<string, number>>
): Event => ({
  event: "node-end",
  at,
  node: node.id,
  kind: node.spec.kind,
  status,
  seconds,
  rowsIn: manifest.rowsIn,
  ...(rowsInByPort === undefined ? {} : { rowsInByPort }),
  rowsOut: rowsOut(manifest),
  ...(Object.keys(rowsByPort(manifest)).length > 1 ? { rowsByPort: rowsInOrder(node, manifest) } : {}),
  refused: rowsRefused(manifest),
  refusedBy: manifest.refused,
  key: manifest.key,
  code: manifest.code.digest,
  peakMemory: manifest.peakMemory
})
