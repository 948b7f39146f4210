/**
 * Says whether a backtracking engine can be trusted with a pattern that came from a file: whether it may take a time
 * that doubles, or grows by another power, with each character of the text.
 *
 * Not an engine, and no list of bad patterns: what is known to be harmless is taken, all else is refused by name.
 * Taken: alternatives of characters and classes, each with any quantifier; groups once or optional; groups of a fixed
 * length repeated (`(?:\d{3})*`); assertions. In no alternative may two long runs of characters that both can take
 * stand before something that must follow: `a*a*b` tries every way to share the run, `\s*[\r\n]+` finds the last break
 * at once.
 *
 * What is left is a time that may grow with the square of one run of characters (`a+b` on many `a`), as in any engine
 * that looks for every match: `scansOf` says which runs, and `BoundedSplit.ts` counts them. Pure; for patterns in
 * JavaScript's `u` mode.
 */

/** One step of a way through the pattern: a class of characters, so many times; none where it only asserts. */
interface Step {
  readonly source: string
  readonly min: number
  readonly max: number
  /** Of a group that may be left out: where it fails, what stands before it is not tried again. */
  readonly soft?: boolean
  /** What a look ahead tries here; it takes no character. */
  readonly ahead?: ReadonlyArray<Way>
}
type Way = ReadonlyArray<Step>

/** Ways through a pattern, alternatives multiplied out, at most. */
const MOST_WAYS = 2000
/** Characters of a pattern whose classes are spelled out. */
const MOST_LENGTH = 2_000_000
/** A run that may be longer than this is long. */
const SHORT = 8
/** Optional single characters that overlap, before something that must follow: each doubles the ways. */
const MOST_OPTIONAL = 4

class Refused extends Error {}

const refuse = (why: string): never => {
  throw new Refused(why)
}

interface Quantifier {
  readonly min: number
  readonly max: number
}

class Parser {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  all(): ReadonlyArray<Way> {
    const ways = this.#alternatives(0)
    if (this.#at < this.#text.length) refuse("a bracket is closed that was not opened")
    return ways
  }

