/** A thread of a `Crew`: imports the given module, sends a ready message, answers each task. */
import { parentPort, workerData } from "node:worker_threads"

const { module } = workerData as { readonly module: string }
const functions = (await import(module)) as Readonly<Record<string, (task: unknown) => Promise<unknown>>>

parentPort!.on("message", ({ name, task }: { readonly name: string; readonly task: unknown }) => {
  const work = functions[name]
  const answer = work === undefined ? Promise.reject(new Error(`${module} has no ${name}`)) : work(task)
  answer.then(
    (value) => parentPort!.postMessage({ value }),
    (cause: unknown) => parentPort!.postMessage({ error: cause instanceof Error ? cause.message : String(cause) })
  )
})
parentPort!.postMessage({ value: "ready" })
