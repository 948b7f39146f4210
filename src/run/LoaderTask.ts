/**
 * A fold's loader as a thread: both sides (`dag/Loader.ts` says what a fold sees of it).
 *
 * Started by the fold's own thread where the run has a thread left for it, once helpers have theirs; ended with the fold's
 * scope. It opens the same inputs from the same store, without the recipe's services: no engine is loaded for it. It loads
 * what it is asked for, in the order of asking, while the fold's thread computes.
 */
import { Effect, type FileSystem, Queue, type Scope } from "effect"
import type { AnyFold } from "../dag/Fold.ts"
import { type Loader, LoaderFailed } from "../dag/Loader.ts"
import type { AnyNode } from "../dag/Node.ts"
import type { Store } from "../store/Store.ts"
import type { ThreadBudget } from "./HelperTask.ts"
import type { NodeTask } from "./NodeTask.ts"
import { decodeExit, encodeExit, type SerializedExit } from "./SerializedExit.ts"
import { endThread } from "./Thread.ts"
import { openInputs } from "./WholeTask.ts"
import { type RequestQueue, spawnWorker } from "./WorkerClient.ts"
import type { WorkerSetup } from "./Workers.ts"

/** What `Loading` is in the engine's thread: a thread where one is left and the node declares how it loads. */
export const loaderFor = (
  setup: WorkerSetup,
  task: NodeTask,
  node: AnyNode,
  budget: ThreadBudget
): Effect.Effect<Loader | undefined, never, Scope.Scope> =>
  Effect.suspend(() => {
    if (budget.left < 1 || (node.spec.run as AnyFold).load === undefined) return Effect.undefined
    budget.left--
    return Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => spawnWorker(setup, { ...task, kind: "load" }, "loader", (over) => new LoaderFailed(over))),
        ({ worker }) =>
          Effect.promise(async () => {
            await endThread(worker)
            budget.left++
          })
      ),
      ({ ask, isOpen, opened }): Loader => ({
        isOpen,
        opened,
        ask: (request) =>
          Effect.map(ask(request), (answer) => Effect.flatMap(answer, (told) => decodeExit(told as SerializedExit)))
      })
    )
  })

/** Buffers of plain data that may be handed over: those that one typed array fills alone. Another view would go with it. */
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

/** The loader's thread: opens the data, then loads in turn; what fails to load is told, and the next goes on. */
export const runLoad = (
  node: AnyNode,
  task: NodeTask,
  asked: RequestQueue,
  opened: () => void,
  answer: (id: number, told: SerializedExit, buffers: ReadonlyArray<ArrayBuffer>) => void
): Effect.Effect<never, unknown, Store | FileSystem.FileSystem> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { load } = node.spec.run as AnyFold
      if (load === undefined) return yield* Effect.die(new Error(`${node.id} asked for a loader and declares no load`))
      const { inputs } = yield* openInputs(node, task.entryRefs)
      const reply = yield* load({ params: node.params, inputs: inputs as never })
      opened()
      return yield* Effect.forever(
        Effect.flatMap(Queue.take(asked), ({ id, task }) =>
          Effect.map(encodeExit(Effect.scoped(reply(task))), (told) =>
            answer(id, told, told.ok ? buffersOf(told.value) : [])
          )
        )
      )
    })
  ) as Effect.Effect<never, unknown, Store | FileSystem.FileSystem>
