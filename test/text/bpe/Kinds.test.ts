/** Small tokenizers of every byte-level kind give the ids and places of Hugging Face's `tokenizers`. */
import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { composed, placesOf } from "../../../src/text/bpe/Normal.ts"
import { fromTokenizerJson } from "../../../src/text/Tokenizer.ts"

interface Case {
  readonly ids: ReadonlyArray<number>
  readonly starts: ReadonlyArray<number>
  readonly ends: ReadonlyArray<number>
}
interface Golden {
  readonly texts: ReadonlyArray<string>
  readonly kinds: Readonly<Record<string, ReadonlyArray<Case>>>
  /** Ids of "a b" with what the post-processor puts around it. */
  readonly around: Readonly<Record<string, ReadonlyArray<number>>>
}
const folder = new URL("../../golden/tokenizer-kinds/", import.meta.url)
const read = (name: string): string => readFileSync(new URL(name, folder), "utf8")
const golden = JSON.parse(read("cases.json")) as Golden
const kinds = Object.keys(golden.kinds).map((name) => ({ name, tokenizer: fromTokenizerJson(read(`${name}.json`)) }))
const all = { allowSpecial: "all" } as const

/** Any well-formed text, with what breaks tokenizers more often than chance has it. */
const Atom = Schema.Union([
  Schema.Literals([
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\u0085",
    "\u00a0",
    "\ufeff",
    "'s",
    "'LL",
    "12",
    "½",
    "cat",
    "<l>",
    "<b> "
  ]),
  Schema.Literals([
    "e\u0301",
    "\u0301",
    "\u0345",
    "\u212b",
    "\u1100\u1161\u11a8",
    "\u{11382}",
    "\u1ae0",
    "😀",
    "👩‍👩‍👧",
    "𝟘"
  ]),
  Schema.String,
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0x10ffff }))
])
const text = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Atom), { maxLength: 16 }), (parts) =>
  parts
    .map((part) => (typeof part === "number" ? String.fromCodePoint(part) : part))
    .join("")
    .toWellFormed()
)

describe("tokenizers of every byte-level kind", () => {
  for (const { name, tokenizer } of kinds) {
    it(`${name}: the library's ids and places`, () => {
      for (const [i, text] of golden.texts.entries()) {
        const wanted = golden.kinds[name]![i]!
        const { ends, ids, starts } = tokenizer.encodeWithOffsets(text, all)
        expect([...ids], text).toEqual(wanted.ids)
        expect([...tokenizer.encode(text, all)], text).toEqual(wanted.ids)
        // Where the normalizer changed the text, the library leaves combined marks out of the places; see the next
        // test.
        if (name === "qwen2" && text !== text.normalize("NFC")) continue
        expect([[...starts], [...ends]], text).toEqual([wanted.starts, wanted.ends])
      }
    })

    it.prop(`${name}: ids stand for the text, and their places cover it`, [text], ([value]) => {
      const { ends, ids, starts } = tokenizer.encodeWithOffsets(value)
      expect(tokenizer.count(value)).toBe(ids.length)
      const back = tokenizer.decode(ids)
      if (name === "qwen2") expect(back).toBe(composed(value))
      else if (name === "added")
        expect(withoutBlanks(back)).toBe(withoutBlanks(value)) // blanks that a token took along
      else if (name === "digits-prefix")
        expect(withoutBlanks(back)).toBe(withoutBlanks(value)) // a space before each run
      else if (name === "roberta") expect([value, ` ${value}`]).toContain(back)
      else expect(back).toBe(value)
      let covered = 0
      for (let i = 0; i < ids.length; i++) {
        expect(starts[i]).toBeLessThanOrEqual(covered)
        expect(ends[i]).toBeGreaterThan(starts[i]!)
        covered = Math.max(covered, ends[i]!)
      }
      expect(covered).toBe(value.length)
    })

    it(`${name}: the post-processor's ids, when asked for`, () => {
      const { ends, ids, starts } = tokenizer.encodeWithOffsets("a b", { addSpecial: true })
      expect([...ids]).toEqual(golden.around[name])
      expect([...tokenizer.encode("a b", { addSpecial: true })]).toEqual(golden.around[name])
      expect(tokenizer.count("a b", { addSpecial: true })).toBe(ids.length)
      const inside = tokenizer.encode("a b").length
      const empty = ids.filter((_, i) => starts[i] === 0 && ends[i] === 0)
      expect(empty.length).toBe(ids.length - inside)
    })
  }
})

const withoutBlanks = (value: string): string => value.replaceAll(/[\s\u0085\u200b]/g, "")

describe("the composed form", () => {
  it.prop("is the engine's for characters that the tables know, and has a place for every unit", [text], ([value]) => {
    const made = composed(value)
    expect(composed(made)).toBe(made)
    const { ends, starts } = placesOf(value, 3)
    expect(starts.length).toBe(made.length)
    let covered = 3
    for (let i = 0; i < made.length; i++) {
      expect(starts[i]).toBeLessThanOrEqual(covered)
      covered = Math.max(covered, ends[i]!)
      expect(composed(value.slice(starts[i]! - 3, ends[i]! - 3))).toContain(made[i]!)
    }
    expect(covered).toBe(value.length + 3)
  })

  it("covers a mark that was combined, and leaves later characters as they are", () => {
    const qwen = kinds.find(({ name }) => name === "qwen2")!.tokenizer
    const { ends, ids, starts } = qwen.encodeWithOffsets("1e\u0301b")
    expect([qwen.decode(ids), starts[0], ends[0]]).toEqual(["1éb", 0, 1])
    expect([Math.min(...starts.subarray(1)), Math.max(...ends)]).toEqual([1, 4])
    for (let i = 1; i < ids.length - 1; i++) expect([starts[i], ends[i]]).toEqual([1, 3])
    expect(composed("e\u0301\u212b\u1100\u1161\u11a8")).toBe("éÅ각")
    // U+11382 and U+113C9 have combined since Unicode 16; U+0897 has moved before marks since then.
    expect(composed("\u{11382}\u{113c9}")).toBe("\u{11382}\u{113c9}")
    expect(composed("\u0301\u0897")).toBe("\u0301\u0897")
  })
})
