/**
 * A whole or fold node that computes with an engine, run in the engine's thread: task and messages.
 *
 * Why a thread: a training step holds its thread for as long as it takes, and Ctrl-C, the live lines and the other
 * nodes must not wait for it. The lock, the plan and the commit stay with the runner; the thread writes into the work
 * folder.
 */
import { Effect, type FileSystem, Schema } from "effect"
import type { AnyFold } from "../dag/Fold.ts"
import type { AnyNode } from "../dag/Node.ts"
import { ProcessGroup, Rendezvous } from "../dag/ProcessGroup.ts"
import { openPendingFolder } from "../store/PendingEntry.ts"
import type { Store } from "../store/Store.ts"
import { type FoldWatch, runFold } from "./FoldTask.ts"
import { EntryRefs } from "./Inputs.ts"
import type { Drained } from "./Outputs.ts"
import type { Interrupted, NodeFailed, Stop } from "./Run.ts"
import { openInputs, runWhole } from "./WholeTask.ts"

export const NodeTask = Schema.Struct({
  node: Schema.String,
  entryRefs: EntryRefs,
  /** Folder of the pending entry. */
  folder: Schema.String,
  /** The lock that the work is done under: whoever writes looks whether it still is held. */
  fence: Schema.optional(Schema.Struct({ path: Schema.String, token: Schema.String })),
  /** Digest of the node's code; see `ShardTask`. */
  code: Schema.String,
  /** The node's key, and the input digests it is made of: a thread that would run other parameters says so. */
  key: Schema.String,
  inputs: Schema.Record(Schema.String, Schema.String),
  /** Threads that the node may compute and load with, the one it runs in among them; no result depends on it. */
  threads: Schema.Int,
  /** Where this process meets others that do the fold with it; absent where it is alone. */
  rendezvous: Schema.optionalKey(Rendezvous),
  checkpoints: Schema.Struct({
    checkpointEverySteps: Schema.optionalKey(Schema.Int),
    checkpointEveryMs: Schema.Finite
  })
})
export type NodeTask = typeof NodeTask.Type

/** What a node reports while it runs, in any thread. */
export interface NodeWatch extends FoldWatch {
  readonly rows: (rows: number) => Effect.Effect<void>
  readonly metrics: (figures: Readonly<Record<string, number>>) => Effect.Effect<void>
}

/** Runs a following process's part of a fold in this thread, from the coordinator's first word to its last. */
export const followNode = (
  node: AnyNode,
  task: NodeTask
): Effect.Effect<void, unknown, Store | FileSystem.FileSystem> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { follow } = node.spec.run as AnyFold
      if (follow === undefined) return yield* Effect.die(new Error(`${node.id} is followed and declares no \`follow\``))
      const { inputs } = yield* openInputs(node, task.entryRefs)
      yield* follow({ params: node.params, inputs: inputs as never })
    })
  ).pipe(Effect.provideService(ProcessGroup, task.rendezvous)) as Effect.Effect<
    void,
    unknown,
    Store | FileSystem.FileSystem
  >

/** Runs a whole or fold node in this thread; durable in its work folder when it returns, visible after the commit. */
export const runNode = (
  node: AnyNode,
  task: NodeTask,
  watch: NodeWatch
): Effect.Effect<Drained, NodeFailed | Interrupted, Store | FileSystem.FileSystem | Stop> =>
  Effect.gen(function* () {
    const work = yield* openPendingFolder(task.folder, task.fence)
    if (node.spec.kind === "fold")
      return yield* Effect.provideService(
        runFold(node, task.entryRefs, work, task.checkpoints, watch),
        ProcessGroup,
        task.rendezvous
      )
    const fork = Effect.runForkWith(yield* Effect.context<never>())
    yield* watch.started()
    return yield* runWhole(
      node,
      task.entryRefs,
      work,
      { inputs: task.inputs, code: task.code },
      {
        rows: (rows) => void fork(watch.rows(rows)),
        metrics: (figures) => void fork(watch.metrics(figures))
      }
    )
  })
