/**
 * Helpers of a fold as threads: both sides (`dag/Helpers.ts` says what a fold sees of them).
 *
 * The engine's thread starts them when the fold asks, from the same recipe, choice and store; each opens the same inputs
 * and answers tasks until the fold's scope closes, which ends its thread. A helper writes no files and knows no steps. Its
 * end, whatever the cause, is the failure of whatever was asked of it; retries start new ones.
 */
import { Deferred, Effect, type FileSystem, Queue, type Scope } from "effect"
import type { AnyFold } from "../dag/Fold.ts"
import { type Helper, HelperFailed } from "../dag/Helpers.ts"
import type { AnyNode } from "../dag/Node.ts"
import type { Store } from "../store/Store.ts"
import type { NodeTask } from "./NodeTask.ts"
import { NodeFailed } from "./Run.ts"
import { endThread, startThread } from "./Thread.ts"
import { openInputs } from "./WholeTask.ts"
import { threadModule, type WorkerMessage, type WorkerSetup, type WorkerTask } from "./Workers.ts"

/** A fold computes with at most so many threads, however many are asked for: each has a copy of its models. */
export const MOST_THREADS = 8

const start = (setup: WorkerSetup, task: NodeTask) => {
  const worker = startThread(threadModule, setup)
  const tell = (message: WorkerTask) => worker.postMessage(message)
  const pending = new Map<number, Deferred.Deferred<unknown, HelperFailed>>()
  let over: Effect.Effect<never, HelperFailed> | undefined
  let asked = 0
  const end = (why: Effect.Effect<never, HelperFailed>) => {
    over ??= why
    for (const waiting of pending.values()) Deferred.doneUnsafe(waiting, over)
    pending.clear()
  }
  worker.on("message", (message: WorkerMessage) => {
    if (message.type === "answer") {
      const waiting = pending.get(message.id)
      pending.delete(message.id)
      if (waiting !== undefined) Deferred.doneUnsafe(waiting, Effect.succeed(message.answer))
    } else if (message.type === "failed")
      end(
        message.bug
          ? Effect.die(
              new NodeFailed({ node: task.node, message: message.message, hint: message.hint, cause: message.cause })
            )
          : Effect.fail(new HelperFailed({ message: message.message, hint: message.hint, cause: message.cause }))
      )
  })
  worker.on("error", (error: Error & { readonly code?: string }) =>
    end(
      Effect.fail(
        new HelperFailed({
          message: `a helper thread broke: ${error.message}`,
          hint:
            error.code === "ERR_WORKER_OUT_OF_MEMORY"
              ? "It needs more memory than a thread has: run the same command again with --workers 1."
              : "Something in the thread threw outside of the node's effect; MILLRACE_DEBUG=1 shows the stack.",
          cause: error.stack
        })
      )
    )
  )
  worker.on("exit", (code) =>
    end(
      Effect.fail(
        new HelperFailed({
          message: `a helper thread exited with code ${code}`,
          hint: "Node code must not call process.exit. Checkpoints are kept: run the same command again; --workers 1 computes on one thread."
        })
      )
    )
  )
  // The task may be a message itself, of another kind.
  tell({ ...task, kind: "help" })
  const helper: Helper = {
    ask: (of) =>
      Effect.suspend(() => {
        if (over !== undefined) return Effect.succeed(over)
        const answer = Deferred.makeUnsafe<unknown, HelperFailed>()
        pending.set(asked, answer)
        tell({ kind: "ask", id: asked++, task: of })
        return Effect.succeed(Deferred.await(answer))
      })
  }
  return { helper, worker }
}

/** What `Helpers` is in the engine's thread: as many threads as the task allows, less the one that asks. */
export const helpersFor =
  (setup: WorkerSetup, task: NodeTask) =>
  (wanted: number): Effect.Effect<ReadonlyArray<Helper>, never, Scope.Scope> =>
    Effect.forEach(Array.from({ length: Math.max(0, Math.min(wanted, task.threads - 1)) }), () =>
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => start(setup, task)),
          ({ worker }) => Effect.promise(() => endThread(worker))
        ),
        ({ helper }) => helper
      )
    )

/** A task as it reaches the helper's thread. */
export interface Asked {
  readonly id: number
  readonly task: unknown
}

/** The helper's thread: opens the node, then answers in turn; ends by failing or with its thread. */
export const runHelp = (
  node: AnyNode,
  task: NodeTask,
  asked: Queue.Queue<Asked>,
  answer: (id: number, answer: unknown) => void
): Effect.Effect<never, unknown, Store | FileSystem.FileSystem> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { help } = node.spec.run as AnyFold
      if (help === undefined) return yield* Effect.die(new Error(`${node.id} asked for helpers and declares no help`))
      const { inputs } = yield* openInputs(node, task.places)
      const reply = yield* help({ params: node.params, inputs: inputs as never })
      return yield* Effect.forever(
        Effect.flatMap(Queue.take(asked), ({ id, task }) => Effect.map(reply(task), (value) => answer(id, value)))
      )
    })
  ) as Effect.Effect<never, unknown, Store | FileSystem.FileSystem>
