/**
 * The pieces of Llama 3 and Qwen 2 by a hand-written scanner: one pass, no allocation.
 *
 * Not a reader of patterns: it knows two, which differ in how many digits a piece may have, and any other is for
 * `splitByPattern`. That one takes the same cuts at a tenth of the speed.
 *
 * Source: the pattern in these models' tokenizer.json files, `LLAMA_PATTERN`.
 */
import { classTable, LETTER, NUMBER, OTHER, SPACE } from "./Classes.ts"
import type { Splitter } from "./Pieces.ts"

/** The pattern, with `NUMBERS` where the two differ. */
const LLAMA_PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|NUMBERS| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const isBreak = (unit: number): boolean => unit === 0x0a || unit === 0x0d

/** Length of the contraction at an apostrophe, in any case, or 0. The long s is an s. */
const contraction = (text: string, at: number, to: number): number => {
  if (at + 1 >= to) return 0
  const next = text.charCodeAt(at + 1)
  if (next === 0x17f) return 2
  const lower = next | 0x20
  if (next < 0x80 && (lower === 0x73 || lower === 0x74 || lower === 0x6d || lower === 0x64)) return 2
  if (at + 2 >= to || next >= 0x80) return 0
  const last = text.charCodeAt(at + 2)
  if (last >= 0x80) return 0
  if ((lower === 0x72 || lower === 0x76) && (last | 0x20) === 0x65) return 3
  return lower === 0x6c && (last | 0x20) === 0x6c ? 3 : 0
}

const splitLlama =
  (digits: number): Splitter =>
  (text, from, to, emit) => {
    const classes = classTable()
    /** Code units of the character at `at`. */
    const widthAt = (at: number): number =>
      (text.charCodeAt(at) & 0xfc00) === 0xd800 && at + 1 < to && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00 ? 2 : 1
    const classAt = (at: number): number => {
      const unit = text.charCodeAt(at)
      return (unit & 0xfc00) === 0xd800 && widthAt(at) === 2
        ? (classes[text.codePointAt(at)!] ?? OTHER)
        : classes[unit]!
    }
    /** End of the run of `wanted` from `at`, of at most `most` characters. */
    const runEnd = (at: number, wanted: number, most = Number.POSITIVE_INFINITY): number => {
      let left = most
      while (at < to && left-- > 0 && classAt(at) === wanted) at += widthAt(at)
      return at
    }
    /**
     * End of the white space piece that starts at `at`: to behind its last line break, else all but its last character.
     */
    const spaceEnd = (at: number): number => {
      const end = runEnd(at, SPACE)
      for (let last = end - 1; last >= at; last--) if (isBreak(text.charCodeAt(last))) return last + 1
      return end < to && end - at > 1 ? end - 1 : end
    }
    const pieceEnd = (at: number): number => {
      const unit = text.charCodeAt(at)
      if (unit === 0x27) {
        const length = contraction(text, at, to)
        if (length > 0) return at + length
      }
      const kind = classAt(at)
      if (kind === LETTER) return runEnd(at, LETTER)
      if (kind === NUMBER) return runEnd(at, NUMBER, digits)
      const next = at + widthAt(at)
      if (!isBreak(unit) && next < to && classAt(next) === LETTER) return runEnd(next, LETTER)
      const body = unit === 0x20 && next < to ? next : at
      if (classAt(body) !== OTHER) return spaceEnd(at)
      let end = runEnd(body, OTHER)
      while (end < to && isBreak(text.charCodeAt(end))) end++
      return end
    }
    for (let at = from; at < to; ) {
      const end = pieceEnd(at)
      emit(at, end)
      at = end
    }
  }

/**
 * The scanner for a pattern, if it is one of the two.
 *
 * @example
 * scannerFor(llama3Pattern) ?? splitByPattern(llama3Pattern)
 */
export const scannerFor = (pattern: string): Splitter | undefined => {
  if (pattern === LLAMA_PATTERN.replace("NUMBERS", "\\p{N}{1,3}")) return splitLlama(3)
  return pattern === LLAMA_PATTERN.replace("NUMBERS", "\\p{N}") ? splitLlama(1) : undefined
}
