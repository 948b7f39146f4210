/**
 * The few text operations of Python 3.11 whose JavaScript namesakes differ: whitespace, stripping, lengths,
 * printability.
 *
 * Not a general shim: only what the reference cleaner calls. JavaScript's `\s` and `trim` know U+FEFF and not
 * U+001C..U+001F or U+0085, and its `length` counts UTF-16 units where Python counts code points.
 */

/** The characters of Python's `\s` on text, for use inside a regular expression's brackets. */
export const pythonSpaceClass = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"

/**
 * Whether a UTF-16 unit is whitespace to Python (`str.isspace`, `\s`, `str.strip`).
 *
 * @example
 * ```ts
 * isPythonSpace(0x1c) // true, unlike JavaScript's \s
 * ```
 */
export const isPythonSpace = (code: number): boolean =>
  code <= 0x20
    ? code === 0x20 || (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x1f)
    : code < 0x85
      ? false
      : code === 0x85 ||
        code === 0xa0 ||
        code === 0x1680 ||
        (code >= 0x2000 && code <= 0x200a) ||
        code === 0x2028 ||
        code === 0x2029 ||
        code === 0x202f ||
        code === 0x205f ||
        code === 0x3000

/** Index of the first unit at or after `from` that is not Python whitespace; at most `end`. */
export const skipSpace = (text: string, from: number, end: number = text.length): number => {
  let at = from
  while (at < end && isPythonSpace(text.charCodeAt(at))) at += 1
  return at
}

/** `str.rstrip()`. */
export const rstrip = (text: string): string => {
  let end = text.length
  while (end > 0 && isPythonSpace(text.charCodeAt(end - 1))) end -= 1
  return end === text.length ? text : text.slice(0, end)
}

/** `str.strip()`. */
export const strip = (text: string): string => {
  const start = skipSpace(text, 0)
  let end = text.length
  while (end > start && isPythonSpace(text.charCodeAt(end - 1))) end -= 1
  return start === 0 && end === text.length ? text : text.slice(start, end)
}

/** Whether `str.strip()` leaves nothing. */
export const isBlank = (text: string): boolean => skipSpace(text, 0) === text.length

/**
 * `len(str)`: the number of code points; a lone surrogate counts as one.
 *
 * @example
 * ```ts
 * codePointLength("a😀") // 2
 * ```
 */
export const codePointLength = (text: string): number => {
  let count = text.length
  for (let at = 0; at + 1 < text.length; at += 1) {
    if ((text.charCodeAt(at) & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00) {
      count -= 1
      at += 1
    }
  }
  return count
}

const decimal = /\p{Nd}/u

/**
 * Decimal digits of any script, which `\d` and `int` take in Python, as ASCII ones. Digits stand in runs from 0 to 9.
 *
 * @example
 * ```ts
 * asciiDigits("\u0661\u0662") // "12"
 * ```
 */
export const asciiDigits = (text: string): string =>
  text.replace(/\P{ASCII}/gu, (character) => {
    if (!decimal.test(character)) return character
    const code = character.codePointAt(0)!
    let zero = code
    while (decimal.test(String.fromCodePoint(zero - 1))) zero -= 1
    return String((code - zero) % 10)
  })

const otherOrSeparator = /^[\p{C}\p{Z}]/u

/** Code points assigned after Unicode 14, which Python 3.11 therefore calls unassigned: `first-last`, hexadecimal. */
const assignedAfterUnicode14 = `
88f 897 c5c cdc cf3 ece 1acf-1add 1ae0-1aeb 1b4e-1b4f 1b7f 1c89-1c8a 20c1 2427-2429 2b96 2ffc-2fff 31e4-31e5
31ef a7cb-a7cf a7d2 a7d4 a7da-a7dc a7f1 fbc3-fbd2 fd90-fd91 fdc8-fdce 105c0-105f3 10940-10959 10d40-10d65
10d69-10d85 10d8e-10d8f 10ec2-10ec7 10ed0-10ed8 10efa-10eff 1123f-11241 11380-11389 1138b 1138e 11390-113b5
113b7-113c0 113c2 113c5 113c7-113ca 113cc-113d5 113d7-113d8 113e1-113e2 116d0-116e3 11b00-11b09 11b60-11b67
11bc0-11be1 11bf0-11bf9 11db0-11ddb 11de0-11de9 11f00-11f10 11f12-11f3a 11f3e-11f5a 1342f 13440-13455
13460-143fa 16100-16139 16d40-16d79 16ea0-16eb8 16ebb-16ed3 16ff2-16ff6 187f8-187ff 18cff 18d09-18d1e
18d80-18df2 1b132 1b155 1cc00-1ccfc 1cd00-1ceb3 1ceba-1ced0 1cee0-1cef0 1d2c0-1d2d3 1df25-1df2a 1e030-1e06d
1e08f 1e4d0-1e4f9 1e5d0-1e5fa 1e5ff 1e6c0-1e6de 1e6e0-1e6f5 1e6fe-1e6ff 1f6d8 1f6dc 1f774-1f77f 1f7d9
1f8b2-1f8bb 1f8c0-1f8c1 1f8d0-1f8d8 1fa54-1fa57 1fa75-1fa77 1fa87-1fa8a 1fa8e-1fa8f 1faad-1faaf 1fabb-1fabf
1fac6 1fac8 1facd-1facf 1fada-1fadc 1fadf 1fae8-1faea 1faef 1faf7-1faf8 1fbcb-1fbef 1fbfa 2b739-2b73f
2cea2-2cead 2ebf0-2ee5d 31350-33479`
  .trim()
  .split(/\s+/)
  .map((range) => {
    const [first, last = first] = range.split("-")
    return [Number.parseInt(first!, 16), Number.parseInt(last!, 16)] as const
  })

/**
 * `text[0].isprintable()` of Python 3.11.7 (Unicode 14): false for an empty text.
 *
 * @example
 * ```ts
 * startsPrintable("\u0007bell") // false
 * ```
 */
export const startsPrintable = (text: string): boolean => {
  const code = text.codePointAt(0)
  if (code === undefined) return false
  if (code < 0x7f) return code >= 0x20
  if (otherOrSeparator.test(text)) return false
  return !assignedAfterUnicode14.some(([first, last]) => code >= first && code <= last)
}
