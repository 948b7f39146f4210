import { expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { dropsTable, quarantineText, rowsIn, viewQuarantine } from "../../src/cli/Quarantine.ts"

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
