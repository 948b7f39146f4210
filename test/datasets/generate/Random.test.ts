import { describe, expect, it } from "vitest"
import { dice } from "../../../datasets/generate/Random.ts"

describe("dice", () => {
  it("throw the same numbers on every machine", () => {
    const throws = dice(0, "known")
    expect([throws.uint32(), throws.uint32(), throws.uint32()]).toEqual([1198961287, 407021962, 1816769138])
  })

  it("of another label or seed throw unrelated ones", () => {
    const first = new Set(
      [dice(0, "a"), dice(0, "b"), dice(1, "a"), dice(-1, "a")].flatMap((d) => Array.from({ length: 50 }, d.uint32))
    )
    expect(first.size).toBe(200)
  })

  it("are fair within five standard deviations", () => {
    const throws = dice(5, "fair")
    const counts = new Array<number>(6).fill(0)
    for (let i = 0; i < 60_000; i++) counts[throws.int(6)]!++
    for (const n of counts) expect(Math.abs(n - 10_000)).toBeLessThan(5 * Math.sqrt((60_000 * 5) / 36))
    let heavy = 0
    for (let i = 0; i < 10_000; i++)
      heavy += throws.weighted([
        [1, 3],
        [0, 1]
      ])
    expect(Math.abs(heavy - 7500)).toBeLessThan(5 * Math.sqrt(10_000 * 0.1875))
  })

  it("shuffle without losing or repeating", () => {
    const items = Array.from({ length: 100 }, (_, i) => i)
    const shuffled = dice(6, "shuffle").shuffle(items)
    expect(shuffled).not.toEqual(items)
    expect([...shuffled].sort((a, b) => a - b)).toEqual(items)
  })
})
