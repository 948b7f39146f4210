/** Lists that start over and runs of one digit go; everything else stays untouched and in order. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Node from "../../src/dag/Alone.ts"
import { keepFormat } from "../../src/nodes/KeepFormat.ts"
import { conversation } from "./support.ts"

const Value = Schema.Array(Schema.Literals(["\n1. one", "\n2. two", "77777", "7", "text "])).check(
  Schema.isMaxLength(6)
)
const rows = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Value), { maxLength: 20 }), (all) =>
  all.map((parts, i) => conversation(`r${i}`, [["Go on.", `${parts.join("")}.`]]))
)

describe("keepFormat", () => {
  for (const repeatedDigits of [null, 9])
    it.effect.prop(`refuses exactly what the rules name (digits: ${repeatedDigits})`, [rows], ([given]) =>
      Effect.gen(function* () {
        const { out, refused } = yield* Node.run(keepFormat, { rows: given }, { repeatedDigits })
        const expected = given.map(({ conversations }) => {
          const text = conversations[1]!.value
          if (/\n1\. [^2]*\n1\. /.test(text)) return "BadFormat: RestartedList"
          return repeatedDigits !== null && /7{9}/.test(text) ? "BadFormat: RepeatedDigits" : undefined
        })
        expect(out.rows).toEqual(given.filter((_, i) => expected[i] === undefined))
        expect(refused.map(({ reason, row }) => [row, reason])).toEqual(
          expected.flatMap((reason, i) => (reason === undefined ? [] : [[i, reason]]))
        )
      })
    )
})
