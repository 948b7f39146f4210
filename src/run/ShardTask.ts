/**
 * One shard of a sharded node, from open inputs to a durable shard record; the same in any thread.
 */
import { Effect, type FileSystem, Schema } from "effect"
import type { RowsArtifact } from "../dag/Artifact.ts"
import type { AnyNode } from "../dag/Node.ts"
import { damageMark } from "../store/Damage.ts"
import type { ShardRecord } from "../store/Manifest.ts"
import { writeShard } from "../store/ShardFiles.ts"
import type { Store } from "../store/Store.ts"
import { asNodeFailed } from "./Failure.ts"
import { EntryRefs, openShardRun } from "./Inputs.ts"
import { failIfDamaged } from "./Inspect.ts"
import { retrying } from "./Retry.ts"
import type { NodeFailed } from "./Run.ts"

export const ShardTask = Schema.Struct({
  node: Schema.String,
  entryRefs: EntryRefs,
  index: Schema.Int,
  count: Schema.Int,
  /** Folder of the pending entry. */
  folder: Schema.String,
  /** The lock that the work is done under: whoever writes looks whether it still is held. */
  fence: Schema.optional(Schema.Struct({ path: Schema.String, token: Schema.String })),
  /** Digest of the node's code, so that a thread that would run other code (the file was edited) says so. */
  code: Schema.String,
  /** The node's key, and the input digests it is made of: a thread that would run other parameters says so. */
  key: Schema.String,
  inputs: Schema.Record(Schema.String, Schema.String)
})
export type ShardTask = typeof ShardTask.Type

/** One attempt at one shard, without retries or timeout; durable when it returns. `onRows` hears the rows so far. */
export const attemptShard = (
  node: AnyNode,
  task: ShardTask,
  onRows: (rows: number) => void
): Effect.Effect<ShardRecord, unknown, Store | FileSystem.FileSystem> =>
  Effect.scoped(
    Effect.gen(function* () {
      const mark = damageMark()
      const run = yield* openShardRun(node, task.entryRefs, task.index, task.count)
      const outputs = Object.fromEntries(
        Object.entries(node.spec.outputs).map(([port, artifact]) => [
          port,
          { artifact: artifact as RowsArtifact<string, any>, batches: run.parts[port]! }
        ])
      )
      let rows = 0
      return yield* writeShard({
        folder: task.folder,
        fence: task.fence,
        index: task.index,
        outputs: outputs as never,
        refusals: run.refusals,
        rowsIn: run.rowsIn,
        check: failIfDamaged(task.entryRefs, mark),
        onRows: (some) => onRows((rows += some))
      })
    })
  ) as Effect.Effect<ShardRecord, unknown, Store | FileSystem.FileSystem>

/** Runs one shard beside the caller, with the node's retries and timeout. `R` of the node must be in context. */
export const runShard = (
  node: AnyNode,
  task: ShardTask,
  onRows: (rows: number) => void
): Effect.Effect<ShardRecord, NodeFailed, Store | FileSystem.FileSystem> =>
  attemptShard(node, task, onRows).pipe(retrying(node, task.index), asNodeFailed(node.id, task.index))
