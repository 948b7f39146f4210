/**
 * Cuts bytes into the elements of a top-level JSON array, or into lines, across chunk borders.
 *
 * Not a parser: it follows strings and brackets only, so that whatever stands between two top-level commas is an
 * element, valid or not. Pure; no I/O. A span points into bytes that live until the next `push`.
 *
 * The rule: an element starts at the first byte that is no whitespace, and ends at the first `,` or `]` outside of
 * strings at depth 0; whitespace at its end is not part of it. Brackets are counted by kind-blind depth: a mismatched
 * pair makes its own element unparsable and leaves its neighbours whole. An element that is too large is followed to
 * its end and let go on the way: memory holds at most `maxRowBytes` of it.
 */

/**
 * One element: `bytes[start, end)`; `offset` is its place in the file in bytes. One with a `fault` was not kept (its
 * span is empty) or should not be parsed: `length` is how long it was.
 */
export interface JsonSpan {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  readonly index: number
  readonly offset: number
  readonly fault?: "too-large" | "too-deep"
  readonly length?: number
}

/** What an element may be. */
export interface SplitterLimits {
  /** Bytes of an element at most. */
  readonly maxRowBytes: number
  /** Brackets inside of each other at most. */
  readonly maxDepth: number
}

/** Why the bytes cannot be followed further. */
export interface SplitterFault {
  readonly reason: "empty" | "not-an-array" | "truncated" | "trailing" | "encoding"
  readonly offset: number
  readonly row: number
  readonly message: string
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const OPEN = 0x5b
const CLOSE = 0x5d

/** 1: whitespace, 2: quote, 3: opens, 4: closes an object, 5: closes an array, 6: comma, 0: everything else. */
const classOf = new Uint8Array(256)
for (const space of [0x20, 0x09, 0x0a, 0x0d]) classOf[space] = 1
classOf[QUOTE] = 2
classOf[OPEN] = 3
classOf[0x7b] = 3
classOf[0x7d] = 4
classOf[CLOSE] = 5
classOf[COMMA] = 6

/** Bytes of a string looked at one by one before `indexOf` takes over, which costs a call but is vectorised. */
const HOP = 24

/** Byte order marks of other encodings, and the UTF-8 one that is skipped. */
const markOf = (head: Uint8Array): "utf-8" | "utf-16" | undefined =>
  head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf
    ? "utf-8"
    : (head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff)
      ? "utf-16"
      : undefined

/** Index of the next quote at or after `from`, or the end. */
const nextQuote = (bytes: Buffer, from: number): number => {
  const near = Math.min(bytes.length, from + HOP)
  for (let at = from; at < near; at++) if (bytes[at] === QUOTE) return at
  if (near === bytes.length) return near
  const at = bytes.indexOf(QUOTE, near)
  return at < 0 ? bytes.length : at
}

const NOTHING = Buffer.alloc(0)

/** What both splitters share: places in the file, and the unfinished element carried over a chunk border. */
abstract class Carrying {
  /** Elements begun so far, refused ones counted. */
  rows = 0
  /** Bytes of earlier chunks. */
  consumed = 0
  protected readonly limits: SplitterLimits
  #carried: Array<Buffer> = []
  #carriedBytes = 0
  /** Bytes of an unfinished element that was let go. */
  #dropped = 0
  #mark: Array<number> | undefined = []

  constructor(limits: SplitterLimits) {
    this.limits = limits
  }

  /** Bytes of the unfinished element in earlier chunks. */
  protected get earlierBytes(): number {
    return this.#carriedBytes + this.#dropped
  }

  /** Keeps `bytes[start...]` as the beginning of an unfinished element, or lets it go when that gets too large. */
  protected carry(bytes: Buffer, start: number): void {
    if (start >= bytes.length) return
    const more = bytes.length - start
    if (this.earlierBytes + more <= this.limits.maxRowBytes) {
      this.#carried.push(Buffer.from(bytes.subarray(start)))
      this.#carriedBytes += more
    } else {
      this.#dropped = this.earlierBytes + more
      this.#carried = []
      this.#carriedBytes = 0
    }
  }

