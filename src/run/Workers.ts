/**
 * A pool of worker threads: for CPU-bound shards, and (a pool of one) for the nodes that compute with an engine.
 *
 * Requests are small: a task names node, shard and inputs; the thread opens them from the store, writes its own files
 * and answers with the shard record, or with what a whole node made. A thread runs one task at a time. An interrupted
 * or timed-out task ends its thread, because nothing else stops running JavaScript; the next task starts a fresh one.
 * So does a thread that was lost.
 */
import { Deferred, Effect, type Scope, Semaphore } from "effect"
import type { AnyNode } from "../dag/Node.ts"
import type { ShardRecord } from "../store/Manifest.ts"
import { asNodeFailed } from "./Failure.ts"
import type { NodeTask, NodeWatch } from "./NodeTask.ts"
import type { Drained } from "./Outputs.ts"
import { retried, timed } from "./Retry.ts"
import { Interrupted, NodeFailed, Stop } from "./Run.ts"
import { decodeError } from "./SerializedExit.ts"
import type { ShardTask } from "./ShardTask.ts"
import { type Lost, spawnWorker, type ThreadWords, type WorkerClient, type WorkerReply } from "./WorkerClient.ts"
import { type Progress, type Results, receiveProgress, type Work, type WorkerSetup } from "./WorkerProtocol.ts"

export interface Workers {
  /** Runs a whole or fold node in a thread, with the node's retries and timeout. */
  readonly runNode: (
    node: AnyNode,
    task: NodeTask,
    watch: NodeWatch
  ) => Effect.Effect<Drained, NodeFailed | Interrupted, Stop>
  /** Runs this process's part of a fold that rank 0 runs. */
  readonly follow: (task: NodeTask) => Effect.Effect<void, NodeFailed>
  /** Runs one shard in a thread, with the node's retries and timeout (which starts when a thread is ready). */
  readonly run: (
    node: AnyNode,
    task: ShardTask,
    onRows: (rows: number) => void
  ) => Effect.Effect<ShardRecord, NodeFailed>
}

const words: ThreadWords = {
  name: "its worker thread",
  outOfMemory: "The shard needs more memory than a thread has: make shards smaller, or run with --workers 0.",
  exited: "Node code must not call process.exit. Finished shards are kept: run the same command again."
}

/** No request is open: the error of a node that is done is the process's own, as it is beside the caller. */
const rejectStray = (stray: Lost & { readonly node: string }): void => void Promise.reject(new NodeFailed(stray))

type Task = ShardTask | NodeTask

const failure = (task: Task, from: Pick<Lost, "node" | "message" | "hint" | "cause">): NodeFailed => {
  const node = from.node ?? task.node
  return new NodeFailed({
    node,
    ...("index" in task && node === task.node ? { shard: task.index } : {}),
    message: from.message,
    hint: from.hint,
    cause: from.cause
  })
}

/** A reply as an effect: its value, or the node's failure. */
const settled = <A>(task: Task, reply: WorkerReply<A>): Effect.Effect<A, NodeFailed | Interrupted> => {
  switch (reply.status) {
    case "done":
      return Effect.succeed(reply.value)
    case "stopped":
      return Effect.fail(new Interrupted({ message: reply.message, hint: reply.hint }))
    case "lost":
      return Effect.fail(failure(task, reply))
    case "failed": {
      const { bug, error, ...said } = reply
      const failed = failure(task, { ...said, cause: error === undefined ? said.cause : decodeError(error) })
      return bug ? Effect.die(failed) : Effect.fail(failed)
    }
  }
}

/** Sends a request and waits for its exit; an interruption ends the thread. */
const request = <W extends Work & { readonly task: Task }>(
  client: WorkerClient,
  work: W,
  onProgress?: (progress: Progress) => void
): Effect.Effect<Results[W["kind"]], NodeFailed | Interrupted> =>
  Effect.suspend(() => Deferred.await(client.send(work, onProgress))).pipe(
    Effect.onInterrupt(() => client.end),
    Effect.flatMap((reply) => settled(work.task, reply))
  )

