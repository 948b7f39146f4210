/** A plan names every example once an epoch, in an order that depends on lengths and seed alone. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { type BatchPlan, groupedPlan, packedPlan, shuffledPlan } from "../../src/training/BatchPlan.ts"

const Length = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 40 }))
const lengths = Arbitrary.array(Arbitrary.schema(Length), { maxLength: 50 })
const batch = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })))
const all = (plan: BatchPlan) => Array.from({ length: plan.steps }, (_, step) => plan.rows(step))
const plans = {
  packed: (of: ReadonlyArray<number>, options: { batch: number; epochs: number; seed: number }) =>
    packedPlan(of, { tokens: 32, ...options }),
  shuffled: (of: ReadonlyArray<number>, options: { batch: number; epochs: number; seed: number }) =>
    shuffledPlan(of.length, options),
  grouped: (of: ReadonlyArray<number>, options: { batch: number; epochs: number; seed: number }) =>
    groupedPlan(
      of.map((length) => (length % 3 === 0 ? -length : length)),
      options
    )
}

for (const [name, plan] of Object.entries(plans))
  describe(`a ${name} plan`, () => {
    it.prop(
      "holds or refuses every example once an epoch, in full batches but for an epoch's last",
      [lengths, batch],
      ([of, size]) => {
        const made = plan(of, { batch: size, epochs: 2, seed: 0 })
        const rows = all(made)
        expect(rows.every((step) => step.length > 0 && step.length <= size)).toBe(true)
        const seen = [...rows.flat(2), ...made.refused, ...made.refused].toSorted((a, b) => a - b)
        expect(seen).toEqual([...of.keys()].flatMap((i) => [i, i]))
        expect(made.steps).toBe(rows.length)
      }
    )

    it.prop(
      "asked in any order gives the same rows, and other epochs and seeds others",
      [lengths, batch],
      ([of, size]) => {
        const options = { batch: size, epochs: 3, seed: 1 }
        const forward = all(plan(of, options))
        const backward = plan(of, options)
        for (let step = backward.steps - 1; step >= 0; step--) expect(backward.rows(step)).toEqual(forward[step])
      }
    )
  })

describe("a plan", () => {
  const of = Array.from({ length: 40 }, (_, i) => 1 + (i % 30))
  it("changes with the epoch and with the seed", () => {
    for (const plan of Object.values(plans)) {
      const two = plan(of, { batch: 4, epochs: 2, seed: 0 })
      const half = two.steps / 2
      expect(all(two).slice(0, half)).not.toEqual(all(two).slice(half))
      expect(all(plan(of, { batch: 4, epochs: 2, seed: 1 }))).not.toEqual(all(two))
    }
  })

  it("packs no more tokens into a row than it holds", () => {
    for (const step of all(plans.packed(of, { batch: 4, epochs: 1, seed: 0 })))
      for (const row of step) expect(row.reduce((sum, example) => sum + of[example]!, 0)).toBeLessThanOrEqual(32)
  })

  it("groups by modality, rows of a batch long to short", () => {
    const words = Array.from({ length: 32 }, (_, i) => (i % 2 === 0 ? 1 + i : -1 - i))
    const steps = all(groupedPlan(words, { batch: 4, epochs: 1, seed: 0 }))
    for (const step of steps.slice(0, -2)) {
      const signed = step.map(([row]) => words[row!]!)
      expect(new Set(signed.map(Math.sign)).size).toBe(1)
      expect(signed.map(Math.abs)).toEqual(signed.map(Math.abs).toSorted((a, b) => b - a))
    }
  })

  it("has no step for no rows or no epochs, and refuses what makes no sense", () => {
    expect(shuffledPlan(0, { batch: 4, epochs: 2, seed: 0 }).steps).toBe(0)
    expect(shuffledPlan(9, { batch: 4, epochs: 0, seed: 0 }).steps).toBe(0)
    expect(() => shuffledPlan(9, { batch: 0, epochs: 1, seed: 0 })).toThrow(RangeError)
    const plan = shuffledPlan(9, { batch: 4, epochs: 1, seed: 0 })
    expect(() => plan.rows(3)).toThrow(RangeError)
    expect(() => plan.rows(-1)).toThrow(RangeError)
  })
})
