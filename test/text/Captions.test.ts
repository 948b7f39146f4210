import { describe, expect, it } from "@effect/vitest"
import { CAPTION_DEFAULTS, IMAGE_DEFAULTS, imageRule, textRule } from "../../src/text/Captions.ts"

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
})

describe("the image rules", () => {
  it("name why an image goes", () => {
    expect(imageRule(undefined, IMAGE_DEFAULTS)).toMatchObject({ rule: "ImageUnreadable" })
    expect(imageRule({ width: 640, height: 63 }, IMAGE_DEFAULTS)).toMatchObject({ rule: "ImageTooSmall" })
    expect(imageRule({ width: 64, height: 257 }, IMAGE_DEFAULTS)).toMatchObject({ rule: "ImageAspectRatio" })
    expect(imageRule({ width: 64, height: 256 }, IMAGE_DEFAULTS)).toEqual({ keep: true })
  })
})
