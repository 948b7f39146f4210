/**
 * Patterns of published tokenizers are run; those that a backtracking engine may take for ever with are refused by
 * name.
 */
import { describe, expect, it } from "@effect/vitest"
import { splitByPattern, UnsafePattern } from "../../../src/text/bpe/Pieces.ts"
import { whyUnsafe } from "../../../src/text/bpe/SafePattern.ts"

const upper = "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
const lower = "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
const tail = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
const endings = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"

const published = {
  "GPT-2, Phi-2": "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  "Llama 3, Qwen 2": `${endings}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  "cl100k, possessive": `${endings}|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s`,
  "o200k, Phi-4": `[^\\r\\n\\p{L}\\p{N}]?[${upper}]*[${lower}]+${endings}?|[^\\r\\n\\p{L}\\p{N}]?[${upper}]+[${lower}]*${endings}?|\\p{N}{1,3}|${tail}`,
  "Mistral Tekken": `[^\\r\\n\\p{L}\\p{N}]?[${upper}]*[${lower}]+|[^\\r\\n\\p{L}\\p{N}]?[${upper}]+[${lower}]*|\\p{N}|${tail}`,
  "DeepSeek 3": `[!"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_\`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  "DeepSeek 3, Han": "[一-龥぀-ゟ゠-ヿ]+",
  "digits by three": "\\d{1,3}(?=(?:\\d{3})*\\b)",
  "digits by three, with numbers of all scripts": "\\p{N}{1,3}(?=(?:\\p{N}{3})*(?:\\P{N}|$))"
} as const

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
  "x(?:a*a*b)?"
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
