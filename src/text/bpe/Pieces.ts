/**
 * Cuts text into the pieces that byte-pair merging never crosses.
 *
 * Not a tokenizer. Offsets are UTF-16 code units. Pieces cover the text without gaps.
 *
 * Source: GPT-2's pattern `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, where `\s` is
 * Unicode's White_Space. JavaScript's own `\s` is another set (it holds U+FEFF and lacks U+0085), so ids would differ.
 */
import { boundedMatches, COUNTED_FROM } from "./BoundedSplit.ts"
import { classRanges, classTable, LETTER, NUMBER, OTHER, SPACE } from "./Classes.ts"
import { whyUnsafe } from "./SafePattern.ts"

/** Calls `emit` for every piece of `text` between `from` and `to`, in order. */
export type Splitter = (text: string, from: number, to: number, emit: (start: number, end: number) => void) => void

/** How ordinary text is cut: sections first where they matter (each may get a space before it), then pieces. */
export interface PreTokenizer {
  /** The steps before the byte level's, when it puts a space before each section that has none; else undefined. */
  readonly before: Splitter | undefined
  readonly prefixSpace: boolean
  readonly pieces: Splitter
}

/** Unicode's White_Space as the inside of a character class. */
export const WHITE_SPACE = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"

/** Length of the contraction at an apostrophe, or 0. */
const contraction = (text: string, at: number, to: number): number => {
  if (at + 1 >= to) return 0
  const next = text.charCodeAt(at + 1)
  if (next === 0x73 || next === 0x74 || next === 0x6d || next === 0x64) return 2
  if (at + 2 >= to) return 0
  const last = text.charCodeAt(at + 2)
  if ((next === 0x72 || next === 0x76) && last === 0x65) return 3
  return next === 0x6c && last === 0x6c ? 3 : 0
}

/**
 * GPT-2's pieces by a hand-written scanner: one pass, no allocation.
 *
 * @example
 * splitGpt2("I'll go", 0, 7, (start, end) => pieces.push([start, end])) // "I", "'ll", " go"
 */
export const splitGpt2: Splitter = (text, from, to, emit) => {
  const classes = classTable()
  const classAt = (at: number): number => {
    const unit = text.charCodeAt(at)
    if ((unit & 0xfc00) !== 0xd800 || at + 1 >= to) return classes[unit]!
    return classes[text.codePointAt(at)!] ?? OTHER
  }
  /** End of the run of `wanted` that starts at `at`; the low half of a surrogate pair belongs to its character. */
  const runEnd = (at: number, wanted: number): number => {
    while (at < to) {
      const unit = text.charCodeAt(at)
      if ((unit & 0xfc00) === 0xd800 && at + 1 < to && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00) {
        if ((classes[text.codePointAt(at)!] ?? OTHER) !== wanted) return at
        at += 2
      } else if (classes[unit] === wanted) at++
      else return at
    }
    return at
  }
  let at = from
  while (at < to) {
    const unit = text.charCodeAt(at)
    let end: number
    if (unit === 0x27 && (end = contraction(text, at, to)) > 0) end += at
    else {
      const body = unit === 0x20 && at + 1 < to ? at + 1 : at
      const kind = classAt(body)
      if (kind !== SPACE) end = runEnd(body, kind)
      else {
        end = runEnd(at, SPACE)
        if (end < to && end - at > 1) end--
      }
    }
    emit(at, end)
    at = end
  }
}

/** A pattern is not run: on some text a backtracking engine may take for ever with it. */
export class UnsafePattern extends Error {
  override readonly name = "UnsafePattern"
}

/**
 * Pieces by a regular expression (the `Split` step of newer tokenizers): matches and the text between them.
 *
 * `\s` and `\S` in the pattern are taken as Unicode's White_Space, `\p{L}` and `\p{N}` from the pinned table of
 * `Classes` (other categories follow the engine's Unicode version), possessive quantifiers as greedy ones. Throws
 * `SyntaxError` for a pattern that JavaScript cannot express, `UnsafePattern` for one that may take for ever; what it
 * gives throws `TextTooCostly` for a text on which the time would grow with the square of a run (`BoundedSplit.ts`).
 *
 * @example
 * const split = splitByPattern("\\p{N}{1,3}| ?\\p{L}+")
 */
