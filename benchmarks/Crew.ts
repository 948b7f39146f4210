/**
 * Worker threads for rows that say "2 workers": each runs functions of one module on the tasks it is sent.
 *
 * Not the runner (`src/run/Workers.ts`), which adds a store to it: rows that are end to end use that one. The threads
 * are started as the runner starts its own.
 */
import type { Worker } from "node:worker_threads"
import { startThread } from "../src/run/Thread.ts"

/** Threads that wait for tasks. */
export interface Crew {
  /** Calls `name` of the module in every thread, thread i with tasks[i]; answers in the same order. */
  readonly all: <A>(name: string, tasks: ReadonlyArray<unknown>) => Promise<ReadonlyArray<A>>
  readonly stop: () => Promise<void>
}

type Reply = { readonly value: unknown } | { readonly error: string }

/** Starts `size` threads that have imported `module`, a file URL. */
export const startCrew = async (size: number, module: string): Promise<Crew> => {
  const main = new URL("./CrewMain.ts", import.meta.url)
  const threads = Array.from({ length: size }, () => startThread(main, { module }))
  const reply = (thread: Worker): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const done = (settle: () => void): void => {
        thread.off("message", told).off("error", failed).off("exit", ended)
        settle()
      }
      const told = (message: Reply): void =>
        done(() => ("error" in message ? reject(new Error(message.error)) : resolve(message.value)))
      const failed = (cause: Error): void => done(() => reject(cause))
      const ended = (code: number): void => done(() => reject(new Error(`a worker thread ended with ${code}`)))
      thread.on("message", told).on("error", failed).on("exit", ended)
    })
  await Promise.all(threads.map(reply))
  return {
    all: <A>(name: string, tasks: ReadonlyArray<unknown>) =>
      Promise.all(
        threads.map((thread, i) => {
          const answer = reply(thread)
          thread.postMessage({ name, task: tasks[i] })
          return answer as Promise<A>
        })
      ),
    stop: async () => {
      await Promise.all(threads.map((thread) => thread.terminate()))
    }
  }
}
