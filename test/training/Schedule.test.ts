import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { type ScheduleOptions, schedule, warmupSteps } from "../../src/training/Schedule.ts"

/** Values of transformers 5.18's get_linear_ and get_cosine_schedule_with_warmup. */
const known: ReadonlyArray<readonly [ScheduleOptions, ReadonlyArray<number>]> = [
  [{ decay: "linear", totalSteps: 10 }, [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0]],
  [
    { decay: "linear", totalSteps: 10, warmupSteps: 3 },
    [0, 1 / 3, 2 / 3, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7, 0, 0]
  ],
  [{ decay: "linear", totalSteps: 10, warmupSteps: 10 }, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0]],
  [
    { decay: "cosine", totalSteps: 10, warmupRatio: 0.21 },
    [
      0,
      1 / 3,
      2 / 3,
      1,
      0.9504844339512095,
      0.8117449009293668,
      0.6112604669781572,
      0.38873953302184283,
      0.18825509907063326,
      0.04951556604879048,
      0,
      0
    ]
  ],
  [{ decay: "constant", totalSteps: 4, warmupSteps: 2 }, [0, 0.5, 1, 1, 1]]
]

const Steps = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2000 }))
const DecayName = Schema.Literals(["linear", "cosine", "constant"])

describe("schedule", () => {
  it("gives transformers' multipliers", () => {
    for (const [options, values] of known) {
      const multiplier = schedule(options)
      for (const [step, value] of values.entries()) expect(multiplier(step)).toBeCloseTo(value, 14)
    }
  })

  it.prop("rises to one over the warm-up and never rises after", [DecayName, Steps, Steps], ([decay, a, b]) => {
    const [warmup, totalSteps] = [Math.min(a, b), Math.max(a, b)]
    const multiplier = schedule({ decay, totalSteps, warmupSteps: warmup })
    const values = Array.from({ length: totalSteps + 3 }, (_, step) => multiplier(step))
    for (const [step, value] of values.entries()) {
      expect(value).toBeGreaterThanOrEqual(0)
      expect(value).toBeLessThanOrEqual(1)
      if (step > 0 && step < warmup) expect(value).toBeGreaterThan(values[step - 1]!)
      if (step > warmup) expect(value).toBeLessThanOrEqual(values[step - 1]!)
    }
    if (warmup < totalSteps) expect(values[warmup]).toBe(1)
  })

  it("rounds a warm-up ratio up, lets steps win, and refuses nonsense", () => {
    expect(warmupSteps({ decay: "linear", totalSteps: 101, warmupRatio: 0.03 })).toBe(4)
    expect(warmupSteps({ decay: "linear", totalSteps: 101, warmupRatio: 0.03, warmupSteps: 7 })).toBe(7)
    expect(() => schedule({ decay: "linear", totalSteps: -1 })).toThrow(RangeError)
    expect(() => schedule({ decay: "linear", totalSteps: 10, warmupRatio: 2 })).toThrow(RangeError)
  })
})
