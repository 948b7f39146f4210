/**
 * A folder's rows are those of one split. Nothing is guessed: an ambiguous folder is an error with the names found.
 */
import { cpSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { tableFromArrays, tableToIPC } from "apache-arrow"
import { Effect, Stream } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { type RowFileOptions, readRowFiles } from "../../src/data/RowFiles.ts"
import { readInstructions } from "../../src/nodes/ReadLlava.ts"
import { readPope } from "../../src/nodes/ReadQuestionLines.ts"
import { readShareGpt } from "../../src/nodes/ReadShareGpt.ts"
import { scratch } from "../nodes/support.ts"

const saved = fileURLToPath(new URL("fixtures/saved", import.meta.url))

/** A folder of JSON lines: each file holds its own name. */
const folderOf = Effect.fnUntraced(function* (names: ReadonlyArray<string>) {
  const folder = yield* scratch
  for (const name of names) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), `${JSON.stringify({ name })}\n`)
  }
  return folder
})
const rowsOf = (path: string, wanted: RowFileOptions = {}) =>
  Effect.map(Stream.runCollect(readRowFiles(path, wanted)), (batches) =>
    batches.flatMap(({ rows }) => rows.map(({ value }) => value as { readonly name: string }))
  )
const namesIn = (path: string, split?: string) =>
  Effect.map(rowsOf(path, { split }), (rows) => rows.map(({ name }) => name))
const failing = (path: string, split?: string) =>
  Effect.map(
    Effect.flip(rowsOf(path, { split })),
    (error) => [error.reason, error.message.replace(path, ""), error.hint] as const
  )

describe("splits of a folder", () => {
  it.effect("fails with the names found where nothing chose, and reads the one that is chosen", () =>
    Effect.gen(function* () {
      const layouts = [
        ["train.jsonl", "test.jsonl", "dev.jsonl"],
        ["data/train-00000-of-00001.jsonl", "data/test-00000-of-00001.jsonl", "data/validation-00000-of-00001.jsonl"],
        ["train/a.jsonl", "test/a.jsonl", "my_val/a.jsonl"]
      ]
      for (const names of layouts) {
        const folder = yield* folderOf(names)
        const [reason, message, hint] = yield* failing(folder)
        expect(reason).toBe("several-splits")
        expect(message).toContain("train, validation, test")
        expect(hint).toContain("`split`")
        expect(yield* namesIn(folder, "train")).toEqual([names[0]])
        expect(yield* namesIn(folder, "validation")).toEqual([names[2]])
        expect((yield* failing(folder, "valid"))[0]).toBe("no-such-split")
      }
    }).pipe(Effect.scoped)
  )

  it.effect("neither capitals nor another format make a split for testing the one that is read", () =>
    Effect.gen(function* () {
      const capitals = yield* folderOf(["Train.jsonl", "TEST.jsonl"])
      const [reason, message] = yield* failing(capitals)
      expect([reason, message]).toEqual(["several-splits", expect.stringContaining("train, test")])
      expect((yield* namesIn(capitals, "train")).length).toBe(2)
      for (const names of [
        ["train.csv", "test.jsonl"],
        ["data/train/0.txt", "data/test/0.jsonl"]
      ]) {
        const folder = yield* folderOf(names)
        expect((yield* failing(folder)).slice(0, 2)).toEqual(["unread", expect.stringContaining(names[0]!)])
        expect(yield* namesIn(folder, "test")).toEqual([names[1]])
      }
      for (const names of [["Test.jsonl"], ["LLaVA_A.jsonl", "LLaVA_B.jsonl"], ["train.jsonl", "test.csv"]])
        expect(yield* namesIn(yield* folderOf(names))).toEqual(names.filter((name) => name.endsWith(".jsonl")))
    }).pipe(Effect.scoped)
  )

  it.effect("one split needs no choice, wherever it lies", () =>
    Effect.gen(function* () {
      for (const names of [
        ["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl"],
        ["data/en_gb-00000-of-00001.jsonl"],
        ["test/b/1.jsonl", "test/b/2.jsonl"],
        ["rows.jsonl", "rows2.jsonl"],
        ["rows/1.jsonl", "rows/2.jsonl"]
      ]) {
        expect(yield* namesIn(yield* folderOf(names))).toEqual(names)
      }
      expect(yield* namesIn(yield* folderOf(["rows.jsonl"]), "train")).toEqual(["rows.jsonl"])
    }).pipe(Effect.scoped)
  )

  it.effect("rows that would be passed over, or that may be of several data sets, are an error", () =>
    Effect.gen(function* () {
      const beside = yield* folderOf(["train.jsonl", "extra.jsonl"])
      expect((yield* failing(beside))[0]).toBe("unread")
      expect((yield* failing(beside))[1]).toContain("extra.jsonl")
      expect(yield* namesIn(beside, "train")).toEqual(["train.jsonl"])
      const several = yield* folderOf(["en/train-0.jsonl", "fr/train-0.jsonl"])
      expect((yield* failing(several))[0]).toBe("several-folders")
      expect((yield* failing(several, "train"))[1]).toContain("en, fr")
      expect((yield* failing(yield* folderOf(["rows.jsonl", "more/rows.jsonl"])))[0]).toBe("unread")
      expect((yield* failing(yield* folderOf(["train.jsonl", "train_2.jsonl.xz"])))[0]).toBe("unread")
      expect((yield* failing(yield* folderOf(["train.jsonl", "train-0.parquet"])))[0]).toBe("mixed")
      expect((yield* failing(yield* folderOf(["a.csv", ".x.jsonl", "dataset_info.json"])))[0]).toBe("no-files")
      expect((yield* failing(join(beside, "train.jsonl"), "train"))[0]).toBe("no-such-split")
    }).pipe(Effect.scoped)
  )

  it.effect("a repository in the hub's cache is its snapshot, whose files are links", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf(["blobs/1.jsonl", "blobs/2.jsonl"])
      const snapshot = (revision: string, to: string) => {
        mkdirSync(join(folder, "snapshots", revision, "data"), { recursive: true })
        symlinkSync(join(folder, to), join(folder, "snapshots", revision, "data/train-00000-of-00001.jsonl"))
      }
      snapshot("abc", "blobs/1.jsonl")
      expect(yield* namesIn(folder)).toEqual(["blobs/1.jsonl"])
      snapshot("def", "blobs/2.jsonl")
      expect((yield* failing(folder))[0]).toBe("several-folders")
      mkdirSync(join(folder, "refs"))
      writeFileSync(join(folder, "refs/main"), "def\n")
      expect(yield* namesIn(folder)).toEqual(["blobs/2.jsonl"])
    }).pipe(Effect.scoped)
  )

  it.effect("every reader of rows takes the choice", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      const turns = [
        { from: "human", value: "Hi" },
        { from: "gpt", value: "Hello" }
      ]
      for (const split of ["train", "test"]) {
        const row = { id: split, question_id: split, image: null, text: "Is it?", conversations: turns }
        writeFileSync(join(folder, `${split}.jsonl`), JSON.stringify(row))
      }
      const train = { shardRows: 4, split: "train" }
      const sharegpt = yield* Node.run(readShareGpt, { file: folder }, train)
      const instructions = yield* Node.run(readInstructions, { file: folder }, train)
      expect([sharegpt.out.rows, instructions.out.rows].map((rows) => rows.map(({ id }) => id))).toEqual([
        ["train"],
        ["train"]
      ])
      const pope = { shardRows: 4, category: "x", instruction: null }
      expect((yield* Effect.flip(Node.run(readPope, { file: folder }, pope)))._tag).toBe("NoRowFiles")
    }).pipe(Effect.scoped)
  )
})

