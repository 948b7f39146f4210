import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import llavaPhi from "../../pipelines/llava-phi.ts"
import { choose } from "../../src/cli/Choose.ts"
import { nodeTable, outputLines, planTable, runLine } from "../../src/cli/Report.ts"
import { empty, reduce } from "../../src/run/Progress.ts"
import { build } from "../../src/run/Recipe.ts"
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

it("the plan does not add rows of several outputs, which need not be alike", () => {
  const { nodes } = build(llavaPhi, { preset: "sample", settings: [], engine: "wasm" })
  const line = (id: string, status: "cached" | "run", rowsByPort: Readonly<Record<string, number>>) => {
    const rows = Object.values(rowsByPort).reduce((sum, count) => sum + count, 0)
    return { node: nodes.find((one) => one.id === id)!, status, because: [], rows, rowsByPort, bytes: 10 }
  }
  expect(
    planTable([
      line("pretrain/tokenizeImages", "run", { misnamed: 0, pixels: 849, rows: 849 }),
      line("sft/holdOut", "cached", { heldOut: 54, train: 1277 })
    ]).split("\n")
  ).toEqual([
    "node                     rows                               bytes  plan",
    "pretrain/tokenizeImages  ~849 rows, 849 pixels, 0 misnamed  ~10 B  will run",
    "sft/holdOut              1,277 + 54                         10 B   cached",
    "1 cached, 1 will run, 0 may run"
  ])
})

it("the node table names the two largest reasons and leaves sources out", () => {
  const end = { event: "node-end", at: 0, status: "ran", seconds: 1.25, rowsIn: 2000, rowsOut: 1990 } as const
  const view = [
    { ...end, node: "raw", kind: "source", refused: 0, refusedBy: {} } as const,
    { ...end, node: "clean", kind: "sharded", refused: 10, refusedBy: { A: 1, B: 6, C: 3 } } as const
  ].reduce(reduce, reduce(empty, { event: "node-start", at: 0, node: "sft", kind: "fold", because: [] }))
  expect(nodeTable(view).split("\n")).toEqual([
    "node   status      seconds  rows in  rows out  last loss  refused",
    "sft    unfinished  -        -        -         -          -",
    "clean  ran         1.3      2,000    1,990     -          10 (B 6, C 3, 1 more)"
  ])
})

it("the node table tells rows of several inputs apart, and calls the last step's loss that", () => {
  const end = { event: "node-end", at: 0, status: "ran", seconds: 1, rowsOut: 0, refused: 0, refusedBy: {} } as const
  const rowsInByPort = { data: 2697, heldOut: 113, images: 2750 }
  const view = [
    { event: "node-start", at: 0, node: "train", kind: "fold", because: [] } as const,
    { event: "node-progress", at: 0, node: "train", step: 1, metrics: { loss: 3 } } as const,
    { event: "node-progress", at: 0, node: "train", step: 2, metrics: { loss: 1 } } as const,
    { ...end, node: "train", kind: "fold", rowsIn: 5560, rowsInByPort } as const
  ].reduce(reduce, empty)
  expect(nodeTable(view).split("\n")).toEqual([
    "node   status  seconds  rows in                                rows out  last loss  refused",
    "train  ran     1.0      2,697 data, 113 heldOut, 2,750 images  0         1          0"
  ])
})

it("a run and its outputs in lines", () => {
  expect(runLine("completed", 1, 4, 250_000)).toBe("completed: 1 node ran, 4 cached, in 4m 10s")
  expect(outputLines({})).toEqual([])
  expect(outputLines({ model: { digest: "0123456789abcdef", path: "/s/m" } })[1]).toBe("model   0123456789ab  /s/m")
})
