/** Retries and timeouts as declared: how often, how long, and how long between. */
import { expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { pipeline, rows, sharded } from "../../src/dag/index.ts"
import { NodeTimeout, retried, retrying } from "../../src/run/Retry.ts"

const node = (declared: { readonly retries?: number; readonly timeout?: "1 second" }) => {
  const Words = rows("words", Schema.Struct({ id: Schema.String }))
  const empty = sharded(
    { id: "empty", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { rows: Words }, ...declared },
    () => ({ rows: undefined as never })
  )
  return pipeline("one", { rows: empty({}, {}).out.rows }).nodes[0]!
}

it.effect("a failing attempt is repeated `retries` times, after 0.2 s, 0.4 s, ...", () =>
  Effect.gen(function* () {
    let attempts = 0
    const failing = Effect.suspend(() => Effect.fail(`failed ${++attempts}`))
    const fiber = yield* Effect.forkChild(Effect.exit(retried(node({ retries: 2 }))(failing)))
    yield* TestClock.adjust("100 millis")
    expect(attempts).toBe(1)
    yield* TestClock.adjust("100 millis")
    expect(attempts).toBe(2)
    yield* TestClock.adjust("399 millis")
    expect(attempts).toBe(2)
    yield* TestClock.adjust("1 millis")
    expect(attempts).toBe(3)
    expect(yield* Fiber.join(fiber)).toEqual(Exit.fail("failed 3"))
  })
)

it.effect("without retries one failure is the end", () =>
  Effect.gen(function* () {
    let attempts = 0
    const failing = Effect.suspend(() => Effect.fail(++attempts))
    expect(yield* Effect.exit(retrying(node({}))(failing))).toEqual(Exit.fail(1))
  })
)

it.effect("each attempt has the whole timeout to itself", () =>
  Effect.gen(function* () {
    let attempts = 0
    const slow = Effect.suspend(() => (++attempts < 2 ? Effect.never : Effect.as(Effect.sleep("900 millis"), "done")))
    const fiber = yield* Effect.forkChild(retrying(node({ retries: 1, timeout: "1 second" }))(slow))
    yield* TestClock.adjust("3 seconds")
    expect(yield* Fiber.join(fiber)).toBe("done")
  })
)

it.effect("an attempt past its timeout is interrupted and names the node and the limit", () =>
  Effect.gen(function* () {
    let interrupted = false
    const hanging = Effect.onInterrupt(Effect.never, () =>
      Effect.sync(() => {
        interrupted = true
      })
    )
    const fiber = yield* Effect.forkChild(Effect.flip(retrying(node({ timeout: "1 second" }))(hanging)))
    yield* TestClock.adjust("1 second")
    const error = yield* Fiber.join(fiber)
    expect(error).toBeInstanceOf(NodeTimeout)
    expect(error).toMatchObject({ node: "empty", timeoutMs: 1000 })
    expect(interrupted).toBe(true)
  })
)

it.effect("a bug is not tried again", () =>
  Effect.gen(function* () {
    let attempts = 0
    const buggy = Effect.suspend(() => {
      attempts++
      return Effect.die(new TypeError("bug"))
    })
    expect(Exit.isFailure(yield* Effect.exit(retrying(node({ retries: 3 }))(buggy)))).toBe(true)
    expect(attempts).toBe(1)
  })
)
