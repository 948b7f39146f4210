/**
 * LLaVA's noun-phrase balance over all captions, with the text rules and duplicates around it: counted in one pass,
 * decided in a second.
 *
 * Not a reader. Pass 1 (`add`) sees every row once, in order; `finish` decides all of them; pass 2 (`plan.decide`) says
 * the decision of row `at`, in any order. Phrases are found once, in pass 1.
 *
 * Memory: typed arrays alone. A row costs 13 bytes and 4 for each of its phrases; pass 1 takes 16 to 24 more for the
 * digest of its caption and as much for that of its id, and lets them go. A distinct phrase costs its name and 24 to 40
 * bytes, one with more than `perPhrase` captions 8 * perPhrase more. Digests have 64 bits: two of 3.3 million captions
 * are taken for one with a chance of one in three million.
 *
 * Source: Liu et al., "Visual Instruction Tuning" (2023), appendix: phrases seen fewer than 3 times are skipped; from
 * the rarest up, each phrase adds its captions, or a random 100 of them. As the pool is a union, the order of phrases
 * does not matter: a caption stays if any of its phrases would add it. The random 100 of a phrase are the captions
 * with the smallest draws of (seed, phrase, id), so they depend on no order of rows. Rows of one id, which only
 * `dropDuplicates: false` lets through, have one draw: all of them are taken or none, perhaps more than 100.
 */
import { Schema } from "effect"
import { DigestTable, grown } from "../dag/DigestTable.ts"
import { Utf8List } from "../dag/Utf8List.ts"
import { extend, type RandomStream, stream } from "../tensor/Random.ts"
import { type CaptionDecision, CaptionOptions, drop, KEEP, ruleOfWords, wordsOf } from "./Captions.ts"

/**
 * A caption with its noun phrases (`NounPhrases.nounPhrases`); a getter is asked only where no other rule took the row.
 */
export interface CaptionRow {
  readonly id: string
  readonly caption: string
  readonly phrases: ReadonlyArray<string>
}

/** What pass 1 found: totals for a report, and pass 2's decision. */
export interface CaptionPlan {
  readonly captions: number
  readonly phrases: number
  /** Phrases in at least `minCount` captions. */
  readonly frequentPhrases: number
  /** Phrases in more than `perPhrase` captions, of which only some are taken. */
  readonly cappedPhrases: number
  /** The decision of the row that was added as number `at`; its caption is asked for words of the detail alone. */
  readonly decide: (at: number, caption: string) => CaptionDecision
}

/** Pass 1. `add` every row once, in order; `finish` once. */
export interface CaptionCounter {
  readonly add: (row: CaptionRow) => void
  readonly finish: () => CaptionPlan
}

/** 53 bits of a stream's key as one exact number. */
const draw53 = ({ high, low }: RandomStream): number => (high & 0x1fffff) * 0x100000000 + low

// What became of a row. The text rules are asked again for their detail.
const KEPT = 0
const TEXT_RULE = 1
const SAME_ID = 2
const SAME_CAPTION = 3
const NO_FREQUENT_PHRASE = 4
const OVER_REPRESENTED = 5

/** The `limit` smallest numbers of each of several groups, in one array. */
class Smallest {
  private readonly values: Float64Array
  private readonly sizes: Uint32Array
  private readonly limit: number

  constructor(groups: number, limit: number) {
    this.limit = limit
    this.values = new Float64Array(groups * limit)
    this.sizes = new Uint32Array(groups)
  }

  /** A max-heap a group: its root is the number that the next smaller one replaces. */
  add(group: number, value: number): void {
    const { limit, values } = this
    const base = group * limit
    const size = this.sizes[group]!
    if (size < limit) {
      this.sizes[group] = size + 1
      let at = size
      while (at > 0) {
        const parent = (at - 1) >> 1
        if (values[base + parent]! >= value) break
        values[base + at] = values[base + parent]!
        at = parent
      }
      values[base + at] = value
      return
    }
    if (value >= values[base]!) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= limit) break
      if (child + 1 < limit && values[base + child + 1]! > values[base + child]!) child++
      if (values[base + child]! <= value) break
      values[base + at] = values[base + child]!
      at = child
    }
    values[base + at] = value
  }

  /** The largest of a group's smallest. */
  largest(group: number): number {
    return this.values[group * this.limit]!
  }
}

/**
 * Starts pass 1 of the caption filter. `rows` is a hint of how many there will be: memory is then taken once.
 *
 * With `perPhrase: null` nothing is balanced: no row is asked for its phrases. Throws `RangeError` for options out of
 * bounds.
 *
 * Long: both passes share the counts of all phrases.
 *
 * @example
 * const counter = countCaptions(options)
 * for (const row of rows) counter.add(row)
 * const plan = counter.finish()
 * const kept = rows.filter((row, at) => plan.decide(at, row.caption).keep)
 */
