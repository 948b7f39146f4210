import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { extend, shuffle, stream } from "../../src/tensor/Random.ts"
import { type CaptionRow, countCaptions } from "../../src/text/Balance.ts"
import {
  CAPTION_RULES,
  type CaptionOptions,
  countDecision,
  emptyCounts,
  textRule,
  wordsOf
} from "../../src/text/Captions.ts"
import { captionOptions } from "./fixtures/captions.ts"

const run = (rows: ReadonlyArray<CaptionRow>, options: CaptionOptions, expected?: number) => {
  const counter = countCaptions(options, expected)
  for (const row of rows) counter.add(row)
  const plan = counter.finish()
  return { plan, decisions: rows.map((row, at) => plan.decide(at, row.caption)) }
}

/** Rows with distinct captions of enough words, phrases as given. */
const rowsOf = (phrases: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<CaptionRow> =>
  phrases.map((list, i) => ({ id: `row-${i}`, caption: `photo number ${i} of things`, phrases: list }))

const Phrase = Schema.Literals(["dog", "cat", "red car", "old house", "tree", "man", "woman", "boat"])
const Phrases = Schema.Array(Phrase).check(Schema.isMaxLength(4))
const tables = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Phrases), { maxLength: 60 }), rowsOf)
const small = { ...captionOptions, perPhrase: 5 }

/** Rows with repeated ids and captions, short ones and ones that say a word thrice. */
const Loose = Schema.Struct({
  id: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30 })),
  caption: Schema.Literals(["a dog", "Dogs on a hill", "dogs, on a hill!", "so so so so nice", "one", ""]),
  number: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 })),
  phrases: Phrases
})
const looseTables = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Loose), { maxLength: 120 }), (all) =>
  all.map(({ caption, id, number, phrases }) => ({
    id: `r${id}`,
    caption: number < 12 ? caption : `a picture of ${number} things`,
    phrases
  }))
)

