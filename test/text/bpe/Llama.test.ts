import { expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { scannerFor } from "../../../src/text/bpe/Llama.ts"
import { type Splitter, splitByPattern } from "../../../src/text/bpe/Pieces.ts"

const pattern = (numbers: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${numbers}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`
const pieces = (split: Splitter, text: string, from: number): ReadonlyArray<string> => {
  const out: Array<string> = []
  split(text, from, text.length, (start, end) => out.push(text.slice(start, end)))
  return out
}
const Atom = Schema.Union([
  Schema.Literals([" ", "  ", "\n", "\r", "\t", "\u0085", "\u2028", "\u3000", "\ufeff", "\u200b", "\u0000"]),
  Schema.Literals(["'", "'s", "'S", "'ſ", "'t", "'RE", "'vE", "'l", "'lL", "'ſe", "’s", "ab", "é", "12", "½", "1234"]),
  Schema.Literals(["...", "_", "日本", "𝟘", "𐐷", "😀", "\u0301", "\ud800", "\udc00", "\u{16ea0}", "K", "İ"]),
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0x10ffff }))
])
const text = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Atom), { maxLength: 30 }), (parts) =>
  parts.map((part) => (typeof part === "number" ? String.fromCodePoint(part) : part)).join("")
)

for (const numbers of ["\\p{N}{1,3}", "\\p{N}"]) {
  it.prop(`cuts as the pattern with ${numbers} does, from any place on`, [text], ([value]) => {
    const scan = scannerFor(pattern(numbers))!
    const slow = splitByPattern(pattern(numbers))
    expect(pieces(scan, value, 0)).toEqual(pieces(slow, value, 0))
    expect(pieces(scan, value, 0).join("")).toBe(value)
    const from = value.length >> 1
    if ((value.charCodeAt(from) & 0xfc00) !== 0xdc00)
      expect(pieces(scan, value, from)).toEqual(pieces(slow, value, from))
  })
}

it("knows no other pattern", () => {
  expect(scannerFor("\\p{L}+")).toBeUndefined()
  expect(scannerFor(pattern("\\p{N}{1,2}"))).toBeUndefined()
})
