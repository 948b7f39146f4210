/** Held-out examples are a part of their own: chosen by group and seed, whatever else is in the file. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Node from "../../src/dag/Alone.ts"
import type { Examples } from "../../src/nodes/Artifacts.ts"
import { holdOut, holdOutConversations } from "../../src/nodes/HoldOut.ts"
import { conversations, inShards, shuffled } from "./support.ts"

const example = (id: string, group: string): typeof Examples.schema.Type => ({
  id,
  group,
  shard: 0,
  picture: -1,
  ids: Int32Array.of(1, 2),
  labels: Int32Array.of(-100, 2),
  imageAt: -1,
  words: -1,
  cut: 0
})
const Group = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 }))
const examples = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Group), { maxLength: 80 }), (groups) =>
  groups.map((group, i) => example(`e${i}`, `g${group}`))
)
const ids = (rows: ReadonlyArray<{ readonly id: string }>) => rows.map(({ id }) => id)

describe("holdOut", () => {
  it.effect.prop("is a partition that tears no group apart, in order", [examples], ([rows]) =>
    Effect.gen(function* () {
      const { out } = yield* Node.run(holdOut, { rows }, { share: 0.4, seed: 0 })
      expect([...out.train, ...out.heldOut].toSorted((a, b) => rows.indexOf(a) - rows.indexOf(b))).toEqual(rows)
      const held = new Set(out.heldOut.map(({ group }) => group))
      expect(out.train.some(({ group }) => held.has(group))).toBe(false)
      expect(ids(out.train)).toEqual(ids(rows.filter(({ group }) => !held.has(group))))
    })
  )

  it.effect.prop("does not depend on shards, order or other rows", [examples], ([rows]) =>
    Effect.gen(function* () {
      const params = { share: 0.4, seed: 3 }
      const { out } = yield* Node.run(holdOut, { rows }, params)
      expect((yield* Node.run(holdOut, { rows: inShards(rows, [5, 0, 1]) }, params)).out).toEqual(out)
      const mixed = yield* Node.run(holdOut, { rows: shuffled(rows) }, params)
      expect(ids(mixed.out.heldOut).toSorted()).toEqual(ids(out.heldOut).toSorted())
      const half = yield* Node.run(holdOut, { rows: rows.slice(0, 10) }, params)
      expect(ids(half.out.heldOut)).toEqual(ids(out.heldOut.filter((row) => rows.indexOf(row) < 10)))
    })
  )

  it.effect("holds out about the share asked for, of caption ids that end in numbers too", () =>
    Effect.gen(function* () {
      const rows = Array.from({ length: 4000 }, (_, i) => example(`GCC_train_${i}`, `GCC_train_${i}.jpg`))
      const { out } = yield* Node.run(holdOut, { rows }, { share: 0.04, seed: 0 })
      // 160 expected, standard deviation 12.4.
      expect(Math.abs(out.heldOut.length - 160)).toBeLessThan(50)
      expect((yield* Node.run(holdOut, { rows }, { share: 0, seed: 0 })).out.heldOut).toEqual([])
      expect((yield* Node.run(holdOut, { rows }, { share: 1, seed: 0 })).out.train).toEqual([])
    })
  )
})

describe("holdOutConversations", () => {
  it.effect.prop("is the same partition, by the conversation's id", [conversations], ([rows]) =>
    Effect.gen(function* () {
      const params = { share: 0.4, seed: 3 }
      const { out } = yield* Node.run(holdOutConversations, { rows }, params)
      const asExamples = yield* Node.run(holdOut, { rows: rows.map(({ id }) => example(id, id)) }, params)
      expect(ids(out.train)).toEqual(ids(asExamples.out.train))
      expect(ids(out.heldOut)).toEqual(ids(asExamples.out.heldOut))
      expect(out.train.length + out.heldOut.length).toBe(rows.length)
      expect((yield* Node.run(holdOutConversations, { rows: inShards(rows, [1, 2]) }, params)).out).toEqual(out)
    })
  )
})