  #alternatives(depth: number): ReadonlyArray<Way> {
    if (depth > 20) refuse("groups are nested too deep")
    const out: Array<Way> = []
    do {
      if (this.#text[this.#at] === "|") this.#at++
      out.push(...this.#sequence(depth))
      if (out.length > MOST_WAYS) refuse("it has too many alternatives")
    } while (this.#text[this.#at] === "|")
    return out
  }

  #sequence(depth: number): ReadonlyArray<Way> {
    let ways: ReadonlyArray<Way> = [[]]
    while (this.#at < this.#text.length && !"|)".includes(this.#text[this.#at]!)) {
      const next = this.#item(depth)
      if (ways.length * next.length > MOST_WAYS) refuse("it has too many alternatives")
      ways = ways.flatMap((way) => next.map((more) => [...way, ...more]))
    }
    return ways
  }

  /** The ways through one atom with its quantifier. */
  #item(depth: number): ReadonlyArray<Way> {
    if (this.#text[this.#at] === "(") return this.#group(depth)
    const source = this.#atom()
    const { max, min } = this.#quantifier()
    return [source === "" ? [] : [{ source, min, max }]]
  }

  #group(depth: number): ReadonlyArray<Way> {
    const opened = this.#match(/\((\?(:|=|!|<=|<!|<[A-Za-z_$][\w$]*>))?/y)!
    if (opened[1] === undefined && this.#text[this.#at] === "?") refuse("a group of a kind that is not known")
    const asserts = /^(=|!|<=|<!)$/.test(opened[2] ?? "")
    const ways = this.#alternatives(depth + 1)
    if (this.#text[this.#at++] !== ")") refuse("a group is not closed")
    const { max, min } = this.#quantifier()
    if (asserts) {
      for (const way of ways) check(way)
      const long = ways.filter(hasLong)
      if (long.length === 0) return [[]]
      if (opened[2]!.startsWith("<")) refuse("it looks back over a run of any length")
      return [[{ source: "", min: 0, max: 0, ahead: long }]]
    }
    if (min === 1 && max === 1) return ways
    if (min === 0 && max === 1) {
      for (const way of ways) check(way)
      return [...ways.map((way) => way.map((step) => ({ ...step, soft: true }))), []]
    }
    const [only] = ways
    // Of a fixed length, it can be repeated in one way alone: as one class of all its characters.
    if (
      ways.length !== 1 ||
      only!.length === 0 ||
      only!.some((step) => step.min !== step.max || step.ahead !== undefined)
    )
      refuse("a group that may match in several ways is repeated")
    const length = only!.reduce((sum, step) => sum + step.min, 0)
    return [[{ source: only!.map(({ source }) => source).join("|"), min: min * length, max: max * length }]]
  }

  /** The source of one character or class; nothing for an assertion. */
  #atom(): string {
    if (this.#match(/\^|\$|\\b|\\B/y) !== null) return ""
    if (this.#match(/\\(?:[1-9]|k)/y) !== null) refuse("it refers back to what a group matched")
    if (this.#match(/[*+?{}\])]/y) !== null) refuse("a quantifier stands where there is nothing to repeat")
    const escape = /\\(?:[pP]\{[^}]*\}|u\{[^}]*\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|c[A-Za-z]|[\s\S])/uy
    return (this.#match(/\[(?:\\[\s\S]|[^\]\\])*\]/uy) ?? this.#match(escape) ?? this.#match(/[\s\S]/uy))![0]
  }

  /** What a sticky pattern finds here; it is passed. */
  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)
    if (found !== null) this.#at += found[0].length
    return found
  }

  #quantifier(): Quantifier {
    const found = this.#match(/(\*|\+|\?|\{(\d+)(,(\d*))?\})\??/y)
    if (found === null) return { min: 1, max: 1 }
    const [, kind, from, comma, to] = found
    if (kind === "*") return { min: 0, max: Number.POSITIVE_INFINITY }
    if (kind === "+") return { min: 1, max: Number.POSITIVE_INFINITY }
    if (kind === "?") return { min: 0, max: 1 }
    const min = Number(from)
    const max = comma === undefined ? min : to === "" || to === undefined ? Number.POSITIVE_INFINITY : Number(to)
    if (min > 10_000) refuse("it asks for more than 10,000 of a character")
    return { min, max }
  }
}

const members = new Map<string, Uint8Array>()

/** Which characters of the first two planes a class has; of the second every eighth is looked at. */
const membersOf = (source: string): Uint8Array => {
  const known = members.get(source)
  if (known !== undefined) return known
  const regex = new RegExp(`^(?:${source})$`, "u")
  const out = new Uint8Array(0x10000 + 0x2000)
  for (let i = 0; i < out.length; i++) {
    const code = i < 0x10000 ? i : 0x10000 + (i - 0x10000) * 8
    if (regex.test(String.fromCodePoint(code))) out[i] = 1
  }
  if (members.size > 100) members.clear()
  members.set(source, out)
  return out
}

const overlap = (a: Step, b: Step): boolean => {
  if (a.source === b.source) return true
  const [first, second] = [membersOf(a.source), membersOf(b.source)]
  return first.some((one, i) => one === 1 && second[i] === 1)
}

const isLong = ({ max, min }: Step): boolean => max - min > SHORT

const hasLong = (way: Way): boolean => way.some((step) => isLong(step) || step.ahead?.some(hasLong) === true)

/** Something that must follow. */
const END: Step = { source: "[^]", min: 1, max: 1 }

/** Throws where a way may be tried in too many ways. */
const check = (way: Way): void => {
  // A look ahead is tried again wherever what stands before it may end.
  for (const [i, { ahead }] of way.entries())
    for (const one of ahead ?? []) check([...way.slice(0, i).filter((step) => step.ahead === undefined), ...one, END])
  let must = way.length - 1
  while (must >= 0 && (way[must]!.min === 0 || way[must]!.soft === true)) must--
  // What comes behind the last thing that must be there takes what it gets, and that thing itself its first chance.
  const before = way.slice(0, Math.max(0, must)).filter(({ max, min }) => min !== max)
  for (const [i, step] of before.entries()) {
    const rivals = before.slice(i + 1).filter((other) => overlap(step, other))
    const long = [step, ...rivals].filter(isLong)
    if (long.length > 1)
      refuse(`${long[0]!.source} and ${long[1]!.source} may share a run in many ways before what must follow`)
    if (rivals.length > MOST_OPTIONAL) refuse("too many things that may be left out overlap")
  }
}

/**
 * Why a pattern is not trusted, in words; undefined where it is. The pattern must be one that JavaScript takes.
 *
 * @example
 * whyUnsafe("(?:a+)+b") // "a group that may match in several ways is repeated"
 */
export const whyUnsafe = (pattern: string): string | undefined => {
  try {
    if (pattern.length > MOST_LENGTH) refuse(`it has more than ${MOST_LENGTH.toLocaleString("en")} characters`)
    for (const way of new Parser(pattern).all()) check(way)
    return undefined
  } catch (error) {
    if (error instanceof Refused) return error.message
    throw error
  }
}

/**
 * What one attempt to match may pass, in order: so many characters at most, or a run of any length of characters that
 * `members` has (`membersOf`).
 */
export type Scan = ReadonlyArray<number | { readonly members: Uint8Array }>

/** Whether a class has the character at `at`: its members are those of `Scan`. */
export const isMember = (members: Uint8Array, code: number): boolean =>
  members[code < 0x10000 ? code : 0x10000 + ((code - 0x10000) >> 3)] === 1

const scanOf = (way: Way): Scan => {
  const out: Array<number | { readonly members: Uint8Array }> = []
  for (const step of way) {
    const last = out.at(-1)
    if (isLong(step)) out.push({ members: membersOf(step.source) })
    else if (typeof last === "number") out[out.length - 1] = last + step.max
    else if (step.max > 0) out.push(step.max)
  }
  return typeof out.at(-1) === "number" ? out.slice(0, -1) : out
}

/**
 * The ways through a pattern that pass a run of any length, each once. The pattern is one that is trusted
 * (`whyUnsafe`).
 */
export const scansOf = (pattern: string): ReadonlyArray<Scan> => {
  const scans = new Map<string, Scan>()
  const visit = (way: Way): void => {
    for (const [i, { ahead }] of way.entries())
      for (const one of ahead ?? []) visit([...way.slice(0, i).filter((step) => step.ahead === undefined), ...one])
    const steps = way.filter((step) => step.ahead === undefined)
    if (!hasLong(steps)) return
    const key = steps.map((step) => (isLong(step) ? `${step.source}+` : `.{${step.max}}`)).join(" ")
    scans.set(key, scanOf(steps))
  }
  for (const way of new Parser(pattern).all()) visit(way)
  return [...scans.values()]
}
