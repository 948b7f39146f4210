import { describe, expect, it } from "@effect/vitest"
import { textCharacterReference, textEntityReference, unescapeAttribute } from "../../../src/text/html/Entities.ts"

describe("references in text follow Beautiful Soup", () => {
  it.each([
    ["amp", "&"],
    ["nbsp", "\u00a0"],
    ["NotEqualTilde", "\u2242\u0338"],
    ["copyright", "&copyright"],
    ["AMP", "&"],
    ["Amp", "&Amp"]
  ])("&%s", (name, text) => {
    expect(textEntityReference(name)).toBe(text)
  })

  it.each([
    ["65", "A"],
    ["x41", "A"],
    ["X1F600", "😀"],
    ["128", "€"],
    ["129", "\u0081"],
    ["0", "\ufffd"],
    ["13", "\r"],
    ["xD800", "\ufffd"],
    ["57343", "\ufffd"],
    ["xFDD0", "\ufdd0"],
    ["1114112", "\ufffd"],
    ["9".repeat(5000), "\ufffd"],
    [`${"0".repeat(5000)}65`, "A"]
  ])("&#%s", (name, text) => {
    expect(textCharacterReference(name)).toBe(text)
  })
})

describe("references in attributes follow html.unescape", () => {
  it.each([
    ["a&amp;b", "a&b"],
    ["a&ampb", "a&b"],
    ["&notit;", "¬it;"],
    ["&notin;", "∉"],
    ["&hellip", "&hellip"],
    ["&foo; & &;", "&foo; & &;"],
    ["&#128;&#x80", "€€"],
    ["&#0;&#xd800;&#x110000;", "\ufffd\ufffd\ufffd"],
    ["&#1;&#xffff;", ""],
    ["&#13;", "\r"],
    ["&#;", "&#;"]
  ])("%s", (written, read) => {
    expect(unescapeAttribute(written)).toBe(read)
  })
})
