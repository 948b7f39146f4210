/**
 * The caption filter: LLaVA's noun-phrase balance and the text rules around it, in two streaming passes.
 *
 * Not a reader and no image decoder. Pass 1 (`countCaptions`) sees every row once, in order; pass 2 (`plan.decide`) is
 * a pure function of a row and may run anywhere, in any order. Row ids must be unique.
 *
 * Memory: distinct phrases, each with at most `2 * perPhrase` numbers, and 16 to 32 bytes for each distinct caption;
 * never the captions themselves. After pass 1 a phrase is a count and one threshold.
 *
 * Source: Liu et al., "Visual Instruction Tuning" (2023), appendix: phrases seen fewer than 3 times are skipped; from
 * the rarest up, each phrase adds its captions, or a random 100 of them. As the pool is a union, the order of phrases
 * does not matter: a caption stays if any of its phrases would add it. The random 100 of a phrase are the captions
 * with the smallest draws of (seed, phrase, id), so both passes agree without a list of rows.
 */
import { extend, type RandomStream, stream } from "../tensor/Random.ts"

/** Why a row was dropped, in the order in which the rules are asked. The image rules are asked first, by `imageRule`. */
export const CAPTION_RULES = [
  "ImageUnreadable",
  "ImageTooSmall",
  "ImageAspectRatio",
  "TooFewWords",
  "TooManyWords",
  "Repetitive",
  "DuplicateCaption",
  "NoFrequentPhrase",
  "OverRepresented"
] as const

export type CaptionRule = (typeof CAPTION_RULES)[number]

/** A row stays, or goes by the first rule that takes it. */
export type CaptionDecision =
  | { readonly keep: true }
  | { readonly keep: false; readonly rule: CaptionRule; readonly detail: string }

/** A caption with its noun phrases (`NounPhrases.nounPhrases`). */
export interface CaptionRow {
  readonly id: string
  readonly caption: string
  readonly phrases: ReadonlyArray<string>
}

/** Parameters of the text rules; `CAPTION_DEFAULTS` are the defaults. */
export interface CaptionOptions {
  readonly seed: number
  /** Words, bounds included. */
  readonly minWords: number
  readonly maxWords: number
  /** Least share of distinct words, asked from 4 words on. */
  readonly minDistinctShare: number
  /** Longest run of one word. */
  readonly maxRun: number
  /** Whether captions equal but for case, punctuation and spacing stay once only: the first. */
  readonly dropDuplicates: boolean
  /** Phrases seen in fewer captions add none. */
  readonly minCount: number
  /** Captions that one phrase adds at most. */
  readonly perPhrase: number
}

export const CAPTION_DEFAULTS: CaptionOptions = {
  seed: 0,
  minWords: 3,
  maxWords: 60,
  minDistinctShare: 0.5,
  maxRun: 2,
  dropDuplicates: true,
  minCount: 3,
  perPhrase: 100
}

const KEEP: CaptionDecision = { keep: true }
const drop = (rule: CaptionRule, detail: string): CaptionDecision => ({ keep: false, rule, detail })

const wordsOf = (caption: string): ReadonlyArray<string> => caption.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) ?? []

/**
 * The rules that need one caption alone: number of words, repetition.
 *
 * @example
 * textRule("dog dog dog", CAPTION_DEFAULTS) // { keep: false, rule: "Repetitive", detail: "dog 3 times in a row" }
 */
export const textRule = (caption: string, options: CaptionOptions): CaptionDecision =>
  ruleOfWords(wordsOf(caption), options)

const ruleOfWords = (words: ReadonlyArray<string>, options: CaptionOptions): CaptionDecision => {
  if (words.length < options.minWords) return drop("TooFewWords", `${words.length} words`)
  if (words.length > options.maxWords) return drop("TooManyWords", `${words.length} words`)
  let run = 1
  for (let i = 1; i < words.length; i++) {
    run = words[i] === words[i - 1] ? run + 1 : 1
    if (run > options.maxRun) return drop("Repetitive", `${words[i]} ${run} times in a row`)
  }
  const distinct = new Set(words).size
  return words.length >= 4 && distinct < words.length * options.minDistinctShare
    ? drop("Repetitive", `${distinct} distinct of ${words.length} words`)
    : KEEP
}

