/** One key press asks, however often it arrives; a second one ends; without a run the first one ends. */
import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { samePressMs, signals } from "../../src/cli/Signals.ts"

describe("signals", () => {
  const Gaps = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 * samePressMs })))
  it.prop(
    "the first asks, what comes within half a second of it is the same, what comes later ends",
    [Gaps],
    ([gaps]) => {
      const means = signals()
      let at = 1000
      expect(means(at, true)).toBe("stop")
      for (const gap of gaps) {
        at += gap
        expect(means(at, true)).toBe(at - 1000 < samePressMs ? "again" : "end")
      }
    }
  )

  it("ends at once while nothing runs", () => {
    const means = signals()
    expect(means(0, false)).toBe("end")
    expect(means(10, false)).toBe("end")
  })
})