/** Nothing but a fold stops when it is asked to. */
const neverStopped = <A, R>(effect: Effect.Effect<A, NodeFailed | Interrupted, R>): Effect.Effect<A, NodeFailed, R> =>
  Effect.catchTag(effect, "Interrupted", Effect.die)

/** A watch whose `started` is called once, however often the node is tried. */
const announcedOnce = (watch: NodeWatch): NodeWatch => {
  let announced = false
  return {
    ...watch,
    started: (from) => {
      if (announced) return Effect.void
      announced = true
      return watch.started(from)
    }
  }
}

/** A pool of at most `size` threads, started when first needed and ended with the scope. */
export const makeWorkers = (size: number, setup: WorkerSetup): Effect.Effect<Workers, never, Scope.Scope> =>
  Effect.gen(function* () {
    const idle: Array<WorkerClient> = []
    const all = new Set<WorkerClient>()
    const permits = Semaphore.makeUnsafe(Math.max(1, size))
    yield* Effect.addFinalizer(() =>
      Effect.forEach(all, (client) => client.end, { concurrency: "unbounded", discard: true })
    )

    /** An idle thread, or a new one that has imported the recipe. A thread that cannot is ended. */
    const take = (task: Task): Effect.Effect<WorkerClient, NodeFailed> =>
      Effect.suspend(() => {
        for (let client = idle.pop(); client !== undefined; client = idle.pop()) {
          if (client.isAlive()) return Effect.succeed(client)
          all.delete(client)
        }
        const client = spawnWorker(setup, words, rejectStray)
        all.add(client)
        return Effect.flatMap(client.started, (reply) => settled(task, reply)).pipe(
          Effect.as(client),
          Effect.onError(() => client.end),
          neverStopped
        )
      })

    const giveBack = (client: WorkerClient) =>
      Effect.sync(() => {
        if (client.isAlive()) idle.push(client)
        else all.delete(client)
      })

    const attemptShard = (node: AnyNode, task: ShardTask, onRows: (rows: number) => void) =>
      Effect.flatMap(take(task), (client) =>
        request(client, { kind: "shard", task }, (progress) => {
          if (progress.call === "rows") onRows(progress.rows)
        }).pipe(neverStopped, timed(node), Effect.ensuring(giveBack(client)))
      )

    const attemptNode = Effect.fnUntraced(function* (node: AnyNode, task: NodeTask, watch: NodeWatch) {
      const stop = yield* Stop
      const fork = Effect.runForkWith(yield* Effect.context<never>())
      const client = yield* take(task)
      const running = request(client, { kind: "node", task }, (progress) => fork(receiveProgress(watch, progress)))
      const stopping = Effect.andThen(stop.wait, Effect.sync(client.stop))
      return yield* Effect.scoped(Effect.andThen(Effect.forkScoped(stopping), timed(node)(running))).pipe(
        Effect.ensuring(giveBack(client))
      )
    })

    const attemptFollow = (task: NodeTask) =>
      Effect.flatMap(take(task), (client) =>
        request(client, { kind: "follow", task }).pipe(neverStopped, Effect.ensuring(giveBack(client)))
      )

    return {
      follow: (task) => Semaphore.withPermit(permits, attemptFollow(task)).pipe(asNodeFailed(task.node)),
      runNode: (node, task, watch) => {
        // A stop is no failure: it is neither tried again nor reported as one.
        const attempt = Effect.catchTag(attemptNode(node, task, announcedOnce(watch)), "Interrupted", Effect.succeed)
        return Semaphore.withPermit(permits, retried(node)(attempt)).pipe(
          asNodeFailed(node.id),
          Effect.flatMap((result) => (result instanceof Interrupted ? Effect.fail(result) : Effect.succeed(result)))
        )
      },
      run: (node, task, onRows) =>
        Semaphore.withPermit(permits, retried(node, task.index)(attemptShard(node, task, onRows))).pipe(
          asNodeFailed(node.id, task.index)
        )
    }
  })
