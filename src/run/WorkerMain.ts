/** The thread's side of `Workers.ts`: builds the recipe's pipeline once, then runs shards as they are asked for. */
import { parentPort, workerData } from "node:worker_threads"
import { NodeServices } from "@effect/platform-node"
import { Cause, Exit, Layer, ManagedRuntime, Result } from "effect"
import { layer as localStore } from "../store/LocalStore.ts"
import { describeError } from "./Failure.ts"
import { build, type Recipe } from "./Recipe.ts"
import type { NodeFailed } from "./Run.ts"
import { runShard, type ShardTask } from "./ShardTask.ts"
import type { WorkerMessage, WorkerSetup } from "./Workers.ts"

const port = parentPort!
const setup = workerData as WorkerSetup
const send = (message: WorkerMessage) => port.postMessage(message)

const prepare = async () => {
  const loaded = (await import(setup.module)) as { readonly default?: Recipe<any, any> }
  if (loaded.default === undefined)
    throw new Error(`${setup.module} has no default export: a recipe file exports its recipe`)
  const recipe = loaded.default
  const nodes = new Map(build(recipe, setup.choice).nodes.map((node) => [node.id, node]))
  const services = Layer.mergeAll(
    recipe.services(setup.choice.engine),
    localStore({ root: setup.store, readOnly: true })
  )
  return { nodes, runtime: ManagedRuntime.make(Layer.provideMerge(services, NodeServices.layer)) }
}
let prepared: ReturnType<typeof prepare> | undefined

/** Rows are reported at most this often. */
const REPORT_EVERY_MS = 100

port.on("message", async (task: ShardTask) => {
  try {
    prepared ??= prepare()
    const { nodes, runtime } = await prepared
    const node = nodes.get(task.node)
    if (node === undefined) throw new Error(`the recipe has no node ${task.node}`)
    let reported = 0
    const exit = await runtime.runPromiseExit(
      runShard(node, task, (rows) => {
        const now = performance.now()
        if (now - reported < REPORT_EVERY_MS) return
        reported = now
        send({ type: "rows", rows })
      })
    )
    if (Exit.isSuccess(exit)) return send({ type: "done", record: exit.value })
    const found = Cause.findError(exit.cause)
    const error = (Result.isSuccess(found) ? found.success : Cause.squash(exit.cause)) as Partial<NodeFailed>
    send({
      type: "failed",
      message: error.message ?? String(error),
      hint: error.hint ?? "MILLRACE_DEBUG=1 shows the stack.",
      cause:
        error.cause === undefined
          ? Cause.pretty(exit.cause)
          : typeof error.cause === "string"
            ? error.cause
            : describeError(error.cause)
    })
  } catch (error) {
    send({
      type: "failed",
      message: `the worker thread could not start its task: ${describeError(error)}`,
      hint: "The recipe file must be importable by itself and export its recipe as default.",
      cause: error instanceof Error ? (error.stack ?? error.message) : String(error)
    })
  }
})
