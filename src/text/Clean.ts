/**
 * Cleans one ShareGPT conversation as FastChat's `clean_sharegpt` does, and says which rule dropped it.
 *
 * Not the removal of duplicates, which needs every row: `duplicateKeys` gives what such a node compares. Not the
 * language filter. Pure; one conversation at a time.
 *
 * Order, as in the reference: plugins; turns at either end; then turn by turn its role, its raw text, its conversion. A
 * turn that converts to nothing, or to text whose first character is not printable, ends the conversation there, and
 * what follows is not looked at. Two points of the reference worth knowing: only one leading turn that is not human is
 * taken off (a second one breaks the roles), and the least length counts a question whose answer was cut off.
 *
 * What each rule looks at: roles, and banned words, the raw value; notices, the first character and the least length
 * the converted one. `test/golden/sharegpt-rules` holds that to the reference.
 *
 * Source: FastChat's `fastchat/data/clean_sharegpt.py`, commit 0e6d3e4 (the release 0.2.36 on PyPI has no notices yet).
 */
import { createHash } from "node:crypto"
import { Effect, Result, Schema } from "effect"
import type { Conversation, ConversationTurn, RawConversation } from "./Conversation.ts"
import { convertHtml } from "./html/HtmlToMarkdown.ts"
import { codePointLength, startsPrintable, strip } from "./html/PythonText.ts"

/**
 * `bannedWords`: found anywhere in a raw value, whatever the case. `notices`: what a converted reply of the site, not
 * the model, begins with. `minCharacters`: in code points, over all converted turns. `values`: what the file's values
 * are; markdown is only stripped. `humanTurns`: `reference` converts them as HTML too, as FastChat does, which loses
 * text such as `i<n;i++)`; `verbatim` keeps them as typed.
 *
 * These are parameters of `cleanShareGpt`; what may be left out is as FastChat has it.
 */
export const CleanOptions = Schema.Struct({
  values: Schema.Literals(["html", "markdown"]),
  humanTurns: Schema.Literals(["reference", "verbatim"]),
  bannedWords: Schema.Array(Schema.String).pipe(
    Schema.withConstructorDefault(Effect.succeed<ReadonlyArray<string>>(["openai", "chatgpt"]))
  ),
  notices: Schema.Array(Schema.NonEmptyString).pipe(
    Schema.withConstructorDefault(
      Effect.succeed<ReadonlyArray<string>>([
        "Too many requests in 1 hour. Try again later.",
        "!Too many requests in 1 hour. Try again later."
      ])
    )
  ),
  minCharacters: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)).pipe(
    Schema.withConstructorDefault(Effect.succeed(16))
  )
})
export type CleanOptions = typeof CleanOptions.Type

/** One literal for each rule. */
export const DropReason = Schema.Literals([
  "HasPlugins",
  "TooFewTurns",
  "RolesOutOfOrder",
  "BannedWord",
  "SiteNotice",
  "MarkupRejected",
  "NothingLeft",
  "TooShort"
])
export type DropReason = typeof DropReason.Type

/**
 * A conversation that a cleaning rule dropped. `turn` is the place in the file's list, from 0, where one turn is at
 * fault.
 */
export class Dropped extends Schema.TaggedError<Dropped>()("Dropped", {
  reason: DropReason,
  id: Schema.String,
  turn: Schema.optional(Schema.Number),
  detail: Schema.String,
  hint: Schema.String
}) {}

const hints: Readonly<Record<DropReason, string>> = {
  HasPlugins:
    "The reply came from a tool as much as from the model; set the row's field plugins to null in the source to keep it.",
  TooFewTurns: "A conversation needs a question and a reply; nothing to do if the export was cut short.",
  RolesOutOfOrder: "Turns must alternate from human to gpt; merge or remove turns in the source to keep the row.",
  BannedWord: "Change `bannedWords` to keep such rows.",
  SiteNotice: "The site answered instead of the model; change `notices` to keep such rows.",
  MarkupRejected: "The reference parser refuses this markup too; escape `<` as `&lt;` in the source to keep the row.",
  NothingLeft: "The first question or its reply is empty after cleaning; there is nothing to learn from.",
  TooShort: "Lower `minCharacters` to keep such rows."
}

/**
 * Cleans one conversation, or fails with the rule that dropped it.
 *
 * Algorithm: `clean_html_one_sample` of FastChat's `fastchat/data/clean_sharegpt.py`.
 *
 * @example
 * ```ts
 * cleanConversation({
 *   id: "a",
 *   conversations: [
 *     { from: "human", value: "What colour is the kettle?" },
 *     { from: "gpt", value: "<p>It is <b>red</b>.</p>" }
 *   ]
 * }, CleanOptions.make({ values: "html", humanTurns: "reference" })) // success: "What colour is the kettle?", "It is **red**."
 * ```
 */
