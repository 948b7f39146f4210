/**
 * A conversation as ShareGPT files hold it, and as it is once cleaned.
 *
 * Not a template: `Template.ts` says what a model sees. Nothing is repaired here beyond a numeric id: a row that does
 * not have this shape is one typed error, so that one bad row never stops a file.
 */
import { Result, Schema } from "effect"

/**
 * One message as found. `from` is whatever the file says (`human`, `gpt`, `system`, ...); `value` is HTML or markdown.
 */
export const RawTurn = Schema.Struct({ from: Schema.String, value: Schema.String })
export type RawTurn = typeof RawTurn.Type

/**
 * One row of a ShareGPT file as found, HTML and all; other keys are ignored. `group`: what its reader says it belongs
 * to.
 * `plugins` null or absent: none were used.
 */
export const RawConversation = Schema.Struct({
  id: Schema.String,
  group: Schema.optionalKey(Schema.String),
  conversations: Schema.Array(RawTurn),
  plugins: Schema.optional(Schema.Json)
})
export type RawConversation = typeof RawConversation.Type

/** One message after cleaning: markdown, never empty. */
export const ConversationTurn = Schema.Struct({ from: Schema.Literals(["human", "gpt"]), value: Schema.String })
export type ConversationTurn = typeof ConversationTurn.Type

/**
 * A cleaned conversation: at least one pair, `human` and `gpt` in turn. `group`: what it must not be torn from when
 * rows are split into sides; absent where its id says that by ShareGPT's rule (`Group.ts`).
 */
export const Conversation = Schema.Struct({
  id: Schema.String,
  group: Schema.optionalKey(Schema.String),
  conversations: Schema.Array(ConversationTurn)
})
export type Conversation = typeof Conversation.Type

/** A row that is no conversation at all. `row` counts from 0 in its file. */
export class BadRow extends Schema.TaggedError<BadRow>()("BadRow", {
  row: Schema.Number,
  id: Schema.optional(Schema.String),
  message: Schema.String,
  hint: Schema.String
}) {}

const decode = Schema.decodeUnknownResult(RawConversation)

/** The id of a row that may be anything; numbers, which some exports write, become text. */
const idOf = (row: unknown): string | undefined => {
  if (typeof row !== "object" || row === null || !("id" in row)) return undefined
  return typeof row.id === "string" ? row.id : Number.isFinite(row.id) ? String(row.id) : undefined
}

/**
 * Reads one parsed JSON element as a conversation, or fails with `BadRow`.
 *
 * @example
 * ```ts
 * decodeRow({ id: 7, conversations: [{ from: "human", value: "Hi" }] }, 0) // success, id "7"
 * decodeRow({ id: "a", conversations: null }, 1) // BadRow { row: 1, id: "a" }
 * ```
 */
export const decodeRow = (value: unknown, row: number): Result.Result<RawConversation, BadRow> => {
  const id = idOf(value)
  const input = id !== undefined && typeof value === "object" ? { ...value, id } : value
  return Result.mapError(
    decode(input),
    (error) =>
      new BadRow({
        row,
        id,
        message: error.message,
        hint: 'Expected { id, conversations: [{ from, value }] } with text in "from" and "value".'
      })
  )
}
