/**
 * Starts a worker thread with a heap that suits one which hands through large buffers.
 *
 * Not a pool (`Workers.ts`) and not what runs in the thread (`WorkerMain.ts`).
 */
import { setFlagsFromString } from "node:v8"
import { Worker } from "node:worker_threads"

/**
 * MiB of heap and buffers before V8 first collects a thread's old space. By default it starts small and counts buffers:
 * with 10 MB of pixels a batch it then collects at every second batch, a third of the thread's time. More than 128
 * gains nothing.
 */
const FIRST_COLLECTION_MIB = 128

/** A thread of a module, by its URL, with its data. V8's flag is for the process and holds for threads started later. */
export const startThread = (module: URL, workerData: unknown): Worker => {
  setFlagsFromString(`--initial-old-space-size=${FIRST_COLLECTION_MIB}`)
  return new Worker(module, { workerData, execArgv: [] })
}
