/**
 * One JSON text as a value, with what JavaScript's own parser gets wrong or does not take: whole numbers beyond 2^53,
 * and the words that Python's `json.dump` writes for what no JSON number is.
 *
 * Not a reader of files (`JsonArray.ts`). Values are those of `JSON.parse`, but for two: a whole number that a double
 * does not hold exactly is a bigint, and `NaN`, `Infinity` and `-Infinity` are null: the field has no value, and the
 * row's others are as they were. Both cost a second pass, and only where they occur. Pure.
 */

/** Python's words, where `JSON.parse` fails on them: outside of strings, and not inside of another word. */
const WORD = /(?<![\w.+-])-?(?:NaN|Infinity)(?![\w.+-])/g

/** The text with null for each of Python's words outside of strings; undefined where there is none. */
const withoutWords = (text: string): string | undefined => {
  if (!text.includes("NaN") && !text.includes("Infinity")) return undefined
  let out = ""
  let found = false
  for (let at = 0; at < text.length; ) {
    const quote = text.indexOf('"', at)
    const outside = text.slice(at, quote < 0 ? text.length : quote)
    const replaced = outside.replace(WORD, "null")
    found ||= replaced !== outside
    out += replaced
    if (quote < 0) break
    let end = quote + 1
    while (end < text.length && text[end] !== '"') end += text[end] === "\\" ? 2 : 1
    out += text.slice(quote, end + 1)
    at = end + 1
  }
  return found ? out : undefined
}

/** Whether a whole number lies in the value that may stand for another one. */
const hasInexact = (value: unknown): boolean => {
  if (typeof value === "number") return Number.isInteger(value) ? !Number.isSafeInteger(value) : !Number.isFinite(value)
  if (typeof value !== "object" || value === null) return false
  if (Array.isArray(value)) {
    for (const item of value) if (hasInexact(item)) return true
    return false
  }
  for (const key in value) if (hasInexact((value as Record<string, unknown>)[key])) return true
  return false
}

/** `JSON.parse` gives a reviver the text of each number, which TypeScript's library does not know yet. */
type Revive = (key: string, value: unknown, context: { readonly source?: string }) => unknown
const parseWith = JSON.parse as (text: string, revive: Revive) => unknown

const exact: Revive = (_, value, { source }) =>
  typeof value === "number" && !Number.isSafeInteger(value) && source !== undefined && /^-?\d+$/.test(source)
    ? BigInt(source)
    : value

/**
 * Parses one JSON text. Throws `SyntaxError` as `JSON.parse` does.
 *
 * @example
 * ```ts
 * parseJson('{"id": 9007199254740993, "score": NaN}') // { id: 9007199254740993n, score: null }
 * ```
 */
export const parseJson = (text: string): unknown => {
  let source = text
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    const without = withoutWords(text)
    if (without === undefined) throw cause
    value = JSON.parse((source = without))
  }
  return hasInexact(value) ? parseWith(source, exact) : value
}

/**
 * The value with bigints as their digits: JSON again, for a field that is kept as it is found.
 *
 * @example
 * ```ts
 * withDigits({ seed: 9007199254740993n }) // { seed: "9007199254740993" }
 * ```
 */
export const withDigits = (value: unknown): unknown => {
  if (typeof value === "bigint") return String(value)
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(withDigits)
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withDigits(item)]))
}
