/** Of equal rows the first stays, whichever way they are equal. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import { fromArray } from "../../src/dag/Rows.ts"
import * as Node from "../../src/dag/RunNode.ts"
import { dropDuplicates } from "../../src/nodes/DropDuplicates.ts"
import { conversation, inShards } from "./support.ts"

const Row = Schema.Struct({
  id: Schema.Literals(["a", "b", "c", "d"]),
  question: Schema.Literals(["What?", "Why?", "Who?"]),
  reply: Schema.Literals(["This.", "That."]),
  more: Schema.Boolean
})
const rows = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Row), { maxLength: 30 }), (all) =>
  all.map(({ id, more, question, reply }) =>
    conversation(
      id,
      more
        ? [
            [question, reply],
            ["And?", "No."]
          ]
        : [[question, reply]]
    )
  )
)
const pair = (row: { readonly conversations: ReadonlyArray<{ readonly value: string }> }) =>
  JSON.stringify(row.conversations.slice(0, 2).map(({ value }) => value))

describe("dropDuplicates", () => {
  it.effect.prop(
    "keeps what a list that is searched would keep, and says which rule took the rest",
    [rows],
    ([given]) =>
      Effect.gen(function* () {
        const { out, refused } = yield* Node.run(dropDuplicates, { rows: given }, { shardRows: 8 })
        const kept: Array<(typeof given)[number]> = []
        const taken: Array<[number, string]> = []
        given.forEach((row, i) => {
          if (kept.some((one) => one.id === row.id)) taken.push([i, "Duplicate: SameId"])
          else if (kept.some((one) => pair(one) === pair(row))) taken.push([i, "Duplicate: SameFirstPair"])
          else kept.push(row)
        })
        expect(out.rows).toEqual(kept)
        expect(refused.map(({ reason, row }) => [row, reason])).toEqual(taken)
      })
  )

  it.effect("does not care how its rows lie in batches", () =>
    Effect.gen(function* () {
      const given = Array.from({ length: 40 }, (_, i) => conversation(`i${i % 30}`, [[`q${i % 17}`, "A."]]))
      const one = yield* Node.run(dropDuplicates, { rows: fromArray(given, 7) }, { shardRows: 8 })
      const other = yield* Node.run(dropDuplicates, { rows: inShards(given, [1, 0, 20]) }, { shardRows: 8 })
      expect(one).toEqual(other)
      expect(one.out.rows.length).toBe(17)
    })
  )
})
