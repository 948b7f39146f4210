/**
 * Loads the micro-batches of the next step while this one is computed.
 *
 * Not a buffer of many and not a thread: one step ahead, in fibers of this thread, which is free while files are read, other
 * threads compute, or a GPU is waited for. What is loaded is the same pure function of (step, rows) with it and without.
 *
 * Memory: the micro-batches of one step more.
 */
import { Effect, Fiber, type Scope } from "effect"

type RowsOf = ReadonlyArray<ReadonlyArray<number>>

export interface Ahead<B, E, R> {
  /** Begins to load what steps will ask for, in their order, and forgets what no step among them asks for. */
  readonly begin: (...steps: ReadonlyArray<number>) => Effect.Effect<void, never, R>
  /** A micro-batch: the one under way, or loaded now. Fails as its load does. */
  readonly load: (rows: RowsOf) => Effect.Effect<B, E, R>
}

/**
 * A loader one step ahead; what is under way ends with the scope.
 *
 * `parts` gives the micro-batches of a step that this process computes; steps from `steps` on have none.
 *
 * @example
 * const ahead = yield* loadAhead(stage.load, stage.plan.steps, (step) => chunk(stage.plan.rows(step), 8))
 * yield* ahead.begin(step, step + 1)
 */
export const loadAhead = <B, E, R>(
  load: (rows: RowsOf) => Effect.Effect<B, E, R>,
  steps: number,
  parts: (step: number) => ReadonlyArray<RowsOf>
): Effect.Effect<Ahead<B, E, R>, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    let underWay = new Map<string, Fiber.Fiber<B, E>>()
    /** The last one begun: loads go one behind the other, since the first is needed first. */
    let last: Effect.Effect<unknown> = Effect.void
    const key = (rows: RowsOf): string => JSON.stringify(rows)
    return {
      begin: (...asked) =>
        Effect.gen(function* () {
          const before = underWay
          underWay = new Map()
          for (const step of asked)
            for (const rows of step < steps ? parts(step) : []) {
              const name = key(rows)
              const known = before.get(name) ?? underWay.get(name)
              before.delete(name)
              const fiber = known ?? (yield* Effect.forkIn(Effect.andThen(last, load(rows)), scope))
              underWay.set(name, fiber)
              last = Fiber.await(fiber)
            }
          yield* Fiber.interruptAll(before.values())
        }),
      load: (rows) =>
        Effect.suspend(() => {
          const fiber = underWay.get(key(rows))
          underWay.delete(key(rows))
          return fiber === undefined ? load(rows) : Fiber.join(fiber)
        })
    }
  })
