/** JSON as Python writes it: whole numbers keep their digits, and NaN costs its field alone. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { parseJson, withDigits } from "../../src/data/JsonText.ts"
import { idText } from "../../src/data/RowId.ts"

/** A JSON text and the value that it must give. */
interface Pair {
  readonly text: string
  readonly value: unknown
}

const text = Arbitrary.map(
  Arbitrary.array(
    Arbitrary.schema(
      Schema.Literals(["NaN", '"', "\\", " ", "-Infinity", ":", "a", "1", "é", "[", "12345678901234567890"])
    ),
    {
      maxLength: 6
    }
  ),
  (parts): Pair => ({ text: JSON.stringify(parts.join("")), value: parts.join("") })
)
const digits = Arbitrary.map(
  Arbitrary.array(Arbitrary.schema(Schema.Literals(["0", "1", "7", "9"])), { minLength: 1, maxLength: 24 }),
  (all): Pair => {
    const literal = all.join("").replace(/^0+(?=\d)/, "")
    const exact = BigInt(literal)
    return { text: literal, value: exact <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(exact) : exact }
  }
)
const word = Arbitrary.map(
  Arbitrary.schema(Schema.Literals(["NaN", "Infinity", "-Infinity", "null"])),
  (literal): Pair => ({ text: literal, value: null })
)
const other = Arbitrary.map(
  Arbitrary.schema(Schema.Literals(["0.5", "-1e3", "1e300", "true"])),
  (literal): Pair => ({ text: literal, value: JSON.parse(literal) })
)
const leaf = Arbitrary.map(
  Arbitrary.all([text, digits, word, other, Arbitrary.schema(Schema.Literals([0, 1, 2, 3]))]),
  ([a, b, c, d, which]): Pair => [a, b, c, d][which]!
)
const row = Arbitrary.map(Arbitrary.array(Arbitrary.all([text, leaf, leaf]), { maxLength: 5 }), (fields): Pair => {
  const named = fields.map(([key, a, b], i) => ({ key: `${i}${key.value}`, a, b }))
  return {
    text: `{${named.map(({ a, b, key }) => `${JSON.stringify(key)}: [${a.text},{"x":${b.text}}]`).join(", ")}}`,
    value: Object.fromEntries(named.map(({ a, b, key }) => [key, [a.value, { x: b.value }]]))
  }
})

describe("parseJson", () => {
  it.prop(
    "keeps every whole number, takes Python's words for null, and changes no text",
    [row],
    ([{ text, value }]) => {
      expect(parseJson(text)).toEqual(value)
    }
  )

  it("takes the words alone for null, and no other text for JSON", () => {
    expect(parseJson("NaN")).toBe(null)
    expect(parseJson('{"a":-Infinity,"b":[NaN,1]}')).toEqual({ a: null, b: [null, 1] })
    for (const text of ["nan", "NaNs", "--Infinity", "+NaN", "{NaN:1}", "1NaN", "{bad}", '"NaN', '{"a":NaN']) {
      expect(() => parseJson(text)).toThrow(SyntaxError)
    }
  })

  it.prop("withDigits gives JSON, in which no whole number has lost a digit", [row], ([{ value }]) => {
    const written = JSON.stringify(value, (_, one) => (typeof one === "bigint" ? String(one) : one))
    expect(withDigits(value)).toEqual(JSON.parse(written))
  })
})

describe("idText", () => {
  it.prop("two whole numbers have one id only where they are one number", [digits, digits], ([a, b]) => {
    const [one, two] = [parseJson(a.text), parseJson(b.text)].map(idText)
    expect(one).toBe(a.text)
    expect(one === two).toBe(a.text === b.text)
  })

  it("takes no double that stands for several numbers, and no half of a character", () => {
    expect(["a", 0, -7, 2.5, 9007199254740993n].map(idText)).toEqual(["a", "0", "-7", "2.5", "9007199254740993"])
    const none = [1e300, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, null, undefined, true, {}, "\ud83d"]
    expect(none.map(idText)).toEqual(none.map(() => undefined))
  })
})
