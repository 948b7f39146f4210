/**
 * Ids to text as they come: whole characters only, and nothing from a stop text on.
 *
 * Not a generator, and no template. What is given out, joined, is `decode` of all ids, cut before the first stop text.
 * Where tokens end makes no difference: a stop text may begin in one token and end in another.
 */
import type { Tokenizer } from "./Tokenizer.ts"

/** Text of one answer. */
export interface TextStream {
  /** Text that is certain with this token: none while a character or a stop text may go on. */
  readonly push: (id: number) => string
  /** What was held back, when no token follows; an unfinished character is U+FFFD, as in `decode`. */
  readonly end: () => string
  /** Whether a stop text came; no text follows. */
  readonly stopped: () => boolean
}

/** What of a text is certain, given what it may go on with. */
interface Cut {
  readonly text: string
  readonly held: string
  readonly stopped: boolean
}

/**
 * Cuts before the stop text that ends first, of those that end together the longest; else holds back what may become
 * one.
 */
const cut = (text: string, stops: ReadonlyArray<string>): Cut => {
  let from = -1
  let end = Infinity
  for (const stop of stops) {
    const at = text.indexOf(stop)
    if (at >= 0 && (at + stop.length < end || (at + stop.length === end && at < from))) {
      from = at
      end = at + stop.length
    }
  }
  if (from >= 0) return { text: text.slice(0, from), held: "", stopped: true }
  let hold = 0
  for (const stop of stops)
    for (let length = Math.min(stop.length - 1, text.length); length > hold; length--)
      if (stop.startsWith(text.slice(text.length - length))) hold = length
  return { text: text.slice(0, text.length - hold), held: text.slice(text.length - hold), stopped: false }
}

/**
 * Makes text of one answer's ids. Control tokens give none, as with `skipSpecial`; empty stop texts are ignored.
 *
 * @example
 * const text = textStream(tokenizer, ["\nUSER:"])
 * text.push(id) + text.end()
 */
export const textStream = (tokenizer: Tokenizer, stopText: ReadonlyArray<string> = []): TextStream => {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  const stops = stopText.filter((stop) => stop !== "")
  let held = ""
  let stopped = false
  const add = (more: string): string => {
    if (stopped) return ""
    if (stops.length === 0) return more
    const next = cut(held + more, stops)
    held = next.held
    stopped = next.stopped
    return next.text
  }
  return {
    push: (id) => add(decoder.decode(tokenizer.bytesOf(id, { skipSpecial: true }), { stream: true })),
    end: () => {
      const last = add(decoder.decode()) + held
      held = ""
      return last
    },
    stopped: () => stopped
  }
}
