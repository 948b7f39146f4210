/**
 * A pool of worker threads for CPU-bound shards.
 *
 * Messages are small: a task names node, shard and inputs; the thread opens them from the store, writes its own shard
 * files and answers with the shard record. A thread runs one task at a time. An interrupted task ends its thread,
 * because nothing else stops running JavaScript; the next task starts a fresh one.
 */
import { Worker } from "node:worker_threads"
import { Effect, type Scope, Semaphore } from "effect"
import type { ShardRecord } from "../store/Manifest.ts"
import type { Choice } from "./Recipe.ts"
import { NodeFailed } from "./Run.ts"
import type { ShardTask } from "./ShardTask.ts"

/** What a thread is started with. */
export interface WorkerSetup {
  /** URL of the recipe's module; its default export is the recipe. */
  readonly module: string
  readonly choice: Choice
  readonly store: string
}

/** From a thread: rows written so far, or the end of its task. */
export type WorkerMessage =
  | { readonly type: "rows"; readonly rows: number }
  | { readonly type: "done"; readonly record: ShardRecord }
  | { readonly type: "failed"; readonly message: string; readonly hint: string; readonly cause: string }

export interface Workers {
  readonly run: (task: ShardTask, onRows: (rows: number) => void) => Effect.Effect<ShardRecord, NodeFailed>
}

/** A pool of at most `size` threads, started when first needed and ended with the scope. */
export const makeWorkers = (size: number, setup: WorkerSetup): Effect.Effect<Workers, never, Scope.Scope> =>
  Effect.gen(function* () {
    const idle: Array<Worker> = []
    const all = new Set<Worker>()
    const permits = Semaphore.makeUnsafe(Math.max(1, size))
    yield* Effect.addFinalizer(() => Effect.promise(() => Promise.all([...all].map((worker) => worker.terminate()))))

    const start = (): Worker => {
      const worker = new Worker(new URL("./WorkerMain.ts", import.meta.url), { workerData: setup, execArgv: [] })
      all.add(worker)
      worker.once("exit", () => all.delete(worker))
      return worker
    }

    const attempt = (task: ShardTask, onRows: (rows: number) => void) =>
      Effect.callback<ShardRecord, NodeFailed>((resume) => {
        const worker = idle.pop() ?? start()
        const failed = (message: string, hint: string, cause: unknown) =>
          Effect.fail(new NodeFailed({ node: task.node, shard: task.index, message, hint, cause }))
        const settle = (result: Effect.Effect<ShardRecord, NodeFailed>, keep: boolean) => {
          worker.removeAllListeners("message")
          worker.removeListener("error", crashed)
          worker.removeListener("exit", exited)
          if (keep) idle.push(worker)
          resume(result)
        }
        const crashed = (error: Error & { readonly code?: string }) =>
          settle(
            failed(
              `its worker thread broke: ${error.message}`,
              error.code === "ERR_WORKER_OUT_OF_MEMORY"
                ? "The shard needs more memory than a thread has: make shards smaller, or run with --workers 0."
                : "Run again with MILLRACE_DEBUG=1 to see the stack.",
              error.stack
            ),
            false
          )
        const exited = (code: number) =>
          settle(
            failed(`its worker thread exited with code ${code}`, "Run again; finished shards are kept.", undefined),
            false
          )
        worker.on("message", (message: WorkerMessage) => {
          if (message.type === "rows") onRows(message.rows)
          else if (message.type === "done") settle(Effect.succeed(message.record), true)
          else settle(failed(message.message, message.hint, message.cause), true)
        })
        worker.once("error", crashed)
        worker.once("exit", exited)
        worker.postMessage(task)
        return Effect.promise(() => {
          worker.removeListener("exit", exited)
          return worker.terminate()
        })
      })
    return { run: (task, onRows) => Semaphore.withPermit(permits, attempt(task, onRows)) }
  })
