/** The table of digests gives the numbers that a plain map would. */
import { expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { DigestTable, grown } from "../../src/dag/DigestTable.ts"

/** Few values, some of them far apart, so that pairs repeat and halves are equal. */
const Half = Schema.Union([
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 })),
  Schema.Literals([0x7fffffff, 0x80000000, 0xffffffff]),
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffffffff }))
])
const pairs = Arbitrary.array(Arbitrary.schema(Schema.Tuple([Half, Half])), { maxLength: 400 })

it.prop("numbers pairs as a plain map does, whatever room it was given", [pairs], ([all]) => {
  for (const expected of [0, 3, 1000]) {
    const table = new DigestTable(expected)
    const plain = new Map<string, number>()
    for (const [low, high] of all) {
      const key = `${low} ${high}`
      if (!plain.has(key)) plain.set(key, plain.size)
      expect(table.find(low, high)).toBe(plain.has(key) && plain.get(key)! < table.size ? plain.get(key) : -1)
      const number = table.add(low, high)
      expect(number).toBe(plain.get(key))
      expect([table.lowOf(number), table.highOf(number)]).toEqual([low, high])
      expect(table.size).toBe(plain.size)
    }
  }
})

it("takes a quarter of a million pairs that differ in one half, or follow each other", () => {
  const table = new DigestTable()
  let wrong = 0
  for (let i = 0; i < 125_000; i++) if (table.add(i, 7) !== i) wrong++
  for (let i = 0; i < 125_000; i++) if (table.add(7, i + 8) !== 125_000 + i) wrong++
  for (let i = 0; i < 125_000; i++) if (table.add(i, 7) !== i) wrong++
  expect([wrong, table.size]).toEqual([0, 250_000])
})

it("grows a typed array into one of its kind", () => {
  expect(grown(new Float64Array([1, 2]), 4)).toEqual(new Float64Array([1, 2, 0, 0]))
  expect(grown(new Uint8Array([1]), 2)).toBeInstanceOf(Uint8Array)
})
