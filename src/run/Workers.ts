/**
 * A pool of worker threads: for CPU-bound shards, and (a pool of one) for the nodes that compute with an engine.
 *
 * Messages are small: a task names node, shard and inputs; the thread opens them from the store, writes its own files
 * and answers with the shard record, or with what a whole node made. A thread runs one task at a time. An interrupted or timed-out task ends its
 * thread, because nothing else stops running JavaScript; the next task starts a fresh one. So does a thread that died.
 */
import { extname } from "node:path"
import type { Worker } from "node:worker_threads"
import { Effect, type Scope, Semaphore } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import { type Met, reportDamage } from "../store/Damage.ts"
import type { ShardRecord } from "../store/Manifest.ts"
import { tooManyFilesHint } from "../store/OpenFiles.ts"
import { asNodeFailed } from "./Failure.ts"
import { hear, type NodeMessage, type NodeTask, type NodeWatch } from "./NodeTask.ts"
import type { Drained } from "./Outputs.ts"
import type { Choice } from "./Recipe.ts"
import { retried, timed } from "./Retry.ts"
import { Interrupted, NodeFailed, Stop } from "./Run.ts"
import { decodeError, type SerializedError } from "./SerializedExit.ts"
import type { ShardTask } from "./ShardTask.ts"
import { endThread, startThread } from "./Thread.ts"
import type { Request } from "./WorkerClient.ts"

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
  | { readonly type: "heard"; readonly message: NodeMessage }
  | { readonly type: "drained"; readonly drained: Drained }
  | { readonly type: "followed" }
  | { readonly type: "opened" }
  | { readonly type: "answer"; readonly id: number; readonly answer: unknown }
  /** A reader met damage in the store; said before anything that came of it. */
  | { readonly type: "damage"; readonly met: Met }
  /** Thrown outside of any effect, by this node's code or what it started; the thread ends. */
  | {
      readonly type: "stray"
      readonly node: string
      readonly message: string
      readonly hint: string
      readonly cause: string
    }
  | { readonly type: "stopped"; readonly message: string; readonly hint: string }
  | {
      readonly type: "failed"
      readonly message: string
      readonly hint: string
      readonly cause: string
      readonly bug: boolean
      /** The error itself, which the node's failure has as its cause. */
      readonly error?: SerializedError
    }

/** To a thread: a task, the wish that the running fold stops at its next step, or what a fold asks of its helper or loader. */
export type WorkerTask =
  | ({ readonly kind: "shard" } & ShardTask)
  | ({ readonly kind: "node" } & NodeTask)
  | { readonly kind: "stop" }
  | ({ readonly kind: "help" } & NodeTask)
  | ({ readonly kind: "load" } & NodeTask)
  | ({ readonly kind: "follow" } & NodeTask)
  | ({ readonly kind: "ask" } & Request)

export interface Workers {
  /** Runs a whole or fold node in a thread, with the node's retries and timeout. */
  readonly runNode: (
    node: AnyNode,
    task: NodeTask,
    watch: NodeWatch
  ) => Effect.Effect<Drained, NodeFailed | Interrupted, Stop>
  /** Runs this process's part of a fold that another process leads. */
  readonly follow: (task: NodeTask) => Effect.Effect<void, NodeFailed>
  /** Runs one shard in a thread, with the node's retries and timeout (which starts when a thread is ready). */
  readonly run: (
    node: AnyNode,
    task: ShardTask,
    onRows: (rows: number) => void
  ) => Effect.Effect<ShardRecord, NodeFailed>
}

/** `node`: whose code broke the thread, where that is known; it may not be the one whose task it does. */
interface Over {
  readonly node?: string
  readonly message: string
  readonly hint: string
  readonly cause: unknown
}

interface Thread {
  readonly worker: Worker
  /** Why it can take no more tasks. */
  over: Over | undefined
  /** Hears the thread's messages, and its end, while someone waits. */
  listener: ((message: WorkerMessage | "over") => void) | undefined
}

/** The thread's module beside this one, which ends in `.ts` in the repository and in `.js` where it is installed. */
export const threadModule = new URL(`./WorkerMain${extname(new URL(import.meta.url).pathname)}`, import.meta.url)