export const cleanConversation = (raw: RawConversation, rules: CleanOptions): Result.Result<Conversation, Dropped> => {
  const drop = (reason: DropReason, detail: string, turn?: number): Result.Result<never, Dropped> =>
    Result.fail(new Dropped({ reason, id: raw.id, turn, detail, hint: hints[reason] }))

  if (raw.plugins !== undefined && raw.plugins !== null) return drop("HasPlugins", "the row lists plugins")
  const all = raw.conversations
  if (all.length <= 1) return drop("TooFewTurns", `${all.length} turns`)
  const start = all[0]!.from === "human" ? 0 : 1
  if (all.length - start <= 1) return drop("TooFewTurns", "one turn without the leading one that is not human")
  const end = all[all.length - 1]!.from === "human" ? all.length - 1 : all.length
  if (end - start <= 1) return drop("TooFewTurns", `${end - start} turns between the ends`)

  const bannedIn = bannedWordFinder(rules.bannedWords)
  const turns: Array<ConversationTurn> = []
  let characters = 0
  for (let i = start; i < end; i += 1) {
    const { from, value } = all[i]!
    const role = (i - start) % 2 === 0 ? "human" : "gpt"
    if (from !== role) return drop("RolesOutOfOrder", `expected ${role}, found ${JSON.stringify(from)}`, i)
    const word = bannedIn(value)
    if (word !== undefined) return drop("BannedWord", `contains ${JSON.stringify(word)}`, i)
    const text = cleanValue(value, role, rules)
    if (Result.isFailure(text)) return drop("MarkupRejected", text.failure.message, i)
    const notice = role === "gpt" ? rules.notices.find((known) => text.success.startsWith(known)) : undefined
    if (notice !== undefined) return drop("SiteNotice", `begins with ${JSON.stringify(notice)}`, i)
    if (!startsPrintable(strip(text.success))) break
    // Past the least length the count decides nothing, and counting long texts takes longer than reading them.
    if (characters < rules.minCharacters) characters += codePointLength(text.success)
    turns.push({ from: role, value: text.success })
  }
  turns.length -= turns.length % 2
  if (turns.length === 0) return drop("NothingLeft", "no question with a reply is left")
  if (characters < rules.minCharacters) return drop("TooShort", `${characters} characters of ${rules.minCharacters}`)
  return Result.succeed({ id: raw.id, conversations: turns })
}

const finders = new WeakMap<ReadonlyArray<string>, (value: string) => string | undefined>()

/**
 * Finds the first banned word that a text holds in lower case. One scan without a copy tells most texts from the rest:
 * beside the words it looks for the two characters above ASCII whose lower case begins with an ASCII letter.
 */
const bannedWordFinder = (words: ReadonlyArray<string>): ((value: string) => string | undefined) => {
  const known = finders.get(words)
  if (known !== undefined) return known
  const inLowerCase = (value: string): string | undefined => {
    const lower = value.toLowerCase()
    return words.find((banned) => lower.includes(banned.toLowerCase()))
  }
  const suspect = words.every((word) => /^[a-z0-9 ]+$/i.test(word))
    ? new RegExp([...words, "[\\u0130\\u212a]"].join("|"), "i")
    : undefined
  const find = (value: string): string | undefined =>
    suspect === undefined || suspect.test(value) ? inLowerCase(value) : undefined
  finders.set(words, find)
  return find
}

const cleanValue = (value: string, role: "human" | "gpt", rules: CleanOptions) => {
  if (role === "human" && rules.humanTurns === "verbatim") return Result.succeed(value)
  return rules.values === "markdown" ? Result.succeed(strip(value)) : convertHtml(value)
}

/** What makes two conversations duplicates: an equal id, or an equal first question with an equal first reply. */
export interface DuplicateKeys {
  readonly id: string
  /** sha256 of the first pair, hexadecimal: keys of a whole file stay small. */
  readonly opening: string
}

/**
 * The keys under which a node that sees all rows looks for duplicates. In the reference the first row of a kind stays,
 * ids are compared before openings, and a dropped row leaves no key behind.
 *
 * @example
 * ```ts
 * duplicateKeys(a).opening === duplicateKeys(b).opening // same first question, same first reply
 * ```
 */
export const duplicateKeys = (conversation: Conversation): DuplicateKeys => ({
  id: conversation.id,
  opening: createHash("sha256")
    .update(JSON.stringify(conversation.conversations.slice(0, 2).map((turn) => turn.value)))
    .digest("hex")
})