/** Bounds on an image's size in pixels; aspect is the longer over the shorter side. */
export interface ImageBounds {
  readonly minSide: number
  readonly maxAspect: number
}

export const IMAGE_DEFAULTS: ImageBounds = { minSide: 64, maxAspect: 4 }

/**
 * The image rules, from the size that a decoder's header read; `undefined` for an image that cannot be read.
 *
 * @example
 * imageRule({ width: 640, height: 60 }, IMAGE_DEFAULTS) // rule "ImageTooSmall"
 */
export const imageRule = (
  size: { readonly width: number; readonly height: number } | undefined,
  bounds: ImageBounds
): CaptionDecision => {
  if (size === undefined || !(size.width > 0 && size.height > 0)) return drop("ImageUnreadable", "no readable image")
  const short = Math.min(size.width, size.height)
  const long = Math.max(size.width, size.height)
  if (short < bounds.minSide) return drop("ImageTooSmall", `${size.width} x ${size.height}`)
  return long > short * bounds.maxAspect ? drop("ImageAspectRatio", `${size.width} x ${size.height}`) : KEEP
}

/** 53 bits of a stream's key as one exact number: a draw, or a hash. */
const draw53 = ({ high, low }: RandomStream): number => (high & 0x1fffff) * 0x100000000 + low

/** Caption hash -> hash of the first id; open addressing in typed arrays. */
class FirstSeen {
  private keys = new Float64Array(1 << 12).fill(-1)
  private values = new Float64Array(1 << 12)
  private size = 0

  private slot(key: number): number {
    const mask = this.keys.length - 1
    let at = key % this.keys.length
    while (this.keys[at] !== -1 && this.keys[at] !== key) at = (at + 1) & mask
    return at
  }

  /** The value of a key; a new key takes `value`. */
  claim(key: number, value: number): number {
    if (this.size * 2 > this.keys.length) {
      const { keys, values } = this
      this.keys = new Float64Array(keys.length * 2).fill(-1)
      this.values = new Float64Array(keys.length * 2)
      for (let i = 0; i < keys.length; i++) {
        if (keys[i] === -1) continue
        const at = this.slot(keys[i]!)
        this.keys[at] = keys[i]!
        this.values[at] = values[i]!
      }
    }
    const at = this.slot(key)
    if (this.keys[at] === -1) {
      this.keys[at] = key
      this.values[at] = value
      this.size++
    }
    return this.values[at]!
  }

  find(key: number): number | undefined {
    const at = this.slot(key)
    return this.keys[at] === -1 ? undefined : this.values[at]
  }
}

/** A phrase in pass 1: how many captions hold it and the smallest draws so far. */
interface Tally {
  readonly key: RandomStream
  count: number
  draws: Array<number>
  /** No draw at or above this can be among the smallest. */
  limit: number
}

const ascending = (a: number, b: number): number => a - b

/** What pass 1 found: totals for a report, and pass 2's decision. */
export interface CaptionPlan {
  readonly captions: number
  readonly phrases: number
  /** Phrases in at least `minCount` captions. */
  readonly frequentPhrases: number
  /** Phrases in more than `perPhrase` captions, of which only some are taken. */
  readonly cappedPhrases: number
  /** Pure: equal for equal rows. Rows that pass 1 has not seen are judged as if they had been drawn too. */
  readonly decide: (row: CaptionRow) => CaptionDecision
}

/** Pass 1. `add` every row once, in order; `finish` once. */
export interface CaptionCounter {
  readonly add: (row: CaptionRow) => void
  readonly finish: () => CaptionPlan
}

/**
 * Starts pass 1 of the caption filter.
 *
 * Throws `RangeError` for a `perPhrase` or `minCount` below one.
 *
 * @example
 * const counter = countCaptions({ ...CAPTION_DEFAULTS, seed: 0 })
 * for (const row of rows) counter.add(row)
 * const plan = counter.finish()
 * const kept = rows.filter((row) => plan.decide(row).keep)
 */
