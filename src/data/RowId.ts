/**
 * The id of a row as text: one rule for every reader.
 *
 * Sources have ids as texts and as numbers, and the same data set has both from one export to the next. A whole number
 * is its digits, however large. What a double holds only nearly is no id: two of them may have been different ones.
 */

/**
 * The id as text; undefined where the value is none: not there, no text and no number, a number that stands for
 * several, or a text with half of a character (a lone surrogate), which no file of UTF-8 holds.
 *
 * @example
 * ```ts
 * idText(9007199254740993n) // "9007199254740993"
 * idText("a") // "a"
 * idText(1e300) // undefined
 * ```
 */
export const idText = (value: unknown): string | undefined => {
  if (typeof value === "string") return value.isWellFormed() ? value : undefined
  if (typeof value === "bigint") return String(value)
  if (typeof value !== "number" || !Number.isFinite(value)) return undefined
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) return undefined
  return String(value)
}

/** What a row says of its id where `idText` has none. */
export const NO_ID = "it has no id: a text, or a whole number with all its digits"
