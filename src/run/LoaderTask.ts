/**
 * A fold's loader as a thread: both sides (`dag/Loader.ts` says what a fold sees of it).
 *
 * Started by the fold's own thread where the run has a thread left for it, once helpers have theirs; ended with the
 * fold's scope. It opens the same inputs from the same store, without the recipe's services: no engine is loaded for
 * it. It loads what it is asked for, in the order of asking, while the fold's thread computes.
 */
import { Deferred, Effect, type FileSystem, type Scope } from "effect"
import type { AnyFold } from "../dag/Fold.ts"
import { type Loader, LoaderFailed } from "../dag/Loader.ts"
import type { AnyNode } from "../dag/Node.ts"
import type { Store } from "../store/Store.ts"
import { replied, spawnScoped, type ThreadBudget, threadWords } from "./HelperTask.ts"
import type { NodeTask } from "./NodeTask.ts"
import { decodeExit, encodeExit, type SerializedExit } from "./SerializedExit.ts"
import { openInputs } from "./WholeTask.ts"
import type { WorkerClient } from "./WorkerClient.ts"
import type { WorkerSetup } from "./WorkerProtocol.ts"

const openLoader = (client: WorkerClient, task: NodeTask): Loader => {
  const settle = replied(task.node, (said) => new LoaderFailed(said))
  const open = client.send({ kind: "load", task })
  const opened = Effect.asVoid(Effect.flatMap(Deferred.await(open), settle))
  return {
    isOpen: () => Deferred.isDoneUnsafe(open),
    opened,
    ask: (request) =>
      Effect.sync(() => {
        const reply = client.send({ kind: "ask", task: request })
        const exit = Effect.andThen(opened, Effect.flatMap(Deferred.await(reply), settle))
        return Effect.flatMap(exit, (loaded) => decodeExit(loaded as SerializedExit))
      })
  }
}

/** What `Loading` is in the engine's thread: a thread where one is left and the node declares how it loads. */
export const loaderFor = (
  setup: WorkerSetup,
  task: NodeTask,
  node: AnyNode,
  budget: ThreadBudget
): Effect.Effect<Loader | undefined, never, Scope.Scope> =>
  Effect.suspend(() => {
    if (budget.left < 1 || (node.spec.run as AnyFold).load === undefined) return Effect.undefined
    const spawned = spawnScoped(setup, threadWords("a loader thread"), budget)
    return Effect.map(spawned, (client) => openLoader(client, task))
  })

/**
 * Buffers of plain data that may be transferred: those that one typed array fills alone. A buffer that another view
 * shares would be lost with it.
 */
export const buffersOf = (value: unknown): Array<ArrayBuffer> => {
  const found = new Set<ArrayBuffer>()
  const seen = new Set<object>()
  const visit = (one: unknown): void => {
    if (typeof one !== "object" || one === null || seen.has(one)) return
    seen.add(one)
    if (ArrayBuffer.isView(one)) {
      if (one.buffer instanceof ArrayBuffer && one.byteLength === one.buffer.byteLength && !(one instanceof Buffer))
        found.add(one.buffer)
    } else if (Array.isArray(one)) one.forEach(visit)
    else for (const part of Object.values(one)) visit(part)
  }
  visit(value)
  return [...found]
}

/**
 * The loader's thread: opens the data, and gives what loads a request. What fails to load is the exit's, not the
 * thread's.
 */
export const openLoad = (
  node: AnyNode,
  task: NodeTask
): Effect.Effect<
  (request: unknown) => Effect.Effect<SerializedExit>,
  unknown,
  Store | FileSystem.FileSystem | Scope.Scope
> =>
  Effect.gen(function* () {
    const { load } = node.spec.run as AnyFold
    if (load === undefined) return yield* Effect.die(new Error(`${node.id} asked for a loader and declares no load`))
    const { inputs } = yield* openInputs(node, task.entryRefs)
    const reply = yield* load({ params: node.params, inputs: inputs as never })
    return (request: unknown) => encodeExit(Effect.scoped(reply(request)))
  })
