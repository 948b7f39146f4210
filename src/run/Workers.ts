/**
 * A pool of worker threads for CPU-bound shards.
 *
 * Messages are small: a task names node, shard and inputs; the thread opens them from the store, writes its own shard
 * files and answers with the shard record. A thread runs one task at a time. An interrupted or timed-out task ends its
 * thread, because nothing else stops running JavaScript; the next task starts a fresh one. So does a thread that died.
 */
import { Worker } from "node:worker_threads"
import { Effect, type Scope, Semaphore } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import type { ShardRecord } from "../store/Manifest.ts"
import { asNodeFailed } from "./Failure.ts"
import type { Choice } from "./Recipe.ts"
import { retried, timed } from "./Retry.ts"
import { NodeFailed } from "./Run.ts"
import type { ShardTask } from "./ShardTask.ts"

/** What a thread is started with. */
export interface WorkerSetup {
  /** URL of the recipe's module; its default export is the recipe. */
  readonly module: string
  readonly choice: Choice
  readonly store: string
}

/**
 * From a thread: `ready` once, when the recipe is imported and built; then per task rows written so far, and its end.
 * `bug`: the node broke (a defect), which is not tried again.
 */
export type WorkerMessage =
  | { readonly type: "ready" }
  | { readonly type: "rows"; readonly rows: number }
  | { readonly type: "done"; readonly record: ShardRecord }
  | {
      readonly type: "failed"
      readonly message: string
      readonly hint: string
      readonly cause: string
      readonly bug: boolean
    }

export interface Workers {
  /** Runs one shard in a thread, with the node's retries and timeout (which starts when a thread is ready). */
  readonly run: (
    node: AnyNode,
    task: ShardTask,
    onRows: (rows: number) => void
  ) => Effect.Effect<ShardRecord, NodeFailed>
}

interface Thread {
  readonly worker: Worker
  /** Why it can take no more tasks. */
  over: { readonly message: string; readonly hint: string; readonly cause: unknown } | undefined
  /** Hears the thread's messages, and its end, while someone waits. */
  listener: ((message: WorkerMessage | "over") => void) | undefined
}

/** A pool of at most `size` threads, started when first needed and ended with the scope. */
export const makeWorkers = (size: number, setup: WorkerSetup): Effect.Effect<Workers, never, Scope.Scope> =>
  Effect.gen(function* () {
    const idle: Array<Thread> = []
    const all = new Set<Worker>()
    const permits = Semaphore.makeUnsafe(Math.max(1, size))
    yield* Effect.addFinalizer(() => Effect.promise(() => Promise.all([...all].map((worker) => worker.terminate()))))

    const start = (): Thread => {
      const worker = new Worker(new URL("./WorkerMain.ts", import.meta.url), { workerData: setup, execArgv: [] })
      const thread: Thread = { worker, over: undefined, listener: undefined }
      all.add(worker)
      const end = (over: NonNullable<Thread["over"]>) => {
        thread.over ??= over
        const at = idle.indexOf(thread)
        if (at >= 0) idle.splice(at, 1)
        thread.listener?.("over")
      }
      worker.on("message", (message: WorkerMessage) => thread.listener?.(message))
      worker.on("error", (error: Error & { readonly code?: string }) =>
        end({
          message: `its worker thread broke: ${error.message}`,
          hint:
            error.code === "ERR_WORKER_OUT_OF_MEMORY"
              ? "The shard needs more memory than a thread has: make shards smaller, or run with --workers 0."
              : "Something in the thread threw outside of the node's effect; MILLRACE_DEBUG=1 shows the stack.",
          cause: error.stack
        })
      )
      worker.on("exit", (code) => {
        all.delete(worker)
        end({
          message: `its worker thread exited with code ${code}`,
          hint: "Node code must not call process.exit. Finished shards are kept: run the same command again.",
          cause: undefined
        })
      })
      return thread
    }

    const failure = (task: ShardTask, from: { message: string; hint: string; cause: unknown }) =>
      new NodeFailed({ node: task.node, shard: task.index, message: from.message, hint: from.hint, cause: from.cause })

    /** Waits for one answer of a thread; ends the thread when interrupted. */
    const answer = <A>(
      thread: Thread,
      task: ShardTask,
      take: (message: WorkerMessage) => Effect.Effect<A, NodeFailed> | undefined
    ) =>
      Effect.callback<A, NodeFailed>((resume) => {
        const settle = (result: Effect.Effect<A, NodeFailed>) => {
          thread.listener = undefined
          resume(result)
        }
        thread.listener = (message) => {
          if (message === "over") return settle(Effect.fail(failure(task, thread.over!)))
          if (message.type === "failed")
            return settle(message.bug ? Effect.die(failure(task, message)) : Effect.fail(failure(task, message)))
          const result = take(message)
          if (result !== undefined) settle(result)
        }
        if (thread.over !== undefined) thread.listener("over")
        return Effect.promise(() => {
          thread.listener = undefined
          return thread.worker.terminate()
        })
      })

    /** An idle thread, or a new one that has imported the recipe. A thread that cannot is ended. */
    const take = (task: ShardTask) =>
      Effect.suspend(() => {
        const waiting = idle.pop()
        if (waiting !== undefined) return Effect.succeed(waiting)
        const thread = start()
        return answer(thread, task, (message) => (message.type === "ready" ? Effect.succeed(thread) : undefined)).pipe(
          Effect.onError(() => Effect.promise(() => thread.worker.terminate()))
        )
      })

    const attempt = (node: AnyNode, task: ShardTask, onRows: (rows: number) => void) =>
      Effect.flatMap(take(task), (thread) =>
        timed(node)(
          Effect.suspend(() => {
            const waited = answer(thread, task, (message) => {
              if (message.type === "rows") onRows(message.rows)
              return message.type === "done" ? Effect.succeed(message.record) : undefined
            })
            if (thread.over === undefined) thread.worker.postMessage(task)
            return waited
          })
        ).pipe(
          Effect.ensuring(
            Effect.sync(() => {
              if (thread.over === undefined && all.has(thread.worker)) idle.push(thread)
            })
          )
        )
      )

    return {
      run: (node, task, onRows) =>
        Semaphore.withPermit(permits, retried(node)(attempt(node, task, onRows))).pipe(
          asNodeFailed(node.id, task.index)
        )
    }
  })
