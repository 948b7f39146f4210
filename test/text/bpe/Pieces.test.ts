import { expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { type Splitter, splitByPattern, splitGpt2 } from "../../../src/text/bpe/Pieces.ts"

const pieces = (split: Splitter, text: string): ReadonlyArray<string> => {
  const out: Array<string> = []
  split(text, 0, text.length, (start, end) => out.push(text.slice(start, end)))
  return out
}

const Atom = Schema.Union([
  Schema.Literals([
    " ",
    "  ",
    "\n",
    "\t",
    "\u0085",
    "\ufeff",
    "'",
    "'s",
    "'re",
    "'l",
    "'LL",
    "ab",
    "12",
    "½",
    "...",
    "é"
  ]),
  Schema.Literals(["𝟘", "𐐷", "😀", "日本", "_", "\u001c", "\u3000"])
])
const text = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Atom), { maxLength: 30 }), (parts) => parts.join(""))

it.prop("cuts as GPT-2's pattern does", [text], ([value]) => {
  const pattern = splitByPattern("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+")
  expect(pieces(splitGpt2, value)).toEqual(pieces(pattern, value))
  expect(pieces(splitGpt2, value).join("")).toBe(value)
})

it("does not let letters newer than the pinned Unicode version change the pieces", () => {
  expect(pieces(splitGpt2, "a\u{16ea0}b")).toEqual(["a", "\u{16ea0}", "b"]) // a letter since Unicode 17
  expect(pieces(splitGpt2, "a\u{10d4a}b")).toEqual(["a\u{10d4a}b"]) // a letter since Unicode 16
})

it("keeps what a pattern does not match, and reads possessive quantifiers", () => {
  expect(pieces(splitByPattern("\\p{N}{1,3}"), "ab12345c")).toEqual(["ab", "123", "45", "c"])
  expect(pieces(splitByPattern("(?i:'s|'ll)|[^\\p{L}]?\\p{L}+"), "I'LLI's\u{323b0}")).toEqual([
    "I",
    "'LL",
    "I",
    "'s",
    "\u{323b0}"
  ])
  expect(pieces(splitByPattern("[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++"), " ab!c")).toEqual([" ab", "!c"])
})
