/** Edges go down, layers hold what they may, boxes and trunks do not overlap, and every edge has a way. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import llavaPhi from "../../../pipelines/llava-phi.ts"
import { type Layout, layersOf, layout, type Sizes, spread } from "../../../src/cli/report/Layers.ts"
import { build } from "../../../src/run/Recipe.ts"

const sizes: Sizes = {
  most: 4,
  box: { width: 150, height: 40 },
  gap: { x: 12, y: 36 },
  trunk: 10,
  width: 748
}

/** Graphs as lists of inputs: each number picks an earlier node. */
const Graph = Arbitrary.array(
  Arbitrary.schema(
    Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 }))).check(Schema.isMaxLength(4))
  ),
  { maxLength: 30 }
)
const graphOf = (picks: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<ReadonlyArray<number>> =>
  picks.map((some, node) => (node === 0 ? [] : [...new Set(some.map((pick) => pick % node))]))

/** Nodes that the links of `of` lead to, followed from its box. */
const reached = ({ boxes, links }: Layout, of: number): ReadonlyArray<number> => {
  const out: Array<number> = []
  const follow = (from: unknown): void => {
    for (const link of links.filter((one) => one.of === of && one.from === from))
      if (link.into.trunk) follow(link.into)
      else out.push(link.into.of)
  }
  follow(boxes[of])
  return out.sort((a, b) => a - b)
}

const check = (inputs: ReadonlyArray<ReadonlyArray<number>>): Layout => {
  const drawn = layout(inputs, sizes)
  const items = new Set([...drawn.boxes, ...drawn.links.flatMap((link) => [link.from, link.into])])
  const byLayer = Map.groupBy(items, (item) => item.layer)
  for (const layer of byLayer.values()) {
    expect(layer.filter((item) => !item.trunk).length).toBeLessThanOrEqual(sizes.most)
    const half = (item: (typeof layer)[number]) => (item.trunk ? sizes.trunk : sizes.box.width) / 2
    const sorted = [...layer].sort((a, b) => a.x - b.x)
    for (const [i, item] of sorted.entries()) {
      expect(item.x - half(item)).toBeGreaterThanOrEqual(-1)
      expect(item.x + half(item)).toBeLessThanOrEqual(drawn.width + 1)
      // Places are rounded to half pixels.
      if (i > 0) expect(item.x - sorted[i - 1]!.x).toBeGreaterThanOrEqual(half(item) + half(sorted[i - 1]!) - 1)
    }
  }
  for (const link of drawn.links) expect(link.into.layer).toBe(link.from.layer + 1)
  const outputs: Array<Array<number>> = inputs.map(() => [])
  for (const [node, from] of inputs.entries()) for (const one of from) outputs[one]!.push(node)
  for (const node of inputs.keys()) {
    expect(reached(drawn, node)).toEqual(outputs[node])
    const first = drawn.links.filter((link) => link.from === drawn.boxes[node]).flatMap((link) => link.to)
    expect(first.sort((a, b) => a - b)).toEqual(outputs[node])
  }
  return drawn
}

describe("layout", () => {
  it.prop(
    "of any graph: edges go down one layer at a time, nothing overlaps, every edge arrives",
    [Graph],
    ([picks]) => {
      check(graphOf(picks))
    }
  )

  it("of LLaVA-Phi fits 900 pixels, and is the same each time", () => {
    const { nodes } = build(llavaPhi, { preset: "sample", settings: [], engine: "wasm" })
    const inputs = nodes.map((node) => [...new Set(Object.values(node.inputs).map((ref) => nodes.indexOf(ref.node)))])
    expect(inputs).toHaveLength(38)
    const drawn = check(inputs)
    // The page makes what is wider than its window smaller, down to 700 pixels.
    expect(drawn.width).toBeLessThanOrEqual(900)
    expect(drawn.layers).toBeLessThanOrEqual(15)
    expect(layout(inputs, sizes)).toEqual(drawn)
  })

  it("of nothing is nothing", () => {
    expect(layout([], sizes)).toMatchObject({ width: 0, height: 0, layers: 0, boxes: [], links: [] })
  })
})

it.prop("layers: every edge goes down, none is wider than asked for", [Graph], ([picks]) => {
  const inputs = graphOf(picks)
  for (const most of [1, 3]) {
    const layers = layersOf(inputs, most)
    for (const [node, from] of inputs.entries()) for (const one of from) expect(layers[one]).toBeLessThan(layers[node]!)
    for (const some of Map.groupBy(layers, (layer) => layer).values()) expect(some.length).toBeLessThanOrEqual(most)
  }
})

const Wanted = Arbitrary.array(
  Arbitrary.schema(
    Schema.Struct({
      want: Schema.Int.check(Schema.isBetween({ minimum: -500, maximum: 500 })),
      weight: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })),
      distance: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 }))
    })
  ),
  { minLength: 1, maxLength: 12 }
)
it.prop("places keep their distances, and no single one could be moved for the better", [Wanted], ([some]) => {
  const wanted = some.map((one) => one.want)
  const weights = some.map((one) => one.weight)
  const distances = some.slice(1).map((one) => one.distance)
  const at = spread(wanted, weights, distances)
  for (const [i, distance] of distances.entries()) expect(at[i + 1]! - at[i]!).toBeGreaterThanOrEqual(distance - 1e-9)
  const cost = (x: ReadonlyArray<number>) => x.reduce((sum, one, i) => sum + weights[i]! * (one - wanted[i]!) ** 2, 0)
  const holds = (x: ReadonlyArray<number>) => distances.every((distance, i) => x[i + 1]! - x[i]! >= distance - 1e-12)
  for (const i of at.keys())
    for (const step of [-0.5, 0.5]) {
      const moved = at.map((one, k) => (k === i ? one + step : one))
      if (holds(moved)) expect(cost(moved)).toBeGreaterThanOrEqual(cost(at) - 1e-6)
    }
  const room = distances.reduce((sum, one) => sum + one, 0) + 100
  for (const x of spread(wanted, weights, distances, room)) {
    expect(x).toBeGreaterThanOrEqual(0)
    expect(x).toBeLessThanOrEqual(room)
  }
})
