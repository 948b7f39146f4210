/** A fresh projector is as torch's linear layers are: uniform, within one over the square root of the inputs. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { freshProjector } from "../../src/nodes/ProjectorWeights.ts"

describe("freshProjector", () => {
  it.effect("fills weights and biases of both layers evenly up to their bounds, by seed", () =>
    Effect.gen(function* () {
      const config = { inputSize: 100, outputSize: 64, activation: "erf" as const }
      for (const source of freshProjector(config, 0)) {
        const bound = source.name.startsWith("linear_1") ? 0.1 : 0.125
        const values = yield* source.read
        expect(values.length).toBe(source.shape.reduce((a, b) => a * b, 1))
        const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
        expect(largest).toBeLessThanOrEqual(Math.fround(bound))
        expect(largest).toBeGreaterThan(bound * 0.9)
        const std = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length)
        expect(Math.abs(std - bound / Math.sqrt(3))).toBeLessThan(bound * 0.1)
      }
      const first = (seed: number) => freshProjector(config, seed)[0]!.read
      expect(yield* first(0)).toEqual(yield* first(0))
      expect(yield* first(0)).not.toEqual(yield* first(1))
    })
  )
})
