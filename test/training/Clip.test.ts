/** Clipping scales by torch's coefficient: limit / (norm + 1e-6), at most 1. */
import { describe, expect, it } from "@effect/vitest"
import { Option, Schema } from "effect"
import { clipCoefficient } from "../../src/training/Clip.ts"
import { TrainingSettings } from "../../src/training/Stage.ts"

/** [norm, limit, coefficient] by torch 2.13: float64 gradients of one value, after `clip_grad_norm_` over before. */
const fromTorch = [
  [2, 0.5, 0.2499998750000625],
  [0.5, 0.5, 0.999998000004],
  [0.4999995, 0.5, 0.9999990000010001],
  [0.5000005, 0.5, 0.999997000009],
  [0.1, 0.5, 1],
  [1e-7, 1e-8, 0.00909090909090909],
  [123.25, 1, 0.008113590197861337],
  [1e-3, 1e-4, 0.09990009990009992]
] as const

describe("clipCoefficient", () => {
  it("equals what torch multiplies by, at and beside the limit too", () => {
    for (const [norm, limit, expected] of fromTorch) expect(clipCoefficient(norm, limit)).toBeCloseTo(expected, 14)
  })

  it("leaves a shorter gradient and one without a limit as they are", () => {
    for (const [norm, limit] of [
      [0, 1],
      [0.25, 0.5],
      [1e9, undefined]
    ] as const)
      expect(clipCoefficient(norm, limit)).toBe(1)
  })

  it("a limit that would stop or reverse learning is no setting; none at all is null", () => {
    const taken = Schema.decodeUnknownOption(TrainingSettings.maxGradNorm)
    for (const wrong of [0, -1, Number.NaN]) expect(Option.isNone(taken(wrong))).toBe(true)
    for (const right of [null, 0.5]) expect(Option.getOrThrow(taken(right))).toBe(right)
  })

  it("scales a gradient at the limit, as torch does, and none that is shorter by 1e-6", () => {
    expect(clipCoefficient(0.5, 0.5)).toBeLessThan(1)
    expect(clipCoefficient(0.5 - 2e-6, 0.5)).toBe(1)
  })
})
