/**
 * Finds where a start tag ends and what attributes it has, as the regular expressions of Python 3.11.7's `html.parser`
 * do (`locatestarttagend_tolerant`, `attrfind_tolerant`), their backtracking included.
 *
 * Not a validator: `<a "b=>` is a fine tag here. Hand-written instead of a regular expression so that a file of broken
 * tags costs linear time: once `rememberFailures` is called, the positions an unfinished tag went through are kept, and
 * a later tag that meets one of them is unfinished too.
 *
 * Offsets are UTF-16 units of the input.
 */
import { isPythonSpace, skipSpace } from "./PythonText.ts"

const greaterThan = 0x3e
const slash = 0x2f
const equals = 0x3d
const doubleQuote = 0x22
const singleQuote = 0x27

/** `[\t\n\r\f />\x00]` */
const endsTagName = (code: number): boolean =>
  code === greaterThan ||
  code === 0x20 ||
  code === slash ||
  code === 0x0a ||
  code === 0x09 ||
  code === 0x0d ||
  code === 0x0c ||
  code === 0

/** Scans one start tag at a time; the fields describe the last one that `scan` accepted. */
export class StartTagScanner {
  /** `start` is `<a>`, `empty` is `<a/>`, `text` is something like a tag that the original passes on as text. */
  kind: "start" | "empty" | "text" = "start"
  /** Past the tag. */
  end = 0
  /** Past the tag's name. */
  nameEnd = 0

  private readonly html: string
  private readonly size: number
  /** Spans of the attributes, four offsets each: name, name's end, value, value's end (-1 without). */
  private spans: Array<number> = []
  private failed: Set<number> | undefined
  private nameFrom = 0
  private nameStop = 0
  private noDouble = Number.POSITIVE_INFINITY
  private noSingle = Number.POSITIVE_INFINITY

  constructor(html: string) {
    this.html = html
    this.size = html.length
  }

  /** From now on remember unfinished tags: scanning begins again inside them. */
  rememberFailures(): void {
    this.failed = new Set()
  }

  /** Past the tag name that begins at `at`. */
  endOfName(at: number): number {
    if (at >= this.nameFrom && at < this.nameStop) return this.nameStop
    let stop = at
    while (stop < this.size && !endsTagName(this.html.charCodeAt(stop))) stop += 1
    this.nameFrom = at
    this.nameStop = stop
    return stop
  }

  /** Reads the tag at `at` (`<` and a letter). False when it is unfinished. */
  scan(at: number): boolean {
    const { failed, html, size } = this
    this.nameEnd = this.endOfName(at + 1)
    this.spans.length = 0
    // The name and the space after it are matched twice by the original: once with every slash, once without `/>`.
    let position = this.nameEnd
    while (position < size && (html.charCodeAt(position) === slash || isPythonSpace(html.charCodeAt(position)))) {
      position += 1
    }
    const visited: Array<number> | undefined = failed === undefined ? undefined : []
    while (position < size) {
      if (failed?.has(position)) return this.fail(visited)
      visited?.push(position)
      const next = this.attribute(position)
      if (next < 0) break
      position = next
    }
    const code = html.charCodeAt(position)
    if (position >= size || code === equals) return this.fail(visited)
    if (code === greaterThan) {
      this.end = position + 1
      // With attributes, a slash here belongs to an unquoted value: the space skipped after one never ends in `/>`.
      this.kind = this.spans.length === 0 && html.charCodeAt(position - 1) === slash ? "empty" : "start"
      return true
    }
    if (code === slash) {
      if (html.charCodeAt(position + 1) !== greaterThan) return this.fail(visited)
      this.end = position + 2
      this.kind = "empty"
      return true
    }
    if ((code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a)) return this.fail(visited)
    this.end = position
    this.kind = "text"
    return true
  }

  /** Names and values, alternating; values as written, without their quotes. */
  attributes(): Array<string> {
    const out: Array<string> = []
    for (let i = 0; i < this.spans.length; i += 4) {
      out.push(this.html.slice(this.spans[i], this.spans[i + 1]).toLowerCase())
      const from = this.spans[i + 2]!
      out.push(from < 0 ? "" : this.html.slice(from, this.spans[i + 3]))
    }
    return out
  }

  private fail(visited: ReadonlyArray<number> | undefined): false {
    if (visited !== undefined) for (const position of visited) this.failed?.add(position)
    return false
  }

  /** Reads one attribute and the space after it; -1 where none begins. */
  private attribute(at: number): number {
    const { html, size } = this
    const before = html.charCodeAt(at - 1)
    if (before !== singleQuote && before !== doubleQuote && before !== slash && !isPythonSpace(before)) return -1
    const first = html.charCodeAt(at)
    if (first === slash || first === greaterThan || isPythonSpace(first)) return -1
    let nameEnd = at + 1
    while (nameEnd < size) {
      const code = html.charCodeAt(nameEnd)
      if (code === slash || code === equals || code === greaterThan || isPythonSpace(code)) break
      nameEnd += 1
    }
    const sign = skipSpace(html, nameEnd)
    if (html.charCodeAt(sign) !== equals) return this.keep(at, nameEnd, -1, -1, nameEnd)
    let pastSign = sign + 1
    while (html.charCodeAt(pastSign) === equals) pastSign += 1
    const value = skipSpace(html, pastSign)
    const quote = html.charCodeAt(value)
    if (quote !== doubleQuote && quote !== singleQuote) return this.bare(at, nameEnd, value)
    const close = this.closingQuote(quote, value + 1)
    if (close >= 0) return this.keep(at, nameEnd, value + 1, close, close + 1)
    // The quote never closes: give back one space, or one of several signs, and read an unquoted value there.
    if (value > pastSign) return this.keep(at, nameEnd, value - 1, value - 1, value - 1)
    if (pastSign - sign > 1) return this.bare(at, nameEnd, pastSign - 1)
    return this.keep(at, nameEnd, -1, -1, nameEnd)
  }

  private bare(at: number, nameEnd: number, value: number): number {
    let end = value
    while (end < this.size) {
      const code = this.html.charCodeAt(end)
      if (code === greaterThan || isPythonSpace(code)) break
      end += 1
    }
    return this.keep(at, nameEnd, value, end, end)
  }

  private keep(at: number, nameEnd: number, value: number, valueEnd: number, end: number): number {
    this.spans.push(at, nameEnd, value, valueEnd)
    return skipTagSpace(this.html, end)
  }

  private closingQuote(quote: number, at: number): number {
    if (quote === doubleQuote) {
      if (at >= this.noDouble) return -1
      const found = this.html.indexOf('"', at)
      if (found < 0) this.noDouble = at
      return found
    }
    if (at >= this.noSingle) return -1
    const found = this.html.indexOf("'", at)
    if (found < 0) this.noSingle = at
    return found
  }
}

/** Skips `(?:\s|/(?!>))*`: whitespace, and slashes that do not close a tag. */
const skipTagSpace = (html: string, from: number): number => {
  let at = from
  for (;;) {
    const code = html.charCodeAt(at)
    if (isPythonSpace(code) || (code === slash && html.charCodeAt(at + 1) !== greaterThan)) at += 1
    else return at
  }
}
