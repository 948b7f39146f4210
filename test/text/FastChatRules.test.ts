/**
 * Each rule looks at the form of a text that FastChat's scripts look at: raw, converted, whole conversation or part.
 */
import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Result } from "effect"
import { CleanOptions, cleanConversation, type DropReason, duplicateKeys } from "../../src/text/Clean.ts"
import { type Conversation, decodeRow, type RawConversation } from "../../src/text/Conversation.ts"
import { hasRepeatedDigit, hasRestartedList } from "../../src/text/FormatFilter.ts"
import { splitConversation } from "../../src/text/Split.ts"

interface Prepared extends Conversation {
  readonly maxTokens: number
  readonly repeatedDigits: boolean
  readonly parts: ReadonlyArray<{ readonly id: string; readonly turns: number }>
  readonly kept: ReadonlyArray<string>
}
/** Made by `make.py` beside it, with the reference. */
const golden: {
  readonly rows: ReadonlyArray<unknown>
  readonly codes: ReadonlyArray<number>
  readonly kept: ReadonlyArray<Conversation>
  readonly prepared: ReadonlyArray<Prepared>
} = JSON.parse(readFileSync(new URL("../golden/sharegpt-rules/cases.json", import.meta.url), "utf8"))

/** The reference's code for each of our reasons; it looks at plugins after everything else. */
const codes: Readonly<Record<Exclude<DropReason, "HasPlugins">, number>> = {
  TooFewTurns: 1,
  NothingLeft: 1,
  TooShort: 1,
  RolesOutOfOrder: 2,
  BannedWord: 3,
  SiteNotice: 3,
  MarkupRejected: 4
}
const rules = CleanOptions.make({ values: "html", humanTurns: "reference" })
const rows = golden.rows.map((row, i): RawConversation => Result.getOrThrow(decodeRow(row, i)))

describe("FastChat's rules", () => {
  it("drop what clean_sharegpt drops, for its reason", () => {
    const found = rows.map(({ conversations, id }) => {
      const cleaned = cleanConversation({ id, conversations }, rules)
      return Result.isSuccess(cleaned) ? 0 : codes[cleaned.failure.reason as keyof typeof codes]
    })
    expect(found).toEqual(golden.codes)
    expect(new Set(found)).toEqual(new Set([0, 1, 2, 3, 4]))
  })

  it("leave of a file what clean_sharegpt writes, duplicates and plugins gone", () => {
    const seen = new Set<string>()
    const kept = rows.flatMap((row) => {
      const cleaned = cleanConversation(row, rules)
      if (Result.isFailure(cleaned)) return []
      const { id, opening } = duplicateKeys(cleaned.success)
      if (seen.has(`id ${id}`) || seen.has(`opening ${opening}`)) return []
      seen.add(`id ${id}`).add(`opening ${opening}`)
      return [cleaned.success]
    })
    expect(kept.map(({ id }) => id)).toEqual(golden.kept.map(({ id }) => id))
    expect(kept.map(({ conversations }) => conversations)).toEqual(golden.kept.map((row) => row.conversations))
  })

  it("look for repeated digits in the whole conversation, and for restarted lists in its parts, as prepare_all does", () => {
    const count = (text: string) => text.split(/\s+/).filter((word) => word !== "").length
    const found = golden.prepared.map((row) => {
      const options = { maxTokens: row.maxTokens, perMessage: 6, perPart: 0 }
      const { parts } = splitConversation({ id: row.id, conversations: row.conversations }, count, options)
      return {
        id: row.id,
        repeatedDigits: row.conversations.some(({ value }) => hasRepeatedDigit(value, 9)),
        parts: parts.map(({ conversations, id }) => ({ id, turns: conversations.length })),
        kept: parts.flatMap((part) => (part.conversations.some((t) => hasRestartedList(t.value)) ? [] : [part.id]))
      }
    })
    expect(found).toEqual(
      golden.prepared.map(({ id, kept, parts, repeatedDigits }) => ({ id, repeatedDigits, parts, kept }))
    )
    const torn = golden.prepared.filter(({ kept, parts }) => kept.length > 0 && kept.length < parts.length)
    expect(torn.length).toBeGreaterThan(5)
  })
})
