/** Curves show every peak, say what was measured, and survive what a broken training reports. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { curveSvg, smooth, thin, ticks } from "../../../src/cli/report/Curve.ts"

const Points = Arbitrary.map(
  Arbitrary.array(Arbitrary.schema(Schema.Finite), { minLength: 1, maxLength: 600 }),
  (values) => values.map((value, i) => ({ step: i + 1, value }))
)

it.prop("thinned points keep their order, the lowest and the highest", [Points], ([points]) => {
  const some = thin(points, 20)
  expect(some.length).toBeLessThanOrEqual(Math.max(40, 1))
  expect(some.every((one, i) => i === 0 || one.step > some[i - 1]!.step)).toBe(true)
  for (const pick of [Math.min, Math.max])
    expect(pick(...some.map((one) => one.value))).toBe(pick(...points.map((one) => one.value)))
})

it("a running mean of a constant is that constant, of a step lies between", () => {
  const points = Array.from({ length: 400 }, (_, i) => ({ step: i, value: i < 200 ? 3 : 1 }))
  const mean = smooth(points)
  expect([mean[0]!.value, mean.at(-1)!.value]).toEqual([3, 1])
  expect(mean.every(({ value }) => value >= 1 && value <= 3)).toBe(true)
  expect(mean[200]!.value).toBeCloseTo(2, 0)
})

const Range = Arbitrary.schema(
  Schema.Struct({
    low: Schema.Int.check(Schema.isBetween({ minimum: -1e6, maximum: 1e6 })),
    span: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1e6 }))
  })
)
it.prop("ticks are a few rising numbers inside of the range", [Range], ([{ low, span }]) => {
  const some = ticks(low / 1000, (low + span) / 1000, 4)
  expect(some.length).toBeGreaterThan(0)
  expect(some.length).toBeLessThanOrEqual(6)
  for (const [i, one] of some.entries()) {
    expect(one).toBeGreaterThanOrEqual(low / 1000 - span / 1e6)
    expect(one).toBeLessThanOrEqual((low + span) / 1000 + span / 1e6)
    if (i > 0) expect(one).toBeGreaterThan(some[i - 1]!)
  }
})

describe("a curve", () => {
  it("says first, last, steps and what was held out", () => {
    const svg = curveSvg(
      [
        { step: 1, value: 4 },
        { step: 10, value: 1.5 }
      ],
      { title: "a <b>", heldOut: 2 }
    )
    expect(svg).toContain("a &lt;b&gt;")
    expect(svg).toContain("4 to 1.5, 10 steps, held out 2 (dashed)")
    expect(svg).toContain('class="held"')
    expect(svg).toContain('data-points="2"')
  })

  it("shows what was measured on the way as dots, the kept one larger, and none beyond the plot", () => {
    const points = [1, 2, 3, 4].map((step) => ({ step, value: 2 / step }))
    const measured = [2, 4].map((step) => ({ step, value: 3 + step }))
    const svg = curveSvg(points, { title: "t", heldOut: 5, measured, kept: 2 })
    expect(svg).toContain("held out 5 (dashed), measured 2 times (dots), weights of step 2 kept")
    const dots = [...svg.matchAll(/<circle class="measured" cx="([\d.]+)" cy="([\d.]+)" r="(\d)"/g)]
    expect(dots.map((dot) => dot[3])).toEqual(["4", "2"])
    // Seven is the highest value there is: at the plot's upper edge, in the last step's column.
    expect(Number(dots[1]![2])).toBe(12)
    expect(Number(dots[1]![1])).toBe(380 - 12)
    expect(curveSvg(points, { title: "t" })).not.toContain("circle")
  })

  it("holds for one point, a flat line, and what is no number", () => {
    const flat = [0, 1, 2].map((step) => ({ step, value: 0 }))
    for (const points of [flat, [{ step: 3, value: -2 }], [...flat, { step: 3, value: Number.NaN }]])
      expect(curveSvg(points, { title: "t" })).not.toMatch(/NaN|Infinity|undefined/)
    expect(curveSvg([{ step: 1, value: Number.NaN }], { title: "t" })).toContain("no step was measured")
  })
})
