/** Which characters are printed and which are shown by number; the same holds for a line of JSON. */
import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { printable, printableLine } from "../../src/dag/Printable.ts"

/** Each, and both ends of ranges. */
const hidden = [
  ...Array.from({ length: 32 }, (_, code) => code).filter((code) => code !== 9 && code !== 10),
  ...Array.from({ length: 33 }, (_, i) => 0x7f + i),
  0xad,
  0x61c,
  0x180e,
  0x200b,
  0x200c,
  0x200d,
  0x200e,
  0x200f,
  0x2028,
  0x2029,
  0x202a,
  0x202b,
  0x202c,
  0x202d,
  0x202e,
  0x2060,
  0x2066,
  0x2067,
  0x2068,
  0x2069,
  0xfeff,
  0xfff9,
  0xd800,
  0xdbff,
  0xdc00,
  0xdfff,
  0xffff,
  0xe000
]

describe("printable text", () => {
  it("shows control characters, marks of direction, what is not seen and half surrogates by number", () => {
    for (const code of hidden)
      expect(printable(`a${String.fromCharCode(code)}b`)).toBe(`a\\u${code.toString(16).padStart(4, "0")}b`)
    expect(printable("\u{e0041}")).toBe("\\udb40\\udc41")
    expect(printable("\u001b]0;T\u0007")).toBe("\\u001b]0;T\\u0007")
  })

  it("is as it was where it is seen: scripts of all kinds, marks, emoji, mathematics, lines and tabs", () => {
    const text = "naïve Ünï 日本語 العربية עברית हिन्दी e\u0301 😀 ∑ € … ✓ “a” \u00a0\u3000\n\tb \\u001b"
    expect(printable(text)).toBe(text)
    expect(printableLine("a\r\n\tb\u2028c")).toBe("a b\\u2028c")
  })

  it.prop("of any text holds nothing else, and does not change again", [Schema.String], ([text]) => {
    const shown = printable(text)
    expect(shown).toMatch(/^[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Zs}\n\t]*$/u)
    expect(printable(shown)).toBe(shown)
    expect(printableLine(text)).not.toMatch(/[\r\n\t]/)
  })

  it.prop("of a line of JSON is a line of JSON that says the same", [Schema.Json], ([json]) => {
    const line = JSON.stringify(json)
    expect(JSON.parse(printable(line))).toEqual(JSON.parse(line))
  })

  it("of a line of JSON with each such character says the same", () => {
    const value = { [String.fromCharCode(...hidden)]: hidden.map((code) => String.fromCharCode(code)) }
    const line = printable(JSON.stringify(value))
    expect(line).toMatch(/^[ -~]*$/)
    expect(JSON.parse(line)).toEqual(value)
  })
})
