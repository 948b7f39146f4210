/**
 * Drains what a whole or fold node returned: row streams first, then values and trees.
 *
 * Durable when it returns, visible only after `PendingEntry.commit`.
 */
import { Effect, type FileSystem, Schema, type Scope, type Stream } from "effect"
import type { RowsArtifact } from "../dag/Artifact.ts"
import type { AnyNode } from "../dag/Node.ts"
import type { Refusals } from "../dag/Refusals.ts"
import type { ShardEntry, ShardRecord } from "../store/Manifest.ts"
import { residentBytes } from "../store/Memory.ts"
import { openQuarantine } from "../store/Quarantine.ts"
import { writeRows } from "../store/ShardFiles.ts"
import type { PendingFolder } from "../store/Store.ts"

/** Rows a shard when a node has no `shardRows` parameter. */
const SHARD_ROWS = 1024

const shardRowsOf = (node: AnyNode): number => {
  const given = (node.params as { readonly shardRows?: unknown }).shardRows
  return typeof given === "number" && given > 0 ? given : SHARD_ROWS
}

/** Everything `PendingEntry.commit` needs beside the key. */
export interface Drained {
  readonly shards: ReadonlyArray<ShardRecord>
  readonly values: Readonly<Record<string, Schema.Json>>
}

export const drainOutputs = Effect.fn("run.drainOutputs")(function* (options: {
  readonly node: AnyNode
  readonly work: PendingFolder
  readonly parts: Readonly<Record<string, unknown>>
  readonly refusals: Pick<Refusals, "take" | "waiting" | "seen">
  /** Rows of the rows inputs. Where there are none (a reader of files), what the node looked at counts. */
  readonly rowsIn: number
  /** Hears the rows written so far, all ports together. */
  readonly onRows: (rows: number) => void
}) {
  const { node, work, parts } = options
  const quarantine = yield* openQuarantine(work.folder, 0, options.refusals)
  let rows = 0
  const ports: Array<Record<string, ShardEntry>> = []
  const values: Record<string, Schema.Json> = {}
  const outputs = Object.entries(node.spec.outputs)
  for (const [port, artifact] of outputs) {
    if (artifact.kind !== "rows") continue
    const entries = yield* writeRows({
      folder: work.folder,
      port,
      artifact: artifact as RowsArtifact<string, any>,
      batches: parts[port] as Stream.Stream<ReadonlyArray<any>, unknown, FileSystem.FileSystem>,
      shardRows: shardRowsOf(node),
      onRows: (some) => options.onRows((rows += some)),
      afterBatch: quarantine.spill
    })
    entries.forEach((entry, i) => {
      ports[i] = { ...ports[i], [port]: entry }
    })
  }
  for (const [port, artifact] of outputs) {
    if (artifact.kind === "value") {
      const built = yield* parts[port] as Effect.Effect<unknown, unknown, Scope.Scope>
      values[port] = Schema.encodeUnknownSync(
        Schema.toCodecJson(artifact.schema) as Schema.Codec<unknown, Schema.Json>
      )(built)
    }
    if (artifact.kind === "tree") {
      const folder = yield* work.treeFolder(port)
      yield* (parts[port] as (folder: string) => Effect.Effect<void, unknown, Scope.Scope>)(folder)
    }
  }
  const quarantined = yield* quarantine.finish
  const refused = Object.values(quarantined.refused).reduce((sum, count) => sum + count, 0)
  const hasRows = Object.values(node.inputs).some((ref) => ref.artifact.kind === "rows")
  const looked = options.refusals.seen()
  const rowsIn = hasRows ? options.rowsIn : looked > 0 ? looked : refused === 0 ? 0 : rows + refused
  if (ports.length === 0) ports.push({})
  const shards = ports.map(
    (entry, index): ShardRecord => ({
      index,
      rowsIn: index === 0 ? rowsIn : 0,
      ports: entry,
      ...(index === 0 ? quarantined : { refused: {} }),
      peakMemory: residentBytes()
    })
  )
  return { shards, values } satisfies Drained
})
