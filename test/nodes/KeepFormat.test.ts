/**
 * Parts with lists that start over and conversations with runs of one digit go; all else stays untouched and in order.
 */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { dropRepeatedDigits, keepFormat } from "../../src/nodes/KeepFormat.ts"
import { splitConversations } from "../../src/nodes/SplitConversations.ts"
import { conversation, tokenizerPath } from "./support.ts"

const Value = Schema.Array(Schema.Literals(["\n1. one", "\n2. two", "77777", "7", "text "])).check(
  Schema.isMaxLength(6)
)
const rows = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Value), { maxLength: 20 }), (all) =>
  all.map((parts, i) => conversation(`r${i}`, [["Go on.", `${parts.join("")}.`]]))
)

const bad = (given: ReadonlyArray<ReturnType<typeof conversation>>, of: RegExp) =>
  given.flatMap(({ conversations }, i) => (of.test(conversations[1]!.value) ? [i] : []))

describe("keepFormat", () => {
  it.effect.prop("refuses exactly the lists that start over", [rows], ([given]) =>
    Effect.gen(function* () {
      const { out, refused } = yield* Node.run(keepFormat, { rows: given }, {})
      const expected = bad(given, /\n1\. [^2]*\n1\. /)
      expect(out.rows).toEqual(given.filter((_, i) => !expected.includes(i)))
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual(
        expected.map((i) => [i, "BadFormat: RestartedList"])
      )
    })
  )

  it.effect("behind the splitter, one bad list costs its part and not the conversation", () =>
    Effect.gen(function* () {
      const long = "red ".repeat(80).trim()
      const talk = conversation("a", [
        [long, long],
        ["How?", "So:\n1. Mix\n1. Bake"],
        [long, long]
      ])
      const inputs = { rows: [talk], tokenizer: tokenizerPath }
      const parts = yield* Node.run(splitConversations, inputs, { maxTokens: 220, perMessage: 6 })
      const { out, refused } = yield* Node.run(keepFormat, { rows: parts.out.rows }, {})
      expect(parts.out.rows.map(({ id }) => id)).toEqual(["a_0", "a_2", "a_4"])
      expect(out.rows.map(({ id }) => id)).toEqual(["a_0", "a_4"])
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual([[1, "BadFormat: RestartedList"]])
    })
  )
})

describe("dropRepeatedDigits", () => {
  for (const repeatedDigits of [null, 9])
    it.effect.prop(`refuses exactly the runs that are long enough (${repeatedDigits})`, [rows], ([given]) =>
      Effect.gen(function* () {
        const { out, refused } = yield* Node.run(dropRepeatedDigits, { rows: given }, { repeatedDigits })
        const expected = repeatedDigits === null ? [] : bad(given, /7{9}/)
        expect(out.rows).toEqual(given.filter((_, i) => !expected.includes(i)))
        expect(refused.map(({ reason, row }) => [row, reason])).toEqual(
          expected.map((i) => [i, "BadFormat: RepeatedDigits"])
        )
      })
    )
})
