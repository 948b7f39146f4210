/**
 * Where a node's inputs lie, and opening them.
 *
 * An `EntryRef` is small and serialisable, so that a worker thread opens the same inputs from the same store.
 *
 * A transient input has no files: its producer's function runs again, shard by shard, inside the consumer, each time
 * the consumer reads it. Its first run (by itself) took the digest, counts and refusals; refusals of later runs are the
 * same and are dropped. So a transient port costs its computation once more a consumer and no disk; it is not fused
 * yet.
 */
import { Effect, Schema, type Scope, Stream } from "effect"
import { type Artifact, InputUnavailable, type RowsArtifact } from "../dag/Artifact.ts"
import { shardParts } from "../dag/FanOut.ts"
import type { AnyNode, AnyRef } from "../dag/Node.ts"
import { makeRefusals, type Refusals } from "../dag/Refusals.ts"
import { Store, type StoredEntry, StoreError } from "../store/Store.ts"

/** A finished node: its entry in the store, or a source's path. */
export const EntryRef = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("entry"), key: Schema.String, code: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("source"), path: Schema.String })
])
export type EntryRef = typeof EntryRef.Type

/** Finished nodes by instance id. */
export const EntryRefs = Schema.Record(Schema.String, EntryRef)
export type EntryRefs = typeof EntryRefs.Type

/** The results a node reads: its inputs', and through transient inputs their producers'. */
export const entryRefsFor = (node: AnyNode, all: ReadonlyMap<AnyNode, EntryRef>): EntryRefs => {
  const out: Record<string, EntryRef> = {}
  const visit = (one: AnyNode) => {
    for (const ref of Object.values(one.inputs)) {
      const entryRef = all.get(ref.node)
      if (entryRef !== undefined) out[ref.node.id] = entryRef
      if (isTransient(ref.artifact)) visit(ref.node)
    }
  }
  visit(node)
  return out
}

/** The sources that a node reads: its inputs, and through transient inputs those of their producers. */
export const sourcesBehind = (node: AnyNode): ReadonlyArray<AnyNode> => {
  const out = new Set<AnyNode>()
  const visit = (one: AnyNode) => {
    for (const ref of Object.values(one.inputs)) {
      if (ref.node.spec.kind === "source") out.add(ref.node)
      else if (isTransient(ref.artifact)) visit(ref.node)
    }
  }
  visit(node)
  return [...out]
}

export const isTransient = (artifact: Artifact): boolean => artifact.kind === "rows" && artifact.transient

/** The entry of a finished node. */
export const findEntry = Effect.fnUntraced(function* (entryRef: Extract<EntryRef, { kind: "entry" }>) {
  const store = yield* Store
  const found = (yield* store.find(entryRef.key, entryRef.code)).find(
    (one) => one.manifest.code.digest === entryRef.code
  )
  if (found === undefined)
    return yield* new StoreError({
      reason: "missing",
      path: store.root,
      message: `the entry ${entryRef.key.slice(0, 12)} is not in the store`,
      hint: "It was removed while the run went on (gc, or by hand); run again, it will be made anew."
    })
  return found
})

const entryRefOf = (ref: AnyRef, entryRefs: EntryRefs): EntryRef => {
  const entryRef = entryRefs[ref.node.id]
  if (entryRef === undefined) throw new Error(`no result of ${ref.node.id}`)
  return entryRef
}

/** Opens an input that is seen whole. */
export const openWhole = Effect.fnUntraced(function* (ref: AnyRef, entryRefs: EntryRefs) {
  const entryRef = entryRefOf(ref, entryRefs)
  if (entryRef.kind === "source") return { path: entryRef.path } as unknown
  const store = yield* Store
  return (yield* store.open(yield* findEntry(entryRef), ref.port, ref.artifact)) as unknown
})

/** How many shards a node has: as many as its sharded inputs, which must agree; one without any. */
export const shardCount = Effect.fnUntraced(function* (node: AnyNode, entryRefs: EntryRefs) {
  let count: number | undefined
  for (const [port, declared] of Object.entries(node.spec.inputs)) {
    const ref = node.inputs[port]!
    if (declared.kind !== "rows") continue
    const entryRef = entryRefOf(ref, entryRefs)
    if (entryRef.kind === "source") continue
    const output = (yield* findEntry(entryRef)).manifest.outputs[ref.port]
    const here = output?.kind === "rows" ? output.shards.length : 1
    if (count !== undefined && here !== count)
      return yield* new InputUnavailable({
        port,
        message: `${ref.node.id}.${ref.port} has ${here} shards, another input has ${count}`,
        hint: "Sharded inputs are read side by side: make them with equally many shards, or declare one as broadcast."
      })
    count = here
  }
  return count ?? 1
})

const readShard = <Row>(found: StoredEntry, port: string, artifact: RowsArtifact<string, Row>, index: number) =>
  Effect.map(
    Effect.flatMap(Store, (store) => store.openShard(found, port, artifact, index)),
    (reader) =>
      Stream.orDie(
        Stream.mapError(
          reader.batches,
          (cause) => new InputUnavailable({ port, message: cause.message, hint: cause.hint, cause })
        )
      )
  )

/** The output streams of one shard of a sharded node, ready to be drained. */
export interface ShardRun {
  readonly parts: Readonly<Record<string, Stream.Stream<ReadonlyArray<unknown>, unknown, unknown>>>
  readonly refusals: Refusals
  /** Rows read so far, of the first sharded input; without one, rows that the node looked at (`Refusals.seen`). */
  readonly rowsIn: () => number
}

/** Opens shard `index` of a node's inputs and applies its function; `ports` are the outputs that will be drained. */
export const openShardRun = (
  node: AnyNode,
  entryRefs: EntryRefs,
  index: number,
  count: number,
  ports: ReadonlyArray<string> = Object.keys(node.spec.outputs)
): Effect.Effect<ShardRun, StoreError, Store | Scope.Scope> =>
  Effect.gen(function* () {
    const shard: Record<string, unknown> = {}
    const rowsSeen = { best: 0 }
    let counted = false
    for (const [port, declared] of Object.entries(node.spec.inputs)) {
      const ref = node.inputs[port]!
      if (declared.kind !== "rows") {
        shard[port] = yield* openWhole(ref, entryRefs)
        continue
      }
      const artifact: RowsArtifact<string, unknown> = declared
      let batches: Stream.Stream<ReadonlyArray<unknown>, unknown, unknown>
      if (isTransient(ref.artifact)) {
        batches = Stream.unwrap(
          Effect.map(openShardRun(ref.node, entryRefs, index, count, [ref.port]), (run) => run.parts[ref.port]!)
        )
      } else {
        const entryRef = entryRefOf(ref, entryRefs)
        if (entryRef.kind === "source") throw new Error(`${ref.node.id} gives files, not rows`)
        batches = yield* readShard(yield* findEntry(entryRef), ref.port, artifact, index)
      }
      if (!counted) {
        counted = true
        shard[port] = Stream.suspend(() => {
          let seen = 0
          return Stream.map(batches, (batch) => {
            seen += batch.length
            rowsSeen.best = Math.max(rowsSeen.best, seen)
            return batch
          })
        })
      } else shard[port] = batches
    }
    const refusals = makeRefusals(node.spec.refuses ?? [])
    const parts = yield* shardParts(node.spec, { params: node.params, shard, index, count, ...refusals }, ports)
    return { parts, refusals, rowsIn: () => (counted ? rowsSeen.best : refusals.seen()) }
  })
