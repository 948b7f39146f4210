/**
 * Shares add up, whatever the rows: the same as counting one category after another, and nothing unknown is counted.
 */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { exactMatch, normaliseAnswer } from "../../src/nodes/ExactMatch.ts"

const words = Schema.Literals(["Red", "red.", " RED ", "Blue.", "blue", "", "Top  left.", "top left", "1.5"])
const Rows = Schema.Array(
  Schema.Struct({
    category: Schema.Literals(["a", "b", "toString"]),
    answer: words,
    truth: Schema.NullOr(words),
    blind: Schema.NullOr(words)
  })
).check(Schema.isMaxLength(30))
const rows = Arbitrary.map(Arbitrary.schema(Rows), (all) =>
  all.map((row, i) => ({ id: `q${i}`, image: "p.png", question: "?", ...row }))
)

describe("exactMatch", () => {
  it.effect.prop("gives what counting category by category gives, and refuses what has no truth", [rows], ([rows]) =>
    Effect.gen(function* () {
      const known = rows.flatMap((row) => (row.truth === null ? [] : [{ ...row, truth: row.truth }]))
      const ran = Node.run(exactMatch, { rows }, {})
      if (known.length === 0) return expect((yield* Effect.flip(ran))._tag).toBe("NothingToScore")
      const { out, refused } = yield* ran
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual(
        rows.flatMap(({ truth }, i) => (truth === null ? [[i, "NoTruth"]] : []))
      )
      const { report } = out
      const rightOf = (some: typeof known, which: "answer" | "blind") =>
        some.reduce((sum, row) => sum + (normaliseAnswer(row[which] ?? "") === normaliseAnswer(row.truth) ? 1 : 0), 0)
      const shares = (which: "answer" | "blind") =>
        Object.fromEntries(
          ["a", "b", "toString"].flatMap((category) => {
            const some = known.filter((row) => row.category === category)
            return some.length === 0 ? [] : [[category, { questions: some.length, right: rightOf(some, which) }]]
          })
        )
      expect(report.questions).toBe(known.length)
      expect([report.right, report.accuracy]).toEqual([
        rightOf(known, "answer"),
        rightOf(known, "answer") / known.length
      ])
      expect({ ...report.byCategory }).toEqual(shares("answer"))
      if (known.some(({ blind }) => blind === null)) expect(report.blind).toBe(null)
      else {
        expect(report.blind!.right).toBe(rightOf(known, "blind"))
        expect({ ...report.blind!.byCategory }).toEqual(shares("blind"))
      }
    })
  )
})
