import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Result, Schema } from "effect"
import { describeError, hintOf } from "../../src/run/Failure.ts"
import { decodeExit, encodeExit, type SerializedExit } from "../../src/run/SerializedExit.ts"

class BadRow extends Schema.TaggedError<BadRow>()("BadRow", {
  row: Schema.Int,
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}
class Bare extends Schema.TaggedError<Bare>()("Bare", { row: Schema.Int }) {}

/** There and back, as between threads. */
const crossed = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.flatMap(encodeExit(effect), (told) => Effect.exit(decodeExit(structuredClone(told) as SerializedExit)))

describe("errors told to another thread", () => {
  it.effect.prop("keep tag, fields, message and hint", [Schema.Int, Schema.String], ([row, text]) =>
    Effect.gen(function* () {
      const error = new BadRow({ row, path: text, message: `row ${text}`, hint: text, cause: () => text })
      const exit = yield* crossed(Effect.fail(error))
      expect(Exit.isFailure(exit)).toBe(true)
      if (!Exit.isFailure(exit)) return
      const found = Cause.findError(exit.cause)
      expect(Result.isSuccess(found)).toBe(true)
      const heard = (found as { readonly success: unknown }).success
      expect(heard).toMatchObject({ _tag: "BadRow", row, path: text, hint: text, message: `row ${text}` })
      expect([describeError(heard), hintOf(heard)]).toEqual([describeError(error), hintOf(error)])
    })
  )

  it.effect("one without a message is described by its fields, a defect stays one, a value is a value", () =>
    Effect.gen(function* () {
      const bare = yield* Effect.flip(Effect.flatMap(encodeExit(Effect.fail(new Bare({ row: 7 }))), decodeExit))
      expect(describeError(bare)).toBe("Bare: row=7")
      const bug = yield* crossed(
        Effect.sync(() => {
          throw new TypeError("no such row")
        })
      )
      expect(Exit.isFailure(bug) && Result.isSuccess(Cause.findError(bug.cause))).toBe(false)
      expect(Exit.isFailure(bug) && describeError(Cause.squash(bug.cause))).toBe("TypeError: no such row")
      expect(yield* crossed(Effect.succeed([1, 2]))).toEqual(Exit.succeed([1, 2]))
      const thrown = yield* crossed(Effect.fail("text alone"))
      expect(Exit.isFailure(thrown) && String(Cause.squash(thrown.cause))).toContain("text alone")
    })
  )
})
