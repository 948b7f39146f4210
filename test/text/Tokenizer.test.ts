import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { fromTokenizerJson, LLAVA_TOKENS, phi2, type Tokenizer, TokenizerJsonError } from "../../src/text/Tokenizer.ts"

const golden: ReadonlyArray<{ text: string; ids: ReadonlyArray<number> }> = JSON.parse(
  readFileSync(new URL("../golden/tokenizer/cases.json", import.meta.url), "utf8")
)

const base = phi2()
const llava = phi2({ extra: LLAVA_TOKENS })
const exported = fromTokenizerJson(llava.json())

/** Text of the kind that breaks tokenizers: white space of all sorts, controls, emoji, contractions, any character. */
const Atom = Schema.Union([
  Schema.Literals([" ", "  ", "\t", "\t\t\t", "\n", "\r\n", "\u0085", "\u00a0", "\u3000", "\ufeff", "\u2028"]),
  Schema.Literals(["hello", " world", "'s", "'LL", "I'll", "<|endoftext|>", "<image>", "😀", "👩‍👩‍👧", "é", "½", "٣"]),
  Schema.String,
  // Schema's own strings are ASCII in the main: any code point of any plane, assigned or not.
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0x10ffff }))
])
const text = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Atom), { maxLength: 24 }), (parts) =>
  parts.map((part) => (typeof part === "number" ? String.fromCodePoint(part) : part)).join("")
)
const wellFormed = Arbitrary.map(text, (value) => value.toWellFormed())

describe("phi2", () => {
  it("gives the reference tokenizer's ids on every golden case", () => {
    for (const { ids, text } of golden) expect([...base.encode(text, { allowSpecial: "all" })], text).toEqual(ids)
  })

  it("has 50,295 tokens, and names LLaVA's two at free rows", () => {
    expect(base.vocabSize).toBe(50295)
    expect(llava.vocabSize).toBe(50297)
    expect(llava.tokenToId("<image>")).toBe(50295)
    expect(llava.idToToken(50296)).toBe("<pad>")
    expect([base.tokenToId("Ġthe"), base.idToToken(262)]).toEqual([262, "Ġthe"])
    expect([base.idToToken(50257), base.tokenToId("no such token")]).toEqual([" ".repeat(31), undefined])
    expect(() => phi2({ extra: { "<image>": 50256 } })).toThrow(TokenizerJsonError)
  })

  it.prop("never turns data into a control token unless asked", [wellFormed], ([value]) => {
    const control = new Set(llava.specialTokens.values())
    expect(llava.encode(value).some((id) => control.has(id))).toBe(false)
  })

  it("takes control tokens from text when asked", () => {
    const ids = [...llava.encode("<image>a<|endoftext|>", { allowSpecial: "all" })]
    expect(ids).toEqual([50295, 64, 50256])
    expect(llava.decode(ids)).toBe("<image>a<|endoftext|>")
    expect(llava.decode(ids, { skipSpecial: true })).toBe("a")
  })
})

describe("every tokenizer", () => {
  for (const [name, tokenizer] of Object.entries({ base, llava, exported })) {
    it.prop(`${name}: decoding gives back any well-formed text`, [wellFormed], ([value]) => {
      expect(tokenizer.decode(tokenizer.encode(value))).toBe(value)
      expect(tokenizer.decode(tokenizer.encode(value, { allowSpecial: "all" }))).toBe(value)
    })
  }

  it.prop("is exported so that it reads back the same", [text], ([value]) => {
    expect(exported.encode(value)).toEqual(llava.encode(value))
    expect(exported.encode(value, { allowSpecial: "all" })).toEqual(llava.encode(value, { allowSpecial: "all" }))
  })

  it.prop("places tokens so that they cover the text in order, whole characters each", [text], ([value]) => {
    const { ends, ids, starts } = base.encodeWithOffsets(value)
    expect(ids).toEqual(base.encode(value))
    expect(base.count(value)).toBe(ids.length)
    let covered = 0
    for (let i = 0; i < ids.length; i++) {
      expect(starts[i]).toBeLessThanOrEqual(covered)
      expect(ends[i]).toBeGreaterThan(starts[i]!)
      expect(ends[i]).toBeGreaterThanOrEqual(covered)
      covered = ends[i]!
      const part = value.slice(starts[i], ends[i]).toWellFormed()
      const decoded = base.decode([ids[i]!])
      if (!decoded.includes("\ufffd")) expect(decoded).toBe(part)
    }
    expect(covered).toBe(value.length)
  })

  it("gives tokens that split a character its whole range", () => {
    const { ends, ids, starts } = base.encodeWithOffsets("a😀")
    expect(ids.length).toBeGreaterThan(2)
    expect([...starts]).toEqual([0, ...Array(ids.length - 1).fill(1)])
    expect([...ends]).toEqual([1, ...Array(ids.length - 1).fill(3)])
  })

  it("encodes a lone surrogate as the replacement character", () => {
    expect(base.decode(base.encode("a\ud800b"))).toBe("a\ufffdb")
  })

  it("takes one piece of half a megabyte and keeps giving the same ids when its memory turns over", () => {
    const long = "ab".repeat(1 << 18) // a quadratic merge would run into the suite's limit
    expect(base.decode(base.encode(long))).toBe(long)
    const probe = "The quick brown fox"
    const before = base.encode(probe)
    for (let i = 0; i < 300_000; i++) base.count(`x${i.toString(36)}`)
    expect(base.encode(probe)).toEqual(before)
  })
})

