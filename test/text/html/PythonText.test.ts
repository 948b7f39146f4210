import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import {
  asciiDigits,
  codePointLength,
  isPythonSpace,
  pythonSpaceClass,
  rstrip,
  startsPrintable,
  strip
} from "../../../src/text/html/PythonText.ts"

describe("text as Python 3.11 sees it", () => {
  it("knows Python's 29 blanks, by function and by pattern", () => {
    const pattern = new RegExp(`[${pythonSpaceClass}]`)
    const found = Array.from({ length: 0x10000 }, (_, code) => code).filter(isPythonSpace)
    expect(found.length).toBe(29)
    expect(found.every((code) => pattern.test(String.fromCharCode(code)))).toBe(true)
    expect(isPythonSpace(0xfeff)).toBe(false)
    expect(strip("\u001c a \u3000")).toBe("a")
    expect(rstrip(" a\u0085")).toBe(" a")
  })

  it("calls printable what Unicode 14 assigned, blanks and controls apart", () => {
    expect(["a", " ", "é", "日", "😀"].every(startsPrintable)).toBe(true)
    expect(["", "\u0007", "\u00a0", "\u2028", "\u200b", "\ue000", "\ud800", "\u{1fae8}"].some(startsPrintable)).toBe(
      false
    )
  })

  it("reads the digits of every script, and leaves the rest", () => {
    expect(asciiDigits("x0\u0663\u096f\uff11\u{1d7d7}\u{1d7d8}²")).toBe("x039190²")
  })

  it.prop("counts code points", [Schema.String], ([text]) => {
    expect(codePointLength(text)).toBe(Array.from(text).length)
  })
})
