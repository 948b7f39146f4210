/** A tokenizer.json with an unknown field is refused, and the error names the field. */
import { readFileSync } from "node:fs"
import { expect, it } from "@effect/vitest"
import { fromTokenizerJson } from "../../../src/text/Tokenizer.ts"

const file = JSON.parse(readFileSync(new URL("../../golden/tokenizer-kinds/gpt2.json", import.meta.url), "utf8"))

for (const part of [[], ["model"], ["pre_tokenizer"], ["decoder"]])
  it(`in ${part[0] ?? "tokenizer.json"}`, () => {
    const changed = (value: unknown) => {
      const copy = structuredClone(file)
      ;(part.length === 0 ? copy : copy[part[0]!]).new_thing = value
      return copy
    }
    for (const value of [1, true, "x", { a: 1 }])
      expect(() => fromTokenizerJson(changed(value))).toThrow(/has the field new_thing, which is not known here/)
    for (const value of [null, false]) expect(fromTokenizerJson(changed(value)).vocabSize).toBeGreaterThan(256)
  })

it("and a decoder that would write other text too", () => {
  expect(() => fromTokenizerJson({ ...file, decoder: { type: "Metaspace" } })).toThrow(/decoder Metaspace/)
  expect(fromTokenizerJson({ ...file, decoder: null }).vocabSize).toBeGreaterThan(256)
})
