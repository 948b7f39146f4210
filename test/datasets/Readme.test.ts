import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import ledger from "../../datasets/sample/ledger.json" with { type: "json" }

const readme = readFileSync(new URL("../../datasets/README.md", import.meta.url), "utf8")
/** Without line breaks inside sentences. */
const sentences = readme.replace(/\s+/g, " ")

describe("datasets/README.md", () => {
  it("states for every rule as many rows as the ledger names", () => {
    const rows = [...readme.matchAll(/^\| `([a-z-]+)` \| (\d+) \|/gm)]
    const stated = Object.fromEntries(rows.map(([, rule, count]) => [rule!, Number(count)]))
    const noted = Object.values(ledger).flatMap((part) =>
      Object.entries<ReadonlyArray<string>>(part)
        .filter(([rule]) => !rule.startsWith("language-"))
        .map(([rule, ids]) => [rule, ids.length] as const)
    )
    expect(stated).toEqual(Object.fromEntries(noted))
  })

  it("states the share that guessing gets right", () => {
    const rows: ReadonlyArray<{ questions: ReadonlyArray<{ type: string; answer: string }> }> = JSON.parse(
      readFileSync(new URL("../../datasets/sample/llava-instruct/heldout.json", import.meta.url), "utf8")
    )
    const byType = Map.groupBy(
      rows.flatMap((row) => row.questions),
      (q) => q.type
    )
    for (const [type, questions] of byType) {
      const counts = Map.groupBy(questions, (q) => q.answer)
      const best = Math.max(...[...counts.values()].map((same) => same.length))
      expect(sentences).toContain(`${Math.round((100 * best) / questions.length)} % (${type})`)
    }
  })
})
