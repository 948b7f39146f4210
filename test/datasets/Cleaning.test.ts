import { readFileSync } from "node:fs"
import { Result } from "effect"
import { describe, expect, it } from "vitest"
import { sampleFolder } from "../../datasets/Dataset.ts"
import ledger from "../../datasets/sample/ledger.json" with { type: "json" }
import { CleanOptions, cleanConversation } from "../../src/text/Clean.ts"
import { decodeRow } from "../../src/text/Conversation.ts"

const rows: ReadonlyArray<{ id: string }> = JSON.parse(
  readFileSync(new URL("sharegpt/sharegpt.json", sampleFolder), "utf8")
)
const ruleOf = new Map(Object.entries(ledger.sharegpt).flatMap(([rule, ids]) => ids.map((id) => [id, rule] as const)))

/** The reason that the cleaner gives for the rows of a rule; rules that are not here keep their rows. */
const reasons: Readonly<Record<string, string>> = {
  "missing-conversations": "BadRow",
  "value-not-text": "BadRow",
  "no-turns": "TooFewTurns",
  "one-turn": "TooFewTurns",
  "only-gpt": "TooFewTurns",
  "roles-do-not-alternate": "RolesOutOfOrder",
  "banned-word-human": "BannedWord",
  "banned-word-gpt": "BannedWord",
  "rate-limit-notice": "SiteNotice",
  plugins: "HasPlugins",
  "too-short": "TooShort"
}

describe("the sample's ShareGPT rows", () => {
  it("are dropped by the cleaner for the reason that the ledger implies, and for no other", () => {
    rows.forEach((row, i) => {
      const decoded = decodeRow(row, i)
      const cleaned = Result.isSuccess(decoded)
        ? cleanConversation(decoded.success, CleanOptions.make({ values: "html", humanTurns: "reference" }))
        : undefined
      const outcome = cleaned === undefined ? "BadRow" : Result.isSuccess(cleaned) ? "kept" : cleaned.failure.reason
      expect([row.id, outcome]).toEqual([row.id, reasons[ruleOf.get(row.id) ?? "clean"] ?? "kept"])
    })
  })
})
