import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { shuffle, stream } from "../../src/tensor/Random.ts"
import {
  CAPTION_DEFAULTS,
  CAPTION_RULES,
  type CaptionOptions,
  type CaptionRow,
  countCaptions,
  countDecision,
  emptyCounts,
  IMAGE_DEFAULTS,
  imageRule,
  textRule
} from "../../src/text/Captions.ts"

const run = (rows: ReadonlyArray<CaptionRow>, options: CaptionOptions) => {
  const counter = countCaptions(options)
  for (const row of rows) counter.add(row)
  const plan = counter.finish()
  return { plan, decisions: rows.map(plan.decide) }
}

/** Rows with distinct captions of enough words, phrases as given. */
const rowsOf = (phrases: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<CaptionRow> =>
  phrases.map((list, i) => ({ id: `row-${i}`, caption: `photo number ${i} of things`, phrases: list }))

const Phrase = Schema.Literals(["dog", "cat", "red car", "old house", "tree", "man", "woman", "boat"])
const tables = Arbitrary.map(
  Arbitrary.array(Arbitrary.schema(Schema.Array(Phrase).check(Schema.isMaxLength(4))), { maxLength: 60 }),
  rowsOf
)
const small = { ...CAPTION_DEFAULTS, perPhrase: 5 }

describe("the noun-phrase balance", () => {
  it.prop(
    "keeps what the definition keeps: every caption of a rare phrase, a fixed number of a common one",
    [tables],
    ([rows]) => {
      const { decisions } = run(rows, small)
      const holders = new Map<string, Array<number>>()
      for (const [i, row] of rows.entries()) {
        for (const phrase of new Set(row.phrases)) holders.set(phrase, [...(holders.get(phrase) ?? []), i])
      }
      for (const [i, row] of rows.entries()) {
        const frequent = row.phrases.filter((phrase) => holders.get(phrase)!.length >= 3)
        const decision = decisions[i]!
        if (frequent.length === 0) expect(decision).toMatchObject({ keep: false, rule: "NoFrequentPhrase" })
        else if (frequent.some((phrase) => holders.get(phrase)!.length <= 5)) expect(decision.keep).toBe(true)
        else if (!decision.keep) expect(decision.rule).toBe("OverRepresented")
      }
      for (const [, members] of holders) {
        const kept = members.filter((i) => decisions[i]!.keep).length
        if (members.length >= 3) expect(kept).toBeGreaterThanOrEqual(Math.min(5, members.length))
      }
    }
  )

  it.prop("does not depend on the order of distinct rows", [tables], ([rows]) => {
    const mixed = shuffle(stream(1), [...rows])
    const { decisions, plan } = run(rows, small)
    const other = run(mixed, small)
    for (const [i, row] of rows.entries()) expect(other.plan.decide(row).keep).toBe(decisions[i]!.keep)
    expect(other.plan.frequentPhrases).toBe(plan.frequentPhrases)
  })

  it("takes exactly perPhrase captions of a phrase that stands alone, another set for another seed", () => {
    const rows = rowsOf(Array(1000).fill(["dog"]))
    const kept = (seed: number): ReadonlyArray<number> =>
      run(rows, { ...CAPTION_DEFAULTS, seed }).decisions.flatMap(({ keep }, i) => (keep ? [i] : []))
    expect(kept(0).length).toBe(100)
    expect(kept(0)).toEqual(kept(0))
    expect(kept(1).length).toBe(100)
    expect(kept(1)).not.toEqual(kept(0))
    // Drawn from all over the data: the mean position is near the middle.
    expect(Math.abs(kept(0).reduce((sum, i) => sum + i, 0) / 100 - 500)).toBeLessThan(120)
  })

  it("counts a phrase once a caption", () => {
    const { plan } = run(rowsOf([["dog", "dog"], ["dog"]]), CAPTION_DEFAULTS)
    expect([plan.phrases, plan.frequentPhrases]).toEqual([1, 0])
  })
})

describe("the text rules", () => {
  it("name why a caption goes", () => {
    const rule = (caption: string) => {
      const decision = textRule(caption, CAPTION_DEFAULTS)
      return decision.keep ? "keep" : decision.rule
    }
    expect(rule("a dog.")).toBe("TooFewWords")
    expect(rule(Array.from({ length: 61 }, (_, i) => `w${i}`).join(" "))).toBe("TooManyWords")
    expect(rule("very very very good")).toBe("Repetitive")
    expect(rule("cat dog cat dog cat dog")).toBe("Repetitive")
    expect(rule("a dog and a cat")).toBe("keep")
    expect(rule("собака бежит по дороге")).toBe("keep")
  })

  it("keep the first of equal captions, whatever their case and punctuation", () => {
    const rows = ["A dog runs.", "a dog runs", "A dog, runs!", "a cat runs"].map((caption, i) => ({
      id: `${i}`,
      caption,
      phrases: ["dog"]
    }))
    const options = { ...CAPTION_DEFAULTS, minCount: 1 }
    const dropped = run(rows, options).decisions.map((decision) => (decision.keep ? "keep" : decision.rule))
    expect(dropped).toEqual(["keep", "DuplicateCaption", "DuplicateCaption", "keep"])
    expect(run(rows, { ...options, dropDuplicates: false }).decisions.every(({ keep }) => keep)).toBe(true)
  })

  it("leave the counting of phrases to the captions that they keep", () => {
    const rows = [
      ...Array.from({ length: 5 }, (_, i) => ({ id: `d${i}`, caption: "the same dog again", phrases: ["dog"] })),
      { id: "x", caption: "a dog", phrases: ["dog"] }
    ]
    expect(run(rows, CAPTION_DEFAULTS).plan.frequentPhrases).toBe(0)
  })
})

describe("the image rules", () => {
  it("name why an image goes", () => {
    expect(imageRule(undefined, IMAGE_DEFAULTS)).toMatchObject({ rule: "ImageUnreadable" })
    expect(imageRule({ width: 640, height: 63 }, IMAGE_DEFAULTS)).toMatchObject({ rule: "ImageTooSmall" })
    expect(imageRule({ width: 64, height: 257 }, IMAGE_DEFAULTS)).toMatchObject({ rule: "ImageAspectRatio" })
    expect(imageRule({ width: 64, height: 256 }, IMAGE_DEFAULTS)).toEqual({ keep: true })
  })
})

describe("the report", () => {
  it.prop("accounts for every row", [tables], ([rows]) => {
    const counts = emptyCounts()
    for (const decision of run(rows, small).decisions) countDecision(counts, decision)
    expect(Object.keys(counts.dropped)).toEqual([...CAPTION_RULES])
    expect(counts.kept + Object.values(counts.dropped).reduce((sum, n) => sum + n, 0)).toBe(rows.length)
  })
})
