/**
 * A thread beside a fold's that answers what it is asked: the asking side, the same for helpers and loaders.
 *
 * Not what it does (`HelperTask.ts`, `LoaderTask.ts`) and not a pool: it is started for one fold from the same recipe, choice
 * and store, and ends with it. Its end, whatever the cause, is the failure of whatever was asked of it.
 */
import { Deferred, Effect, type Queue } from "effect"
import { reportDamage } from "../store/Damage.ts"
import { NodeFailed } from "./Run.ts"
import { startThread } from "./Thread.ts"
import { threadModule, type WorkerMessage, type WorkerSetup, type WorkerTask } from "./Workers.ts"

/** A request as it reaches the thread. */
export interface Request {
  readonly id: number
  readonly task: unknown
}
export type RequestQueue = Queue.Queue<Request>

/** Why it is over, in words; the caller makes its own error of them. */
export interface Over {
  readonly message: string
  readonly hint: string
  readonly cause: unknown
}

/** Starts a thread with its task. `who` names it in words, `failed` makes the error of its end. */
export const spawnWorker = <E>(
  setup: WorkerSetup,
  task: Extract<WorkerTask, { readonly kind: "help" | "load" }>,
  who: string,
  failed: (over: Over) => E
) => {
  const worker = startThread(threadModule, setup)
  const tell = (message: WorkerTask) => worker.postMessage(message)
  const pending = new Map<number, Deferred.Deferred<unknown, E>>()
  const opened = Deferred.makeUnsafe<void, E>()
  let over: Effect.Effect<never, E> | undefined
  let asked = 0
  const end = (why: Effect.Effect<never, E>) => {
    over ??= why
    Deferred.doneUnsafe(opened, over)
    for (const waiting of pending.values()) Deferred.doneUnsafe(waiting, over)
    pending.clear()
  }
  worker.on("message", (message: WorkerMessage) => {
    if (message.type === "damage") reportDamage(message.met)
    else if (message.type === "opened") Deferred.doneUnsafe(opened, Effect.void)
    else if (message.type === "answer") {
      const waiting = pending.get(message.id)
      pending.delete(message.id)
      if (waiting !== undefined) Deferred.doneUnsafe(waiting, Effect.succeed(message.answer))
    } else if (message.type === "stray") {
      end(Effect.fail(failed({ message: message.message, hint: message.hint, cause: message.cause })))
    } else if (message.type === "failed") {
      const { bug, cause, hint, message: words } = message
      end(
        bug
          ? Effect.die(new NodeFailed({ node: task.node, message: words, hint, cause }))
          : Effect.fail(failed({ message: words, hint, cause }))
      )
    }
  })
  worker.on("error", (error: Error & { readonly code?: string }) =>
    end(
      Effect.fail(
        failed({
          message: `a ${who} thread broke: ${error.message}`,
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
        failed({
          message: `a ${who} thread exited with code ${code}`,
          hint: "Node code must not call process.exit. Checkpoints are kept: run the same command again; --workers 1 uses one thread.",
          cause: undefined
        })
      )
    )
  )
  tell(task)
  return {
    worker,
    isOpen: () => Deferred.isDoneUnsafe(opened),
    opened: Deferred.await(opened),
    ask: (of: unknown): Effect.Effect<Effect.Effect<unknown, E>> =>
      Effect.suspend(() => {
        if (over !== undefined) return Effect.succeed(over)
        const answer = Deferred.makeUnsafe<unknown, E>()
        pending.set(asked, answer)
        tell({ kind: "ask", id: asked++, task: of })
        return Effect.succeed(Deferred.await(answer))
      })
  }
}
