import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Schema, Scope } from "effect"
import { loadAhead } from "../../src/training/Ahead.ts"

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
        const ahead = yield* loadAhead(
          (rows) =>
            Effect.as(
              Effect.sync(() => loads++),
              rows
            ),
          plan.length,
          (step) => plan[step]!
        )
        for (const [step, parts] of plan.entries()) {
          yield* ahead.begin(step, step + 1)
          for (const rows of parts.toReversed()) expect(yield* ahead.load(rows)).toEqual(rows)
        }
        expect(loads).toBe(plan.flat().length)
      }).pipe(Effect.scoped)
  )

  it.effect("the next step's are under way before they are asked for, one behind the other", () =>
    Effect.gen(function* () {
      const begun: Array<number> = []
      const gate = yield* Deferred.make<void>()
      const ahead = yield* loadAhead(
        (rows) =>
          Effect.andThen(
            Effect.sync(() => begun.push(rows[0]![0]!)),
            rows[0]![0] === 1 ? Deferred.await(gate) : Effect.void
          ),
        3,
        (step) => [[[2 * step]], [[2 * step + 1]]]
      )
      yield* ahead.begin(0, 1)
      yield* ahead.load([[0]])
      for (let i = 0; i < 20; i++) yield* Effect.yieldNow
      expect(begun).toEqual([0, 1])
      yield* Deferred.succeed(gate, undefined)
      yield* ahead.load([[1]])
      for (let i = 0; i < 20; i++) yield* Effect.yieldNow
      expect(begun).toEqual([0, 1, 2, 3])
      // The third step is the last one.
      yield* ahead.begin(1, 2)
      yield* ahead.begin(2, 3)
      yield* ahead.load([[5]])
      expect(begun).toEqual([0, 1, 2, 3, 4, 5])
    }).pipe(Effect.scoped)
  )

  it.effect("a load that fails does so where its rows are asked for, and the others go on", () =>
    Effect.gen(function* () {
      const ahead = yield* loadAhead(
        (rows) => (rows[0]![0] === 1 ? Effect.fail("damaged") : Effect.succeed(rows)),
        2,
        (step) => [[[step]]]
      )
      yield* ahead.begin(0, 1)
      expect(yield* ahead.load([[0]])).toEqual([[0]])
      expect(yield* Effect.flip(ahead.load([[1]]))).toBe("damaged")
      expect(yield* ahead.load([[7]])).toEqual([[7]])
    }).pipe(Effect.scoped)
  )

  it.effect("what nobody takes is interrupted, at the latest with the scope", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      let interrupted = 0
      const ahead = yield* loadAhead(
        () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++)),
        10,
        (step) => [[[step]]]
      ).pipe(Effect.provideService(Scope.Scope, scope))
      yield* ahead.begin(0)
      yield* Effect.yieldNow
      yield* ahead.begin(5)
      expect(interrupted).toBe(1)
      const waits = yield* Effect.forkChild(ahead.load([[5]]))
      yield* Effect.yieldNow
      yield* Scope.close(scope, Exit.void)
      expect(interrupted).toBe(2)
      expect(Exit.isFailure(yield* Fiber.await(waits))).toBe(true)
    })
  )
})
