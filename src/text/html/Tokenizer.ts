/**
 * Splits HTML into text, tags and markup to ignore exactly as `html.parser` of Python 3.11.7 does for Beautiful Soup
 * (`convert_charrefs=False`, one `feed`, one `close`).
 *
 * Not an HTML 5 tokenizer: the quirks for bad markup are the point. A broken construct first stops the parser as if
 * more input were to come; at the end of the input it goes on from there in a second, laxer mode (`closing`). A broken
 * character reference in that mode turns everything after it into text.
 *
 * Time is linear in the input. Where the original scans the rest of the input once for every broken construct, this
 * remembers what such a scan found. Offsets are UTF-16 units of the input.
 */
import { textCharacterReference, textEntityReference } from "./Entities.ts"
import { pythonSpaceClass } from "./PythonText.ts"
import { StartTagScanner } from "./StartTag.ts"

/** Receives the tokens in order. Names are lower case. */
export interface TokenSink {
  /** Text between tags, in pieces: neighbouring pieces belong to one text node. */
  readonly text: (data: string) => void
  /** Whether `startTag` needs the attributes of this element; otherwise it gets none. */
  readonly wantsAttributes: (name: string) => boolean
  /** `attributes` alternates names and values as written, without their quotes; `""` where there is no value. */
  readonly startTag: (name: string, attributes: ReadonlyArray<string>, selfClosing: boolean) => void
  readonly endTag: (name: string) => void
  /** A comment or doctype: a node without text. */
  readonly comment: (data: string) => void
  /** A processing instruction, CDATA section or Office conditional: a text node of its own. */
  readonly declaration: (data: string) => void
  /** Markup at `offset` for which the original raises an error; it is read as text instead. */
  readonly rejected: (offset: number, what: string) => void
}

const incomplete = -1

const lessThan = 0x3c

const isLetter = (code: number): boolean => (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a)
const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39
const isHexDigit = (code: number): boolean =>
  isDigit(code) || (code >= 0x61 && code <= 0x66) || (code >= 0x41 && code <= 0x46)

const commentEnd = new RegExp(`--[${pythonSpaceClass}]*>`, "g")
const sectionEnd = new RegExp(`\\][${pythonSpaceClass}]*\\][${pythonSpaceClass}]*>`, "g")
const officeSectionEnd = new RegExp(`\\][${pythonSpaceClass}]*>`, "g")
const sectionName = new RegExp(`([a-zA-Z][-_.a-zA-Z0-9]*)[${pythonSpaceClass}]*`, "y")
const endTag = new RegExp(`</[${pythonSpaceClass}]*([a-zA-Z][-.a-zA-Z0-9:_]*)[${pythonSpaceClass}]*>`, "y")
const rawTextEnd: Readonly<Record<string, RegExp>> = {
  script: new RegExp(`</[${pythonSpaceClass}]*script[${pythonSpaceClass}]*>`, "giu"),
  style: new RegExp(`</[${pythonSpaceClass}]*style[${pythonSpaceClass}]*>`, "giu")
}

class Tokenizer {
  private readonly html: string
  private readonly sink: TokenSink
  private readonly size: number
  private readonly tags: StartTagScanner
  /** Offset of the last `>` and `;`: past it none needs looking for. */
  private readonly lastGreater: number
  private readonly lastSemicolon: number
  /** The `script` or `style` element whose content is being read. */
  private rawElement: string | undefined
  private closing = false
  private nextLess = -1
  private nextAmpersand = -1
  /** For each pattern, the least offset from which it is known not to occur. */
  private absentFrom: Map<RegExp, number> | undefined

  constructor(html: string, sink: TokenSink) {
    this.html = html
    this.sink = sink
    this.size = html.length
    this.tags = new StartTagScanner(html)
    this.lastGreater = html.lastIndexOf(">")
    this.lastSemicolon = html.lastIndexOf(";")
  }

  run(): void {
    let at = 0
    for (;;) {
      const stopped = this.readFrom(at)
      if (stopped === this.size) return
      at = stopped
      if (this.closing) break
      this.closing = true
      this.tags.rememberFailures()
    }
    if (this.rawElement === undefined) this.sink.text(this.html.slice(at))
  }

