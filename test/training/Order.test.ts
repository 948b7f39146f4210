import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { orderBy, sequentialOrder, shuffledOrder } from "../../src/training/Order.ts"

const Rows = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 50 }))
const Position = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 400 }))

describe("an order", () => {
  it.prop("shows every row once an epoch", [Rows, Position], ([rows, epoch]) => {
    const seen = [...shuffledOrder({ seed: 3, rows }).epoch(epoch)].sort((a, b) => a - b)
    expect(seen).toEqual([...sequentialOrder(rows).epoch(0)])
  })

  it.prop("can be entered anywhere and goes on as if never left", [Rows, Position, Rows], ([rows, position, count]) => {
    const through = shuffledOrder({ seed: 3, rows }).slice(0, position + count)
    expect(shuffledOrder({ seed: 3, rows }).slice(position, count)).toEqual(through.slice(position))
  })

  it("differs between epochs and between seeds", () => {
    const order = shuffledOrder({ seed: 0, rows: 100 })
    expect(order.epoch(1)).not.toEqual(order.epoch(0))
    expect(shuffledOrder({ seed: 1, rows: 100 }).epoch(0)).not.toEqual(order.epoch(0))
  })

  it("makes an epoch once while two are in use", () => {
    let made = 0
    const order = orderBy(3, () => Int32Array.of(2, 0, ++made && 1))
    order.slice(0, 6)
    order.slice(1, 4)
    expect(made).toBe(2)
  })

  it("refuses positions and epochs that do not exist", () => {
    expect(() => sequentialOrder(3).at(0, 3)).toThrow(RangeError)
    expect(() => sequentialOrder(0).slice(0, 1)).toThrow(RangeError)
    expect(() => orderBy(3, () => Int32Array.of(1)).at(0, 0)).toThrow(RangeError)
  })
})
