/**
 * Character references as the reference parser resolves them, which is not how browsers do.
 *
 * Not a scanner: `Tokenizer.ts` finds references in text. Text and attribute values follow different rules:
 * - in text, Beautiful Soup looks the whole name up and drops the semicolon of a name it does not know (`&foo;` gives
 *   `&foo`); numbers under 256 are read as windows-1252, and what is no character becomes U+FFFD;
 * - in attribute values, Python's `html.unescape` applies the HTML 5 rules, longest known prefix included.
 *
 * Where Python raises instead of answering (a number of more than 4,300 digits), U+FFFD stands.
 */
import { namedReferences, namedWithoutSemicolon } from "./EntityTable.ts"

const byName: ReadonlyMap<string, string> = new Map(
  namedReferences
    .trim()
    .split(/\s+/)
    .map((entry) => {
      const equals = entry.indexOf("=")
      const points = entry.slice(equals + 1).split("_")
      return [entry.slice(0, equals), String.fromCodePoint(...points.map((hex) => Number.parseInt(hex, 16)))] as const
    })
)

const legacy: ReadonlySet<string> = new Set(namedWithoutSemicolon.trim().split(/\s+/))

/** windows-1252 for 0x80..0x9f; 0 where that encoding has nothing. */
const windows1252 = [
  0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017d, 0, 0,
  0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0, 0x017e, 0x0178
]

const replacement = "\ufffd"

/** The value of `12` or `x1f` as a number; infinite when it has more digits than a code point can. */
const numberOf = (name: string): number => {
  const hexadecimal = name.startsWith("x") || name.startsWith("X")
  const digits = (hexadecimal ? name.slice(1) : name).replace(/^0+(?=.)/, "")
  return digits.length > 8 ? Number.POSITIVE_INFINITY : Number.parseInt(digits, hexadecimal ? 16 : 10)
}

const isSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdfff

const fromWindows1252 = (code: number): string =>
  String.fromCharCode(code >= 0x80 && code <= 0x9f ? windows1252[code - 0x80] || code : code)

/**
 * A numeric reference in text: `name` is what stands between `&#` and the terminator (`8364`, `x20AC`).
 *
 * @example
 * ```ts
 * textCharacterReference("128") // "€"
 * ```
 */
export const textCharacterReference = (name: string): string => {
  const code = numberOf(name)
  if (code === 0 || isSurrogate(code) || code > 0x10ffff) return replacement
  return code < 256 ? fromWindows1252(code) : String.fromCodePoint(code)
}

/**
 * A named reference in text: `name` without `&` and terminator. An unknown name keeps its ampersand.
 *
 * @example
 * ```ts
 * textEntityReference("copy") // "©"
 * textEntityReference("foo") // "&foo"
 * ```
 */
export const textEntityReference = (name: string): string => byName.get(name) ?? "&" + name

/** Numbers that HTML 5 maps to nothing: controls and noncharacters. */
const isInvalidCodePoint = (code: number): boolean =>
  (code >= 0x1 && code <= 0x8) ||
  code === 0xb ||
  (code >= 0xe && code <= 0x1f) ||
  (code >= 0x7f && code <= 0x9f) ||
  (code >= 0xfdd0 && code <= 0xfdef) ||
  (code & 0xfffe) === 0xfffe

const unescapeNumber = (name: string): string => {
  const code = numberOf(name)
  if (code === 0) return replacement
  if (code === 0x0d) return "\r"
  if (code >= 0x80 && code <= 0x9f) return fromWindows1252(code)
  if (isSurrogate(code) || code > 0x10ffff) return replacement
  return isInvalidCodePoint(code) ? "" : String.fromCodePoint(code)
}

/** A name as the attribute rules read it: with its semicolon any name counts, without only the legacy ones. */
const attributeName = (name: string): string | undefined => {
  if (name.endsWith(";")) return byName.get(name.slice(0, -1))
  return legacy.has(name) ? byName.get(name) : undefined
}

const unescapeName = (name: string): string => {
  const whole = attributeName(name)
  if (whole !== undefined) return whole
  const points = Array.from(name)
  for (let length = points.length - 1; length > 1; length -= 1) {
    const prefix = points.slice(0, length).join("")
    const found = legacy.has(prefix) ? byName.get(prefix) : undefined
    if (found !== undefined) return found + points.slice(length).join("")
  }
  return "&" + name
}

const attributeReference = /&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/gu

/**
 * `html.unescape` of Python 3.11: every reference of an attribute value resolved.
 *
 * @example
 * ```ts
 * unescapeAttribute("u?x=1&amp;y=2") // "u?x=1&y=2"
 * unescapeAttribute("&notit;") // "¬it;"
 * ```
 */
export const unescapeAttribute = (value: string): string =>
  value.includes("&")
    ? value.replace(attributeReference, (_, name: string) =>
        name.startsWith("#") ? unescapeNumber(name.slice(1).replace(/;$/, "")) : unescapeName(name)
      )
    : value
