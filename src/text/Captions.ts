/**
 * The caption filter's rules: which there are, those that need one caption or one picture alone, and counts for a report.
 *
 * Not the noun-phrase balance, which needs all captions: see `Balance.ts`.
 */

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

/** The rules that need no picture, in the order in which they are asked; a report lists them all, those that took none too. */
export const TEXT_RULES = CAPTION_RULES.slice(3)

export type CaptionRule = (typeof CAPTION_RULES)[number]

/** A row stays, or goes by the first rule that takes it. */
export type CaptionDecision =
  | { readonly keep: true }
  | { readonly keep: false; readonly rule: CaptionRule; readonly detail: string }

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
  /** Whether captions equal but for case, punctuation and spacing stay once only, the first, and rows of one id too. */
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

export const KEEP: CaptionDecision = { keep: true }
export const drop = (rule: CaptionRule, detail: string): CaptionDecision => ({ keep: false, rule, detail })

/** Words of a caption, lower case: runs of letters, marks and digits. */
export const wordsOf = (caption: string): ReadonlyArray<string> =>
  caption.toLowerCase().match(/[\p{L}\p{M}\p{N}]+/gu) ?? []

/**
 * The rules that need one caption alone: number of words, repetition.
 *
 * @example
 * textRule("dog dog dog", CAPTION_DEFAULTS) // { keep: false, rule: "Repetitive", detail: "dog 3 times in a row" }
 */
export const textRule = (caption: string, options: CaptionOptions): CaptionDecision =>
  ruleOfWords(wordsOf(caption), options)

/** `textRule` on words that are at hand. */
export const ruleOfWords = (words: ReadonlyArray<string>, options: CaptionOptions): CaptionDecision => {
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