export const countCaptions = (options: CaptionOptions, rows = 1024): CaptionCounter => {
  const { dropDuplicates, minCount, perPhrase, seed } = options
  if (!Schema.is(CaptionOptions)(options)) {
    throw new RangeError(`no options of the caption filter: ${JSON.stringify(options)}`)
  }
  const root = stream(seed, "captions")
  let ids: DigestTable | undefined = new DigestTable(dropDuplicates ? rows : 0)
  let texts: DigestTable | undefined = new DigestTable(dropDuplicates ? rows : 0)
  const phrases = new DigestTable()
  const names = new Utf8List()
  let counts = new Uint32Array(1024)
  // Of each row: what became of it, its id's number, and where its phrases end in `found`.
  let fates = new Uint8Array(Math.max(16, rows))
  let idDraws = new Float64Array(fates.length)
  let ends = new Uint32Array(fates.length)
  let found = new Uint32Array(fates.length * 2)
  let captions = 0
  let held = 0

  /** Whether a table meets a digest for the first time. */
  const isNew = (table: DigestTable, { high, low }: RandomStream): boolean => {
    const before = table.size
    return table.add(low, high) === before
  }

  const phraseNumber = (phrase: string): number => {
    const { high, low } = extend(root, "phrase", phrase)
    const number = phrases.add(low, high)
    if (number === counts.length) counts = grown(counts, number * 2)
    if (counts[number] === 0) names.push(phrase)
    return number
  }

  /** What the rules that need no count make of a row; its phrases are counted when they keep it. */
  const take = (row: CaptionRow, at: number): number => {
    const id = extend(root, "id", row.id)
    if (dropDuplicates && !isNew(ids!, id)) return SAME_ID
    const words = wordsOf(row.caption)
    if (!ruleOfWords(words, options).keep) return TEXT_RULE
    if (dropDuplicates && !isNew(texts!, extend(root, "caption", words.join(" ")))) return SAME_CAPTION
    idDraws[at] = draw53(id)
    const from = held
    const list = perPhrase === null ? [] : row.phrases
    if (held + list.length > found.length) found = grown(found, Math.max(found.length * 2, held + list.length))
    for (const phrase of list) {
      const number = phraseNumber(phrase)
      let known = false
      for (let i = from; i < held && !known; i++) known = found[i] === number
      if (known) continue
      counts[number] = counts[number]! + 1
      found[held++] = number
    }
    return KEPT
  }

  const add = (row: CaptionRow): void => {
    const at = captions++
    if (at === fates.length) {
      fates = grown(fates, at * 2)
      idDraws = grown(idDraws, at * 2)
      ends = grown(ends, at * 2)
    }
    fates[at] = take(row, at)
    ends[at] = held
  }

  const finish = (): CaptionPlan => {
    ids = undefined
    texts = undefined
    const limit = perPhrase ?? Number.POSITIVE_INFINITY
    const isCapped = (number: number): boolean => counts[number]! >= minCount && counts[number]! > limit
    let frequentPhrases = 0
    let cappedPhrases = 0
    const groups = new Int32Array(phrases.size).fill(-1)
    for (let number = 0; number < phrases.size; number++) {
      if (counts[number]! >= minCount) frequentPhrases++
      if (isCapped(number)) groups[number] = cappedPhrases++
    }
    const draw = (at: number, number: number): number =>
      draw53(extend({ low: phrases.lowOf(number), high: phrases.highOf(number) }, idDraws[at]!))
    const smallest = new Smallest(cappedPhrases, perPhrase ?? 0)
    const startOf = (at: number): number => (at === 0 ? 0 : ends[at - 1]!)
    for (let at = 0; at < captions; at++) {
      for (let i = startOf(at); i < ends[at]!; i++) {
        const group = groups[found[i]!]!
        if (group >= 0) smallest.add(group, draw(at, found[i]!))
      }
    }
    for (let at = 0; at < captions && perPhrase !== null; at++) {
      if (fates[at] !== KEPT) continue
      let fate = NO_FREQUENT_PHRASE
      for (let i = startOf(at); i < ends[at]! && fate !== KEPT; i++) {
        const number = found[i]!
        if (counts[number]! < minCount) continue
        const group = groups[number]!
        fate = group < 0 || draw(at, number) <= smallest.largest(group) ? KEPT : OVER_REPRESENTED
      }
      fates[at] = fate
    }
    const decide = (at: number, caption: string): CaptionDecision => {
      if (!(at < captions)) throw new RangeError(`row ${at} was never added: there are ${captions}`)
      switch (fates[at]) {
        case KEPT:
          return KEEP
        case TEXT_RULE:
          return ruleOfWords(wordsOf(caption), options)
        case SAME_ID:
          return drop("DuplicateCaption", "another row has its id")
        case SAME_CAPTION:
          return drop("DuplicateCaption", wordsOf(caption).join(" "))
        case NO_FREQUENT_PHRASE:
          return drop("NoFrequentPhrase", `${ends[at]! - startOf(at)} phrases, none in ${minCount} captions`)
        default: {
          const frequent = found.subarray(startOf(at), ends[at]).find((number) => counts[number]! >= minCount)!
          return drop("OverRepresented", `not drawn for "${names.at(frequent)}" nor any other phrase`)
        }
      }
    }
    return { captions, phrases: phrases.size, frequentPhrases, cappedPhrases, decide }
  }

  return { add, finish }
}
