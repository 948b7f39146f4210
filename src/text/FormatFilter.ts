/**
 * Rules on the finished text of a conversation: lists that start over, runs of one digit, and literal control tokens.
 *
 * Not a cleaner of markup. Runs of digits drop a whole conversation, lists that start over the part they stand in: so
 * FastChat's `prepare_all` has it. The third rule changes text, so that a tokenizer that matches control tokens
 * anywhere cannot be made to emit one by what a user typed.
 */
import { Result, Schema } from "effect"
import type { Conversation } from "./Conversation.ts"

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

const check =
  (reason: BadFormat["reason"], hint: string, isBad: (value: string) => boolean) =>
  <A extends Conversation>(conversation: A): Result.Result<A, BadFormat> => {
    const turn = conversation.conversations.findIndex(({ value }) => isBad(value))
    return turn < 0
      ? Result.succeed(conversation)
      : Result.fail(new BadFormat({ reason, id: conversation.id, turn, hint }))
  }

/**
 * Passes a conversation on, or fails with `BadFormat` where one of its lists starts over.
 *
 * Source: FastChat's `filter_wrong_format.py`.
 *
 * @example
 * ```ts
 * checkLists(conversation)
 * ```
 */
export const checkLists = check(
  "RestartedList",
  "Number the list 1, 2, 3 in the source to keep the row.",
  hasRestartedList
)

/**
 * Passes a conversation on, or fails with `BadFormat` where one digit stands `times` times in a row.
 *
 * Source: FastChat's `optional_clean.py --reduce-rep`, which has nine.
 *
 * @example
 * ```ts
 * checkDigits(9)(conversation)
 * ```
 */
export const checkDigits = (times: number) =>
  check("RepeatedDigits", "Raise `repeatedDigits`, or set it to null, to keep such rows.", (value) =>
    hasRepeatedDigit(value, times)
  )

/**
 * Put after the first character of a control token: `<image>` becomes `< image>`, still readable, undone by removing
 * it.
 */
const SEPARATOR = " "

/** A token that text could still hold afterwards. */
export class BadSpecialTokens extends Schema.TaggedError<BadSpecialTokens>()("BadSpecialTokens", {
  token: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

/**
 * Makes a function that breaks every listed token in a text with a space, overlapping ones too. Its result holds none
 * of them, and text without any comes back as it is; so it is idempotent.
 *
 * Fails with `BadSpecialTokens` for a token of fewer than two characters or with a space in it, for then a break could
 * form a new token.
 *
 * @example
 * ```ts
 * const breakTokens = Result.getOrThrow(makeSpecialTokenBreaker(["<image>"]))
 * breakTokens("a <image> b") // "a < image> b"
 * ```
 */
export const makeSpecialTokenBreaker = (
  tokens: ReadonlyArray<string>
): Result.Result<(text: string) => string, BadSpecialTokens> => {
  for (const token of tokens) {
    const bad =
      Array.from(token).length < 2
        ? "a token of one character cannot be broken"
        : token.includes(SEPARATOR)
          ? "the token holds a space, which is what breaks it"
          : undefined
    if (bad !== undefined)
      return Result.fail(new BadSpecialTokens({ token, message: bad, hint: "Leave the token out of `specialTokens`." }))
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
    tokens.some((token) => text.includes(token)) ? text.replace(starts, (start) => start + SEPARATOR) : text
  )
}