/** The same filter with plain sets and maps, every draw kept: what the compact one must agree with. */
const plainly = (rows: ReadonlyArray<CaptionRow>, options: CaptionOptions): ReadonlyArray<string> => {
  const root = stream(options.seed, "captions")
  const exact = ({ high, low }: { high: number; low: number }) => (high & 0x1fffff) * 0x100000000 + low
  const draw = (phrase: string, id: string) => exact(extend(root, "phrase", phrase, exact(extend(root, "id", id))))
  const ids = new Set<string>()
  const captions = new Set<string>()
  const holders = new Map<string, Array<number>>()
  const fates = rows.map(({ caption, id, phrases }, at) => {
    if (options.dropDuplicates && ids.has(id)) return "DuplicateCaption"
    ids.add(id)
    const alone = textRule(caption, options)
    if (!alone.keep) return alone.rule
    const words = wordsOf(caption).join(" ")
    if (options.dropDuplicates && captions.has(words)) return "DuplicateCaption"
    captions.add(words)
    for (const phrase of new Set(phrases)) holders.set(phrase, [...(holders.get(phrase) ?? []), at])
    return "balance"
  })
  const taken = new Set<number>()
  const frequent = [...holders].filter(([, members]) => members.length >= options.minCount)
  for (const [phrase, members] of frequent) {
    const draws = members.map((at) => draw(phrase, rows[at]!.id))
    const last = draws.toSorted((a, b) => a - b)[Math.min(options.perPhrase ?? draws.length, draws.length) - 1]!
    for (const [i, at] of members.entries()) if (draws[i]! <= last) taken.add(at)
  }
  const counted = new Set(frequent.flatMap(([, members]) => members))
  return fates.map((fate, at) =>
    fate !== "balance" ? fate : taken.has(at) ? "keep" : counted.has(at) ? "OverRepresented" : "NoFrequentPhrase"
  )
}

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
    for (const [i, row] of mixed.entries()) expect(other.decisions[i]!.keep).toBe(decisions[rows.indexOf(row)]!.keep)
    expect(other.plan.frequentPhrases).toBe(plan.frequentPhrases)
  })

  it("takes exactly perPhrase captions of a phrase that stands alone, another set for another seed", () => {
    const rows = rowsOf(Array(1000).fill(["dog"]))
    const kept = (seed: number): ReadonlyArray<number> =>
      run(rows, { ...captionOptions, seed }).decisions.flatMap(({ keep }, i) => (keep ? [i] : []))
    expect(kept(0).length).toBe(100)
    expect(kept(0)).toEqual(kept(0))
    expect(kept(1).length).toBe(100)
    expect(kept(1)).not.toEqual(kept(0))
    // Drawn from all over the data: the mean position is near the middle.
    expect(Math.abs(kept(0).reduce((sum, i) => sum + i, 0) / 100 - 500)).toBeLessThan(120)
  })

  it("counts a phrase once a caption", () => {
    const { plan } = run(rowsOf([["dog", "dog"], ["dog"]]), captionOptions)
    expect([plan.phrases, plan.frequentPhrases]).toEqual([1, 0])
  })

  it.prop("agrees with plain sets and maps, whatever room was taken beforehand", [looseTables], ([rows]) => {
    for (const dropDuplicates of [true, false]) {
      const options = { ...small, perPhrase: 3, dropDuplicates }
      for (const expected of [1, 1000]) {
        const { decisions } = run(rows, options, expected)
        expect(decisions.map((decision) => (decision.keep ? "keep" : decision.rule))).toEqual(plainly(rows, options))
      }
    }
  })

  it("agrees with them on thousands of rows of a long tail", () => {
    const rows = rowsOf(
      Array.from({ length: 6000 }, (_, i) => [
        `thing ${Math.floor(3000 / (1 + ((i * 7919) % 3000)))}`,
        `place ${i % 700}`
      ])
    )
    const options = { ...captionOptions, perPhrase: 20, seed: 3 }
    const { decisions } = run(rows, options)
    expect(decisions.map((decision) => (decision.keep ? "keep" : decision.rule))).toEqual(plainly(rows, options))
  })

  it("asks for phrases only where no other rule took the row, and names one in the detail", () => {
    const asked: Array<string> = []
    const lazy = (id: string, caption: string): CaptionRow => ({
      id,
      caption,
      get phrases() {
        asked.push(id)
        return ["héron"]
      }
    })
    const rows = [
      lazy("a", "the first bird"),
      lazy("b", "the second bird"),
      lazy("b", "the third bird"),
      lazy("c", "The first bird!"),
      lazy("d", "bird")
    ]
    const { decisions } = run(rows, { ...captionOptions, minCount: 1, perPhrase: 1 })
    expect(asked).toEqual(["a", "b"])
    const details = decisions.flatMap((decision) => (decision.keep ? [] : [decision.detail]))
    expect(details).toEqual([
      'not drawn for "héron" nor any other phrase',
      "another row has its id",
      "the first bird",
      "1 words"
    ])
  })

  it("refuses to decide a row that it never saw, and limits below one", () => {
    const { plan } = run(rowsOf([["dog"]]), captionOptions)
    expect(() => plan.decide(1, "a dog")).toThrow(RangeError)
    for (const wrong of [{ perPhrase: 0 }, { minCount: 0 }, { maxRun: 1.5 }, { minDistinctShare: 2 }])
      expect(() => countCaptions({ ...captionOptions, ...wrong })).toThrow(RangeError)
  })

  it.prop(
    "is off where `perPhrase` is null: the other rules alone decide, and no phrase is asked for",
    [looseTables],
    ([rows]) => {
      const options = { ...captionOptions, perPhrase: null }
      const asked = rows.map(
        ({ caption, id }): CaptionRow => ({
          id,
          caption,
          get phrases(): ReadonlyArray<string> {
            throw new Error("a row was asked for its phrases")
          }
        })
      )
      const { decisions, plan } = run(asked, options)
      const balanced = plainly(rows, captionOptions)
      expect(plan.phrases).toBe(0)
      decisions.forEach((decision, at) => {
        const rule = decision.keep ? "keep" : decision.rule
        expect(rule).toBe(["NoFrequentPhrase", "OverRepresented"].includes(balanced[at]!) ? "keep" : balanced[at])
      })
    }
  )
})

describe("the rules around it", () => {
  it("keep the first of equal captions, whatever their case and punctuation", () => {
    const rows = ["A dog runs.", "a dog runs", "A dog, runs!", "a cat runs"].map((caption, i) => ({
      id: `${i}`,
      caption,
      phrases: ["dog"]
    }))
    const options = { ...captionOptions, minCount: 1 }
    const dropped = run(rows, options).decisions.map((decision) => (decision.keep ? "keep" : decision.rule))
    expect(dropped).toEqual(["keep", "DuplicateCaption", "DuplicateCaption", "keep"])
    expect(run(rows, { ...options, dropDuplicates: false }).decisions.every(({ keep }) => keep)).toBe(true)
  })

  it("leave the counting of phrases to the captions that they keep", () => {
    const rows = [
      ...Array.from({ length: 5 }, (_, i) => ({ id: `d${i}`, caption: "the same dog again", phrases: ["dog"] })),
      { id: "x", caption: "a dog", phrases: ["dog"] }
    ]
    expect(run(rows, captionOptions).plan.frequentPhrases).toBe(0)
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
