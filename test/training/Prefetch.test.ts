import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Schema, Scope } from "effect"
import type { Loader } from "../../src/dag/Loader.ts"
import { prefetch, type RowsOf } from "../../src/training/Prefetch.ts"

const Steps = Schema.Array(
  Schema.Array(Schema.Array(Schema.Array(Schema.Literals([0, 1, 2]))).check(Schema.isMaxLength(3))).check(
    Schema.isMaxLength(3)
  )
).check(Schema.isMinLength(1), Schema.isMaxLength(6))

describe("loading ahead", () => {
  it.effect.prop(
    "gives each step what it asks for, in whatever order, and loads nothing twice in a run",
    [Steps],
    ([plan]) =>
      Effect.gen(function* () {
        let loads = 0
        const batches = yield* prefetch(
          (rows) =>
            Effect.as(
              Effect.sync(() => loads++),
              rows
            ),
          { steps: plan.length, parts: (step) => plan[step]! }
        )
        for (const [step, parts] of plan.entries()) {
          yield* batches.begin(step)
          for (const rows of parts.toReversed()) expect(yield* batches.load(rows)).toEqual(rows)
        }
        expect(loads).toBe(plan.flat().length)
      }).pipe(Effect.scoped)
  )

  it.effect("the next step's are under way before they are asked for, one behind the other", () =>
    Effect.gen(function* () {
      const begun: Array<number> = []
      const gate = yield* Deferred.make<void>()
      const batches = yield* prefetch(
        (rows) =>
          Effect.andThen(
            Effect.sync(() => begun.push(rows[0]![0]!)),
            rows[0]![0] === 1 ? Deferred.await(gate) : Effect.void
          ),
        { steps: 3, parts: (step) => [[[2 * step]], [[2 * step + 1]]] }
      )
      yield* batches.begin(0)
      yield* batches.load([[0]])
      for (let i = 0; i < 20; i++) yield* Effect.yieldNow
      expect(begun).toEqual([0, 1])
      yield* Deferred.succeed(gate, undefined)
      yield* batches.load([[1]])
      for (let i = 0; i < 20; i++) yield* Effect.yieldNow
      expect(begun).toEqual([0, 1, 2, 3])
      // The third step is the last one.
      yield* batches.begin(1)
      yield* batches.begin(2)
      yield* batches.load([[5]])
      expect(begun).toEqual([0, 1, 2, 3, 4, 5])
    }).pipe(Effect.scoped)
  )

  it.effect("a load that fails does so where its rows are asked for, and the others go on", () =>
    Effect.gen(function* () {
      const batches = yield* prefetch((rows) => (rows[0]![0] === 1 ? Effect.fail("damaged") : Effect.succeed(rows)), {
        steps: 2,
        parts: (step) => [[[step]]]
      })
      yield* batches.begin(0)
      expect(yield* batches.load([[0]])).toEqual([[0]])
      expect(yield* Effect.flip(batches.load([[1]]))).toBe("damaged")
      expect(yield* batches.load([[7]])).toEqual([[7]])
    }).pipe(Effect.scoped)
  )

  it.effect("what nobody takes is interrupted, at the latest with the scope", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      let interrupted = 0
      const batches = yield* prefetch(() => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++)), {
        steps: 10,
        parts: (step) => [[[step]]]
      }).pipe(Effect.provideService(Scope.Scope, scope))
      yield* batches.begin(0)
      yield* Effect.yieldNow
      yield* batches.begin(5)
      expect(interrupted).toBe(1)
      const waits = yield* Effect.forkChild(batches.load([[5]]))
      yield* Effect.yieldNow
      yield* Scope.close(scope, Exit.void)
      expect(interrupted).toBe(2)
      expect(Exit.isFailure(yield* Fiber.await(waits))).toBe(true)
    })
  )

  /** A loader of `rows -> rows` that opens and answers when told to. */
  const told = () => {
    const asked: Array<number> = []
    const gates = new Map<number, Deferred.Deferred<unknown, Error>>()
    let open = false
    const loader: Loader = {
      isOpen: () => open,
      opened: Effect.void,
      ask: (rows) =>
        Effect.sync(() => {
          const [[number]] = rows as [[number]]
          asked.push(number)
          gates.set(number, Deferred.makeUnsafe())
          return Deferred.await(gates.get(number)!)
        })
    }
    return {
      asked,
      loader,
      open: () => {
        open = true
      },
      answer: (number: number, exit: Effect.Effect<unknown, Error> = Effect.succeed([[number]])) =>
        Deferred.done(gates.get(number)!, Effect.runSyncExit(exit))
    }
  }

  it.effect("a loader is asked for two steps ahead at most, in order, and each of them once", () =>
    Effect.gen(function* () {
      const { answer, asked, loader, open } = told()
      open()
      const batches = yield* prefetch<RowsOf, never, never>(() => Effect.die("loaded here"), {
        steps: 5,
        parts: (step) => [[[2 * step]], [[2 * step + 1]]],
        loader
      })
      for (let step = 0; step < 5; step++) {
        yield* batches.begin(step)
        expect(asked).toEqual(Array.from({ length: Math.min(10, 2 * (step + 3)) }, (_, i) => i))
        for (const number of [2 * step + 1, 2 * step]) {
          yield* answer(number)
          expect(yield* batches.load([[number]])).toEqual([[number]])
        }
      }
    }).pipe(Effect.scoped)
  )

  it.effect("until a loader has opened, this thread loads; what it has begun is not asked for again", () =>
    Effect.gen(function* () {
      const { answer, asked, loader, open } = told()
      const here: Array<number> = []
      const batches = yield* prefetch(
        (rows) =>
          Effect.as(
            Effect.sync(() => here.push(rows[0]![0]!)),
            rows
          ),
        {
          steps: 9,
          parts: (step) => [[[step]]],
          loader
        }
      )
      yield* batches.begin(0)
      yield* batches.load([[0]])
      open()
      yield* batches.begin(1)
      expect(asked).toEqual([2, 3])
      expect(yield* batches.load([[1]])).toEqual([[1]])
      yield* batches.begin(2)
      yield* answer(2)
      expect(yield* batches.load([[2]])).toEqual([[2]])
      expect([here, asked]).toEqual([
        [0, 1],
        [2, 3, 4]
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("what a loader fails with is the failure of the step whose rows those are", () =>
    Effect.gen(function* () {
      const { answer, loader, open } = told()
      open()
      const batches = yield* prefetch<RowsOf, Error, never>(() => Effect.die("loaded here"), {
        steps: 3,
        parts: (step) => [[[step]]],
        loader
      })
      yield* batches.begin(0)
      yield* answer(1, Effect.fail(new Error("row 1 is damaged")))
      yield* answer(0)
      expect(yield* batches.load([[0]])).toEqual([[0]])
      yield* batches.begin(1)
      expect((yield* Effect.flip(batches.load([[1]]))).message).toBe("row 1 is damaged")
    }).pipe(Effect.scoped)
  )
})
