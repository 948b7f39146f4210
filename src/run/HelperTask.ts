/**
 * Helpers of a fold as threads: both sides (`dag/Helpers.ts` says what a fold sees of them).
 *
 * The engine's thread starts them when the fold asks, from the same recipe, choice and store; each opens the same inputs
 * and answers tasks until the fold's scope closes, which ends its thread. A helper writes no files and knows no steps. Its
 * end, whatever the cause, is the failure of whatever was asked of it; retries start new ones.
 */
import { Effect, type FileSystem, Queue, type Scope } from "effect"
import type { AnyFold } from "../dag/Fold.ts"
import { type Helper, HelperFailed } from "../dag/Helpers.ts"
import type { AnyNode } from "../dag/Node.ts"
import type { Store } from "../store/Store.ts"
import type { NodeTask } from "./NodeTask.ts"
import { endThread } from "./Thread.ts"
import { openInputs } from "./WholeTask.ts"
import { type RequestQueue, spawnWorker } from "./WorkerClient.ts"
import type { WorkerSetup } from "./Workers.ts"

/** A fold computes with at most so many threads, however many are asked for: each has a copy of its models. */
export const MAX_THREADS = 8

/** Threads that a fold may still start: as many as its task allows, less the one that it runs in. */
export interface ThreadBudget {
  left: number
}

export const threadBudget = (task: NodeTask): ThreadBudget => ({ left: Math.max(0, task.threads - 1) })

/** What `Helpers` is in the engine's thread: as many threads as there is budget for. */
export const helpersFor =
  (setup: WorkerSetup, task: NodeTask, budget: ThreadBudget) =>
  (wanted: number): Effect.Effect<ReadonlyArray<Helper>, never, Scope.Scope> =>
    Effect.suspend(() => {
      const count = Math.max(0, Math.min(wanted, budget.left))
      budget.left -= count
      return Effect.forEach(Array.from({ length: count }), () =>
        Effect.acquireRelease(
          Effect.sync((): Helper & Pick<ReturnType<typeof spawnWorker>, "worker"> =>
            spawnWorker(setup, { ...task, kind: "help" }, "helper", (over) => new HelperFailed(over))
          ),
          ({ worker }) =>
            Effect.promise(async () => {
              await endThread(worker)
              budget.left++
            })
        )
      )
    })

/** The helper's thread: opens the node, then answers in turn; ends by failing or with its thread. */
export const runHelp = (
  node: AnyNode,
  task: NodeTask,
  asked: RequestQueue,
  answer: (id: number, answer: unknown) => void
): Effect.Effect<never, unknown, Store | FileSystem.FileSystem> =>
  Effect.scoped(
    Effect.gen(function* () {
      const { help } = node.spec.run as AnyFold
      if (help === undefined) return yield* Effect.die(new Error(`${node.id} asked for helpers and declares no help`))
      const { inputs } = yield* openInputs(node, task.entryRefs)
      const reply = yield* help({ params: node.params, inputs: inputs as never })
      return yield* Effect.forever(
        Effect.flatMap(Queue.take(asked), ({ id, task }) => Effect.map(reply(task), (value) => answer(id, value)))
      )
    })
  ) as Effect.Effect<never, unknown, Store | FileSystem.FileSystem>
