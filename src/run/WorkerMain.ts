/**
 * The thread's side of `Workers.ts`: builds the recipe's pipeline once, then runs shards and nodes as they are asked for,
 * or helps another thread's node, or loads for it.
 *
 * Not a place for retries or timeouts (the pool's), nor for stdout: logs go to stderr, the command line's `--json` owns
 * stdout. A thread refuses to run code that is not what the run was planned with: whoever edits a file while a long run
 * goes on must not get its result stored under the old code's digest.
 */
import { parentPort, workerData } from "node:worker_threads"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Effect, Exit, Layer, Logger, ManagedRuntime, Queue, Result } from "effect"
import { Helpers } from "../dag/Helpers.ts"
import { keyOf, keyParts } from "../dag/Key.ts"
import { Loading } from "../dag/Loader.ts"
import type { AnyNode } from "../dag/Node.ts"
import { scrub } from "../dag/Secrets.ts"
import { damageIn, onDamage } from "../store/Damage.ts"
import { layer as localStore } from "../store/LocalStore.ts"
import { Store } from "../store/Store.ts"
import { blamedNode, blaming, strayError } from "./Blame.ts"
import { describeError, hintFor } from "./Failure.ts"
import { helpersFor, runHelp, threadBudget } from "./HelperTask.ts"
import { loaderFor, runLoad } from "./LoaderTask.ts"
import { followNode, type NodeTask, type NodeWatch, runNode, sendingWatch } from "./NodeTask.ts"
import type { Drained } from "./Outputs.ts"
import { codeOf } from "./PlanContext.ts"
import { build, type Recipe, recipeChain } from "./Recipe.ts"
import { Interrupted, NodeFailed, Stop } from "./Run.ts"
import { encodeError } from "./SerializedExit.ts"
import { attemptShard, type ShardTask } from "./ShardTask.ts"
import type { Request } from "./WorkerClient.ts"
import type { WorkerMessage, WorkerSetup, WorkerTask } from "./Workers.ts"

const port = parentPort!
const setup = workerData as WorkerSetup
const send = (message: WorkerMessage, buffers: ReadonlyArray<ArrayBuffer> = []) => port.postMessage(message, buffers)

/** Rows are reported at most this often. */
const REPORT_EVERY_MS = 100

const prepare = async () => {
  const loaded = (await import(setup.module)) as { readonly default?: Recipe<any, any> }
  if (loaded.default === undefined)
    throw new Error(`${setup.module} has no default export: a recipe file exports its recipe`)
  const recipe = loaded.default
  const nodes = new Map(build(recipe, setup.choice).nodes.map((node) => [node.id, node]))
  const files = Layer.mergeAll(
    localStore({ root: setup.store, readOnly: true, treesChecked: true }),
    Logger.layer([Logger.withConsoleError(Logger.formatSimple)])
  )
  const services = Layer.mergeAll(recipe.services(setup.choice.engine), files)
  // Each is built when first used: a thread that only loads has no engine.
  return {
    nodes,
    numerics: recipe.numerics(setup.choice.engine),
    /** Where the code of the recipe's services lies. */
    services: recipeChain(recipe, setup.module),
    runtime: ManagedRuntime.make(Layer.provideMerge(services, NodeServices.layer)),
    filesRuntime: ManagedRuntime.make(Layer.provideMerge(files, NodeServices.layer))
  }
}

type Prepared = Awaited<ReturnType<typeof prepare>>

const sameCode = (node: AnyNode, task: ShardTask | NodeTask, { numerics, services }: Prepared) =>
  Effect.gen(function* () {
    const code = yield* codeOf(yield* Store, node, services)
    // The recipe was imported when this thread started: its parameters and wiring must be those of the plan.
    const key = keyOf(keyParts(node, task.inputs, numerics))
    if (code.digest !== task.code || key !== task.key)
      return yield* Effect.die(
        new NodeFailed({
          node: task.node,
          ...("index" in task ? { shard: task.index } : {}),
          message: `${node.spec.sourceLocation.file}, a file behind it or the recipe was edited while the run went on`,
          hint: "Run the same command again: it runs the new code, and takes from the store what did not change."
        })
      )
  })

const fail = (error: unknown, bug: boolean, trace: string): void => {
  const of = error as Partial<NodeFailed> | undefined
  const inner = error instanceof NodeFailed && typeof error.cause === "object" ? error.cause : error
  const damage = damageIn(error)
  send({
    type: "failed",
    bug,
    message: error instanceof NodeFailed ? error.message : describeError(error),
    hint: hintFor(error, bug),
    cause: scrub(typeof of?.cause === "string" ? of.cause : trace),
    ...(damage !== undefined || !(bug || inner instanceof NodeFailed)
      ? { error: encodeError(damage ?? inner, trace) }
      : {})
  })
}

const failCause = (cause: Cause.Cause<unknown>): void => {
  const found = Cause.findError(cause)
  const bug = !Result.isSuccess(found)
  fail(bug ? Cause.squash(cause) : found.success, bug, Cause.pretty(cause))
}

/** Request to stop: the pool says so between two messages, which a fold hears between two steps. */
let stopping = false
const stop = Stop.of({
  request: Effect.sync(() => {
    stopping = true
  }),
  requested: () => stopping,
  wait: Effect.never
})

