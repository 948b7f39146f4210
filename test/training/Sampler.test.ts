import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { fillUniform, stream } from "../../src/tensor/Random.ts"
import { lengthGrouped, modalityLength } from "../../src/training/Sampler.ts"

const Words = Arbitrary.filter(
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: -60, maximum: 60 }))),
  (value) => value !== 0
)
const lengthsOf = Arbitrary.array(Words, { maxLength: 120 })
const Few = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 6 }))

describe("lengthGrouped", () => {
  it.prop("holds every row once, whatever the modalities", [lengthsOf, Few, Few], ([lengths, batch, ranks]) => {
    for (const values of [lengths, lengths.map(Math.abs), lengths.map((length) => -Math.abs(length))]) {
      const order = lengthGrouped(values, { seed: 1, epoch: 0, batch, ranks })
      expect([...order].sort((a, b) => a - b)).toEqual(values.map((_, row) => row))
    }
  })

  it.prop("mixes modalities in the last megabatches only", [lengthsOf, Few, Few], ([lengths, batch, ranks]) => {
    const order = lengthGrouped(lengths, { seed: 1, epoch: 0, batch, ranks })
    const size = batch * ranks
    const whole = (count: number): number => Math.max(0, Math.ceil(count / size) - 1)
    const images = lengths.filter((length) => length > 0).length
    const pure = whole(images) + whole(lengths.length - images)
    for (let megabatch = 0; megabatch < pure; megabatch++) {
      const signs = [...order.slice(megabatch * size, (megabatch + 1) * size)].map((row) => Math.sign(lengths[row]!))
      expect(new Set(signs).size).toBe(1)
    }
  })

  it("gives each rank about the same words, long rows first", () => {
    const lengths = [...fillUniform(stream(4), new Float32Array(640), { low: 5, high: 500 })].map(Math.floor)
    const order = lengthGrouped(lengths, { seed: 0, epoch: 0, batch: 16, ranks: 4 })
    for (let megabatch = 0; megabatch < 10; megabatch++) {
      const totals = [0, 1, 2, 3].map((rank) => {
        const rows = [...order.slice(megabatch * 64 + rank * 16, megabatch * 64 + (rank + 1) * 16)]
        const words = rows.map((row) => lengths[row]!)
        expect(words).toEqual([...words].sort((a, b) => b - a))
        return words.reduce((sum, value) => sum + value, 0)
      })
      expect(Math.max(...totals) / Math.min(...totals)).toBeLessThan(1.1)
    }
  })

  it("is a function of seed and epoch", () => {
    const lengths = Array.from({ length: 100 }, (_, i) => 1 + ((i * 37) % 50))
    const at = (seed: number, epoch: number) => lengthGrouped(lengths, { seed, epoch, batch: 4, ranks: 2 })
    expect(at(0, 0)).toEqual(at(0, 0))
    expect(at(0, 1)).not.toEqual(at(0, 0))
    expect(at(1, 0)).not.toEqual(at(0, 0))
  })

  it("counts words, negative without an image, and refuses zero", () => {
    expect(modalityLength(["What is it?", "A dog."], true)).toBe(5)
    expect(modalityLength(["What is it?", "A dog."], false)).toBe(-5)
    expect(modalityLength([" "], false)).toBe(-1)
    expect(() => lengthGrouped([1, 0], { seed: 0, epoch: 0, batch: 1, ranks: 1 })).toThrow(RangeError)
  })
})