  /** Reads tokens until the input ends or the parser stops; gives the offset where it stands. */
  private readFrom(start: number): number {
    const { html, sink, size } = this
    let at = start
    while (at < size) {
      const next = this.rawElement === undefined ? this.nextMarkup(at) : this.find(rawTextEnd[this.rawElement]!, at)
      if (next < 0) return at
      if (at < next) sink.text(html.slice(at, next))
      at = next
      if (at === size) return at
      if (html.charCodeAt(at) === lessThan) {
        const end = this.readMarkup(at)
        if (end === undefined) return at
        if (end !== incomplete) {
          at = end
          continue
        }
        if (!this.closing) return at
        const past = this.endOfBroken(at)
        sink.text(html.slice(at, past))
        at = past
      } else if (html.charCodeAt(at + 1) === 0x23) {
        const end = this.readNumericReference(at)
        if (end === incomplete) {
          if (this.lastSemicolon < at) return at
          sink.text("&#")
          return at + 2
        }
        at = end
      } else {
        const end = this.readNamedReference(at)
        if (end !== incomplete) {
          at = end
        } else if (isLetter(html.charCodeAt(at + 1))) {
          return this.closing && at + 2 === size ? at + 1 : at
        } else if (at + 1 < size) {
          sink.text("&")
          at += 1
        } else {
          return at
        }
      }
    }
    return at
  }

  /** Offset of the next `<` or `&`, or the size. */
  private nextMarkup(at: number): number {
    if (this.nextLess < at) this.nextLess = this.indexOrSize("<", at)
    if (this.nextAmpersand < at) this.nextAmpersand = this.indexOrSize("&", at)
    return Math.min(this.nextLess, this.nextAmpersand)
  }

  private indexOrSize(what: string, at: number): number {
    const found = this.html.indexOf(what, at)
    return found < 0 ? this.size : found
  }

  /** Offset of `pattern` at or after `at`, or -1. */
  private find(pattern: RegExp, at: number): number {
    if (this.absentFrom !== undefined && at >= (this.absentFrom.get(pattern) ?? this.size + 1)) return -1
    pattern.lastIndex = at
    const found = pattern.exec(this.html)
    if (found !== null) return found.index
    this.absentFrom ??= new Map()
    this.absentFrom.set(pattern, at)
    return -1
  }

  private nextGreater(at: number): number {
    return at > this.lastGreater ? -1 : this.html.indexOf(">", at)
  }

  /** Where text that begins with broken markup ends: past the next `>`, before the next `<`, or after one character. */
  private endOfBroken(at: number): number {
    const greater = this.nextGreater(at + 1)
    if (greater >= 0) return greater + 1
    const less = this.html.indexOf("<", at + 1)
    return less < 0 ? at + 1 : less
  }

  /** Reads what begins with `<` at `at`: its end, `incomplete`, or undefined for a `<` that ends the input. */
  private readMarkup(at: number): number | undefined {
    const { html } = this
    const code = html.charCodeAt(at + 1)
    if (isLetter(code)) return this.readStartTag(at)
    if (code === 0x2f) return this.readEndTag(at)
    if (code === 0x21) return html.startsWith("--", at + 2) ? this.readComment(at) : this.readDeclaration(at)
    if (code === 0x3f) return this.readInstruction(at)
    if (at + 1 === this.size) return undefined
    this.sink.text("<")
    return at + 1
  }

  private readStartTag(at: number): number {
    const { html, sink, tags } = this
    if (!tags.scan(at)) return incomplete
    if (tags.kind === "text") {
      sink.text(html.slice(at, tags.end))
      return tags.end
    }
    const name = html.slice(at + 1, tags.nameEnd).toLowerCase()
    sink.startTag(name, sink.wantsAttributes(name) ? tags.attributes() : [], tags.kind === "empty")
    if (tags.kind === "start" && (name === "script" || name === "style")) this.rawElement = name
    return tags.end
  }

  private readEndTag(at: number): number {
    const { html, sink } = this
    const greater = this.nextGreater(at + 1)
    if (greater < 0) return incomplete
    endTag.lastIndex = at
    const found = endTag.exec(html)
    if (found === null) {
      if (this.rawElement !== undefined) {
        sink.text(html.slice(at, greater + 1))
        return greater + 1
      }
      if (isLetter(html.charCodeAt(at + 2))) {
        const nameEnd = this.tags.endOfName(at + 2)
        sink.endTag(html.slice(at + 2, nameEnd).toLowerCase())
        return this.html.indexOf(">", nameEnd) + 1
      }
      if (greater === at + 2) return at + 3
      sink.comment(html.slice(at + 2, greater))
      return greater + 1
    }
    const name = found[1]!.toLowerCase()
    if (this.rawElement !== undefined && name !== this.rawElement) {
      sink.text(html.slice(at, greater + 1))
      return greater + 1
    }
    sink.endTag(name)
    this.rawElement = undefined
    return greater + 1
  }

