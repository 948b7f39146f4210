/**
 * What each rule is expected to take of CC-595K's 595,375 rows, before any run: counts for `--plan` and
 * docs/presets.md.
 *
 * Not measured: the data is not here. A count follows from a published rule of CC-3M, from a published distribution, or
 * from a simulation; `basis` says which. Where nothing is published it is null: not known.
 *
 * Source: Sharma et al., "Conceptual Captions" (2018): images of CC-3M have both sides over 400 pixels and at most
 * twice one side (section 3.1); its captions have 10.3 tokens on average, standard deviation 4.5 (table 2); captions
 * that repeat words at a high rate are dropped (section 3.2). Liu et al., "Visual Instruction Tuning" (2023): the
 * balance that left 595,375 of them.
 */
import type { CaptionOptions } from "../src/text/Captions.ts"

export const CC595K = 595_375

export interface ExpectedRule {
  readonly rule: string
  /** The parameter and its value, as `--set` takes it. */
  readonly setting: string
  /** Rows, or null where nothing published gives a number. */
  readonly rows: number | null
  readonly basis: string
}

/** What the two nodes are asked: their parameters, as they are in a plan. */
export interface CaptionSettings {
  readonly captions: CaptionOptions
  readonly images: { readonly minSide: number; readonly maxAspect: number }
}

/** The normal distribution's share below `z` (Abramowitz and Stegun 26.2.17, 7.5e-8). */
const below = (z: number): number => {
  if (z < 0) return 1 - below(-z)
  const t = 1 / (1 + 0.2316419 * z)
  const tail = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
  return 1 - (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * tail
}
// Lengths as a log-normal distribution of the published mean and deviation; its median, 9.4, is near the published 9.
const spread = Math.sqrt(Math.log(1 + (4.5 / 10.3) ** 2))
const centre = Math.log(10.3) - spread ** 2 / 2
const shorter = (words: number): number => below((Math.log(words) - centre) / spread)
const lengths = "estimate: log-normal lengths of CC-3M's published mean 10.3 and deviation 4.5"

/**
 * Share that a second balance of 100 a phrase takes of what the first left: 3.3 million made-up captions of which the
 * first takes 65 %, `npm run soak -- captions 3300000 twice`. Of CC-3M it took 82 %, so this may be too low.
 */
const SECOND_BALANCE = 0.126

const off = "off"

/**
 * The rules in the order in which they are asked, with what each is expected to take.
 *
 * @example expectedOfRules({ captions: presets.paper.captions, images: presets.paper.images })
 */
export const expectedOfRules = ({ captions, images }: CaptionSettings): ReadonlyArray<ExpectedRule> => {
  const { dropDuplicates, maxRun, maxWords, minCount, minDistinctShare, minWords, perPhrase } = captions
  const rare = minCount > 3 ? null : 0
  const again = perPhrase === 100 && minCount === 3 ? Math.round((SECOND_BALANCE * CC595K) / 1000) * 1000 : null
  const round = (share: number): number => Math.round(share * CC595K)
  return [
    {
      rule: "TooFewWords",
      setting: `minWords=${minWords}`,
      rows: minWords <= 1 ? 0 : round(shorter(minWords - 0.5)),
      basis: minWords <= 1 ? "no caption is empty" : lengths
    },
    {
      rule: "TooManyWords",
      setting: `maxWords=${maxWords}`,
      rows: maxWords === null ? 0 : round(1 - shorter(maxWords + 0.5)),
      basis: maxWords === null ? off : lengths
    },
    {
      rule: "Repetitive",
      setting: `minDistinctShare=${minDistinctShare}, maxRun=${maxRun}`,
      rows: minDistinctShare <= 0.5 && (maxRun ?? 2) >= 2 ? 0 : null,
      basis:
        minDistinctShare === 0 && maxRun === null
          ? off
          : "CC-3M dropped captions that repeat words; its bound is not published"
    },
    {
      rule: "DuplicateCaption",
      setting: `dropDuplicates=${dropDuplicates}`,
      rows: dropDuplicates ? null : 0,
      basis: dropDuplicates ? "the number of equal captions is not published" : off
    },
    {
      rule: "NoFrequentPhrase",
      setting: `minCount=${minCount}`,
      rows: perPhrase === null ? 0 : rare,
      basis: perPhrase === null ? off : "each caption has a phrase that LLaVA's balance saw 3 times or more"
    },
    {
      rule: "OverRepresented",
      setting: `perPhrase=${perPhrase}`,
      rows: perPhrase === null ? 0 : again,
      basis:
        perPhrase === null ? off : "rough: a second balance over generated captions that were balanced once took 12.6 %"
    },
    {
      rule: "too-small",
      setting: `minSide=${images.minSide}`,
      rows: images.minSide <= 200 ? 0 : null,
      basis:
        images.minSide === 1
          ? off
          : "CC-3M's images have over 400 pixels a side; LLaVA's archive (11 KB an image) holds them smaller, by how much is not published"
    },
    {
      rule: "aspect-ratio",
      setting: `maxAspect=${images.maxAspect}`,
      rows: images.maxAspect >= 2 ? 0 : null,
      basis: images.maxAspect >= 1e6 ? off : "CC-3M's images are at most twice as long as wide"
    },
    {
      rule: "unreadable or missing image",
      setting: "always",
      rows: 0,
      basis: "the archive was made with the rows"
    }
  ]
}

/** Rows that are expected to stay; what is not known counts as nothing. */
export const expectedRows = (rules: ReadonlyArray<ExpectedRule>): number =>
  rules.reduce((left, { rows }) => left - (rows ?? 0), CC595K)

const number = (n: number): string => String(n).replace(/\B(?=(\d{3})+(?!\d))/g, ",")

/** The same as lines for a plan. */
export const ruleLines = (rules: ReadonlyArray<ExpectedRule>): ReadonlyArray<string> => [
  `Expected of CC-595K's ${number(CC595K)} rows (nothing was counted; a run's refusals say what was):`,
  ...rules.map(
    ({ basis, rows, rule, setting }) =>
      `  ${rule} (${setting}): ${rows === null ? "not known" : number(rows)}; ${basis}`
  ),
  `  left: ${rules.some(({ rows }) => rows === null) ? "at most " : ""}${number(expectedRows(rules))}`
]
