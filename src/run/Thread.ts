/**
 * Starts a worker thread with a heap that suits large buffers, and ends one without harm to others.
 *
 * Not a pool (`Workers.ts`) and not what runs in the thread (`WorkerMain.ts`).
 */
import { setTimeout } from "node:timers/promises"
import { setFlagsFromString } from "node:v8"
import { Worker } from "node:worker_threads"

/**
 * MiB of heap and buffers before V8 first collects a thread's old space. By default it starts small and counts buffers:
 * with 10 MB of pixels a batch it then collects at every second batch, a third of the thread's time. More than 128
 * gains nothing.
 */
const FIRST_COLLECTION_MIB = 128

/** Milliseconds that a thread which is to be ended may still take to start. */
const START_MS = 10_000

/** Kept when a thread first speaks, breaks or exits. */
const started = new WeakMap<Worker, Promise<void>>()

/**
 * A thread of a module, by its URL, with its data. V8's flag is for the process and holds for threads started later.
 */
export const startThread = (module: URL, workerData: unknown): Worker => {
  setFlagsFromString(`--initial-old-space-size=${FIRST_COLLECTION_MIB}`)
  const worker = new Worker(module, { workerData, execArgv: [] })
  started.set(
    worker,
    new Promise((resolve) => {
      for (const event of ["message", "error", "exit"]) worker.once(event, () => resolve())
    })
  )
  return worker
}

/**
 * Ends a thread; one that starts, after its first message. Node 24 ends the whole process, with a stack of V8 and no
 * message, where a thread is ended while a module runs that waited for another one's top-level `await`.
 */
export const endThread = async (worker: Worker): Promise<void> => {
  const late = new AbortController()
  await Promise.race([
    started.get(worker),
    setTimeout(START_MS, undefined, { signal: late.signal }).catch(() => undefined)
  ])
  late.abort()
  await worker.terminate()
}
