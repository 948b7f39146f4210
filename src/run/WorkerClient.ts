/**
 * One worker thread as its starter sees it: sends requests and gives their exits, whatever becomes of the thread.
 *
 * Not a pool (`Workers.ts`) and no retries or time limits: whoever waits interrupts, and ends the thread. A thread that
 * broke, exited or threw outside of an effect gives every open and later request the exit `lost`.
 */
import { extname } from "node:path"
import { Deferred, Effect } from "effect"
import { reportDamage } from "../store/Damage.ts"
import { tooManyFilesHint } from "../store/OpenFiles.ts"
import { endThread, startThread } from "./Thread.ts"
import {
  type FromWorker,
  type Progress,
  type Results,
  START,
  type ToWorker,
  type Work,
  type WorkerExit,
  type WorkerSetup
} from "./WorkerProtocol.ts"

/** The thread is gone. `node`: whose code broke it, where that is known; it may not be the node of the request. */
export interface Lost {
  readonly status: "lost"
  readonly node?: string
  readonly message: string
  readonly hint: string
  readonly cause: unknown
}

/** A request's end as the client sees it. */
export type WorkerReply<A = unknown> =
  | { readonly status: "done"; readonly value: A }
  | Exclude<WorkerExit, { readonly status: "done" }>
  | Lost

/** How messages name the thread, and what to do when it ran out of memory or exited. */
export interface ThreadWords {
  readonly name: string
  readonly outOfMemory: string
  readonly exited: string
}

export interface WorkerClient {
  /** The end of the thread's start: the recipe is imported and built, or cannot be. */
  readonly started: Effect.Effect<WorkerReply<undefined>>
  /** Sends a request. `onProgress` hears what it reports before its end. */
  readonly send: <W extends Work>(
    work: W,
    onProgress?: (progress: Progress) => void
  ) => Deferred.Deferred<WorkerReply<Results[W["kind"]]>>
  /** Asks the running fold to stop at its next step. */
  readonly stop: () => void
  readonly isAlive: () => boolean
  /** Ends the thread, whatever it computes. */
  readonly end: Effect.Effect<void>
}

interface Pending {
  readonly reply: Deferred.Deferred<WorkerReply<any>>
  readonly onProgress: ((progress: Progress) => void) | undefined
}

/** The server's module beside this one: it ends in `.ts` in the repository and in `.js` where it is installed. */
const workerModule = new URL(`./WorkerMain${extname(new URL(import.meta.url).pathname)}`, import.meta.url)

const brokenHint = (error: Error & { readonly code?: string }, words: ThreadWords): string =>
  error.code === "ERR_WORKER_OUT_OF_MEMORY"
    ? words.outOfMemory
    : (tooManyFilesHint(error) ??
      "Something in the thread threw outside of the node's effect; MILLRACE_DEBUG=1 shows the stack.")

/** Starts a thread. `onIdleStray` hears of an error outside of any effect that comes while no request is open. */
export const spawnWorker = (
  setup: WorkerSetup,
  words: ThreadWords,
  onIdleStray?: (stray: Lost & { readonly node: string }) => void
): WorkerClient => {
  const worker = startThread(workerModule, setup)
  const pending = new Map<number, Pending>()
  let lost: Lost | undefined
  let next = START
  const register = (onProgress?: Pending["onProgress"]): Pending & { readonly id: number } => {
    const one = { id: next++, reply: Deferred.makeUnsafe<WorkerReply<any>>(), onProgress }
    pending.set(one.id, one)
    return one
  }
  const settle = (id: number, reply: WorkerReply) => {
    const one = pending.get(id)
    pending.delete(id)
    if (one !== undefined) Deferred.doneUnsafe(one.reply, Effect.succeed(reply))
  }
  const lose = (why: Omit<Lost, "status">) => {
    lost ??= { status: "lost", ...why }
    for (const id of [...pending.keys()]) settle(id, lost)
  }
  worker.on("message", (message: FromWorker) => {
    if (message.type === "damage") return reportDamage(message.met)
    if (message.type === "progress") return pending.get(message.id)?.onProgress?.(message.progress)
    if (message.type === "exit") return settle(message.id, message.exit)
    const { type: _, ...stray } = message
    const idle = pending.size === 0
    lose(stray)
    if (idle) onIdleStray?.({ status: "lost", ...stray })
  })
  worker.on("error", (error: Error & { readonly code?: string }) =>
    lose({ message: `${words.name} broke: ${error.message}`, hint: brokenHint(error, words), cause: error.stack })
  )
  worker.on("exit", (code) =>
    lose({ message: `${words.name} exited with code ${code}`, hint: words.exited, cause: undefined })
  )
  const post = (message: ToWorker) => worker.postMessage(message)
  return {
    started: Deferred.await(register().reply),
    send: (work, onProgress) => {
      const { id, reply } = register(onProgress)
      if (lost === undefined) post({ type: "request", id, work })
      else settle(id, lost)
      return reply
    },
    stop: () => post({ type: "stop" }),
    isAlive: () => lost === undefined,
    end: Effect.promise(() => endThread(worker))
  }
}
