/** A card's `configs` are resolved as in `datasets`; unsupported ones are errors. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { splitsOfCard } from "../../src/data/DatasetCard.ts"
import { rowFilesOf } from "../../src/data/RowFolder.ts"
import { scratch } from "../nodes/support.ts"

const FILES = ["foo.jsonl", "bar.jsonl", "baz1.jsonl", "data/train-00000-of-00001.parquet", "data/en/x.parquet"]
const card = (configs: string) => `---\nlicense: mit\nconfigs:\n${configs}tags:\n- a: [1, 2]\n---\n# A data set\n`
const found = (configs: string) => splitsOfCard(card(configs), FILES)?.map(({ files, name }) => [name, files])

describe("splitsOfCard", () => {
  it("follows splits, lists of paths, patterns, and the default among several", () => {
    const two =
      "- config_name: default\n  data_files:\n  - split: train\n    path: foo.jsonl\n  - split: holdout\n    path:\n    - bar.jsonl\n    - 'baz*.jsonl'\n"
    const expected = [
      ["train", ["foo.jsonl"]],
      ["holdout", ["bar.jsonl", "baz1.jsonl"]]
    ]
    expect(found(two)).toEqual(expected)
    expect(found(two.replaceAll(/^/gm, "  ").trimEnd() + "\n")).toEqual(expected)
    expect(found(`- config_name: other\n  data_files: foo.jsonl\n${two}`)).toEqual(expected)
    expect(found("- config_name: x\n  data_files: foo.jsonl\n")).toEqual([["train", ["foo.jsonl"]]])
    expect(
      found("- config_name: x\n  data_files: a.jsonl\n- config_name: y\n  data_files: bar.jsonl\n  default: true\n")
    ).toEqual([["train", ["bar.jsonl"]]])
    expect(found("- config_name: x\n  data_files:\n  - split: train\n    path: data/train-*\n")).toEqual([
      ["train", ["data/train-00000-of-00001.parquet"]]
    ])
    expect(found('- config_name: x\n  data_files: "**/*.parquet"\n')).toEqual([["train", [...FILES.slice(3)].sort()]])
    expect(found("- config_name: x\n  data_files: data/**\n")).toEqual([["train", [...FILES.slice(3)].sort()]])
    for (const text of ["", "# no head", "---\nlicense: mit\n---\n"]) expect(splitsOfCard(text, FILES)).toBe(undefined)
  })

  it("says what it does not read", () => {
    const throws = (configs: string, message: string) => expect(() => found(configs)).toThrow(message)
    throws(
      "- config_name: a\n  data_files: foo.jsonl\n- config_name: b\n  data_files: bar.jsonl\n",
      "a, b, and no default"
    )
    throws("- config_name: a\n  data_dir: data\n", "no `data_files`")
    throws("- config_name: a\n  data_files: [foo.jsonl]\n", "[foo.jsonl]")
    throws("- config_name: a\n  data_files:\n  - split: train\n", "without paths")
    throws("- config_name: a\n  data_files: foo[0-9].jsonl\n", "foo[0-9].jsonl")
    throws("- config_name: a\n  data_files: hf://datasets/a/b.jsonl\n", "hf://")
    throws("- config_name: a\n  data_files: |\n    foo.jsonl\n", "|")
  })
})

it.effect("a folder's card goes before names, and one that is not read is an error", () =>
  Effect.gen(function* () {
    const folder = yield* scratch
    for (const name of ["foo.jsonl", "bar.jsonl"]) writeFileSync(join(folder, name), "{}\n")
    expect((yield* rowFilesOf(folder)).length).toBe(2)
    const two =
      "- config_name: default\n  data_files:\n  - split: train\n    path: foo.jsonl\n  - split: test\n    path: bar.jsonl\n"
    writeFileSync(join(folder, "README.md"), card(two))
    expect(yield* Effect.flip(rowFilesOf(folder))).toMatchObject({ reason: "several-splits" })
    expect(yield* rowFilesOf(folder, "test")).toEqual([join(folder, "bar.jsonl")])
    writeFileSync(join(folder, "README.md"), card("- config_name: a\n  data_dir: x\n"))
    const error = yield* Effect.flip(rowFilesOf(folder))
    expect(error.message).toContain("README.md")
  }).pipe(Effect.scoped)
)
