/** A file of conversations is read element by element; other elements are refused with their position. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { readShareGpt } from "../../src/nodes/ReadShareGpt.ts"
import { duckDb } from "../data/DuckDb.ts"
import { scratch } from "./support.ts"

const read = Effect.fnUntraced(function* (text: string) {
  const file = join(yield* scratch, "rows.json")
  writeFileSync(file, text)
  return yield* Node.run(readShareGpt, { file }, { shardRows: 4 })
})
const good = (id: string) => `{"id":"${id}","conversations":[{"from":"human","value":"<p>Hi</p>"}]}`

describe("readShareGpt", () => {
  it.effect("keeps rows as found and refuses the others with their position", () =>
    Effect.gen(function* () {
      const { out, refused } = yield* read(
        `[${good("a")}, {"id":"b"}, 7, null, {"id":"c","conversations":[{"from":"gpt","value":null}]}, {bad}, ${good("d")},` +
          `{"id":9,"conversations":[],"plugins":["x"],"model":"m"}]`
      )
      expect(out.rows.map(({ id }) => id)).toEqual(["a", "d", "9"])
      expect(out.rows[0]!.conversations).toEqual([{ from: "human", value: "<p>Hi</p>" }])
      expect(out.rows[2]!.plugins).toEqual(["x"])
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual([
        [1, "BadRow"],
        [2, "BadRow"],
        [3, "BadRow"],
        [4, "BadRow"],
        [5, "BadJsonRow: syntax"]
      ])
    })
  )

  it.effect(
    "reads messages and other spellings, and refuses roles, tools, images and halves of characters by name",
    () =>
      Effect.gen(function* () {
        const said = (more: object = {}) => ({ messages: [{ role: "user", content: "Hi" }], ...more })
        const { out, refused } = yield* read(
          JSON.stringify([
            said({ id: "a" }),
            said(),
            { conversation_id: "c", conversation: [{ role: "assistant", content: [{ type: "text", text: "Hello" }] }] },
            { id: "d", conversations: [{ from: "tool", value: "{}" }] },
            said({ id: "e", tools: [{ name: "f" }] }),
            said({ id: "f", images: ["a.jpg"] }),
            said({ id: "g", video: "clip" }),
            { id: "h", conversations: [{ from: "human", value: "half \ud83d" }] },
            { conversations: [{ from: "human", value: "no id" }] },
            { id: "j", conversations: [{ from: "user", value: "Hi" }], plugins: ["#"] }
          ]).replace('"#"', "9007199254740993")
        )
        expect(out.rows).toEqual([
          { id: "a", conversations: [{ from: "human", value: "Hi" }] },
          { id: "row-1", conversations: [{ from: "human", value: "Hi" }] },
          { id: "c", conversations: [{ from: "gpt", value: "Hello" }] },
          { id: "j", conversations: [{ from: "human", value: "Hi" }], plugins: ["9007199254740993"] }
        ])
        expect(refused.map(({ reason, row }) => [row, reason])).toEqual([
          [3, "UnsupportedRow: role"],
          [4, "UnsupportedRow: tools"],
          [5, "UnsupportedRow: media"],
          [6, "UnsupportedRow: media"],
          [7, "UnsupportedRow: half-character"],
          [8, "BadRow"]
        ])
        const folder = yield* scratch
        writeFileSync(join(folder, "a.jsonl"), JSON.stringify(said({ id: "g", video: "clip" })))
        const kept = yield* Node.run(readShareGpt, { file: folder }, { shardRows: 4, ignore: ["video"] })
        expect(kept.out.rows.map(({ id }) => id)).toEqual(["g"])
      }).pipe(Effect.scoped)
  )

  const broken: ReadonlyArray<readonly [string, string, string]> = [
    ["an empty file", "", "empty"],
    ["an object", '{"rows":[]}', "not-an-array"],
    ["text", "hello", "not-an-array"],
    ["an array that is cut short", `[${good("a")}, {"id":"b"`, "truncated"],
    ["two arrays", `[${good("a")}] [1]`, "trailing"]
  ]
  for (const [what, text, reason] of broken)
    it.effect(`fails with a typed error on ${what}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(read(text))
        expect([error._tag, error.reason]).toEqual(["JsonError", reason])
        expect(error.path).toMatch(/rows\.json$/)
        expect(error.hint).not.toBe("")
      })
    )

  it.effect("fails with a typed error on a missing file, and reads an empty array", () =>
    Effect.gen(function* () {
      const missing = yield* Effect.flip(Node.run(readShareGpt, { file: "/nowhere/rows.json" }, { shardRows: 4 }))
      expect([missing._tag, missing.reason]).toEqual(["JsonError", "unreadable"])
      expect((yield* read("[]")).out.rows).toEqual([])
    })
  )
})

it.effect("an id that is null is none: the next key has it, or the row's number", () =>
  Effect.gen(function* () {
    const messages = [
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Hello" }
    ]
    const file = join(yield* scratch, "rows.json")
    writeFileSync(
      file,
      JSON.stringify([
        { id: null, conversation_id: "c", messages },
        { id: null, messages }
      ])
    )
    const { out } = yield* Node.run(readShareGpt, { file }, { shardRows: 4 })
    expect(out.rows.map(({ id }) => id)).toEqual(["c", "row-1"])
  }).pipe(Effect.scoped)
)

it.effect("a folder's files are read in name order, and rows count on from file to file", () =>
  Effect.gen(function* () {
    const folder = mkdtempSync(join(tmpdir(), "millrace-parts-"))
    const row = (id: string) => ({ id, conversations: [{ from: "human", value: "Hi" }] })
    writeFileSync(join(folder, "part2.json"), JSON.stringify([row("c"), { id: "d" }]))
    writeFileSync(join(folder, "part1.json"), JSON.stringify([row("a"), row("b")]))
    writeFileSync(join(folder, "notes.txt"), "not data")
    const { out, refused } = yield* Node.run(readShareGpt, { file: folder }, { shardRows: 8 })
    expect(out.rows.map((one) => one.id)).toEqual(["a", "b", "c"])
    expect(refused.map((one) => one.row)).toEqual([3])
    const empty = mkdtempSync(join(tmpdir(), "millrace-parts-"))
    expect((yield* Effect.flip(Node.run(readShareGpt, { file: empty }, { shardRows: 8 }))).reason).toBe("no-files")
  })
)

it.effect("a folder with rows that would be passed over is an error, and hidden files are nothing", () =>
  Effect.gen(function* () {
    const row = { id: "a", conversations: [] }
    const folderWith = (name: string) => {
      const folder = mkdtempSync(join(tmpdir(), "millrace-unread-"))
      writeFileSync(join(folder, "part1.json"), JSON.stringify([row]))
      mkdirSync(join(folder, "more"))
      writeFileSync(join(folder, name), JSON.stringify([row]))
      return folder
    }
    for (const name of ["part2.jsonl.xz", "part2.json.bz2", "PART2.JSON.XZ", "more/part2.json"]) {
      const error = yield* Effect.flip(Node.run(readShareGpt, { file: folderWith(name) }, { shardRows: 8 }))
      expect([error._tag, error.reason]).toEqual(["NoRowFiles", "unread"])
      expect(error.message).toContain(name)
    }
    for (const name of ["._part1.json", ".state.json", "README.md", "more/readme.txt"]) {
      const { out } = yield* Node.run(readShareGpt, { file: folderWith(name) }, { shardRows: 8 })
      expect(out.rows.length).toBe(1)
    }
  })
)

const copied = Effect.fnUntraced(function* (sql: string, name = "train-00000-of-00002.parquet") {
  const folder = yield* scratch
  const db = yield* duckDb
  yield* db.rows(`COPY (${sql}) TO '${join(folder, name)}' (FORMAT parquet)`)
  return folder
})

it.effect("Parquet as the hub serves it: rows as found, others refused with their position, parts counted on", () =>
  Effect.gen(function* () {
    const folder = yield* copied(`
      SELECT * FROM (VALUES
        ('a', [{'from': 'human', 'value': '<p>Hi</p>'}, {'from': 'gpt', 'value': 'Hello'}], 1.5, DATE '2023-04-01'),
        ('b', NULL, NULL, NULL),
        (NULL, [{'from': 'gpt', 'value': 'x'}], NULL, NULL),
        ('d', [{'from': 'gpt', 'value': NULL}], NULL, NULL),
        ('e', [], NULL, NULL)) t(id, conversations, score, date)`)
    const db = yield* duckDb
    yield* db.rows(`COPY (SELECT i AS id, [{'from': 'human', 'value': 'v' || i}] AS conversations, 'm' AS model
      FROM range(3) t(i)) TO '${join(folder, "train-00001-of-00002.parquet")}' (FORMAT parquet)`)
    const { out, refused } = yield* Node.run(readShareGpt, { file: folder }, { shardRows: 4 })
    expect(out.rows.map(({ conversations, id }) => [id, conversations.length])).toEqual([
      ["a", 2],
      ["e", 0],
      ["0", 1],
      ["1", 1],
      ["2", 1]
    ])
    expect(out.rows[0]!.conversations[0]).toEqual({ from: "human", value: "<p>Hi</p>" })
    expect(refused.map(({ reason, row }) => [row, reason])).toEqual([1, 2, 3].map((row) => [row, "BadRow"]))
    const one = join(folder, "train-00001-of-00002.parquet")
    expect((yield* Node.run(readShareGpt, { file: one }, { shardRows: 4 })).out.rows.length).toBe(3)
  }).pipe(Effect.scoped)
)

it.effect("integers of 64 bits keep their digits as ids, and in any column they cost nothing", () =>
  Effect.gen(function* () {
    const ids = ["9007199254740992", "9007199254740993", "18446744073709551615"]
    const folder = yield* copied(`
      SELECT * FROM (VALUES ${ids.map((id) => `(${id}::UBIGINT, [{'role': 'user', 'content': 'Hi'}], ${id}::HUGEINT - 9e18::HUGEINT * 2)`).join(", ")})
        t(id, messages, seed)`)
    const db = yield* duckDb
    yield* db.rows(`COPY (SELECT -9007199254740993::BIGINT AS id, [{'role': 'user', 'content': 'Hi'}] AS messages,
      9223372036854775807::BIGINT AS seed) TO '${join(folder, "train-00001-of-00002.parquet")}' (FORMAT parquet)`)
    const { out, refused } = yield* Node.run(readShareGpt, { file: folder }, { shardRows: 4 })
    expect(out.rows.map(({ id }) => id)).toEqual([...ids, "-9007199254740993"])
    expect(refused).toEqual([])
  }).pipe(Effect.scoped)
)

it.effect("fails with a typed error on other Parquet, on a damaged one, and on a folder of both kinds", () =>
  Effect.gen(function* () {
    const folder = yield* copied("SELECT 1 AS question, 2 AS answer", "other.parquet")
    const failing = (file: string) =>
      Effect.map(Effect.flip(Node.run(readShareGpt, { file }, { shardRows: 4 })), (error) => [error._tag, error.reason])
    expect(yield* failing(folder)).toEqual(["ParquetError", "no-column"])
    writeFileSync(join(folder, "other.parquet"), "PAR1 and then nothing")
    expect(yield* failing(join(folder, "other.parquet"))).toEqual(["ParquetError", "truncated"])
    writeFileSync(join(folder, "rows.json"), "[]")
    expect(yield* failing(folder)).toEqual(["NoRowFiles", "mixed"])
    expect(yield* failing(join(folder, "none.parquet"))).toEqual(["ParquetError", "unreadable"])
  }).pipe(Effect.scoped)
)
