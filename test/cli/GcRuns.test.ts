/** Records of runs go only when asked for, by the rules that are given, and `gc` says before how many could. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import type { RunRecord } from "../../src/store/RunLog.ts"
import { folder, recipe, start, words } from "./process.ts"

const home = folder()
const store = join(home.path, "store")
const gc = (...args: ReadonlyArray<string>) => start([words, "gc", ...args, "--store", store]).ended
const records = () => readdirSync(join(store, "runs")).sort()
let made = ""

/** 102 runs of January 2025 that made nothing, after one of 2024 that made what the store holds. */
beforeAll(async () => {
  await recipe(store)
  const [id = ""] = records()
  made = id
  const file = (of: string) => join(store, "runs", of, "run.json")
  const record = JSON.parse(readFileSync(file(id), "utf8")) as RunRecord
  writeFileSync(file(id), JSON.stringify({ ...record, startedMs: Date.UTC(2024, 0, 1) }))
  for (let i = 0; i < 102; i++) {
    const old = `20250101-000${String(i).padStart(3, "0")}-0000`
    mkdirSync(join(store, "runs", old))
    const startedMs = Date.UTC(2025, 0, 1) + i * 1000
    writeFileSync(file(old), JSON.stringify({ ...record, id: old, nodes: {}, startedMs, endedMs: startedMs + 1 }))
  }
}, 60_000)
afterAll(() => home.remove())

describe("gc and records of runs", () => {
  it("says how many could go, and --collect alone removes none", async () => {
    const { code, stdout } = await gc("--collect")
    expect(code).toBe(0)
    expect(stdout).toContain(
      "2 records of old runs could go too (older than 90 days, not among the 100 newest of a pipeline); gc --runs --collect removes them"
    )
    expect(records()).toHaveLength(103)
  })

  it("a rule without --runs is a mistake that is named", async () => {
    for (const [flag, value] of [
      ["--keep-last", "3"],
      ["--keep-days", "3"]
    ] as const) {
      const { code, stderr } = await gc(flag, value, "--collect")
      expect([code, stderr]).toEqual([2, expect.stringContaining(`${flag} says which records of runs stay`)])
    }
    expect((await gc("--runs", "--keep-last", "-1")).code).toBe(2)
    expect(records()).toHaveLength(103)
  })

  it("shows those that the rules let go, and removes them; what made a kept result stays", async () => {
    const shown = await gc("--runs")
    expect(shown.stdout.match(/^run .* run of words +\//gm)).toHaveLength(2)
    expect(shown.stdout).toContain("Nothing was removed; --collect does.")
    expect((await gc("--runs", "--keep-last", "3", "--keep-days", "1000000")).stdout).toContain("0 things could go")
    const removed = await gc("--runs", "--keep-last", "3", "--keep-days", "0.5", "--collect")
    expect([removed.code, removed.stdout]).toEqual([0, expect.stringMatching(/removed [1-9]/)])
    expect(records()).toEqual(["20250101-000099-0000", "20250101-000100-0000", "20250101-000101-0000", made])
    expect(existsSync(join(store, "entries"))).toBe(true)
    const again = await recipe(store)
    expect(again.stdout).toContain("0 nodes ran, 3 cached")
  })
})