export const splitByPattern = (pattern: string): Splitter => {
  const translated = translate(pattern)
  const regex = new RegExp(translated, "gu")
  const unsafe = whyUnsafe(translated)
  if (unsafe !== undefined) throw new UnsafePattern(unsafe)
  let bounded: ReturnType<typeof boundedMatches> | undefined
  return (text, from, to, emit) => {
    const part = from === 0 && to === text.length ? text : text.slice(from, to)
    let done = 0
    const take = (start: number, end: number): void => {
      if (end === start) return
      if (start > done) emit(from + done, from + start)
      emit(from + start, from + end)
      done = end
    }
    if (part.length > COUNTED_FROM) {
      bounded ??= boundedMatches(translated)
      bounded(part, take)
    } else for (const match of part.matchAll(regex)) take(match.index, match.index + match[0].length)
    if (done < part.length) emit(from + done, from + part.length)
  }
}

/** Runs of numbers apart from the rest (the `Digits` step); `each` number by itself where asked. */
export const splitDigits =
  (each: boolean): Splitter =>
  (text, from, to, emit) => {
    const classes = classTable()
    let done = from
    let wasNumber = false
    for (let at = from; at < to; ) {
      const code = text.codePointAt(at)!
      const isNumber = classes[code] === NUMBER
      if (at > done && (isNumber !== wasNumber || (isNumber && each))) {
        emit(done, at)
        done = at
      }
      wasNumber = isNumber
      at += code > 0xffff ? 2 : 1
    }
    if (to > done) emit(done, to)
  }

/** A literal of a case-insensitive group as a class of its case variants. */
const anyCase = (character: string): string => {
  const lower = character.toLowerCase()
  const upper = character.toUpperCase()
  if (lower === upper || lower.length > 1 || upper.length > 1) return character
  return `[${lower}${upper}${lower === "s" ? "\u017f" : lower === "k" ? "\u212a" : ""}]`
}

/**
 * Rewrites a pattern of the Oniguruma dialect for JavaScript's `u` mode.
 *
 * `(?i:...)` is spelled out: the V8 of Node 24 mismatches such groups beside classes of explicit ranges.
 */
const translate = (pattern: string): string => {
  let out = ""
  let inClass = false
  let quantified = false
  const groups: Array<boolean> = [false] // whether each open group ignores case
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i]!
    if (!inClass && pattern.startsWith("(?i:", i)) {
      groups.push(true)
      out += "(?:"
      quantified = false
      i += 3
      continue
    }
    if (character === "\\") {
      quantified = false
      const escaped = pattern[++i] ?? ""
      if (escaped === "p" || escaped === "P") {
        const end = pattern.indexOf("}", i)
        const name = pattern.slice(i + 2, end)
        const ranges = name === "L" ? classRanges(LETTER) : name === "N" ? classRanges(NUMBER) : undefined
        if (ranges === undefined || (escaped === "P" && inClass)) out += `\\${pattern.slice(i, end + 1)}`
        else out += inClass ? ranges : `[${escaped === "P" ? "^" : ""}${ranges}]`
        i = end
      } else if (escaped === "s") out += inClass ? WHITE_SPACE : `[${WHITE_SPACE}]`
      else if (escaped === "S" && !inClass) out += `[^${WHITE_SPACE}]`
      else if (escaped === "S") throw new SyntaxError(`\\S inside a class cannot be translated: ${pattern}`)
      else if (/[a-zA-Z0-9^$\\.*+?()[\]{}|/-]/.test(escaped)) out += `\\${escaped}`
      else out += escaped
      continue
    }
    if (inClass) {
      inClass = character !== "]"
      if (groups.at(-1) === true && anyCase(character) !== character) {
        throw new SyntaxError(`a class of letters in a case-insensitive group cannot be translated: ${pattern}`)
      }
      out += character
      continue
    }
    inClass = character === "["
    if (character === "(") groups.push(groups.at(-1)!)
    if (character === ")") groups.pop()
    // A plus after a quantifier makes it possessive; the patterns in use match the same when it is greedy.
    if (character === "+" && quantified) continue
    const repeat = character === "{" ? /^\{\d+(,\d*)?\}/.exec(pattern.slice(i))?.[0] : undefined
    quantified = repeat !== undefined || (!quantified && "+*?".includes(character))
    out += repeat ?? (groups.at(-1) === true ? anyCase(character) : character)
    if (repeat !== undefined) i += repeat.length - 1
  }
  return out
}
