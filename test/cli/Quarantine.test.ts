import { expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import llavaPhi from "../../pipelines/llava-phi.ts"
import { dropsTable, quarantineText, rowsIn, viewQuarantine } from "../../src/cli/Quarantine.ts"
import { dropsOf } from "../../src/cli/Stored.ts"
import { build } from "../../src/run/Recipe.ts"
import type { Manifest } from "../../src/store/Manifest.ts"
import { Store } from "../../src/store/Store.ts"

it.effect("a quarantine counts by reason, shows the first rows and cuts long fields", () =>
  Effect.gen(function* () {
    const rows = Array.from({ length: 3 }, (_, i) => ({
      shard: 0,
      refused: {
        row: i,
        reason: i === 0 ? "X" : "Dropped: TooShort",
        error: { _tag: "E", reason: "r", text: "a".repeat(500), n: 1, hint: `Mend ${i}.` }
      }
    }))
    const view = yield* viewQuarantine(Stream.fromIterable(rows), 1)
    expect(view.first).toEqual(rows.slice(0, 1))
    expect(rowsIn(view)).toBe(3)
    const text = quarantineText("clean", view)
    expect(text.split("\n").slice(0, 4)).toEqual([
      "clean: 3 rows were refused",
      "reason             rows  hint",
      "Dropped: TooShort  2     Mend 1.",
      "X                  1     Mend 0."
    ])
    expect(text).toContain(`text=${"a".repeat(119)}… n=1`)
    expect(text).toContain("and 2 more (--limit 3)")
    expect(quarantineText("clean", yield* viewQuarantine(Stream.empty, 5))).toBe("clean: no row was refused")
  })
)

it("drops stand by node, the most frequent reason first", () => {
  const drops = [
    { node: "clean", rowsIn: 1200, reason: "Dropped: TooShort", rows: 3 },
    { node: "clean", rowsIn: 1200, reason: "Dropped: BannedWord", rows: 60 },
    { node: "a", rowsIn: 0, reason: "X", rows: 0 },
    { node: "evaluate", rowsInByPort: { questions: 1200, pictured: 300, pixels: 300 }, reason: "NoTruth", rows: 12 },
    { node: "gone", reason: "NoTruth", rows: 1 }
  ]
  expect(dropsTable(drops).split("\n")).toEqual([
    "node      rows in                                    reason               refused  of its rows",
    "clean     1,200                                      Dropped: BannedWord  60       5.0 %",
    "                                                     Dropped: TooShort    3        0.3 %",
    "a         0                                          X                    0        -",
    "evaluate  1,200 questions, 300 pictured, 300 pixels  NoTruth              12       -",
    "gone      -                                          NoTruth              1        -"
  ])
  expect(dropsTable([])).toBe("no stored result refused a row")
})

it.effect("a share is of the rows of one input, and left out where a node reads several whole", () =>
  Effect.gen(function* () {
    const { nodes } = build(llavaPhi, { preset: "sample", settings: [], engine: "wasm" })
    const drops = (id: string, manifest: object) =>
      dropsOf(nodes.find((one) => one.id === id)!, {
        refused: { R: 2 },
        rowsIn: 50,
        ...manifest
      } as unknown as Manifest)
    const one = { reason: "R", rows: 2 }
    const parents = { data: "kept", heldOut: "kept", images: "features" }
    const inputs = { data: "kept.train", heldOut: "kept.heldOut", images: "features.rows" }
    const rowsInByPort = { data: 40, heldOut: 4, images: 6 }
    expect(yield* drops("filterCaptions", {})).toEqual([{ node: "filterCaptions", ...one, rowsIn: 50 }])
    // Sharded: of the input that it goes through; the others are lent.
    expect(yield* drops("pretrain/tokenizeImages", {})).toEqual([
      { node: "pretrain/tokenizeImages", ...one, rowsIn: 50 }
    ])
    expect(yield* drops("instruct/train", { parents, parts: { inputs } })).toEqual([
      { node: "instruct/train", ...one, rowsInByPort }
    ])
    expect(yield* drops("instruct/train", { parents: {}, parts: { inputs } })).toEqual([
      { node: "instruct/train", ...one }
    ])
  }).pipe(
    Effect.provideService(Store, {
      find: (key: string) => {
        const port = (name: string, rows: number) => ({ [name]: { kind: "rows", rows, digest: `${key}.${name}` } })
        const outputs = { ...port("train", 40), ...port("heldOut", 4), ...port("rows", 6) }
        return Effect.succeed(key === "" ? [] : [{ manifest: { outputs } }])
      }
    } as unknown as Store["Service"])
  )
)
