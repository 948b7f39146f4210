/**
 * Rules on the finished text of a conversation: lists that start over, runs of one digit, and literal control tokens.
 *
 * Not a cleaner of markup. The first two drop a conversation; the third changes text so that a tokenizer that matches
 * control tokens anywhere cannot be made to emit one by what a user typed.
 */
import { Result, Schema } from "effect"
import type { Conversation } from "./Conversation.ts"

/** `repeatedDigits`: drop when one digit stands that often in a row; null keeps such rows. */
export const FormatOptions = Schema.Struct({ repeatedDigits: Schema.NullOr(Schema.Number) })
export type FormatOptions = typeof FormatOptions.Type

/** FastChat filters lists always, digits only on request (with nine). */
export const defaultFormatOptions: FormatOptions = { repeatedDigits: null }

/** A conversation dropped for its format. `turn` counts from 0. */
export class BadFormat extends Schema.TaggedError<BadFormat>()("BadFormat", {
  reason: Schema.Literals(["RestartedList", "RepeatedDigits"]),
  id: Schema.String,
  turn: Schema.Number,
  hint: Schema.String
}) {}

/**
 * Whether a numbered list begins with 1 twice and no 2 stands between: `\n1\. [^2]*\n1\. `. Linear time.
 *
 * @example
 * ```ts
 * hasRestartedList("Steps:\n1. Mix\n1. Bake") // true
 * ```
 */
export const hasRestartedList = (text: string): boolean => {
  const item = "\n1. "
  let previous = text.indexOf(item)
  let two = -1
  while (previous >= 0) {
    const from = previous + item.length
    const next = text.indexOf(item, from)
    if (next < 0) return false
    if (two < from) {
      const found = text.indexOf("2", from)
      two = found < 0 ? text.length : found
    }
    if (two >= next) return true
    previous = next
  }
  return false
}

/**
 * Whether one decimal digit (of any script) stands `times` times in a row. FastChat's rule has nine.
 *
 * @example
 * ```ts
 * hasRepeatedDigit("0.111111111", 9) // true
 * ```
 */
export const hasRepeatedDigit = (text: string, times: number): boolean =>
  new RegExp(`(\\p{Nd})\\1{${Math.max(0, times - 1)}}`, "u").test(text)

/**
 * Passes a conversation on, or fails with `BadFormat`.
 *
 * Source: FastChat's `filter_wrong_format.py` and `optional_clean.py --reduce-rep`.
 *
 * @example
 * ```ts
 * checkFormat(conversation, { repeatedDigits: 9 })
 * ```
 */
export const checkFormat = (
  conversation: Conversation,
  options: Partial<FormatOptions> = {}
): Result.Result<Conversation, BadFormat> => {
  const { repeatedDigits } = { ...defaultFormatOptions, ...options }
  for (const [turn, { value }] of conversation.conversations.entries()) {
    const fail = (reason: BadFormat["reason"], hint: string): Result.Result<never, BadFormat> =>
      Result.fail(new BadFormat({ reason, id: conversation.id, turn, hint }))
    if (hasRestartedList(value)) return fail("RestartedList", "Number the list 1, 2, 3 in the source to keep the row.")
    if (repeatedDigits !== null && hasRepeatedDigit(value, repeatedDigits)) {
      return fail("RepeatedDigits", "Raise `repeatedDigits`, or set it to null, to keep such rows.")
    }
  }
  return Result.succeed(conversation)
}

/**
 * `tokens`: texts that a tokenizer would turn into control tokens. `separator`: put after the first character of each,
 * so `<image>` becomes `< image>`: still readable, undone by removing it.
 */
export const SpecialTokenOptions = Schema.Struct({ tokens: Schema.Array(Schema.String), separator: Schema.String })
export type SpecialTokenOptions = typeof SpecialTokenOptions.Type

export const defaultSpecialTokenOptions: SpecialTokenOptions = {
  tokens: ["<|endoftext|>", "<image>", "<pad>"],
  separator: " "
}

/** Options under which text could still hold a token afterwards. */
export class BadSpecialTokens extends Schema.TaggedError<BadSpecialTokens>()("BadSpecialTokens", {
  token: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

/**
 * Makes a function that breaks every listed token in a text, overlapping ones too. Its result holds none of them, and
 * text without any comes back as it is; so it is idempotent.
 *
 * Fails with `BadSpecialTokens` for a token of fewer than two characters or one that shares a character with the
 * separator, for then a break could form a new token; or for an empty separator.
 *
 * @example
 * ```ts
 * const breakTokens = Result.getOrThrow(makeSpecialTokenBreaker())
 * breakTokens("a <image> b") // "a < image> b"
 * ```
 */
export const makeSpecialTokenBreaker = (
  options: Partial<SpecialTokenOptions> = {}
): Result.Result<(text: string) => string, BadSpecialTokens> => {
  const { separator, tokens } = { ...defaultSpecialTokenOptions, ...options }
  for (const token of tokens) {
    const bad =
      separator === ""
        ? "the separator is empty"
        : Array.from(token).length < 2
          ? "a token of one character cannot be broken"
          : Array.from(separator).some((character) => token.includes(character))
            ? "the token shares a character with the separator"
            : undefined
    if (bad !== undefined) {
      return Result.fail(
        new BadSpecialTokens({
          token,
          message: bad,
          hint: "Choose a separator that occurs in no token, such as a space."
        })
      )
    }
  }
  if (tokens.length === 0) return Result.succeed((text) => text)
  const first = (token: string): string => String.fromCodePoint(token.codePointAt(0)!)
  const escape = (token: string): string => token.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")
  // Looks ahead for the rest of a token, so that a token that begins inside another one is found too.
  const starts = new RegExp(
    tokens.map((token) => `${escape(first(token))}(?=${escape(token.slice(first(token).length))})`).join("|"),
    "g"
  )
  return Result.succeed((text) =>
    tokens.some((token) => text.includes(token)) ? text.replace(starts, (start) => start + separator) : text
  )
}
