/**
 * Patterns of published tokenizers are run; those that a backtracking engine may take for ever with are refused by
 * name.
 */
import { describe, expect, it } from "@effect/vitest"
import { splitByPattern, UnsafePattern } from "../../../src/text/bpe/Pieces.ts"
import { whyUnsafe } from "../../../src/text/bpe/SafePattern.ts"
import { published } from "./patterns.ts"

const endless = [
  "(?:a+)+b",
  "(a*)*",
  "(?:a|a)*b",
  "(?:a|ab|b)+c",
  "(\\p{L}+ ?)*x",
  "(?:a?){40}b",
  "(?:a{1,9}){1,9}b",
  "a*a*b",
  "\\s*[\\r\\n]*\\s*x",
  "[a-z]*\\p{L}*!",
  "a?a?a?a?a?a?a?a?a?a?a?a?b",
  "(?=(?:a+)+b)a",
  "(a+)\\1+b",
  ".*.*\\d",
  "(?:(?:a{2})*b?)*c",
  "a*(?:a*b)?c",
  "x(?:a*a*b)?",
  "a+(?=a*b)",
  "(?<=a+)b",
  "(?:b(?=a*c))*"
]

describe("a tokenizer's pattern", () => {
  for (const [name, pattern] of Object.entries(published))
    it(`of ${name} is run`, () => {
      const pieces: Array<string> = []
      const text = "I'll say\n\n  12345 Wörter, 日本語 x_y!"
      splitByPattern(pattern)(text, 0, text.length, (from, to) => pieces.push(text.slice(from, to)))
      expect(pieces.join("")).toBe(text)
      expect(pieces.length).toBeGreaterThan(2)
    })

  for (const pattern of endless)
    it(`${pattern} is refused`, () => {
      expect(() => splitByPattern(pattern)).toThrow(UnsafePattern)
    })

  it("is told what is wrong with it", () => {
    expect(whyUnsafe("(?:a+)+b")).toBe("a group that may match in several ways is repeated")
    expect(whyUnsafe("a*a*b")).toBe("a and a may share a run in many ways before what must follow")
    expect(whyUnsafe("(a)\\1")).toBe("it refers back to what a group matched")
    expect(whyUnsafe("(?:[ab]|[cd]){2,3}")).toContain("repeated")
    expect(whyUnsafe("x".repeat(2_000_001))).toContain("2,000,000 characters")
  })
})
