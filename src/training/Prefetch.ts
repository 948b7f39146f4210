/**
 * Loads the micro-batches of the next steps while this one is computed.
 *
 * Not a buffer of many. Where the fold has a loader (`dag/Loader.ts`), its thread loads two steps ahead, whatever this
 * thread does. Elsewhere, and until the loader has opened, one step is loaded ahead in fibers of this thread, which is
 * free while files are read or a GPU is waited for, not while it computes. What is loaded is the same pure function of
 * rows with each.
 *
 * Memory: the micro-batches of two steps more, of one without a loader.
 */
import { Effect, Fiber, type Scope } from "effect"
import type { Loader } from "../dag/Loader.ts"

/** Rows of a micro-batch: lists of example numbers. */
export type RowsOf = ReadonlyArray<ReadonlyArray<number>>

/** Steps that are loaded ahead: by a loader, and by this thread. */
const AHEAD = { loader: 2, here: 1 }

export interface Prefetch<B, E, R> {
  /**
   * Begins to load what this step and those after it will ask for, in order, and forgets what none of them asks for.
   */
  readonly begin: (step: number) => Effect.Effect<void, never, R>
  /** A micro-batch: the one under way, or loaded now. Fails as its load does. */
  readonly load: (rows: RowsOf) => Effect.Effect<B, E, R>
}

export interface PrefetchOptions {
  /** Steps from this one on have no micro-batches. */
  readonly steps: number
  /** The micro-batches of a step that this process computes. */
  readonly parts: (step: number) => ReadonlyArray<RowsOf>
  /** Gives what `load` gives, from another thread. */
  readonly loader?: Loader | undefined
}

/** Something that is loaded, and how it is let go when nobody wants it. */
interface UnderWay<B, E> {
  readonly wait: Effect.Effect<B, E>
  readonly forget: Effect.Effect<unknown>
}

/**
 * Loads ahead; what is under way in this thread ends with the scope.
 *
 * @example
 * const batches = yield* prefetch(stage.load, { steps: stage.plan.steps, parts: (step) => chunk(stage.plan.rows(step), 8) })
 * yield* batches.begin(step)
 */
export const prefetch = <B, E, R>(
  load: (rows: RowsOf) => Effect.Effect<B, E, R>,
  { loader, parts, steps }: PrefetchOptions
): Effect.Effect<Prefetch<B, E, R>, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    let underWay = new Map<string, UnderWay<B, E>>()
    /** The last one begun here: loads go one behind the other, since the first is needed first. */
    let last: Effect.Effect<unknown> = Effect.void
    const key = (rows: RowsOf): string => JSON.stringify(rows)
    const here = (rows: RowsOf) =>
      Effect.map(Effect.forkIn(Effect.andThen(last, load(rows)), scope), (fiber): UnderWay<B, E> => {
        last = Fiber.await(fiber)
        return { wait: Fiber.join(fiber), forget: Fiber.interrupt(fiber) }
      })
    const there = (from: Loader, rows: RowsOf) =>
      Effect.map(
        from.ask(rows),
        (answer): UnderWay<B, E> => ({ wait: answer as Effect.Effect<B, E>, forget: Effect.void })
      )
    return {
      begin: (step) =>
        Effect.gen(function* () {
          const open = loader?.isOpen() === true ? loader : undefined
          const end = Math.min(steps, step + 1 + (open === undefined ? AHEAD.here : AHEAD.loader))
          const before = underWay
          underWay = new Map()
          for (let one = step; one < end; one++)
            for (const rows of parts(one)) {
              const name = key(rows)
              const known = before.get(name) ?? underWay.get(name)
              before.delete(name)
              underWay.set(name, known ?? (yield* open === undefined ? here(rows) : there(open, rows)))
            }
          // Last first: the end of one lets the next begin.
          for (const { forget } of [...before.values()].reverse()) yield* forget
        }),
      load: (rows) =>
        Effect.suspend(() => {
          const known = underWay.get(key(rows))
          underWay.delete(key(rows))
          return known === undefined ? load(rows) : known.wait
        })
    }
  })
