/**
 * Hints that pages quote are hints of the code.
 *
 * A hint may be a template with names and numbers in it, so its words are compared, four at a time: most of them stand
 * in some literal of the code in that order. Messages with more names than words are not compared.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { sources } from "./Hints.ts"
import { blocks, root } from "./Markdown.ts"

/** Words of the code, with the parts of a template that are computed, and the seams between literals, left out. */
const normal = (text: string): string =>
  text
    .replace(/`\s*\+\s*`|"\s*\+\s*"|"\s*\+\s*`|`\s*\+\s*"/g, "")
    .replace(/\$\{[^{}]*\}/g, " ")
    .replace(/[^\p{L}\p{N}]+/gu, " ")
    .toLowerCase()
const code = sources.map((path) => normal(readFileSync(join(root, path), "utf8"))).join(" ")

const quoted = blocks()
  .filter(({ info, page }) => info === "console" && page !== "docs/LOG.md")
  .flatMap(({ page, text }) => [...text.matchAll(/^ {2}hint: (.+)$/gm)].map((match) => ({ page, message: match[1]! })))

/** Share of the message's runs of four words that the code has. */
const share = (message: string): number => {
  const words = normal(message).trim().split(" ")
  const runs = words.slice(0, -3).map((_, i) => words.slice(i, i + 4).join(" "))
  return runs.filter((run) => code.includes(` ${run} `)).length / Math.max(1, runs.length)
}

it("hints in console blocks are hints of the code", () => {
  expect(quoted.length).toBeGreaterThan(4)
  const stale = quoted.filter(({ message }) => share(message) < 0.4)
  expect(stale.map(({ message, page }) => `${page}: ${message} (${share(message).toFixed(2)})`)).toEqual([])
})

it("a hint that the code does not have is found", () => {
  expect(share("Run the same command again: it resumes where the sun does not shine upon the wheel.")).toBeLessThan(0.4)
})
