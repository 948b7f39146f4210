import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { dropEmptyFences, dropOpeningTags, moveLanguages } from "../../../src/text/html/SiteNoise.ts"

const pieces = (...of: ReadonlyArray<string>) =>
  Arbitrary.map(Arbitrary.array(Arbitrary.schema(Schema.Literals(of)), { maxLength: 14 }), (parts) => parts.join(""))

const fences = pieces("```", "`", "Copy code", "Copy ", "bash", " ", "\n", "\t", "x", "code")
const tags = pieces("<div", "<span", "<", ">", "div", " ", "\n", "x", "</div>")

describe("the linear scans find what FastChat's regular expressions find", () => {
  const runs = { arbitrary: { runs: 2_000 } }

  it.prop(
    "moveLanguages",
    [fences],
    ([text]) => {
      const reference = text.replace(/```\s*(.*?)(?:Copy code)+(.+?)\s*?```/gs, "```$1\n$2\n```")
      expect(moveLanguages(text)).toBe(reference)
    },
    runs
  )

  it.prop(
    "dropEmptyFences",
    [fences],
    ([text]) => {
      expect(dropEmptyFences(text)).toBe(text.replace(/```([^\n]*?)Copy code\s*```/g, ""))
    },
    runs
  )

  it.prop(
    "dropOpeningTags",
    [tags],
    ([text]) => {
      expect(dropOpeningTags(text, "div")).toBe(text.replace(/<div[^\n]*?>/g, ""))
    },
    runs
  )
})