  /** The element that ends at `end`, with what earlier chunks carried. */
  protected take(bytes: Buffer, start: number, end: number): JsonSpan {
    const index = this.rows++
    const earlier = this.earlierBytes
    const length = earlier + end - start
    const offset = this.consumed + start - earlier
    const carried = this.#carried
    this.#carried = []
    this.#carriedBytes = this.#dropped = 0
    if (length > this.limits.maxRowBytes) {
      return { bytes: NOTHING, start: 0, end: 0, index, offset, fault: "too-large", length }
    }
    if (earlier === 0) return { bytes, start, end, index, offset }
    const whole = Buffer.concat([...carried, bytes.subarray(start, end)])
    return { bytes: whole, start: 0, end: whole.length, index, offset }
  }

  protected fault(reason: SplitterFault["reason"], offset: number, message: string): SplitterFault {
    return { reason, offset, row: this.rows, message }
  }

  /** Skips a UTF-8 mark that may itself be cut by a chunk border; gives the bytes to go on with, or a fault. */
  protected unmark(bytes: Buffer): Buffer | SplitterFault {
    if (this.#mark === undefined) return bytes
    const head = Buffer.concat([Buffer.from(this.#mark), bytes])
    const couldBeMark = head.length < 3 && [0xef, 0xbb].every((byte, at) => at >= head.length || head[at] === byte)
    if (couldBeMark) {
      this.#mark = [...head]
      return NOTHING
    }
    const held = this.#mark.length
    this.#mark = undefined
    const mark = markOf(head)
    if (mark === "utf-16") return this.fault("encoding", 0, "the file starts with a UTF-16 byte order mark")
    if (mark === "utf-8") {
      this.consumed = 3
      return head.subarray(3)
    }
    return held === 0 ? bytes : head
  }

  /** Bytes held back as a possible mark when the input ended. */
  protected get marked(): number {
    return this.#mark?.length ?? 0
  }
}

const isFault = (value: Buffer | SplitterFault): value is SplitterFault => !Buffer.isBuffer(value)

/** Cuts one top-level array. Feed chunks to `push` in order, then call `end` once. */
export class JsonSplitter extends Carrying {
  #phase: "before" | "element" | "after" = "before"
  #begun = false
  #commas = 0
  #depth = 0
  #deepest = 0
  #inString = false
  #escaped = false

  /** Goes on inside a string; gives the place after its closing quote, or the end of the chunk. */
  #string(bytes: Buffer, from: number): number {
    let at = from
    if (this.#escaped && at < bytes.length) {
      this.#escaped = false
      at++
    }
    let floor = at
    for (;;) {
      const quote = nextQuote(bytes, at)
      let slashes = 0
      while (quote - slashes > floor && bytes[quote - slashes - 1] === BACKSLASH) slashes++
      if (quote === bytes.length) {
        this.#escaped ||= (slashes & 1) === 1
        return quote
      }
      if ((slashes & 1) === 0) {
        this.#inString = false
        return quote + 1
      }
      at = floor = quote + 1
    }
  }

  /** Elements that end in this chunk; returns a fault when nothing after it can be trusted. */
  *push(chunk: Buffer): Generator<JsonSpan, SplitterFault | undefined> {
    const bytes = this.unmark(chunk)
    if (isFault(bytes)) return bytes
    const length = bytes.length
    let at = 0
    if (this.#phase === "before") {
      while (at < length && classOf[bytes[at]!] === 1) at++
      if (at < length) {
        if (bytes[at] !== OPEN) {
          return this.fault("not-an-array", this.consumed + at, "the file does not start with `[`")
        }
        at++
        this.#phase = "element"
      }
    }
    if (this.#phase === "element") {
      const next = yield* this.#elements(bytes, at)
      if (typeof next !== "number") return next
      at = next
    }
    if (this.#phase === "after") {
      while (at < length && classOf[bytes[at]!] === 1) at++
      if (at < length) return this.fault("trailing", this.consumed + at, "text follows the end of the array")
    }
    this.consumed += length
    return undefined
  }

  /** Says whether the array was whole. */
  *end(): Generator<JsonSpan, SplitterFault | undefined> {
    if (this.#phase === "after") return undefined
    if (this.#phase === "before") {
      return this.marked > 0
        ? this.fault("not-an-array", 0, "the file does not start with `[`")
        : this.fault("empty", this.consumed, "the file is empty")
    }
    return this.fault(
      "truncated",
      this.consumed - this.earlierBytes,
      this.#begun ? "the file ends inside an element that starts here" : "the file ends before the closing `]`"
    )
  }

  /** Yields elements from `from` on; gives the place after `]`, or the end of the chunk, or a fault. */
  *#elements(bytes: Buffer, from: number): Generator<JsonSpan, number | SplitterFault> {
    const length = bytes.length
    let at = from
    let start = from
    let depth = this.#depth
    let deepest = this.#deepest
    let begun = this.#begun
    if (this.#inString) at = this.#string(bytes, at)
    while (at < length) {
      const kind = classOf[bytes[at]!]!
      if (!begun) {
        if (kind === 1) {
          at++
          continue
        }
        start = at
        if (kind === 5 && this.#commas === 0) {
          this.#phase = "after"
          return at + 1
        }
        begun = true
        deepest = 0
      }
      if (kind === 0 || kind === 1) at++
      else if (kind === 2) {
        this.#inString = true
        at = this.#string(bytes, at + 1)
      } else if (kind === 3) {
        if (++depth > deepest) deepest = depth
        at++
      } else if (depth > 0) {
        if (kind !== 6) depth--
        at++
      } else if (kind === 4) at++
      else {
        const span = trimmed(this.take(bytes, start, at))
        yield deepest > this.limits.maxDepth ? tooDeep(span) : span
        begun = false
        this.#commas++
        at++
        if (kind === 5) {
          this.#begun = false
          this.#phase = "after"
          return at
        }
      }
    }
    this.#depth = depth
    this.#deepest = deepest
    this.#begun = begun
    if (begun) this.carry(bytes, start)
    return length
  }
}

/** The same element without whitespace at its end. */
const trimmed = (span: JsonSpan): JsonSpan => {
  let end = span.end
  while (end > span.start && classOf[span.bytes[end - 1]!] === 1) end--
  return end === span.end ? span : { ...span, end }
}

const tooDeep = (span: JsonSpan): JsonSpan =>
  span.fault === undefined ? { ...span, fault: "too-deep", length: span.end - span.start } : span

/** Whether `bytes[start, end)` has at least `count` of one byte. */
const hasMany = (bytes: Buffer, start: number, end: number, byte: number, count: number): boolean => {
  let at = start - 1
  for (let found = 0; found < count; found++) {
    at = bytes.indexOf(byte, at + 1)
    if (at < 0 || at >= end) return false
  }
  return true
}

/**
 * Whether brackets outside of strings lie more than `maxDepth` deep. Few lines have brackets enough to be looked at.
 */
const isDeep = ({ bytes, end, start }: JsonSpan, maxDepth: number): boolean => {
  const half = Math.max(1, maxDepth >> 1)
  if (!hasMany(bytes, start, end, OPEN, half) && !hasMany(bytes, start, end, 0x7b, half)) return false
  let depth = 0
  let inString = false
  for (let at = start; at < end; at++) {
    const kind = classOf[bytes[at]!]!
    if (inString) {
      if (bytes[at] === BACKSLASH) at++
      else if (kind === 2) inString = false
    } else if (kind === 2) inString = true
    else if (kind === 3 && ++depth > maxDepth) return true
    else if (kind === 4 || kind === 5) depth--
  }
  return false
}

/** Cuts JSON Lines. Blank lines are no rows. */
export class LineSplitter extends Carrying {
  /** Lines that end in this chunk. */
  *push(chunk: Buffer): Generator<JsonSpan, SplitterFault | undefined> {
    const bytes = this.unmark(chunk)
    if (isFault(bytes)) return bytes
    let start = 0
    for (;;) {
      const at = bytes.indexOf(0x0a, start)
      if (at < 0) break
      yield* this.#line(bytes, start, at)
      start = at + 1
    }
    this.carry(bytes, start)
    this.consumed += bytes.length
    return undefined
  }

  /** The last line, which needs no line feed. */
  *end(): Generator<JsonSpan, SplitterFault | undefined> {
    if (this.marked > 0) return this.fault("encoding", 0, "the file is a cut byte order mark")
    yield* this.#line(NOTHING, 0, 0)
    return undefined
  }

  *#line(bytes: Buffer, start: number, end: number): Generator<JsonSpan> {
    if (this.earlierBytes === 0 && end === start) return
    const span = trimmed(this.take(bytes, start, end))
    if (span.fault !== undefined) {
      yield span
      return
    }
    let first = span.start
    while (first < span.end && classOf[span.bytes[first]!] === 1) first++
    if (first === span.end) this.rows--
    else {
      const line = { ...span, start: first, offset: span.offset + first - span.start }
      yield isDeep(line, this.limits.maxDepth) ? tooDeep(line) : line
    }
  }
}
