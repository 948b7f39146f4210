/**
 * Holds our text code to the reference's output: markdown of fragments, cleaned conversations, token ids.
 *
 * Everything is exact: a row is equal or it is counted.
 */
import { Result } from "effect"
import { CleanOptions, cleanConversation, duplicateKeys } from "../../text/Clean.ts"
import { type Conversation, decodeRow } from "../../text/Conversation.ts"
import { convertHtml } from "../../text/html/HtmlToMarkdown.ts"
import { phi2 } from "../../text/Tokenizer.ts"
import { counting, type Line } from "./Line.ts"

const show = (text: string): string => {
  const quoted = JSON.stringify(text)
  return quoted.length > 60 ? `${quoted.slice(0, 59)}…` : quoted
}

/** Fragments whose markdown differs. */
export const checkHtml = (cases: ReadonlyArray<{ readonly html: string; readonly markdown: string }>): Line => {
  let wrong = 0
  let note: string | undefined
  for (const { html, markdown } of cases) {
    const built = convertHtml(html)
    if (Result.isSuccess(built) && built.success === markdown) continue
    wrong++
    note ??= `first: ${show(html)}`
  }
  return counting("HTML to markdown, differing fragments", wrong, cases.length, note)
}

/** Texts whose ids differ. Control tokens count as such, as in the native tokenizer. */
export const checkTokens = (
  cases: ReadonlyArray<{ readonly text: string; readonly ids: ReadonlyArray<number> }>
): Line => {
  const tokenizer = phi2()
  let wrong = 0
  let note: string | undefined
  for (const { ids, text } of cases) {
    const built = tokenizer.encode(text, { allowSpecial: "all" })
    if (built.length === ids.length && ids.every((id, i) => id === built[i])) continue
    wrong++
    note ??= `first: ${show(text)}`
  }
  return counting("Phi-2 token ids, differing texts", wrong, cases.length, note)
}

/** The clean step over a whole file: every row cleaned or dropped, then duplicates, in the file's order. */
export const cleanAll = (input: ReadonlyArray<unknown>): ReadonlyArray<Conversation> => {
  const rules = CleanOptions.make({ values: "html", humanTurns: "reference" })
  const ids = new Set<string>()
  const openings = new Set<string>()
  const out: Array<Conversation> = []
  input.forEach((value, row) => {
    const raw = decodeRow(value, row)
    if (Result.isFailure(raw)) return
    const cleaned = cleanConversation(raw.success, rules)
    if (Result.isFailure(cleaned)) return
    const keys = duplicateKeys(cleaned.success)
    if (ids.has(keys.id) || openings.has(keys.opening)) return
    ids.add(keys.id)
    openings.add(keys.opening)
    out.push(cleaned.success)
  })
  return out
}

/** Rows that are missing, too many, or differ in any character; rows are compared by place. */
export const checkClean = (
  input: ReadonlyArray<unknown>,
  expected: ReadonlyArray<{
    readonly id: string
    readonly conversations: ReadonlyArray<{ from: string; value: string }>
  }>
): Line => {
  const built = cleanAll(input)
  const same = (a: (typeof expected)[number], b: Conversation): boolean =>
    a.id === b.id &&
    a.conversations.length === b.conversations.length &&
    a.conversations.every(
      (turn, i) => turn.from === b.conversations[i]!.from && turn.value === b.conversations[i]!.value
    )
  let wrong = Math.abs(built.length - expected.length)
  let note = wrong === 0 ? undefined : `${built.length} rows, not ${expected.length}`
  for (let i = 0; i < Math.min(built.length, expected.length); i++) {
    if (same(expected[i]!, built[i]!)) continue
    wrong++
    note ??= `first: row ${i}, id ${expected[i]!.id}`
  }
  return counting("cleaned conversations, differing rows", wrong, expected.length, note)
}
