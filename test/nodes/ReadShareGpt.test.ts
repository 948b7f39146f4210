/** A file of conversations is read element by element; what is no conversation is refused where it stands. */
import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/Alone.ts"
import { readShareGpt } from "../../src/nodes/ReadShareGpt.ts"
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
