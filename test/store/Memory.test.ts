import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { memoryWatch } from "../../src/store/Memory.ts"

const MIB = 1 << 20

/** Takes memory and gives it back at once: no timer runs in between. */
const burst = (megabytes: number): void => {
  const taken = new ArrayBuffer(megabytes * MIB)
  new Uint8Array(taken).fill(1)
  taken.transfer(0)
}

describe("memoryWatch", () => {
  it.live("sees a peak that no sample saw, and does not count one that was over before it began", () =>
    Effect.gen(function* () {
      const before = process.memoryUsage.rss()
      const seen = yield* Effect.scoped(
        Effect.map(memoryWatch, (watch) => {
          burst(600)
          return watch.peak()
        })
      )
      assert.isAtLeast(seen, before + 500 * MIB)
      const next = yield* Effect.scoped(Effect.map(memoryWatch, (watch) => watch.peak()))
      assert.isAtMost(next, seen - 300 * MIB)
      assert.isAtLeast(next, 10 * MIB)
      // Under the process's own peak only samples can tell.
      const sampled = yield* Effect.scoped(
        Effect.map(memoryWatch, (watch) => {
          const taken = new ArrayBuffer(200 * MIB)
          new Uint8Array(taken).fill(1)
          watch.sample()
          taken.transfer(0)
          return watch.peak()
        })
      )
      assert.isAtLeast(sampled, next + 100 * MIB)
      assert.isBelow(sampled, seen)
    })
  )
})
