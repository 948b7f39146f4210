/**
 * The language of a text, on a sample spread over it.
 *
 * Not a filter: it names the language, whoever calls decides. Fenced code is left out where enough text remains.
 *
 * Source: `eld` (n-grams, medium table, 60 languages).
 */
import { missing } from "../dag/Missing.ts"

const { eld } = await import("eld/medium").catch(missing("eld"))

/** ISO 639-1 code, or `und` when nothing can be told (no letters); `reliable` is the detector's own judgement. */
export interface DetectedLanguage {
  readonly language: string
  readonly reliable: boolean
}

/** Texts up to this many code units are taken whole. */
const WHOLE = 1200
const WINDOWS = 4
const WINDOW = WHOLE / WINDOWS
/** Fewer code units than this outside code are not worth leaving the code out. */
const ENOUGH = 80

const isLowSurrogate = (unit: number): boolean => (unit & 0xfc00) === 0xdc00

/** The text outside fenced blocks; an unclosed fence runs to the end, as in Markdown. */
const withoutCode = (text: string): string => {
  let at = text.indexOf("```")
  if (at < 0) return text
  let kept = text.slice(0, at)
  while (at >= 0) {
    const close = text.indexOf("```", at + 3)
    if (close < 0) break
    at = text.indexOf("```", close + 3)
    kept += ` ${text.slice(close + 3, at < 0 ? text.length : at)}`
  }
  return kept.trim().length >= ENOUGH ? kept : text
}

/**
 * At most 1,200 code units of a text: all of it, or four windows from its start to its end, cut between characters.
 *
 * @example
 * languageSample("a".repeat(5000)).length // 1203
 */
export const languageSample = (text: string): string => {
  const prose = withoutCode(text)
  if (prose.length <= WHOLE) return prose
  const parts: Array<string> = []
  for (let i = 0; i < WINDOWS; i++) {
    let start = Math.floor(((prose.length - WINDOW) * i) / (WINDOWS - 1))
    let end = start + WINDOW
    if (isLowSurrogate(prose.charCodeAt(start))) start++
    if (isLowSurrogate(prose.charCodeAt(end))) end--
    parts.push(prose.slice(start, end))
  }
  return parts.join("\n")
}

/**
 * Detects the language of a text.
 *
 * @example
 * detectLanguage("Wie komme ich zum Bahnhof?").language // "de"
 */
export const detectLanguage = (text: string): DetectedLanguage => {
  const result = eld.detect(languageSample(text))
  return result.language === ""
    ? { language: "und", reliable: false }
    : { language: result.language, reliable: result.isReliable() }
}