/** A byte-level tokenizer.json with few merges, to vary. */
const small = (change: object, model: object = {}): object => {
  const parsed = JSON.parse(llava.json())
  const vocab = Object.fromEntries(Object.entries<number>(parsed.model.vocab).filter(([, id]) => id < 256))
  const merged = { ...vocab, Ġa: 256, Ġab: 257 }
  const rules = { vocab: merged, merges: ["Ġ a", ["Ġa", "b"]], ...model }
  return { ...parsed, added_tokens: [], ...change, model: { ...parsed.model, ...rules } }
}

const names = (tokenizer: Tokenizer, value: string, allowSpecial: "none" | "all" = "none"): ReadonlyArray<string> =>
  Array.from(tokenizer.encode(value, { allowSpecial }), (id) => tokenizer.idToToken(id)!)

describe("fromTokenizerJson", () => {
  it("reads merges written as strings and as pairs", () => {
    expect(names(fromTokenizerJson(small({})), "b ab")).toEqual(["b", "Ġab"])
  })

  it("leaves text uncut without the pattern, and cuts by a Split step's own", () => {
    const merges = { merges: ["b a"], vocab: { ...(small({}) as { model: { vocab: object } }).model.vocab, ba: 258 } }
    const uncut = { pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: false } }
    expect(names(fromTokenizerJson(small(uncut, merges)), "b.ba")).toEqual(["b", ".", "ba"])
    const split = { type: "Split", pattern: { Regex: "[ab]|\\s+(?!\\S)" }, behavior: "Isolated", invert: false }
    const sequence = { pre_tokenizer: { type: "Sequence", pretokenizers: [split, uncut.pre_tokenizer] } }
    expect(names(fromTokenizerJson(small(sequence, merges)), "ba")).toEqual(["b", "a"])
  })

  it("takes a whole piece's token when merges are to be ignored", () => {
    const vocab = { ...(small({}) as { model: { vocab: object } }).model.vocab, xyz: 258 }
    expect(names(fromTokenizerJson(small({}, { vocab, ignore_merges: true })), "xyz")).toEqual(["xyz"])
    expect(names(fromTokenizerJson(small({}, { vocab })), "xyz")).toEqual(["x", "y", "z"])
  })

  it("honours single_word, lstrip and rstrip", () => {
    const flags = { lstrip: false, rstrip: false, single_word: false, normalized: false, special: false }
    const added = [
      { ...flags, id: 300, content: "<l>", lstrip: true },
      { ...flags, id: 301, content: "<r>", rstrip: true },
      { ...flags, id: 302, content: "cat", single_word: true }
    ]
    const tokenizer = fromTokenizerJson(small({ added_tokens: added }))
    expect(names(tokenizer, "b  <l>b")).toEqual(["b", "<l>", "b"])
    expect(names(tokenizer, "b<r> \n b")).toEqual(["b", "<r>", "b"])
    expect(names(tokenizer, "a cat")).toEqual(["a", "Ġ", "cat"])
    expect(names(tokenizer, "cats")).toEqual(["c", "a", "t", "s"])
  })

  it("says of other kinds of tokenizers what they are", () => {
    const said = (source: object): string => {
      try {
        fromTokenizerJson(source)
      } catch (error) {
        if (error instanceof TokenizerJsonError) return `${error.message}. ${error.hint}`
      }
      return "read"
    }
    // Other kinds have other fields; their kind is named all the same.
    const wordPiece = { model: { type: "WordPiece", vocab: { a: 0 } } }
    expect(said(wordPiece)).toMatch(/^model WordPiece is not BPE/)
    expect(said({ model: { type: "Unigram", vocab: [["a", 0]] } })).toMatch(/^model Unigram is not BPE/)
    expect(said({ model: { type: "WordLevel", vocab: {} } })).toMatch(/^model WordLevel is not BPE/)
    expect(said(small({}, { byte_fallback: true }))).toContain("as SentencePiece spells")
    expect(said(small({ pre_tokenizer: { type: "Metaspace", replacement: "▁" } }))).toContain("as SentencePiece spells")
    expect(said(small({ normalizer: { type: "Prepend", prepend: "▁" } }))).toContain("NFC alone")
    const removed = { type: "Split", pattern: { String: " " }, behavior: "Removed", invert: false }
    expect(said(small({ pre_tokenizer: removed }))).toMatch(/^a Split step with behavior Removed/)
  })

  it("refuses an unknown post-processor only where its ids are asked for", () => {
    const tokenizer = fromTokenizerJson(small({ post_processor: { type: "Another" } }))
    expect(names(tokenizer, "b")).toEqual(["b"])
    expect(() => tokenizer.encode("b", { addSpecial: true })).toThrow(TokenizerJsonError)
  })

  it("refuses what it could not reproduce exactly", () => {
    const refused: ReadonlyArray<string | object> = [
      "{",
      "version https://git-lfs.github.com/spec/v1",
      {},
      small({ normalizer: { type: "NFKC" } }),
      small({ normalizer: { type: "Sequence", normalizers: [{ type: "NFC" }, { type: "Lowercase" }] } }),
      small({ pre_tokenizer: null }),
      small({ pre_tokenizer: { type: "Digits", individual_digits: true } }),
      small({
        pre_tokenizer: {
          type: "Sequence",
          pretokenizers: [{ type: "ByteLevel", add_prefix_space: false }, { type: "Digits" }]
        }
      }),
      small({ pre_tokenizer: { type: "Whitespace" } }),
      small({}, { type: "Unigram" }),
      small({}, { byte_fallback: true }),
      small({}, { merges: ["a b c"] }),
      small({}, { merges: ["q q"] }),
      small({}, { vocab: { a: 0 } })
    ]
    for (const source of refused) expect(() => fromTokenizerJson(source)).toThrow(TokenizerJsonError)
  })
})