  private readComment(at: number): number {
    const end = this.find(commentEnd, at + 4)
    if (end < 0) return incomplete
    this.sink.comment(this.html.slice(at + 4, end))
    return commentEnd.lastIndex
  }

  private readInstruction(at: number): number {
    const greater = this.nextGreater(at + 2)
    if (greater < 0) return incomplete
    this.sink.declaration(this.html.slice(at + 2, greater))
    return greater + 1
  }

  private readDeclaration(at: number): number {
    const { html } = this
    if (html.charCodeAt(at + 2) === 0x5b) return this.readSection(at)
    const isDoctype = html.slice(at, at + 9).toLowerCase() === "<!doctype"
    const greater = this.nextGreater(isDoctype ? at + 9 : at + 2)
    if (greater < 0) return incomplete
    this.sink.comment(isDoctype ? html.slice(at + 2 + "DOCTYPE ".length, greater) : html.slice(at + 2, greater))
    return greater + 1
  }

  /** `<![CDATA[...]]>` and Office's `<![if ...]>`; any other name is an error in the original. */
  private readSection(at: number): number {
    const { html, sink } = this
    if (at + 3 === this.size) return incomplete
    sectionName.lastIndex = at + 3
    const found = sectionName.exec(html)
    if (found !== null && sectionName.lastIndex === this.size) return incomplete
    const name = found?.[1]?.toLowerCase()
    const end =
      name === "temp" || name === "cdata" || name === "ignore" || name === "include" || name === "rcdata"
        ? sectionEnd
        : name === "if" || name === "else" || name === "endif"
          ? officeSectionEnd
          : undefined
    if (end === undefined) {
      sink.rejected(at, html.slice(at, at + 20))
      sink.text("<")
      return at + 1
    }
    const stop = this.find(end, at + 3)
    if (stop < 0) return incomplete
    const content = html.slice(at + 3, stop)
    sink.declaration(content.slice(0, 6).toUpperCase() === "CDATA[" ? content.slice("CDATA[".length) : content)
    return end.lastIndex
  }

  /** `&#8364;`, `&#x20ac`: decimal digits must not be followed by a hexadecimal one, and something must follow. */
  private readNumericReference(at: number): number {
    const { html, size } = this
    const first = html.charCodeAt(at + 2)
    const hexadecimal = first === 0x78 || first === 0x58
    const digits = hexadecimal ? at + 3 : at + 2
    let end = digits
    while (end < size && (hexadecimal ? isHexDigit : isDigit)(html.charCodeAt(end))) end += 1
    if (end === digits || end === size || isHexDigit(html.charCodeAt(end))) return incomplete
    this.sink.text(textCharacterReference(html.slice(at + 2, end)))
    return html.charCodeAt(end) === 0x3b ? end + 1 : end
  }

  /** `&name;`: a name that runs to the end of the input stops at its last `-` or `.`. */
  private readNamedReference(at: number): number {
    const { html, size } = this
    if (!isLetter(html.charCodeAt(at + 1))) return incomplete
    let end = at + 2
    let mark = incomplete
    for (; end < size; end += 1) {
      const code = html.charCodeAt(end)
      if (code === 0x2d || code === 0x2e) mark = end
      else if (!isLetter(code) && !isDigit(code)) break
    }
    if (end === size) {
      if (mark === incomplete) return incomplete
      end = mark
    }
    this.sink.text(textEntityReference(html.slice(at + 1, end)))
    return html.charCodeAt(end) === 0x3b ? end + 1 : end
  }
}

/**
 * Feeds the tokens of `html` to `sink`. Never throws; linear time.
 *
 * Algorithm: `html/parser.py` and `_markupbase.py` of Python 3.11.7.
 *
 * @example
 * ```ts
 * tokenize("a<br>b", sink) // text "a", startTag "br", text "b"
 * ```
 */
export const tokenize = (html: string, sink: TokenSink): void => new Tokenizer(html, sink).run()
