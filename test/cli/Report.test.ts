import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { choose } from "../../src/cli/Choose.ts"
import { dropsTable, nodeTable, outputLines, planTable, quarantineText, runLine } from "../../src/cli/Report.ts"
import { empty, reduce } from "../../src/run/Progress.ts"
import words from "./fixtures/words.ts"

describe("the plan", () => {
  it.effect("says of each node whether it is cached, will run and why, or may run and when; and counts them", () =>
    Effect.gen(function* () {
      const { pipeline } = yield* choose(words, { preset: undefined, engine: undefined, settings: [] })
      const [made, shouted, trained] = pipeline.nodes
      expect(
        planTable([
          { node: made!, status: "cached", because: [], rows: 1200, bytes: 4096 },
          { node: shouted!, status: "run", because: ["parameter loudest 18 to 3", "code of a.ts changed"], rows: 1100 },
          { node: trained!, status: "maybe", because: ["if shout changes"], rows: 0, bytes: 52 }
        ]).split("\n")
      ).toEqual([
        "node   rows    bytes    plan",
        "words  1,200   4.0 KiB  cached",
        "shout  ~1,100           will run, because parameter loudest 18 to 3; code of a.ts changed",
        "train  -       ~52 B    may run, if shout changes",
        "1 cached, 1 will run, 1 may run"
      ])
    })
  )
})

it("the node table names the two largest reasons and leaves sources out", () => {
  const end = { event: "node-end", at: 0, status: "ran", seconds: 1.25, rowsIn: 2000, rowsOut: 1990 } as const
  const view = [
    { ...end, node: "raw", kind: "source", refused: 0, refusedBy: {} } as const,
    { ...end, node: "clean", kind: "sharded", refused: 10, refusedBy: { A: 1, B: 6, C: 3 } } as const
  ].reduce(reduce, reduce(empty, { event: "node-start", at: 0, node: "sft", kind: "fold", because: [] }))
  expect(nodeTable(view).split("\n")).toEqual([
    "node   status      seconds  rows in  rows out  loss  refused",
    "sft    unfinished  -        -        -         -     -",
    "clean  ran         1.3      2,000    1,990     -     10 (B 6, C 3, 1 more)"
  ])
})

it("a run and its outputs in lines", () => {
  expect(runLine("completed", 1, 4, 250_000)).toBe("completed: 1 node ran, 4 cached, in 4m 10s")
  expect(outputLines({})).toEqual([])
  expect(outputLines({ model: { digest: "0123456789abcdef", path: "/s/m" } })[1]).toBe("model   0123456789ab  /s/m")
})

it("drops stand by node, the most frequent reason first", () => {
  const drops = [
    { node: "clean", rowsIn: 1200, reason: "Dropped: TooShort", rows: 3 },
    { node: "clean", rowsIn: 1200, reason: "Dropped: BannedWord", rows: 60 },
    { node: "a", rowsIn: 0, reason: "X", rows: 0 }
  ]
  expect(dropsTable(drops).split("\n")).toEqual([
    "node   rows in  reason               refused  of its rows",
    "clean  1,200    Dropped: BannedWord  60       5.0 %",
    "                Dropped: TooShort    3        0.3 %",
    "a      0        X                    0        -"
  ])
  expect(dropsTable([])).toBe("no stored result refused a row")
})

it("a quarantine counts by reason and cuts long fields", () => {
  const rows = Array.from({ length: 3 }, (_, i) => ({
    shard: 0,
    refused: {
      row: i,
      reason: i === 0 ? "X" : "Dropped: TooShort",
      error: { _tag: "E", reason: "r", text: "a".repeat(500), n: 1, hint: `Mend ${i}.` }
    }
  }))
  const text = quarantineText("clean", rows, 1)
  expect(text.split("\n").slice(0, 4)).toEqual([
    "clean: 3 rows were refused",
    "reason             rows  hint",
    "Dropped: TooShort  2     Mend 1.",
    "X                  1     Mend 0."
  ])
  expect(text).toContain(`text=${"a".repeat(119)}… n=1`)
  expect(quarantineText("clean", [], 5)).toBe("clean: no row was refused")
})
