import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { DigestSet, digestOf } from "../../src/data/DigestSet.ts"

describe("DigestSet", () => {
  it.prop(
    "says of every text what a Set says",
    [Schema.Array(Schema.Union([Schema.String, Schema.Literals(["", "a", "b"])]))],
    ([texts]) => {
      const known = new Set<string>()
      const digests = new DigestSet()
      for (const text of texts) {
        const isNew = !known.has(text)
        known.add(text)
        expect(digests.has(digestOf(text))).toBe(!isNew)
        expect(digests.add(digestOf(text))).toBe(isNew)
        expect(digests.has(digestOf(text))).toBe(true)
      }
      expect(digests.size).toBe(known.size)
    }
  )

  it("keeps texts apart that differ in unpaired surrogates alone", () => {
    const texts = ["\ud800", "\ud802", "\udc00", "\ufffd", "a\ud800", "\ud800a", "\ud800\udc00"]
    expect(new Set(texts.map((text) => digestOf(text).join())).size).toBe(texts.length)
  })

  it("holds everything through many growths, in 30 bytes a digest", () => {
    const digests = new DigestSet()
    const rows = 100_000
    let added = 0
    for (let i = 0; i < rows; i++) if (digests.add(digestOf(`row ${i}`))) added++
    expect(added).toBe(rows)
    let found = 0
    for (let i = 0; i < 2 * rows; i++) if (digests.has(digestOf(`row ${i}`))) found++
    expect(found).toBe(rows)
    expect(digests.size).toBe(rows)
    expect(digests.bytes / rows).toBeGreaterThan(16)
    expect(digests.bytes / rows).toBeLessThan(31)
  })

  it("keeps digests apart that differ in one word, wherever they would stand", () => {
    const digests = new DigestSet()
    const words = (a: number, b: number, c: number, d: number) => Uint32Array.of(a, b, c, d)
    const last = 0xffffffff // the last place: the next one is the first
    const all = [
      words(1, 0, last, 0),
      words(2, 0, last, 0),
      words(1, 64, last, 0),
      words(1, 0, last, 1),
      words(1, 0, 0, 0)
    ]
    for (const one of all) expect(digests.add(one)).toBe(true)
    for (const one of all) expect(digests.add(one)).toBe(false)
    expect(digests.has(words(3, 0, last, 0))).toBe(false)
  })
})
