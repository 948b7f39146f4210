/** The fast tagger gives the labels of the plain one that trains it, whatever the words and weights. */

import { readFileSync } from "node:fs"
import { brotliCompressSync } from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { best, keysOfLine, wordOf } from "../../scripts/noun-phrases/reference.ts"
import { phraseWeights } from "../../src/text/NounPhrases.ts"
import { CONTINUES, keysOf, OUTSIDE, readWeights, type Weights } from "../../src/text/PhraseFeatures.ts"
import { tagger } from "../../src/text/PhraseTagger.ts"

const Word = Schema.Union([
  Schema.Literals([
    "a",
    "the",
    "red",
    "square",
    "march",
    "soldiers",
    "in",
    "of",
    "black",
    "and",
    "white",
    "photo",
    "left",
    ","
  ]),
  Schema.String
])
const sentences = Arbitrary.array(Arbitrary.schema(Word), { maxLength: 30 })

const plainly = (words: ReadonlyArray<string>, weights: Weights): Uint8Array => {
  const labels = new Uint8Array(words.length)
  const line = words.map((word) => wordOf(keysOf(word)))
  if (line.length > 0) best(line.length, keysOfLine(line), weights, labels)
  return labels
}
/** Weights for every key there can be: whole numbers, so that sums in any order are equal. */
const drawn = (seed: number): Weights => ({
  add: (key, scores, at) => {
    for (let label = 0; label < 3; label++)
      scores[at + label] = scores[at + label]! + (Math.imul(key ^ seed, 0x9e3779b1 + 2 * label) >> 25)
  }
})

describe("the noun-phrase tagger", () => {
  const shipped = readWeights(readFileSync(phraseWeights))
  for (const [name, weights] of [
    ["the shipped weights", shipped],
    ["made-up weights", drawn(5)]
  ] as const)
    it.prop(`agrees with the plain one on ${name}, caption after caption`, [sentences, sentences], ([one, other]) => {
      const fast = tagger(weights)
      for (const words of [one, other, one]) {
        const labels = fast.label(words).slice(0, words.length)
        expect([...labels]).toEqual([...plainly(words, weights)])
        labels.forEach((label, i) => {
          if (label === CONTINUES) expect(i === 0 ? OUTSIDE : labels[i - 1]).not.toBe(OUTSIDE)
        })
      }
    })

  it("forgets words when it has met too many, and says the same after", () => {
    const fast = tagger(shipped)
    const sentence = ["soldiers", "march", "past", "a", "red", "square"]
    const before = [...fast.label(sentence).slice(0, sentence.length)]
    for (let i = 0; i < 1010; i++) fast.label(Array.from({ length: 100 }, (_, j) => `w${i}x${j}`))
    expect([...fast.label(sentence).slice(0, sentence.length)]).toEqual(before)
    expect(before).toEqual([...plainly(sentence, shipped)])
  })

  it("reads weights back as they were written, and nothing for other keys", () => {
    const entries = [
      [7, 1, -2, 127],
      [2 ** 31 + 5, -127, 0, 3]
    ] as const
    const file = Buffer.alloc(4 + 7 * entries.length)
    file.writeUInt32LE(entries.length, 0)
    let last = 0
    entries.forEach(([key, ...bytes], i) => {
      file.writeUInt32LE(key - last, 4 + 4 * i)
      last = key
      for (const [label, byte] of bytes.entries()) file.writeInt8(byte, 4 + 4 * entries.length + 3 * i + label)
    })
    const weights = readWeights(brotliCompressSync(file))
    const scores = (key: number) => {
      const sum = new Float64Array(3)
      weights.add(key | 0, sum, 0)
      return [...sum]
    }
    for (const [key, ...bytes] of entries) expect(scores(key)).toEqual(bytes)
    for (const key of [0, 8, -1]) expect(scores(key)).toEqual([0, 0, 0])
  })
})