describe("save_to_disk", () => {
  it.effect("is read with its splits, ids with all their digits", () =>
    Effect.gen(function* () {
      const ids = (path: string, split?: string) =>
        Effect.map(
          Node.run(readShareGpt, { file: path }, split === undefined ? { shardRows: 4 } : { shardRows: 4, split }),
          ({ out }) => out.rows.map(({ conversations, id }) => [id, conversations[0]!.value])
        )
      const train = [0, 1, 2].map((i) => [String(9007199254740992n + BigInt(i)), `train ${i}?`])
      expect(yield* ids(saved, "train")).toEqual(train)
      expect(yield* ids(join(saved, "train"))).toEqual(train)
      expect(yield* ids(join(saved, "train/data-00000-of-00001.arrow"))).toEqual(train)
      expect((yield* ids(saved, "test")).length).toBe(2)
      const [reason, message] = yield* failing(saved)
      expect([reason, message]).toEqual([
        "several-splits",
        ": it has the splits train, test, and nothing says which is meant"
      ])
    })
  )

  it.effect("a file that is cut short, a state that lies and a selection of rows are errors", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      const fresh = (name: string) => {
        cpSync(join(saved, "train"), join(folder, name), { recursive: true })
        return join(folder, name)
      }
      const cut = fresh("cut")
      const file = join(cut, "data-00000-of-00001.arrow")
      truncateSync(file, readFileSync(file).length - 8)
      expect((yield* failing(cut))[0]).toBe("truncated")
      const noise = Buffer.from(readFileSync(join(saved, "train/data-00000-of-00001.arrow")))
      writeFileSync(file, noise.fill(7, 40, 400))
      expect((yield* failing(cut))[0]).toBe("damaged")
      const state = (name: string, more: object) => {
        const path = fresh(name)
        const own = JSON.parse(readFileSync(join(path, "state.json"), "utf8"))
        writeFileSync(join(path, "state.json"), JSON.stringify({ ...own, ...more }))
        return path
      }
      expect((yield* failing(state("out", { _data_files: [{ filename: "../x.arrow" }] })))[0]).toBe("damaged")
      expect((yield* failing(state("some", { _indices_data_files: [{ filename: "indices.arrow" }] })))[0]).toBe(
        "unread"
      )
      expect((yield* failing(state("named", { _split: "train" }), "test"))[0]).toBe("no-such-split")
      const other = join(folder, "other.arrow")
      writeFileSync(other, tableToIPC(tableFromArrays({ a: Int32Array.of(1) }), "file"))
      expect(yield* Effect.map(rowsOf(other), (rows) => rows)).toEqual([{ a: 1 }])
      const none = yield* Effect.flip(rowsOf(other, { columns: ["b"] }))
      expect(none.reason).toBe("no-column")
    }).pipe(Effect.scoped)
  )
})