/** A pool of at most `size` threads, started when first needed and ended with the scope. */
export const makeWorkers = (size: number, setup: WorkerSetup): Effect.Effect<Workers, never, Scope.Scope> =>
  Effect.gen(function* () {
    const idle: Array<Thread> = []
    const all = new Set<Worker>()
    const permits = Semaphore.makeUnsafe(Math.max(1, size))
    yield* Effect.addFinalizer(() => Effect.promise(() => Promise.all([...all].map(endThread))))

    const start = (): Thread => {
      const worker = startThread(threadModule, setup)
      const thread: Thread = { worker, over: undefined, listener: undefined }
      all.add(worker)
      const end = (over: Over) => {
        thread.over ??= over
        const at = idle.indexOf(thread)
        if (at >= 0) idle.splice(at, 1)
        thread.listener?.("over")
      }
      worker.on("message", (message: WorkerMessage) => {
        if (message.type === "damage") return reportDamage(message.met)
        if (message.type !== "stray") return thread.listener?.(message)
        const waited = thread.listener !== undefined
        end(message)
        // Nobody waits for this thread: the error of a node that is done is the process's, as it is beside the caller.
        if (!waited) void Promise.reject(new NodeFailed(message))
      })
      worker.on("error", (error: Error & { readonly code?: string }) =>
        end({
          message: `its worker thread broke: ${error.message}`,
          hint:
            error.code === "ERR_WORKER_OUT_OF_MEMORY"
              ? "The shard needs more memory than a thread has: make shards smaller, or run with --workers 0."
              : (tooManyFilesHint(error) ??
                "Something in the thread threw outside of the node's effect; MILLRACE_DEBUG=1 shows the stack."),
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

    const tell = (thread: Thread, task: WorkerTask) => thread.worker.postMessage(task)

    const failure = (task: ShardTask | NodeTask, from: Over) =>
      new NodeFailed({
        node: from.node ?? task.node,
        ...("index" in task && (from.node ?? task.node) === task.node ? { shard: task.index } : {}),
        message: from.message,
        hint: from.hint,
        cause: from.cause
      })

    const failedBy = (task: ShardTask | NodeTask, said: Extract<WorkerMessage, { readonly type: "failed" }>) =>
      failure(task, { ...said, cause: said.error === undefined ? said.cause : decodeError(said.error) })

    /** Waits for one answer of a thread; ends the thread when interrupted. */
    const answer = <A, E = never>(
      thread: Thread,
      task: ShardTask | NodeTask,
      take: (message: WorkerMessage) => Effect.Effect<A, NodeFailed | E> | undefined
    ) =>
      Effect.callback<A, NodeFailed | E>((resume) => {
        const settle = (result: Effect.Effect<A, NodeFailed | E>) => {
          thread.listener = undefined
          resume(result)
        }
        thread.listener = (message) => {
          if (message === "over") return settle(Effect.fail(failure(task, thread.over!)))
          if (message.type === "failed")
            return settle(message.bug ? Effect.die(failedBy(task, message)) : Effect.fail(failedBy(task, message)))
          const result = take(message)
          if (result !== undefined) settle(result)
        }
        if (thread.over !== undefined) thread.listener("over")
        return Effect.promise(() => {
          thread.listener = undefined
          return endThread(thread.worker)
        })
      })

    /** An idle thread, or a new one that has imported the recipe. A thread that cannot is ended. */
    const take = (task: ShardTask | NodeTask) =>
      Effect.suspend(() => {
        const waiting = idle.pop()
        if (waiting !== undefined) return Effect.succeed(waiting)
        const thread = start()
        return answer(thread, task, (message) => (message.type === "ready" ? Effect.succeed(thread) : undefined)).pipe(
          Effect.onError(() => Effect.promise(() => endThread(thread.worker)))
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
            if (thread.over === undefined) tell(thread, { kind: "shard", ...task })
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

    const attemptNode = Effect.fnUntraced(function* (node: AnyNode, task: NodeTask, watch: NodeWatch) {
      const stop = yield* Stop
      const fork = Effect.runForkWith(yield* Effect.context<never>())
      const thread = yield* take(task)
      const waited = answer<Drained, Interrupted>(thread, task, (message) => {
        if (message.type === "heard") fork(hear(watch, message.message))
        if (message.type === "stopped") return Effect.fail(new Interrupted(message))
        return message.type === "drained" ? Effect.succeed(message.drained) : undefined
      })
      if (thread.over === undefined) tell(thread, { kind: "node", ...task })
      const stopping = Effect.andThen(
        stop.wait,
        Effect.sync(() => tell(thread, { kind: "stop" }))
      )
      return yield* Effect.scoped(Effect.andThen(Effect.forkScoped(stopping), timed(node)(waited))).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            if (thread.over === undefined && all.has(thread.worker)) idle.push(thread)
          })
        )
      )
    })

    const attemptFollow = Effect.fnUntraced(function* (task: NodeTask) {
      const thread = yield* take(task)
      const waited = answer(thread, task, (message) => (message.type === "followed" ? Effect.void : undefined))
      if (thread.over === undefined) tell(thread, { kind: "follow", ...task })
      yield* Effect.ensuring(
        waited,
        Effect.sync(() => {
          if (thread.over === undefined && all.has(thread.worker)) idle.push(thread)
        })
      )
    })

    return {
      follow: (task) => Semaphore.withPermit(permits, attemptFollow(task)).pipe(asNodeFailed(task.node)),
      runNode: (node, task, watch) => {
        let announced = false
        const once: NodeWatch = {
          ...watch,
          started: (from) => {
            if (announced) return Effect.void
            announced = true
            return watch.started(from)
          }
        }
        // A stop is no failure: it must neither be tried again nor be reported as one.
        const attempt = Effect.catch(attemptNode(node, task, once), (error) =>
          error instanceof Interrupted ? Effect.succeed(error) : Effect.fail(error)
        )
        return Semaphore.withPermit(permits, retried(node)(attempt)).pipe(
          asNodeFailed(node.id),
          Effect.flatMap((result) => (result instanceof Interrupted ? Effect.fail(result) : Effect.succeed(result)))
        )
      },
      run: (node, task, onRows) =>
        Semaphore.withPermit(permits, retried(node, task.index)(attempt(node, task, onRows))).pipe(
          asNodeFailed(node.id, task.index)
        )
    }
  })
