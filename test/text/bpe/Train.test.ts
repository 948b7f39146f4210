import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { trainBpe } from "../../../src/text/bpe/Train.ts"
import { fromTokenizerJson } from "../../../src/text/Tokenizer.ts"

const texts = ["low low low low low", "lower lower newest newest newest", "newest newest newest widest widest widest"]

interface File {
  readonly model: { readonly vocab: Readonly<Record<string, number>>; readonly merges: ReadonlyArray<string> }
}

describe("trainBpe", () => {
  it("merges the most frequent pair first, of equals the one of smaller ids", () => {
    const { model } = trainBpe(texts, { vocabSize: 262, specialTokens: ["<|endoftext|>"] }) as File
    // Counted by hand: "es" and "st" 9 times each, "est" 9, "lo" and "ow" 7, "low" 7, "ew" and the like 6.
    expect(model.merges).toEqual(["e s", "es t", "l o", "lo w", "e w"])
    expect(model.vocab["<|endoftext|>"]).toBe(0)
    expect(model.vocab["!"]).toBe(1)
    expect(model.vocab["es"]).toBe(257)
  })

  it("does not depend on the order of the texts", () => {
    const options = { vocabSize: 300 }
    expect(trainBpe([...texts].reverse(), options)).toEqual(trainBpe(texts, options))
  })

  it("stops when no pair is frequent enough, and refuses a vocabulary smaller than the alphabet", () => {
    const { model } = trainBpe(["abc"], { vocabSize: 1000 }) as File
    expect(model.merges).toEqual([])
    expect(() => trainBpe(texts, { vocabSize: 256, specialTokens: ["<eos>"] })).toThrow(RangeError)
  })

  it.prop("makes tokenizers that lose nothing", [Schema.Array(Schema.String)], ([values]) => {
    const tokenizer = fromTokenizerJson(trainBpe(values, { vocabSize: 400, minFrequency: 1 }))
    for (const value of values) expect(tokenizer.decode(tokenizer.encode(value))).toBe(value.toWellFormed())
  })
})
