/** The missing shards of a sharded node, side by side in worker threads or one by one beside the caller. */
import { Effect, type FileSystem } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import type { ShardRecord } from "../store/Manifest.ts"
import type { PendingEntry, Store } from "../store/Store.ts"
import type { Events } from "./Events.ts"
import { progressOf } from "./NodeEvents.ts"
import type { NodeTask } from "./NodeTask.ts"
import type { Drained } from "./Outputs.ts"
import { Interrupted, type NodeFailed, Stop } from "./Run.ts"
import type { RunSession } from "./RunSession.ts"
import { runShard } from "./ShardTask.ts"

const rowsOfRecord = (record: ShardRecord) => Object.values(record.ports).reduce((sum, port) => sum + port.rows, 0)

/** Runs the shards that are missing in the work folder. A stop lets those in flight finish, and then fails. */
export const runSharded = Effect.fn("run.runSharded")(function* (
  session: RunSession,
  node: AnyNode,
  work: PendingEntry,
  count: number,
  task: Pick<NodeTask, "node" | "entryRefs" | "folder" | "fence" | "code" | "key" | "inputs">
): Effect.fn.Return<Drained, NodeFailed | Interrupted, Store | Events | Stop | FileSystem.FileSystem> {
  const stop = yield* Stop
  const progress = yield* progressOf(node)
  const records = new Map<number, ShardRecord>([...work.shards].filter(([index]) => index < count))
  let committed = 0
  for (const record of records.values()) committed += rowsOfRecord(record)
  const inFlight = new Map<number, number>()
  const show = (always: boolean) => {
    let rows = committed
    for (const some of inFlight.values()) rows += some
    progress({ rows, shardsDone: records.size }, always)
  }
  const { engines, options, workers } = session
  const engine = node.spec.engine === true
  const threads = options.workers === 0 ? 0 : engine ? 1 : node.spec.runs === "worker" ? options.workers : 0
  const pool = engine ? engines : workers
  const one = Effect.fnUntraced(function* (index: number) {
    if (stop.requested()) return
    const onRows = (rows: number) => {
      inFlight.set(index, rows)
      show(false)
    }
    const shard = { ...task, index, count }
    const record = yield* threads > 0 ? pool.run(node, shard, onRows) : runShard(node, shard, onRows)
    inFlight.delete(index)
    records.set(index, record)
    committed += rowsOfRecord(record)
    show(true)
  })
  const missing = Array.from({ length: count }, (_, index) => index).filter((index) => !records.has(index))
  yield* Effect.forEach(missing, one, { concurrency: Math.max(1, threads), discard: true })
  if (records.size < count)
    return yield* new Interrupted({
      message: `${node.id} stopped between shards; finished shards are kept`,
      hint: "Run the same command again: only the missing shards are made."
    })
  return { shards: [...records.values()].sort((a, b) => a.index - b.index), values: {} }
})
