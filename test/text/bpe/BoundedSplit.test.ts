/**
 * A pattern takes a number of steps in proportion to the text, however long its runs are; else the text is refused by
 * name.
 */
import { describe, expect, it } from "@effect/vitest"
import { boundedMatches, COUNTED_FROM, MOST_PER_UNIT, TextTooCostly } from "../../../src/text/bpe/BoundedSplit.ts"
import { splitByPattern } from "../../../src/text/bpe/Pieces.ts"
import { published } from "./patterns.ts"

const MB = 1_000_000
const runs = { letters: "a", capitals: "A", digits: "7", blanks: " ", breaks: "\n", marks: "!", Han: "日", astral: "𐐀" }

const cut = (pattern: string, text: string): ReadonlyArray<string> => {
  const pieces: Array<string> = []
  splitByPattern(pattern)(text, 0, text.length, (from, to) => pieces.push(text.slice(from, to)))
  return pieces
}

describe("a megabyte of one character", () => {
  for (const [name, pattern] of Object.entries(published))
    for (const [kind, character] of Object.entries(runs)) {
      const quadratic = name.startsWith("digits by three") && kind === "digits"
      it(`of ${kind} is ${quadratic ? "refused" : "cut"} by the pattern of ${name}`, () => {
        const text = `${character.repeat(MB / character.length)}x`
        if (!quadratic) return expect(cut(pattern, text).join("") === text).toBe(true)
        expect(() => cut(pattern, text)).toThrow(TextTooCostly)
        expect(() => cut(pattern, text)).toThrow(/a text of 1,000,001 characters has a run at [\d,]+ that/)
        // What a row may hold is cut: a number of some thousand digits.
        expect(cut(pattern, `${character.repeat(3 * COUNTED_FROM)} x`).length).toBe(COUNTED_FROM + 1)
      })
    }

  it("costs steps in proportion to its length, or ends after so many", () => {
    const steps = (pattern: string, text: string): number => {
      let all = 0
      const count = (passed: number) => {
        all = passed
      }
      try {
        boundedMatches(pattern)(text, () => undefined, count)
      } catch (error) {
        expect(error).toBeInstanceOf(TextTooCostly)
      }
      return all
    }
    for (const pattern of ["\\s+(?!\\S)|\\s+|\\S+", "[a-z]*[A-Z]+|[a-z]+"]) {
      const [one, two] = [MB / 2, MB].map((length) => steps(pattern, `${"a ".repeat(8)}${" ".repeat(length)}x`))
      expect(two! / one!).toBeLessThan(2.1)
      expect(two!).toBeLessThan(10 * MB)
    }
    for (const pattern of ["a+b", "\\d{1,3}(?=(?:\\d{3})*\\b)", "[ab]?a+!"]) {
      const text = (pattern.startsWith("\\d") ? "7" : "a").repeat(MB)
      // Its last attempt passes the run once more than is allowed.
      expect(steps(pattern, text)).toBeLessThan((MOST_PER_UNIT + 3) * MB)
    }
  })
})

describe("a long text", () => {
  const words = [
    "I'll say",
    "\n\n",
    "  12345 ",
    "Wörter",
    ",",
    "日本語",
    " x_y!",
    "𐐀𐐁",
    "\t",
    "ABC",
    "é̂",
    " ".repeat(40)
  ]
  const text = Array.from({ length: 3000 }, (_, i) => words[(i * i + 7 * i) % words.length]).join("")
  for (const [name, pattern] of Object.entries(published))
    it(`is cut by the pattern of ${name} as in short parts of it`, () => {
      expect(text.length).toBeGreaterThan(COUNTED_FROM)
      const long: Array<string> = []
      boundedMatches(
        pattern
          .replaceAll("++", "+")
          .replaceAll("?+", "?")
          .replaceAll("}+", "}")
          .replaceAll("*+", "*")
          .replaceAll("(?i:", "(?:")
      )(text, (from, to) => long.push(text.slice(from, to)))
      const plain = pattern
        .replaceAll("++", "+")
        .replaceAll("?+", "?")
        .replaceAll("}+", "}")
        .replaceAll("*+", "*")
        .replaceAll("(?i:", "(?:")
      expect(long).toEqual(
        [...text.matchAll(new RegExp(plain, "gu"))].map(([piece]) => piece).filter((piece) => piece !== "")
      )
      expect(cut(pattern, text).join("")).toBe(text)
    })
})
