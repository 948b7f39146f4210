/**
 * What FastChat's cleaner does to the text before and after the conversion to markdown: tags taken out beforehand, the
 * site's buttons and counters taken out of the result.
 *
 * Not a parser: plain scans. FastChat uses regular expressions, whose time is quadratic on hostile input; these find
 * the same matches in linear time, and the tests hold them against the regular expressions.
 */
import { isPythonSpace, skipSpace, strip } from "./PythonText.ts"

/**
 * Removes every match of `<name.*?>` (`.` without newline): opening tags, and those of longer names with that start.
 *
 * @example
 * ```ts
 * dropOpeningTags('<div class="a">b</div>', "div") // "b</div>"
 * ```
 */
export const dropOpeningTags = (text: string, name: string): string => {
  const opening = "<" + name
  let found = text.indexOf(opening)
  if (found < 0) return text
  let out = ""
  let kept = 0
  let greater = -1
  let newline = -1
  while (found >= 0) {
    const from = found + opening.length
    if (greater < from) greater = indexOrEnd(text, ">", from)
    if (newline < from) newline = indexOrEnd(text, "\n", from)
    if (greater < newline) {
      out += text.slice(kept, found)
      kept = greater + 1
      found = text.indexOf(opening, kept)
    } else {
      found = text.indexOf(opening, from)
    }
  }
  return out + text.slice(kept)
}

const indexOrEnd = (text: string, what: string, from: number): number => {
  const found = text.indexOf(what, from)
  return found < 0 ? text.length : found
}

const fence = "```"
const button = "Copy code"

/**
 * Rewrites fences that begin with a language and the button to a fence with that language:
 * <code>```\s*(.*?)(?:Copy code)+(.+?)\s*?```</code>, `.` with newline, to fence + first group + newline + second +
 * newline + fence.
 */
export const moveLanguages = (text: string): string => {
  let out = ""
  let kept = 0
  for (;;) {
    const open = text.indexOf(fence, kept)
    if (open < 0) break
    const language = skipSpace(text, open + fence.length)
    const first = text.indexOf(button, language)
    if (first < 0) break
    let code = first + button.length
    while (text.startsWith(button, code)) code += button.length
    let close = text.indexOf(fence, code + 1)
    if (close < 0) {
      // The code may not be empty: with the fence right here, a second button is given up to be the code.
      if (code - first === button.length || !text.startsWith(fence, code)) break
      close = code
      code -= button.length
    }
    let end = close
    while (end > code + 1 && isPythonSpace(text.charCodeAt(end - 1))) end -= 1
    out += `${text.slice(kept, open)}${fence}${text.slice(language, first)}\n${text.slice(code, end)}\n${fence}`
    kept = close + fence.length
  }
  return kept === 0 ? text : out + text.slice(kept)
}

/**
 * Removes fences that hold nothing but a language and the button: <code>```(.*?)Copy code\s*```</code>, `.` without
 * newline.
 */
export const dropEmptyFences = (text: string): string => {
  let out = ""
  let kept = 0
  let from = 0
  let lineEnd = -1
  for (;;) {
    const open = text.indexOf(fence, from)
    if (open < 0) break
    if (lineEnd < open) lineEnd = indexOrEnd(text, "\n", open)
    let at = text.indexOf(button, open + fence.length)
    let close = -1
    while (at >= 0 && at < lineEnd) {
      const after = skipSpace(text, at + button.length)
      if (text.startsWith(fence, after)) {
        close = after
        break
      }
      at = text.indexOf(button, at + button.length)
    }
    if (close >= 0) {
      out += text.slice(kept, open)
      kept = close + fence.length
      from = kept
    } else if (at < 0) {
      break
    } else {
      from = lineEnd
    }
  }
  return kept === 0 ? text : out + text.slice(kept)
}

const regenerated = /^\p{Nd}+ \/ \p{Nd}+/u
const copied = /Copy\p{Nd}+ chars \/ \p{Nd}+ words/gu

/**
 * Cleans converted text, in FastChat's order: languages of fences, a leading `2 / 3`, every `Copy120 chars / 20 words`,
 * empty fences, three newlines to one, blanks at the ends.
 *
 * @example
 * ```ts
 * dropSiteNoise("1 / 2Hello") // "Hello"
 * ```
 */
export const dropSiteNoise = (text: string): string => {
  let out = moveLanguages(text).replace(regenerated, "")
  if (out.includes("Copy")) out = dropEmptyFences(out.replace(copied, ""))
  return strip(out.replaceAll("\n\n\n", "\n"))
}
