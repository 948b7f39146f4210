import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { piecesOf } from "../../../src/tensor/torch/Pieces.ts"

const Segments = Schema.Array(Schema.Literals([0, 1, 1, 2, 3])).check(Schema.isMinLength(1), Schema.isMaxLength(12))

/** What the definition in `Regions.ts` lets query i of a row see. */
const seen = (row: ReadonlyArray<number>, i: number): ReadonlyArray<number> =>
  row.flatMap((segment, j) => (j <= i && segment !== 0 && (row[i] === 0 || row[i] === segment) ? [j] : []))

describe("pieces of packed rows", () => {
  it.prop(
    "let every query see what the definition lets it see, each token in one piece",
    [Schema.Array(Segments).check(Schema.isMinLength(1), Schema.isMaxLength(3))],
    ([given]) => {
      const time = Math.max(...given.map((row) => row.length))
      const rows = given.map((row) => [...row, ...new Array<number>(time - row.length).fill(0)])
      const pieces = piecesOf(Int32Array.from(rows.flat()), rows.length, time)
      if (pieces === undefined) {
        // A segment that comes back, or real keys that padding parts and later padding would have to see.
        const comesBack = rows.some((row) => {
          const runs = row.filter((segment, i) => segment !== row[i - 1] && segment !== 0)
          return new Set(runs).size < runs.length
        })
        const parted = rows.some((row) => /1+0+1+0/.test(row.map((segment) => (segment === 0 ? 0 : 1)).join("")))
        expect(comesBack || parted).toBe(true)
        return
      }
      expect(pieces.flatMap(({ end, start }) => Array.from({ length: end - start }, (_, i) => start + i))).toEqual(
        Array.from({ length: rows.length * time }, (_, i) => i)
      )
      for (const { end, keysEnd, keysStart, sees, start } of pieces)
        for (let at = start; at < end; at++) {
          const row = Math.floor(at / time)
          const last = sees === "causal" ? at + 1 : sees === "all" ? keysEnd : keysStart
          const keys = Array.from({ length: last - keysStart }, (_, i) => keysStart + i - row * time)
          expect(keys).toEqual(seen(rows[row]!, at - row * time))
        }
    }
  )

  it("are one causal piece a row where rows are one segment each", () => {
    expect(piecesOf(Int32Array.of(1, 1, 7, 7), 2, 2)).toEqual([
      { start: 0, end: 2, keysStart: 0, keysEnd: 2, sees: "causal" },
      { start: 2, end: 4, keysStart: 2, keysEnd: 4, sees: "causal" }
    ])
  })
})
