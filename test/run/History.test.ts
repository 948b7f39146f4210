/** Curves keep their first and last point and stay small, however long a training takes. */
import { expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import type { Event } from "../../src/run/Events.ts"
import { makeHistory, most } from "../../src/run/History.ts"

const step = (at: number, metrics: Readonly<Record<string, number>>, node = "train"): Event => ({
  event: "node-progress",
  at: 0,
  node,
  step: at,
  metrics
})

const Count = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 * most })))

it.prop(
  "steps rise from the first to the last, and no figure has more than `most` points and one",
  [Count],
  ([count]) => {
    const history = makeHistory()
    for (let i = 1; i <= count; i++) history.add(step(i, { loss: 1 / i }))
    const points = history.points().get("train")!.get("loss")!
    expect(points.length).toBeLessThanOrEqual(most + 1)
    expect([points[0]!.step, points.at(-1)!.step]).toEqual([1, count])
    expect(points.every((one, i) => i === 0 || one.step > points[i - 1]!.step)).toBe(true)
    expect(points.every((one) => one.value === 1 / one.step)).toBe(true)
    if (count < most) expect(points).toHaveLength(count)
  }
)

it("a node that starts again from a checkpoint loses what was beyond it", () => {
  const history = makeHistory()
  for (const at of [1, 2, 3, 4, 3, 4, 5]) history.add(step(at, { loss: at }))
  expect(
    history
      .points()
      .get("train")!
      .get("loss")!
      .map((one) => one.step)
  ).toEqual([1, 2, 3, 4, 5])
})

it("figures and nodes are kept apart; what is no number, or no step, is left out", () => {
  const history = makeHistory()
  history.add(step(1, { loss: 2, lr: 0.1 }))
  history.add(step(2, { loss: Number.NaN, lr: 0.2 }))
  history.add(step(1, { loss: 9 }, "other"))
  history.add({ event: "node-progress", at: 0, node: "rows", rows: 3, metrics: { questions: 3 } })
  const points = history.points()
  expect([...points.keys()]).toEqual(["train", "other"])
  expect(points.get("train")!.get("loss")).toEqual([{ step: 1, value: 2 }])
  expect(
    points
      .get("train")!
      .get("lr")!
      .map((one) => one.value)
  ).toEqual([0.1, 0.2])
})
