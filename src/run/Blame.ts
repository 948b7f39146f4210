/**
 * Whose code runs: the node that a stray error, or a call of `process.exit`, belongs to.
 *
 * Not error handling: failures of a node's effect need none of it. This is for errors outside of any effect, maybe
 * after the node has ended: a promise that nobody waits for, a callback of a timer. Node.js hands the context of a call
 * on to what it starts (`AsyncLocalStorage`); Effect evaluates many fibers in one turn, so each evaluation says anew
 * whose it is.
 */
import { AsyncLocalStorage } from "node:async_hooks"
import { Effect, Tracer } from "effect"
import { namedTooManyFiles } from "../store/OpenFiles.ts"
import { describeError, hintOf } from "./Failure.ts"
import { NodeFailed } from "./Run.ts"

const running = new AsyncLocalStorage<string>()

/** The node whose code this is, or whose code started what runs now; undefined where that is no node. */
export const blamedNode = (): string | undefined => running.getStore()

/** Runs an effect as the code of a node. */
export const blaming =
  (node: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(Tracer.Tracer, (outer) =>
      Effect.provideService(
        effect,
        Tracer.Tracer,
        Tracer.make({
          span: (options) => outer.span(options),
          context: (primitive, fiber) => {
            if (running.getStore() !== node) running.enterWith(node)
            return outer.context === undefined
              ? primitive["~effect/Effect/evaluate"](fiber)
              : outer.context(primitive, fiber)
          }
        })
      )
    )

/** An error that came outside of any effect, with the node named that it belongs to. */
export const strayError = (error: unknown, node: string | undefined = blamedNode()): unknown =>
  error instanceof NodeFailed || node === undefined
    ? namedTooManyFiles(error)
    : new NodeFailed({
        node,
        message: `outside of its effect: ${describeError(error)}`,
        hint:
          hintOf(error) ??
          "Nobody waited for it: wait in the node's effect (`Effect.promise`, `Effect.callback`), " +
            "or handle it where it starts.",
        cause: error instanceof Error ? (error.stack ?? error.message) : error
      })

/**
 * Makes `process.exit` fail in a node's code: a run that ends so would leave no word of which node it was, and maybe
 * exit code 0. Everybody else's calls go through. Gives the function that ends the process.
 */
export const guardExit = (): ((code: number) => never) => {
  const exit = process.exit.bind(process)
  process.exit = (code) => {
    const node = blamedNode()
    if (node === undefined) return exit(code)
    throw new NodeFailed({
      node,
      message: `it called process.exit(${code ?? ""})`,
      hint: "A node must not end the process: fail with an error, which ends the run and keeps what is finished."
    })
  }
  return exit
}
