/** A port declared with `oneOf` takes any of its artifacts and no other, wired or alone. */
import { expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Node, oneOf, type Rows, rows, value, whole } from "../../src/dag/index.ts"

const Words = rows("words", Schema.Struct({ word: Schema.String }))
const Numbers = rows("numbers", Schema.Struct({ number: Schema.Number }))
const Others = rows("others", Schema.Struct({ word: Schema.String }))
const Length = value("length", Schema.Number)
const None = Schema.Struct({})

const made = <const A extends typeof Words | typeof Numbers | typeof Others>(artifact: A) =>
  whole({ id: artifact.tag, version: "1", params: None, inputs: {}, outputs: { rows: artifact } }, () =>
    Effect.die("not run")
  )({}, {}).out.rows
const measure = whole(
  { id: "measure", version: "1", params: None, inputs: { rows: oneOf(Words, Numbers) }, outputs: { length: Length } },
  ({ inputs }) => {
    const given: Rows<{ readonly word: string } | { readonly number: number }> = inputs.rows
    return Effect.map(given.get([0]), ([first]) => ({
      length: Effect.succeed("word" in first! ? first.word.length : first!.number)
    }))
  }
)

it("is wired to any of them; another is a compile error, and named when it is wired all the same", () => {
  expect(measure({ rows: made(Words) }, {}).inputs["rows"]!.artifact.tag).toBe("words")
  expect(measure({ rows: made(Numbers) }, {}).inputs["rows"]!.artifact.tag).toBe("numbers")
  // @ts-expect-error the port takes words or numbers
  expect(() => measure({ rows: made(Others) }, {})).toThrow("input rows takes words or numbers, got others")
  // @ts-expect-error an input is missing
  expect(() => measure({}, {})).toThrow("input rows is missing")
})

it.effect("alone, it takes rows of any of them, and says which row fits none", () =>
  Effect.gen(function* () {
    expect((yield* Node.run(measure, { rows: [{ word: "abc" }] }, {})).out.length).toBe(3)
    expect((yield* Node.run(measure, { rows: [{ number: 7 }] }, {})).out.length).toBe(7)
    const exit = yield* Effect.exit(Node.run(measure, { rows: [{ other: 1 }] as never }, {}))
    expect(String(exit)).toContain("input rows, row 0: word")
  })
)
