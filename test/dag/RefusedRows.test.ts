/** Refused rows in compressed blocks read back as a plain list of them would. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { RefusedRows } from "../../src/dag/RefusedRows.ts"

const Said = Schema.Struct({
  row: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 })),
  reason: Schema.Literals(["A", "B"]),
  error: Schema.Struct({ n: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })), text: Schema.String })
})
type Said = typeof Said.Type
const fill = (all: ReadonlyArray<Said>) => {
  const refused = new RefusedRows()
  for (const one of all) refused.add(one)
  return refused
}
/** What it must be: the first of equal sayings about a row, by row. */
const plain = (all: ReadonlyArray<Said>) => {
  const found = new Map<string, Said>()
  for (const one of all) {
    const key = `${one.row} ${JSON.stringify([one.error.n, one.error.text])}`
    if (!found.has(key)) found.set(key, one)
  }
  return [...found.values()].sort((a, b) => a.row - b.row)
}

describe("refused rows", () => {
  it.prop(
    "count once what is said twice, by row",
    [Arbitrary.array(Arbitrary.schema(Said), { maxLength: 200 })],
    ([all]) => {
      const refused = fill(all)
      expect([...refused]).toEqual(plain(all))
      expect(refused.length).toBe(plain(all).length)
    }
  )

  it("come back from many compressed blocks, said in order or by two streams at two places", () => {
    const row = (row: number): Said => ({ row, reason: "A", error: { n: row % 3, text: `caption ${row} ü` } })
    const ascending = Array.from({ length: 20_000 }, (_, i) => row(i * 3))
    expect([...fill(ascending)]).toEqual(ascending)
    const twice = ascending.flatMap((one, i) => (i < 15_000 ? [ascending[i + 5000]!, one] : [one]))
    const refused = fill(twice)
    expect(refused.length).toBe(20_000)
    expect([...refused]).toEqual(ascending)
    // A list can be read more than once, and while another reading is under way.
    expect([...refused]).toEqual(ascending)
  })
})
