import { describe, expect, it } from "@effect/vitest"
import { CAPTION_HINTS, CAPTION_RULES, CaptionOptions, type CaptionRule, textRule } from "../../src/text/Captions.ts"
import { captionOptions } from "./fixtures/captions.ts"

describe("the text rules", () => {
  it("name why a caption goes", () => {
    const rule = (caption: string) => {
      const decision = textRule(caption, captionOptions)
      return decision.keep ? "keep" : decision.rule
    }
    expect(rule("a dog.")).toBe("TooFewWords")
    expect(rule(Array.from({ length: 61 }, (_, i) => `w${i}`).join(" "))).toBe("TooManyWords")
    expect(rule("very very very good")).toBe("Repetitive")
    expect(rule("cat dog cat dog cat dog")).toBe("Repetitive")
    expect(rule("a dog and a cat")).toBe("keep")
    expect(rule("собака бежит по дороге")).toBe("keep")
  })

  it("ask for nothing where their parameter says so", () => {
    const off = { ...captionOptions, minWords: 0, maxWords: null, minDistinctShare: 0, maxRun: null }
    for (const caption of ["", "dog", "very very very very", Array.from({ length: 500 }, () => "dog").join(" ")])
      expect(textRule(caption, off)).toEqual({ keep: true })
  })

  it("hint at parameters that there are, each rule at its own", () => {
    const names: Record<CaptionRule, ReadonlyArray<string>> = {
      TooFewWords: ["minWords"],
      TooManyWords: ["maxWords"],
      Repetitive: ["minDistinctShare", "maxRun"],
      DuplicateCaption: ["dropDuplicates"],
      NoFrequentPhrase: ["minCount", "perPhrase"],
      OverRepresented: ["perPhrase"]
    }
    for (const rule of CAPTION_RULES) {
      const said = [...CAPTION_HINTS[rule].matchAll(/`(\w+)`/g)].map(([, name]) => name!)
      expect(said.filter((name) => name !== "filterCaptions")).toEqual(names[rule])
      for (const name of names[rule]) expect(Object.keys(CaptionOptions.fields)).toContain(name)
    }
  })
})
