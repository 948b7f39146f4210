/**
 * The caption filter's rules: which there are, their parameters, those that need one caption alone, and counts for a
 * report.
 *
 * Not the noun-phrase balance, which needs all captions: see `Balance.ts`. Not what an image must be: `tokenizeImages`
 * refuses small and narrow ones, and those that do not open.
 */
import { Schema } from "effect"

/** Why a row was dropped, in the order in which the rules are asked. */
export const CAPTION_RULES = [
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

const atLeast = (minimum: number) => Schema.Int.check(Schema.isGreaterThanOrEqualTo(minimum))

/** Parameters of the rules, with their bounds. `filterCaptions` takes these and no others of its own. */
export const CaptionOptions = Schema.Struct({
  seed: Schema.Int,
  /** Words, bounds included; emoji and punctuation are none. 0, and null, ask for nothing. */
  minWords: atLeast(0),
  maxWords: Schema.NullOr(atLeast(1)),
  /** Least share of distinct words, asked from 4 words on. 0 asks for nothing. */
  minDistinctShare: Schema.Number.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
  /** Longest run of one word; null for any. */
  maxRun: Schema.NullOr(atLeast(1)),
  /** Whether captions equal but for case, punctuation and spacing stay once only, the first, and rows of one id too. */
  dropDuplicates: Schema.Boolean,
  /** Phrases seen in fewer captions add none. Not asked where `perPhrase` is null. */
  minCount: atLeast(1),
  /** Captions that one phrase adds at most; null turns the balance off, and no phrase is looked for. */
  perPhrase: Schema.NullOr(atLeast(1))
})
export type CaptionOptions = typeof CaptionOptions.Type

/** What keeps a row that a rule took: said to who reads the refusal. */
export const CAPTION_HINTS: { readonly [Rule in CaptionRule]: string } = {
  TooFewWords: "Lower `minWords` of `filterCaptions` to keep such captions.",
  TooManyWords: "Raise `maxWords` of `filterCaptions`, or set it to null, to keep such captions.",
  Repetitive: "Lower `minDistinctShare` or raise `maxRun` of `filterCaptions` to keep such captions.",
  DuplicateCaption: "Set `dropDuplicates` of `filterCaptions` to false to keep such rows.",
  NoFrequentPhrase:
    "Lower `minCount` of `filterCaptions` to keep such captions; `perPhrase` null turns the balance off.",
  OverRepresented: "Raise `perPhrase` of `filterCaptions` to keep more of them; null turns the balance off."
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
 * textRule("dog dog dog", { ...options, maxRun: 2 }) // { keep: false, rule: "Repetitive", detail: "dog 3 times in a row" }
 */
export const textRule = (caption: string, options: CaptionOptions): CaptionDecision =>
  ruleOfWords(wordsOf(caption), options)

/** `textRule` on words that are at hand. */
export const ruleOfWords = (words: ReadonlyArray<string>, options: CaptionOptions): CaptionDecision => {
  if (words.length < options.minWords) return drop("TooFewWords", `${words.length} words`)
  if (options.maxWords !== null && words.length > options.maxWords) return drop("TooManyWords", `${words.length} words`)
  let run = 1
  for (let i = 1; i < words.length; i++) {
    run = words[i] === words[i - 1] ? run + 1 : 1
    if (options.maxRun !== null && run > options.maxRun) return drop("Repetitive", `${words[i]} ${run} times in a row`)
  }
  const distinct = new Set(words).size
  return words.length >= 4 && distinct < words.length * options.minDistinctShare
    ? drop("Repetitive", `${distinct} distinct of ${words.length} words`)
    : KEEP
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
