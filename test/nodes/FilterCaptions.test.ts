/** The caption filter accounts for every row, and its choice depends on rows and seed alone. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { filterCaptions } from "../../src/nodes/FilterCaptions.ts"
import { inShards, shuffled } from "./support.ts"

const params = {
  shardRows: 16,
  seed: 0,
  minWords: 3,
  maxWords: 12,
  minDistinctShare: 0.5,
  maxRun: 2,
  dropDuplicates: true,
  minCount: 3,
  perPhrase: 5
}
const Caption = Schema.Array(Schema.Literals(["a red car", "an old house", "the dog", "near", "on", "a boat"])).check(
  Schema.isMaxLength(6)
)
const row = (id: string, caption: string) => ({
  id,
  image: `${id}.jpg`,
  caption,
  conversations: [
    { from: "human" as const, value: "<image>\nDescribe it." },
    { from: "gpt" as const, value: caption }
  ]
})
const tables = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Caption), { maxLength: 60 }), (all) =>
  all.map((words, i) => row(`r${i}`, words.join(" ")))
)
const run = (rows: Parameters<typeof inShards<ReturnType<typeof row>>>[0], given = params, sizes: Array<number> = []) =>
  Node.run(filterCaptions, { rows: inShards(rows, sizes) }, given)

describe("filterCaptions", () => {
  it.effect.prop("the report adds up: rows in, rows out, rows by rule", [tables], ([rows]) =>
    Effect.gen(function* () {
      const { out, refused } = yield* run(rows)
      const { report } = out
      expect(report.rowsIn).toBe(rows.length)
      expect(report.rowsOut).toBe(out.rows.length)
      expect(refused.length).toBe(rows.length - out.rows.length)
      for (const { rule, rows: taken } of report.taken)
        expect(refused.filter(({ reason }) => reason === `CaptionDropped: ${rule}`).length).toBe(taken)
      expect(report.taken.reduce((sum, { rows }) => sum + rows, 0)).toBe(refused.length)
    })
  )

  it.effect.prop("shards and batches change nothing", [tables], ([rows]) =>
    Effect.gen(function* () {
      expect(yield* run(rows, params, [3, 0, 20])).toEqual(yield* run(rows))
    })
  )

  const many = Array.from({ length: 200 }, (_, i) => row(`r${i}`, `the old lighthouse number ${i} in a storm`))
  const idsOf = (seed: number, rows: typeof many) =>
    Effect.map(run(rows, { ...params, seed }), ({ out }) => out.rows.map(({ id }) => id))

  it.effect("one seed takes the same captions of a common phrase in any order, another seed others", () =>
    Effect.gen(function* () {
      const kept = yield* idsOf(0, many)
      expect(kept.length).toBeLessThan(many.length)
      expect((yield* idsOf(0, shuffled(many))).toSorted()).toEqual(kept.toSorted())
      expect((yield* idsOf(1, many)).toSorted()).not.toEqual(kept.toSorted())
    })
  )

  it.effect("a row that is in the file twice is kept once", () =>
    Effect.gen(function* () {
      const twice = many.slice(0, 5).flatMap((one) => [one, one])
      const { out, refused } = yield* run(twice)
      expect(out.rows.map(({ id }) => id)).toEqual(many.slice(0, 5).map(({ id }) => id))
      expect(refused.map(({ reason }) => reason)).toEqual(Array(5).fill("CaptionDropped: DuplicateCaption"))
    })
  )
})
