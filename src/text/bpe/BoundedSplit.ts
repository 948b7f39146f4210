/**
 * Cuts a long text by a pattern, and counts before each attempt how many characters it may pass: a text on which the
 * pattern would take a time that grows with the square of a run is refused, by the same count on every machine.
 *
 * Not the pattern's own check (`SafePattern.ts`), which keeps one attempt's time in proportion to the runs that it
 * passes. What is left is the same run passed again from each of its characters: `a+b` on many `a`,
 * `\\d{1,3}(?=(?:\\d{3})*\\b)` on many digits. Most patterns take what they pass, and stay at a few characters per
 * character.
 */
import { isMember, type Scan, scansOf } from "./SafePattern.ts"

/** Texts of up to so many code units are not counted: at worst their square, 16 million. */
export const COUNTED_FROM = 4096
/** Characters that all attempts together may pass, per code unit of the text; and in any text. */
export const MOST_PER_UNIT = 500
const MOST_IN_ANY = 100_000_000

/** A text that would take too long to cut. */
export class TextTooCostly extends Error {
  override readonly name = "TextTooCostly"
  readonly hint = "Drop or cut the row, or choose a tokenizer whose pattern takes such runs whole."
}

/** Counts what attempts may pass, for positions of a text that only rise. */
const counter = (text: string, scans: ReadonlyArray<Scan>): ((at: number) => number) => {
  /** End of the last run that a step found, of each step of each scan. */
  const ends = scans.map((scan) => new Int32Array(scan.length))
  const runEnd = (members: Uint8Array, from: number, known: number): number => {
    if (from < known) return known
    let at = from
    while (at < text.length) {
      const code = text.codePointAt(at)!
      if (!isMember(members, code)) return at
      at += code > 0xffff ? 2 : 1
    }
    return at
  }
  return (at) => {
    let passed = 1
    for (const [i, scan] of scans.entries()) {
      let end = at
      for (const [j, step] of scan.entries())
        end = typeof step === "number" ? end + step : (ends[i]![j] = runEnd(step.members, end, ends[i]![j]!))
      passed += end - at
    }
    return passed
  }
}

/**
 * Gives what cuts a text as `pattern` with the flags `gu` does: calls `emit` with each match that is not empty, in
 * order. Throws `TextTooCostly`.
 *
 * @example
 * boundedMatches("\\\\d+x")("1".repeat(1e6), () => undefined) // throws: the run is passed from each of its digits
 */
export const boundedMatches = (
  pattern: string
): ((text: string, emit: (start: number, end: number) => void, count?: (passed: number) => void) => void) => {
  const here = new RegExp(pattern, "uy")
  const scans = scansOf(pattern)
  return (text, emit, count = () => undefined) => {
    const passedAt = counter(text, scans)
    const most = Math.max(MOST_IN_ANY, MOST_PER_UNIT * text.length)
    let passed = 0
    for (let at = 0; at < text.length; ) {
      passed += passedAt(at)
      count(passed)
      if (passed > most)
        throw new TextTooCostly(
          `a text of ${text.length.toLocaleString("en")} characters has a run at ${at.toLocaleString("en")} that the tokenizer's pattern would pass again from each of its characters`
        )
      here.lastIndex = at
      const length = here.exec(text)?.[0].length ?? 0
      if (length > 0) emit(at, at + length)
      at += length > 0 ? length : text.codePointAt(at)! > 0xffff ? 2 : 1
    }
  }
}