/** Lets messages in: a step holds the thread, and Effect's own yields stay within one turn of the event loop. */
const turn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** One attempt is the thread's; how often and for how long is the pool's. */
const withoutRetries = (node: AnyNode): AnyNode => {
  const { retries: _, timeout: __, ...spec } = node.spec
  return { ...node, spec }
}

/** Other threads, as a fold in this one sees them. */
const withThreads =
  (node: AnyNode, task: NodeTask) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
    const budget = threadBudget(task)
    return effect.pipe(
      Effect.provideService(Helpers, helpersFor(setup, task, budget)),
      Effect.provideService(Loading, loaderFor(setup, task, node, budget))
    )
  }

const serveNode = async (prepared: Prepared, node: AnyNode, task: NodeTask) => {
  const watch = sendingWatch((message) => send({ type: "heard", message }))
  const hearing: NodeWatch = {
    ...watch,
    step: (step, total, metrics) => Effect.andThen(watch.step(step, total, metrics), turn)
  }
  const exit = await prepared.runtime.runPromiseExit(
    Effect.andThen(
      sameCode(node, task, prepared),
      runNode(withoutRetries(node), task, hearing).pipe(
        blaming(node.id),
        Effect.provideService(Stop, stop),
        withThreads(node, task)
      )
    ) as Effect.Effect<Drained, unknown, Store>
  )
  if (Exit.isSuccess(exit)) return send({ type: "drained", drained: exit.value })
  const found = Cause.findError(exit.cause)
  if (Result.isSuccess(found) && found.success instanceof Interrupted)
    return send({ type: "stopped", message: found.success.message, hint: found.success.hint })
  failCause(exit.cause)
}

/** What this thread was asked by the fold that it helps or loads for. */
const asked = Effect.runSync(Queue.unbounded<Request>())

const serveHelp = async (prepared: Prepared, node: AnyNode, task: NodeTask) => {
  const exit = await prepared.runtime.runPromiseExit(
    Effect.andThen(
      sameCode(node, task, prepared),
      runHelp(node, task, asked, (id, answer) => send({ type: "answer", id, answer }))
    )
  )
  if (Exit.isFailure(exit)) failCause(exit.cause)
}

const serveLoad = async (prepared: Prepared, node: AnyNode, task: NodeTask) => {
  const exit = await prepared.filesRuntime.runPromiseExit(
    Effect.andThen(
      sameCode(node, task, prepared),
      runLoad(
        node,
        task,
        asked,
        () => send({ type: "opened" }),
        (id, answer, buffers) => send({ type: "answer", id, answer }, buffers)
      )
    )
  )
  if (Exit.isFailure(exit)) failCause(exit.cause)
}

const serveFollow = async (prepared: Prepared, node: AnyNode, task: NodeTask) => {
  const exit = await prepared.runtime.runPromiseExit(
    Effect.andThen(sameCode(node, task, prepared), followNode(node, task)).pipe(withThreads(node, task))
  )
  if (Exit.isSuccess(exit)) return send({ type: "followed" })
  failCause(exit.cause)
}

/** The node of the task that this thread does, or did last. */
let current: string | undefined

/** What is thrown outside of any effect ends the thread, with the node named whose code it was. */
const watchStray = (): void => {
  const onStray = (error: unknown) => {
    const told = strayError(error, blamedNode() ?? current)
    if (!(told instanceof NodeFailed)) throw error
    const cause = typeof told.cause === "string" ? told.cause : describeError(told.cause)
    send({ type: "stray", node: told.node, message: scrub(told.message), hint: told.hint, cause: scrub(cause) })
    setImmediate(() => process.exit(1))
  }
  process.on("uncaughtException", onStray)
  process.on("unhandledRejection", onStray)
}

const serve = (prepared: Prepared) => {
  const { nodes, runtime } = prepared
  port.on("message", async (task: WorkerTask) => {
    if (task.kind === "stop") {
      stopping = true
      return
    }
    if (task.kind === "ask") {
      Queue.offerUnsafe(asked, task)
      return
    }
    const node = nodes.get(task.node)
    current = task.node
    if (node === undefined) return fail(new Error(`the recipe has no node ${task.node}`), true, "")
    if (task.kind === "node") return await serveNode(prepared, node, task)
    if (task.kind === "help") return await serveHelp(prepared, node, task)
    if (task.kind === "load") return await serveLoad(prepared, node, task)
    if (task.kind === "follow") return await serveFollow(prepared, node, task)
    let reported = 0
    const onRows = (rows: number) => {
      const now = performance.now()
      if (now - reported < REPORT_EVERY_MS) return
      reported = now
      send({ type: "rows", rows })
    }
    const exit = await runtime.runPromiseExit(
      Effect.andThen(
        sameCode(node, task, prepared),
        blaming(node.id)(attemptShard(node, task, onRows))
      ) as Effect.Effect<any, unknown, Store>
    )
    if (Exit.isSuccess(exit)) return send({ type: "done", record: exit.value })
    failCause(exit.cause)
  })
}

try {
  onDamage((met) => send({ type: "damage", met }))
  watchStray()
  serve(await prepare())
  send({ type: "ready" })
} catch (error) {
  send({
    type: "failed",
    bug: true,
    message: `the worker thread could not start: ${describeError(error)}`,
    hint: "The recipe file must be importable by itself and export its recipe as default.",
    cause: error instanceof Error ? (error.stack ?? error.message) : String(error)
  })
}
