import { expect, it } from "@effect/vitest"
import { classRanges, classTable, LETTER, NUMBER, OTHER, SPACE } from "../../../src/text/bpe/Classes.ts"
import { WHITE_SPACE } from "../../../src/text/bpe/Pieces.ts"

it("classes known characters as Unicode 16 does", () => {
  const known: Readonly<Record<string, number>> = {
    aZéßж日𐐷: LETTER,
    ǅªº: LETTER,
    "09٣½²Ⅷ𝟘": NUMBER,
    "_'.😀\u200b\ufeff\u0301\u0000\u001c": OTHER,
    "\t\n\r \u0085\u00a0\u1680\u2028\u3000": SPACE,
    "\u{10d4a}": LETTER, // since Unicode 16
    "\u{16ea0}": OTHER // a letter since Unicode 17
  }
  const table = classTable()
  for (const [characters, kind] of Object.entries(known)) {
    for (const character of characters) expect(table[character.codePointAt(0)!], character).toBe(kind)
  }
})

it("holds the same sets as table and as ranges", () => {
  const table = classTable()
  for (const kind of [LETTER, NUMBER] as const) {
    const pattern = new RegExp(`^[${classRanges(kind)}]$`, "u")
    for (let code = 0; code < table.length; code += 7) {
      expect(pattern.test(String.fromCodePoint(code))).toBe(table[code] === kind)
    }
  }
  const spaces = Array.from(table.keys()).filter((code) => table[code] === SPACE)
  expect(spaces.length).toBe(25)
  expect(spaces.every((code) => new RegExp(`[${WHITE_SPACE}]`, "u").test(String.fromCodePoint(code)))).toBe(true)
})
