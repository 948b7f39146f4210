import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { lossTokens, positionsOf } from "../../src/model/TokenBatch.ts"
import { collate, packRows, plannedRow, planPacking, type TokenisedExample } from "../../src/training/Packing.ts"

const Length = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 }))
const Lengths = Schema.Array(Length).check(Schema.isMaxLength(80))
const Window = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 20 }))
const Strategy = Schema.Literals(["first-fit", "sequential"])
const EOS = 50256

/** Examples whose ids are EOS too, so that a mask made from ids would fail. */
const exampleOf = (length: number, seed: number): TokenisedExample => {
  const ids = Array.from({ length }, (_, i) => ((seed + i) % 3 === 0 ? EOS : seed * 100 + i))
  return { ids, labels: ids.map((id, i) => (i % 2 === 0 ? id : -100)), imageAt: length > 2 && seed % 2 === 0 ? 1 : -1 }
}
const examplesOf = Arbitrary.map(Arbitrary.schema(Lengths), (lengths) =>
  lengths.filter((length) => length > 0).map(exampleOf)
)

describe("planPacking", () => {
  it.prop(
    "places every example that fits once, in rows that hold it, and names the rest",
    [Lengths, Window, Strategy],
    ([lengths, window, strategy]) => {
      const plan = planPacking(lengths, { tokens: 30, window, strategy })
      const all = [...plan.members, ...plan.refused].sort((a, b) => a - b)
      expect(all).toEqual(lengths.map((_, i) => i))
      for (const example of plan.refused) expect(lengths[example]! < 1 || lengths[example]! > 30).toBe(true)
      let used = 0
      for (let row = 0; row < plan.rows; row++) {
        const members = [...plannedRow(plan, row)]
        const total = members.reduce((sum, example) => sum + lengths[example]!, 0)
        expect(members.length).toBeGreaterThan(0)
        expect(total).toBeLessThanOrEqual(30)
        expect(new Set(members.map((example) => Math.floor(example / window))).size).toBe(1)
        used += total
      }
      if (plan.rows > 0) expect(plan.fill).toBeCloseTo(used / (30 * plan.rows), 12)
      if (strategy === "sequential") expect([...plan.members]).toEqual([...plan.members].sort((a, b) => a - b))
    }
  )

  it.prop("does not let one window change another", [Lengths, Lengths], ([first, second]) => {
    const padded = [...first.slice(0, 10), ...Array(10 - Math.min(10, first.length)).fill(5)]
    const alone = planPacking(padded, { tokens: 30, window: 10 })
    const both = planPacking([...padded, ...second], { tokens: 30, window: 10 })
    expect(both.members.slice(0, alone.members.length)).toEqual(alone.members)
    expect(both.starts.slice(0, alone.starts.length)).toEqual(alone.starts)
  })

  it("fills rows well with first-fit", () => {
    const lengths = Array.from({ length: 5000 }, (_, i) => 50 + ((i * 7919) % 900))
    expect(planPacking(lengths, { tokens: 2048 }).fill).toBeGreaterThan(0.97)
  })

  it("follows the order it is given", () => {
    const plan = planPacking([3, 3, 3], { tokens: 6, order: [2, 0, 1], strategy: "sequential" })
    expect([...plan.members]).toEqual([2, 0, 1])
    expect([...plan.starts]).toEqual([0, 2, 3])
    expect(() => planPacking([3], { tokens: 6, order: [1] })).toThrow(RangeError)
  })
})

describe("packRows", () => {
  it.prop("keeps every token, its label, segment and position", [examplesOf], ([examples]) => {
    const plan = planPacking(
      examples.map(({ ids }) => ids.length),
      { tokens: 40 }
    )
    const rows = Array.from({ length: plan.rows }, (_, row) => [...plannedRow(plan, row)])
    const { batch, images } = packRows(
      rows.map((row) => row.map((i) => examples[i]!)),
      { tokens: 40, padId: EOS }
    )
    const positions_BT = positionsOf(batch.segments_BT, batch.rows, batch.time)
    let expected = 0
    for (const [row, members] of rows.entries()) {
      let at = row * 40
      for (const [segment, member] of members.entries()) {
        const { ids, labels } = examples[member]!
        for (let i = 0; i < ids.length; i++, at++) {
          expect(batch.ids_BT[at]).toBe(ids[i])
          expect(batch.labels_BT[at]).toBe(i === 0 ? -100 : labels[i])
          expect(batch.segments_BT[at]).toBe(segment + 1)
          expect(positions_BT[at]).toBe(i)
          if (i > 0 && labels[i] !== -100) expected++
        }
      }
      for (; at < (row + 1) * 40; at++) {
        expect([batch.ids_BT[at], batch.labels_BT[at], batch.segments_BT[at]]).toEqual([EOS, -100, 0])
      }
    }
    expect(lossTokens(batch)).toBe(expected)
    const flat = rows.flat()
    expect(images.length).toBe(flat.filter((i) => examples[i]!.imageAt !== -1).length)
    for (const { at, example, row } of images) {
      const { ids, imageAt } = examples[flat[example]!]!
      expect(batch.ids_BT[row * 40 + at]).toBe(ids[imageAt!])
      expect(positions_BT[row * 40 + at]).toBe(imageAt)
    }
  })

  it("refuses rows that were not planned", () => {
    expect(() => packRows([[exampleOf(5, 1)]], { tokens: 4, padId: 0 })).toThrow(RangeError)
    expect(() => packRows([[{ ids: [1, 2], labels: [1] }]], { tokens: 4, padId: 0 })).toThrow(RangeError)
  })
})

describe("collate", () => {
  it("pads to the longest, by lengths and never by ids", () => {
    const eos = { ids: [EOS, 7, EOS], labels: [-100, 7, EOS] }
    const { batch } = collate([eos, { ids: [9], labels: [9] }], { padId: EOS })
    expect([batch.rows, batch.time, lossTokens(batch)]).toEqual([2, 3, 2])
    expect([...batch.segments_BT]).toEqual([1, 1, 1, 1, 0, 0])
    expect([...batch.labels_BT]).toEqual([-100, 7, EOS, -100, -100, -100])
    expect(collate([eos], { padId: EOS, multipleOf: 8 }).batch.time).toBe(8)
    expect(collate([eos], { padId: EOS, tokens: 5 }).batch.time).toBe(5)
    expect(collate([], { padId: EOS }).batch.rows).toBe(0)
  })
})
