/**
 * What rules are expected to take of CC-595K: nothing where they are off, what the documentation says where they are
 * on.
 */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { type CaptionSettings, CC595K, expectedOfRules, expectedRows, ruleLines } from "../../datasets/CaptionRules.ts"
import { presets } from "../../pipelines/llava-phi.ts"
import { pages, tableUnder } from "../docs/Markdown.ts"
import { captionOptions } from "../text/fixtures/captions.ts"

const settingsOf = ({ captions, images }: (typeof presets)["paper" | "authors"]): CaptionSettings => ({
  captions,
  images
})
const rowsOf = (settings: CaptionSettings) =>
  Object.fromEntries(expectedOfRules(settings).map(({ rows, rule }) => [rule, rows]))

describe("the caption rules' expected counts", () => {
  it("are 0 for each rule of `paper` and `authors`: CC-595K is taken as it is, and no balance is asked for", () => {
    for (const preset of [presets.paper, presets.authors]) {
      expect(preset.captions.perPhrase).toBeNull()
      const rules = expectedOfRules(settingsOf(preset))
      expect(rules.map(({ rows }) => rows)).toEqual(rules.map(() => 0))
      expect(expectedRows(rules)).toBe(CC595K)
      expect(ruleLines(rules).at(-1)).toBe("  left: 595,375")
    }
  })

  const on: CaptionSettings = { captions: captionOptions, images: { minSide: 64, maxAspect: 4 } }

  it("are those of the documentation's table where rules are on", () => {
    const page = pages().find(({ path }) => path === "docs/presets.md")!
    const table = tableUnder(page, '## The captions: what "a filtered subset" is taken to mean')
    const now = expectedOfRules(on)
    expect(table.length).toBe(now.length)
    const said = table.map((cells) => cells[4]!.replace("about ", "").replaceAll(",", ""))
    const rows = (rule: string) => String(now.find((one) => one.rule === rule)!.rows ?? "not known")
    expect(said).toEqual(
      [
        "unreadable or missing image",
        "too-small",
        "aspect-ratio",
        "TooFewWords",
        "TooManyWords",
        "Repetitive",
        "DuplicateCaption",
        "NoFrequentPhrase",
        "OverRepresented"
      ].map(rows)
    )
  })

  it("say what is not known, and count it as nothing", () => {
    const rules = expectedOfRules(on)
    expect(rules.find(({ rule }) => rule === "DuplicateCaption")?.rows).toBeNull()
    expect(expectedRows(rules)).toBe(rules.reduce((left, { rows }) => left - (rows ?? 0), CC595K))
    expect(ruleLines(rules).at(-1)).toMatch(/^ {2}left: at most /)
    expect(rowsOf({ ...on, images: { minSide: 300, maxAspect: 1.5 } })).toMatchObject({
      "too-small": null,
      "aspect-ratio": null
    })
  })

  const bound = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 200 }))
  it.prop(
    "never fall when a length rule is made stricter",
    [Arbitrary.schema(bound), Arbitrary.schema(bound)],
    ([one, other]) => {
      const few = (minWords: number) => rowsOf({ ...on, captions: { ...captionOptions, minWords } })["TooFewWords"]!
      const many = (maxWords: number) => rowsOf({ ...on, captions: { ...captionOptions, maxWords } })["TooManyWords"]!
      const [low, high] = [Math.min(one, other), Math.max(one, other)]
      expect(few(low)).toBeLessThanOrEqual(few(high))
      expect(many(low)).toBeGreaterThanOrEqual(many(high))
      for (const rows of [few(low), many(low)]) {
        expect(rows).toBeGreaterThanOrEqual(0)
        expect(rows).toBeLessThanOrEqual(CC595K)
      }
    }
  )
})
