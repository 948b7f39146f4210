/** How a step and its weights are cut: every row and every weight once, whatever the number of ranks. */
import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { cutBuckets, splitStep } from "../../src/training/BatchSharding.ts"

const Count = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

describe("a step's micro-batches", () => {
  it.prop(
    "hold every row once, in order, none more than asked for, and ranks differ by one micro-batch at most",
    [Count(1, 300), Count(1, 40), Count(1, 9)],
    ([rows, microBatch, world]) => {
      const cuts = splitStep(
        Array.from({ length: rows }, (_, i) => i),
        microBatch,
        world
      )
      expect(cuts.flatMap((cut) => cut.rows)).toEqual(Array.from({ length: rows }, (_, i) => i))
      const mine = Array.from({ length: world }, () => 0)
      for (const [i, { first, index, rows: some }] of cuts.entries()) {
        expect(index).toBe(i)
        expect(first).toBe(some[0])
        expect(some.length).toBeLessThanOrEqual(microBatch)
        mine[index % world]!++
      }
      expect(Math.max(...mine) - Math.min(...mine)).toBeLessThanOrEqual(1)
      // No more rounds than the fewest that could be.
      expect(Math.max(...mine)).toBe(Math.ceil(rows / (microBatch * world)))
    }
  )
})

describe("buckets", () => {
  it.prop(
    "hold every weight once, in its kind, side by side, and can be cut into equal slices",
    [
      Schema.Array(Schema.Array(Count(1, 9)).check(Schema.isMaxLength(3))).check(Schema.isMaxLength(30)),
      Count(1, 9),
      Count(1, 200)
    ],
    ([shapes, world, floats]) => {
      const named = shapes.map((shape, i) => [`w${i}`, shape] as const)
      const buckets = cutBuckets(named, world, floats)
      const places = buckets.flatMap((bucket) => bucket.places)
      expect(places.map(({ name }) => name).sort()).toEqual(named.map(([name]) => name).sort())
      for (const { decays, places, size } of buckets) {
        expect(size % world).toBe(0)
        let at = 0
        for (const place of places) {
          expect(place.at).toBe(at)
          expect(place.shape.length > 1).toBe(decays)
          at += place.size
        }
        expect(size - at).toBeLessThan(world)
        // Only a weight that is larger than a bucket makes it larger.
        expect(places.length === 1 || at <= floats).toBe(true)
      }
    }
  )

  it("come in the order in which a backward pass gives gradients: last weights first", () => {
    const shapes = Array.from({ length: 6 }, (_, i) => [`w${i}`, [10, 10]] as const)
    const order = cutBuckets(shapes, 2, 200).flatMap(({ places }) => places.map(({ name }) => name))
    expect(order).toEqual(["w5", "w4", "w3", "w2", "w1", "w0"])
  })
})
