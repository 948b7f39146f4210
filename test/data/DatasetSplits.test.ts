/**
 * Splits are those that Hugging Face `datasets` finds: `fixtures/splits.json` is what it said of 300 random folders.
 */
import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { isData, splitsOf } from "../../src/data/DatasetSplits.ts"

interface Golden {
  readonly cases: ReadonlyArray<{
    readonly files: ReadonlyArray<string>
    readonly splits: Readonly<Record<string, ReadonlyArray<string>>>
  }>
}
const golden: Golden = JSON.parse(readFileSync(new URL("fixtures/splits.json", import.meta.url), "utf8"))

const word = Arbitrary.schema(
  Schema.Literals(["train", "val", "test", "data", "dev", "rows", ".x", "__y", "part-00000-of-00001"])
)
const files = Arbitrary.map(
  Arbitrary.array(
    Arbitrary.all([
      Arbitrary.array(word, { minLength: 1, maxLength: 3 }),
      Arbitrary.schema(Schema.Literals([".jsonl", "_1.parquet"]))
    ]),
    { minLength: 1, maxLength: 6 }
  ),
  (all) => [...new Set(all.map(([parts, end]) => parts.join("/") + end))]
)

describe("splitsOf", () => {
  it("finds the splits and files that `datasets` finds, in 300 random folders", () => {
    expect(golden.cases.length).toBe(300)
    expect(golden.cases.filter(({ splits }) => Object.keys(splits).length > 1).length).toBeGreaterThan(50)
    for (const { files, splits } of golden.cases) {
      const found = splitsOf(files).splits.map(({ files, name }) => [name, files])
      expect({ files, splits: found }).toEqual({ files, splits: Object.entries(splits) })
    }
  })

  it.prop("puts every file of data into a split, or says that it is in none", [files], ([files]) => {
    const { left, splits } = splitsOf(files)
    const placed = new Set([...left, ...splits.flatMap((split) => split.files)])
    expect([...placed].sort()).toEqual(files.filter(isData).sort())
    expect(splits.flatMap((split) => split.files).filter((file) => left.includes(file))).toEqual([])
    for (const { bases, files } of splits) {
      for (const file of files) expect(bases.some((base) => base === "" || file.startsWith(`${base}/`))).toBe(true)
    }
  })
})
