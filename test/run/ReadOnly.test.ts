/** Stored inputs are read-only: whatever a node does to them ends it, and nothing later reads what it left. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Cause, Effect, Exit, Result, Schema } from "effect"
import { expect, it } from "vitest"
import { Node, rows, tree, value, whole } from "../../src/dag/index.ts"
import meddling, { modes } from "./fixtures/meddling.ts"
import { type RunSpec, reportExit, runOnce } from "./fixtures/RunOnce.ts"
import { freshFolder } from "./Harness.ts"

const url = new URL("./fixtures/meddling.ts", import.meta.url).href
const runs = async (store: string, preset: string, options: RunSpec["options"] = {}) => {
  const { exit, events } = await Effect.runPromise(runOnce(meddling, url, { store, choice: { preset }, options }))
  return { ...reportExit(exit), events }
}
const fileOf = (files: string | undefined) => join(files!, "a.txt")

for (const mode of Object.keys(modes))
  it(`a node that ${mode}`, async () => {
    const store = freshFolder()
    const told = await runs(store, mode)
    if (mode === "nothing" || mode === "touches") {
      expect(told).toMatchObject({ status: "completed", values: { sum: 41 } })
      return
    }
    expect(told.error).toMatchObject({ tag: "NodeFailed", node: "meddles" })
    expect(told.error?.message).toContain("stored inputs were changed while it ran")
    expect(told.error?.message).toMatch(/files\/(a\.txt|cache\.json)|lines\/00000/)
    expect(told.error?.hint).toContain("Inputs are read-only")
    // What reads it next gets what was made, and an equal folder.
    const next = await runs(store, "reads")
    expect(next).toMatchObject({ status: "completed", values: { sum: 41 } })
    expect(readdirSync(next.outputs!["files"]!.path)).toEqual(["a.txt"])
  })

it("stored files cannot be written to", async () => {
  const told = await runs(freshFolder(), "made")
  expect(statSync(fileOf(told.outputs!["files"]!.path)).mode & 0o777).toBe(0o444)
  const shards = join(told.outputs!["files"]!.path, "../lines")
  for (const name of readdirSync(shards)) expect(statSync(join(shards, name)).mode & 0o777).toBe(0o444)
})

it("a file of a tree that was changed meanwhile is made again before a node gets its path", async () => {
  const store = freshFolder()
  const first = await runs(store, "made")
  const path = fileOf(first.outputs!["files"]!.path)
  chmodSync(path, 0o644)
  writeFileSync(path, "66") // of equal size
  const told = await runs(store, "reads")
  const notices = told.events.flatMap((event) => (event.event === "notice" ? [`${event.node}: ${event.message}`] : []))
  expect(notices).toEqual([
    "made: damaged in the store: files/a.txt; reads met it, and it is made again",
    "made: files/a.txt came out as before; reads starts again"
  ])
  expect(told).toMatchObject({ status: "completed", values: { sum: 41 } })
})

it("Node.run gives copies of rows and values, and sees what happens to files", async () => {
  const Lines = rows("lines", Schema.Struct({ n: Schema.Number, more: Schema.Array(Schema.Number) }))
  const V = value("v", Schema.Struct({ n: Schema.Number }))
  const Files = tree("files")
  const folder = mkdtempSync(join(freshFolder(), "in-"))
  writeFileSync(join(folder, "a.txt"), "41")
  const meddler = whole(
    {
      id: "meddler",
      version: "1",
      params: Schema.Struct({ write: Schema.Boolean }),
      inputs: { lines: Lines, v: V, files: Files },
      outputs: { n: value("n", Schema.Number) }
    },
    ({ inputs, params }) =>
      Effect.map(inputs.lines.get([0]), ([row]) => {
        ;(row as { n: number }).n = 99
        ;(row!.more as Array<number>).push(99)
        ;(inputs.v as { n: number }).n = 99
        if (params.write) writeFileSync(join(inputs.files.path, "a.txt"), "66")
        return { n: Effect.succeed(0) }
      })
  )
  const lines = [{ n: 1, more: [1] }]
  const v = { n: 1 }
  await Effect.runPromise(Node.run(meddler, { lines, v, files: folder }, { write: false }))
  expect([lines, v]).toEqual([[{ n: 1, more: [1] }], { n: 1 }])
  const exit = await Effect.runPromiseExit(Node.run(meddler, { lines, v, files: folder }, { write: true }))
  const error = Exit.isFailure(exit) ? Result.getOrThrow(Cause.findDefect(exit.cause)) : undefined
  expect(error).toMatchObject({ _tag: "WrongResult", node: "meddler", message: expect.stringContaining("it changed") })
  expect(readFileSync(join(folder, "a.txt"), "utf8")).toBe("66")
})
