/**
 * The server of `WorkerProtocol.ts`: imports the recipe and builds its pipeline once, then does what it is asked for.
 *
 * Not a place for retries or time limits (the pool's), nor for stdout: logs go to stderr, the command line's `--json`
 * owns stdout. A thread refuses to run code that is not what the run was planned with: whoever edits a file while a
 * long run goes on must not get its result stored under the old code's digest.
 */
import { parentPort, workerData } from "node:worker_threads"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, Exit, Layer, Logger, ManagedRuntime, Queue, type Scope } from "effect"
import { Helpers } from "../dag/Helpers.ts"
import { nodeKey } from "../dag/Key.ts"
import { Loading } from "../dag/Loader.ts"
import type { AnyNode } from "../dag/Node.ts"
import { scrub } from "../dag/Secrets.ts"
import { onDamage } from "../store/Damage.ts"
import { layer as localStore } from "../store/LocalStore.ts"
import { Store } from "../store/Store.ts"
import { blamedNode, blaming, strayError } from "./Blame.ts"
import { describeError } from "./Failure.ts"
import { helpersFor, openHelp, threadBudget } from "./HelperTask.ts"
import { buffersOf, loaderFor, openLoad } from "./LoaderTask.ts"
import { followNode, type NodeTask, type NodeWatch, runNode } from "./NodeTask.ts"
import { codeOf } from "./PlanContext.ts"
import { build, type Recipe, recipeChain } from "./Recipe.ts"
import { NodeFailed, Stop } from "./Run.ts"
import type { SerializedExit } from "./SerializedExit.ts"
import { attemptShard, type ShardTask } from "./ShardTask.ts"
import {
  exitOfCause,
  type FromWorker,
  failedExit,
  type Request,
  START,
  sendProgress,
  type ToWorker,
  type Work,
  type WorkerExit,
  type WorkerSetup
} from "./WorkerProtocol.ts"

const port = parentPort!
const setup = workerData as WorkerSetup
const send = (message: FromWorker, buffers: ReadonlyArray<ArrayBuffer> = []) => port.postMessage(message, buffers)
const sendExit = (id: number, exit: WorkerExit, buffers?: ReadonlyArray<ArrayBuffer>) =>
  send({ type: "exit", id, exit }, buffers)

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
  // Each runtime is built when it is first used: a thread that only loads has no engine.
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
    const { key } = nodeKey(node, task.inputs, numerics)
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

/** A stop is requested between two messages, which a fold hears between two steps. */
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

/** Sends the rows of a shard so far, not too often. */
const reportRows = (id: number) => {
  let reported = 0
  return (rows: number) => {
    const now = performance.now()
    if (now - reported < REPORT_EVERY_MS) return
    reported = now
    send({ type: "progress", id, progress: { call: "rows", rows } })
  }
}

const runWatched = (id: number, node: AnyNode, task: NodeTask) => {
  const watch = sendProgress((progress) => send({ type: "progress", id, progress }))
  const hearing: NodeWatch = {
    ...watch,
    step: (step, total, metrics) => Effect.andThen(watch.step(step, total, metrics), turn)
  }
  return runNode(withoutRetries(node), task, hearing).pipe(
    blaming(node.id),
    Effect.provideService(Stop, stop),
    withThreads(node, task)
  )
}

/** What the fold that this thread helps or loads for asks it. */
const asks = Effect.runSync(Queue.unbounded<Request>())

/** Opens a fold's node once, then answers its asks in turn until the thread ends. */
const serveAsks = <A, R>(
  id: number,
  open: Effect.Effect<(task: unknown) => Effect.Effect<A, unknown>, unknown, R>,
  transfer: (answer: A) => ReadonlyArray<ArrayBuffer>
): Effect.Effect<never, never, Exclude<R, Scope.Scope>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const opened = yield* Effect.exit(open)
      sendExit(id, Exit.isSuccess(opened) ? { status: "done", value: undefined } : exitOfCause(opened.cause))
      return yield* Effect.forever(
        Effect.gen(function* () {
          const { id, work } = yield* Queue.take(asks)
          if (Exit.isFailure(opened)) return sendExit(id, exitOfCause(opened.cause))
          const answered = yield* Effect.exit(Effect.suspend(() => opened.value(work.task)))
          if (Exit.isFailure(answered)) return sendExit(id, exitOfCause(answered.cause))
          sendExit(id, { status: "done", value: answered.value }, transfer(answered.value))
        })
      )
    })
  )

const copied = () => []
const transferred = (loaded: SerializedExit) => (loaded.ok ? buffersOf(loaded.value) : [])

/** Runs a request to its end, in the runtime with the services that it needs. */
const run = (
  prepared: Prepared,
  node: AnyNode,
  id: number,
  work: Exclude<Work, { readonly kind: "ask" }>
): Promise<Exit.Exit<unknown, unknown>> => {
  const { filesRuntime, runtime } = prepared
  const checked = sameCode(node, work.task, prepared)
  // The services of a node are erased from its type; the recipe provides them.
  const engine = <A>(effect: Effect.Effect<A, unknown, any>) =>
    runtime.runPromiseExit(effect as Effect.Effect<A, unknown, Store>)
  switch (work.kind) {
    case "shard":
      return engine(Effect.andThen(checked, blaming(node.id)(attemptShard(node, work.task, reportRows(id)))))
    case "node":
      return engine(Effect.andThen(checked, runWatched(id, node, work.task)))
    case "follow":
      return engine(Effect.andThen(checked, followNode(node, work.task)).pipe(withThreads(node, work.task)))
    case "help":
      return engine(serveAsks(id, Effect.andThen(checked, openHelp(node, work.task)), copied))
    case "load":
      return filesRuntime.runPromiseExit(serveAsks(id, Effect.andThen(checked, openLoad(node, work.task)), transferred))
  }
}

/** The node of the task that this thread does, or did last. */
let current: string | undefined

/** What is thrown outside of any effect ends the thread, with the node named whose code it was. */
const watchStray = (): void => {
  const onStray = (error: unknown) => {
    const stray = strayError(error, blamedNode() ?? current)
    if (!(stray instanceof NodeFailed)) throw error
    const cause = typeof stray.cause === "string" ? stray.cause : describeError(stray.cause)
    send({ type: "stray", node: stray.node, message: scrub(stray.message), hint: stray.hint, cause: scrub(cause) })
    setImmediate(() => process.exit(1))
  }
  process.on("uncaughtException", onStray)
  process.on("unhandledRejection", onStray)
}

const serve = (prepared: Prepared) => {
  port.on("message", async (message: ToWorker) => {
    if (message.type === "stop") {
      stopping = true
      return
    }
    const { id, work } = message
    if (work.kind === "ask") return void Queue.offerUnsafe(asks, message)
    current = work.task.node
    const node = prepared.nodes.get(current)
    if (node === undefined) return sendExit(id, failedExit(new Error(`the recipe has no node ${current}`), true, ""))
    const exit = await run(prepared, node, id, work)
    sendExit(id, Exit.isSuccess(exit) ? { status: "done", value: exit.value } : exitOfCause(exit.cause))
  })
}

try {
  onDamage((met) => send({ type: "damage", met }))
  watchStray()
  serve(await prepare())
  sendExit(START, { status: "done", value: undefined })
} catch (error) {
  sendExit(START, {
    status: "failed",
    bug: true,
    message: `the worker thread could not start: ${describeError(error)}`,
    hint: "The recipe file must be importable by itself and export its recipe as default.",
    cause: error instanceof Error ? (error.stack ?? error.message) : String(error)
  })
}
