/**
 * A whole or fold node that computes with an engine, run in the engine's thread: task and messages.
 *
 * Why a thread: a training step holds its thread for as long as it takes, and Ctrl-C, the live lines and the other nodes
 * must not wait for it. The lock, the plan and the commit stay with the runner; the thread writes into the work folder.
 */
import { Effect, type FileSystem } from "effect"
import type { AnyFold } from "../dag/Fold.ts"
import type { AnyNode } from "../dag/Node.ts"
import { ProcessGroup, type Rendezvous } from "../dag/ProcessGroup.ts"
import type { Fence, Store } from "../store/Store.ts"
import { openWorkFolder } from "../store/Work.ts"
import { type FoldWatch, runFold } from "./FoldTask.ts"
import type { EntryRefs } from "./Inputs.ts"
import type { Drained } from "./Outputs.ts"
import type { Interrupted, NodeFailed, RunOptions, Stop } from "./Run.ts"
import { openInputs, runWhole } from "./WholeTask.ts"

export interface NodeTask {
  readonly node: string
  readonly entryRefs: EntryRefs
  /** Work folder of the node. */
  readonly folder: string
  /** The lock that the work is done under: whoever writes looks whether it still is held. */
  readonly fence?: Fence | undefined
  /** Digest of the node's code; see `ShardTask`. */
  readonly code: string
  /** The node's key, and the input digests it is made of: a thread that would run other parameters says so. */
  readonly key: string
  readonly inputs: Readonly<Record<string, string>>
  /** Threads that the node may compute and load with, the one it runs in among them; no result depends on it. */
  readonly threads: number
  /** Where this process meets others that do the fold with it; absent where it is alone. */
  readonly rendezvous?: Rendezvous
  readonly checkpoints: Pick<RunOptions, "checkpointEverySteps" | "checkpointEveryMs">
}

/** What a node says while it runs, in either thread. */
export interface NodeWatch extends FoldWatch {
  readonly rows: (rows: number) => Effect.Effect<void>
  readonly metrics: (figures: Readonly<Record<string, number>>) => Effect.Effect<void>
}

/** The watch's calls as messages, so that a thread's node is heard in the runner's. */
export type NodeMessage =
  | { readonly call: "started"; readonly from?: { readonly step: number; readonly skipped: ReadonlyArray<string> } }
  | {
      readonly call: "step"
      readonly step: number
      readonly total: number
      readonly metrics: Readonly<Record<string, number>>
    }
  | { readonly call: "saved"; readonly step: number }
  | { readonly call: "rows"; readonly rows: number }
  | { readonly call: "metrics"; readonly figures: Readonly<Record<string, number>> }

/** A watch that sends what it hears. */
export const sendingWatch = (send: (message: NodeMessage) => void): NodeWatch => ({
  started: (from) =>
    Effect.sync(() =>
      send({ call: "started", ...(from === undefined ? {} : { from: { step: from.step, skipped: from.skipped } }) })
    ),
  step: (step, total, metrics) => Effect.sync(() => send({ call: "step", step, total, metrics })),
  saved: (step) => Effect.sync(() => send({ call: "saved", step })),
  rows: (rows) => Effect.sync(() => send({ call: "rows", rows })),
  metrics: (figures) => Effect.sync(() => send({ call: "metrics", figures }))
})

/** Gives a message back to the watch it came from. */
export const hear = (watch: NodeWatch, message: NodeMessage): Effect.Effect<void> => {
  switch (message.call) {
    case "started":
      return watch.started(message.from)
    case "step":
      return watch.step(message.step, message.total, message.metrics)
    case "saved":
      return watch.saved(message.step)
    case "rows":
      return watch.rows(message.rows)
    case "metrics":
      return watch.metrics(message.figures)
  }
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
    const work = yield* openWorkFolder(task.folder, task.fence)
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
