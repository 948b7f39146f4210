/**
 * Helpers of a fold as threads: both sides (`dag/Helpers.ts` says what a fold sees of them).
 *
 * The engine's thread starts them when the fold asks, from the same recipe, choice and store; each opens the same
 * inputs and answers tasks until the fold's scope closes, which ends its thread. A helper writes no files and knows no
 * steps. Its end, whatever the cause, fails whatever was asked of it; retries start new ones.
 */
import { Deferred, Effect, type FileSystem, type Scope } from "effect"
import type { AnyFold } from "../dag/Fold.ts"
import { type Helper, HelperFailed } from "../dag/Helpers.ts"
import type { AnyNode } from "../dag/Node.ts"
import type { Store } from "../store/Store.ts"
import type { NodeTask } from "./NodeTask.ts"
import { NodeFailed } from "./Run.ts"
import { openInputs } from "./WholeTask.ts"
import { spawnWorker, type ThreadWords, type WorkerClient, type WorkerReply } from "./WorkerClient.ts"
import type { WorkerSetup } from "./WorkerProtocol.ts"

/** A fold computes with at most so many threads, however many are asked for: each has a copy of its models. */
export const MAX_THREADS = 8

/** Threads that a fold may still start: as many as its task allows, less the one that it runs in. */
export interface ThreadBudget {
  left: number
}

export const threadBudget = (task: NodeTask): ThreadBudget => ({ left: Math.max(0, task.threads - 1) })

/** Words for a thread beside a fold's: `a helper thread`. */
export const threadWords = (name: string): ThreadWords => ({
  name,
  outOfMemory: "It needs more memory than a thread has: run the same command again with --workers 1.",
  exited:
    "Node code must not call process.exit. Checkpoints are kept: run the same command again; " +
    "--workers 1 uses one thread."
})

/** A thread that lives as long as the scope and takes one of the fold's threads. */
export const spawnScoped = (
  setup: WorkerSetup,
  words: ThreadWords,
  budget: ThreadBudget
): Effect.Effect<WorkerClient, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      budget.left--
      return spawnWorker(setup, words)
    }),
    (client) =>
      Effect.andThen(
        client.end,
        Effect.sync(() => {
          budget.left++
        })
      )
  )

/** The value of a reply; `failed` makes the error of one that failed, and a bug is the node's. */
export const replied =
  <E>(node: string, failed: (said: { message: string; hint: string; cause?: unknown }) => E) =>
  (reply: WorkerReply): Effect.Effect<unknown, E> => {
    if (reply.status === "done") return Effect.succeed(reply.value)
    const { hint, message } = reply
    const cause = "cause" in reply ? reply.cause : undefined
    return reply.status === "failed" && reply.bug
      ? Effect.die(new NodeFailed({ node, message, hint, cause }))
      : Effect.fail(failed({ message, hint, cause }))
  }

const openHelper = (client: WorkerClient, task: NodeTask): Helper => {
  const settle = replied(task.node, (said) => new HelperFailed(said))
  const opened = Effect.flatMap(Deferred.await(client.send({ kind: "help", task })), settle)
  return {
    ask: (of) =>
      Effect.sync(() => {
        const reply = client.send({ kind: "ask", task: of })
        return Effect.andThen(opened, Effect.flatMap(Deferred.await(reply), settle))
      })
  }
}

/** What `Helpers` is in the engine's thread: as many threads as are left. */
export const helpersFor =
  (setup: WorkerSetup, task: NodeTask, budget: ThreadBudget) =>
  (wanted: number): Effect.Effect<ReadonlyArray<Helper>, never, Scope.Scope> =>
    Effect.suspend(() => {
      const count = Math.max(0, Math.min(wanted, budget.left))
      return Effect.forEach(Array.from({ length: count }), () =>
        Effect.map(spawnScoped(setup, threadWords("a helper thread"), budget), (client) => openHelper(client, task))
      )
    })

/** The helper's thread: opens the node, and gives what answers a task. */
export const openHelp = (
  node: AnyNode,
  task: NodeTask
): Effect.Effect<
  (task: unknown) => Effect.Effect<unknown, unknown>,
  unknown,
  Store | FileSystem.FileSystem | Scope.Scope
> =>
  Effect.gen(function* () {
    const { help } = node.spec.run as AnyFold
    if (help === undefined) return yield* Effect.die(new Error(`${node.id} asked for helpers and declares no help`))
    const { inputs } = yield* openInputs(node, task.entryRefs)
    return yield* help({ params: node.params, inputs: inputs as never })
  })