export const countCaptions = (options: CaptionOptions): CaptionCounter => {
  const { minCount, perPhrase, seed } = options
  if (!(perPhrase >= 1) || !(minCount >= 1)) {
    throw new RangeError(`perPhrase ${perPhrase} and minCount ${minCount} must be at least 1`)
  }
  const root = stream(seed, "captions")
  const idOf = (id: string): number => draw53(extend(root, "id", id))
  const captionOf = (words: ReadonlyArray<string>): number => draw53(extend(root, "caption", words.join(" ")))
  const phraseKey = (phrase: string): RandomStream => extend(root, "phrase", phrase)
  const firstSeen = new FirstSeen()
  const tallies = new Map<string, Tally>()
  let captions = 0

  const add = (row: CaptionRow): void => {
    captions++
    const words = wordsOf(row.caption)
    if (!ruleOfWords(words, options).keep) return
    const id = idOf(row.id)
    if (options.dropDuplicates && firstSeen.claim(captionOf(words), id) !== id) return
    for (const phrase of new Set(row.phrases)) {
      let tally = tallies.get(phrase)
      if (tally === undefined) {
        tally = { key: phraseKey(phrase), count: 0, draws: [], limit: Number.POSITIVE_INFINITY }
        tallies.set(phrase, tally)
      }
      tally.count++
      const draw = draw53(extend(tally.key, id))
      if (draw >= tally.limit) continue
      tally.draws.push(draw)
      if (tally.draws.length < 2 * perPhrase) continue
      tally.draws.sort(ascending)
      tally.draws.length = perPhrase
      tally.limit = tally.draws[perPhrase - 1]! + 1
    }
  }

  const finish = (): CaptionPlan => {
    const thresholds = new Map<string, { readonly key: RandomStream; readonly threshold: number }>()
    const phrases = tallies.size
    let cappedPhrases = 0
    for (const [phrase, { count, draws, key }] of tallies) {
      // Each tally goes as its threshold comes, so the peak is pass 1's.
      tallies.delete(phrase)
      if (count < minCount) continue
      const isCapped = count > perPhrase
      if (isCapped) cappedPhrases++
      const threshold = isCapped ? draws.sort(ascending)[perPhrase - 1]! : Number.POSITIVE_INFINITY
      thresholds.set(phrase, { key, threshold })
    }
    const decide = (row: CaptionRow): CaptionDecision => {
      const words = wordsOf(row.caption)
      const alone = ruleOfWords(words, options)
      if (!alone.keep) return alone
      const id = idOf(row.id)
      if (options.dropDuplicates && (firstSeen.find(captionOf(words)) ?? id) !== id) {
        return drop("DuplicateCaption", words.join(" "))
      }
      let frequent: string | undefined
      for (const phrase of row.phrases) {
        const found = thresholds.get(phrase)
        if (found === undefined) continue
        frequent ??= phrase
        if (found.threshold === Number.POSITIVE_INFINITY || draw53(extend(found.key, id)) <= found.threshold)
          return KEEP
      }
      return frequent === undefined
        ? drop("NoFrequentPhrase", `${row.phrases.length} phrases, none in ${minCount} captions`)
        : drop("OverRepresented", `not drawn for "${frequent}" nor any other phrase`)
    }
    return { captions, phrases, frequentPhrases: thresholds.size, cappedPhrases, decide }
  }

  return { add, finish }
}

/** Rows kept, and rows taken by each rule, in the order of the rules. */
export interface CaptionCounts {
  kept: number
  readonly dropped: Record<CaptionRule, number>
}

/**
 * Counts for a report of what each rule took; feed it every decision with `countDecision`.
 *
 * @example
 * const counts = emptyCounts()
 * for (const row of rows) countDecision(counts, plan.decide(row))
 */
export const emptyCounts = (): CaptionCounts => ({
  kept: 0,
  dropped: {
    ImageUnreadable: 0,
    ImageTooSmall: 0,
    ImageAspectRatio: 0,
    TooFewWords: 0,
    TooManyWords: 0,
    Repetitive: 0,
    DuplicateCaption: 0,
    NoFrequentPhrase: 0,
    OverRepresented: 0
  }
})

/** Adds one decision to the counts. */
export const countDecision = (counts: CaptionCounts, decision: CaptionDecision): void => {
  if (decision.keep) counts.kept++
  else counts.dropped[decision.rule]++
}
