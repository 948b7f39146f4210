/** Edges go down, layers hold what they may, boxes and trunks do not overlap, and every edge has a way. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import llavaPhi from "../../../pipelines/llava-phi.ts"
import { type Layout, layersOf, layout, type Sizes, spread } from "../../../src/cli/report/Layers.ts"
import { inversions } from "../../../src/cli/report/Order.ts"
import { type Cell, TRUNKS_PER_BOX } from "../../../src/cli/report/Trunks.ts"
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

/** Boxes that are reached from a cell through trunks, along `way`. */
const reached = (start: Cell, way: (cell: Cell) => ReadonlyArray<Cell>): ReadonlyArray<number> => {
  const out = new Set<number>()
  const seen = new Set<Cell>()
  const open = [start]
  for (let cell = open.pop(); cell !== undefined; cell = open.pop())
    for (const next of way(cell))
      if (!next.trunk) out.add(next.id)
      else if (!seen.has(next)) {
        seen.add(next)
        open.push(next)
      }
  return [...out].sort((a, b) => a - b)
}

/** Each box leads, through trunks, to the nodes that read it and to no other, but for edges that are not drawn. */
const checkLinks = (inputs: ReadonlyArray<ReadonlyArray<number>>, { boxes, cut, links }: Layout): void => {
  const down = Map.groupBy(links, (link) => link.from)
  const up = Map.groupBy(links, (link) => link.into)
  const missing = Map.groupBy(cut, (edge) => edge.into)
  const drawn = inputs.map((from, node) => {
    const not = new Set(missing.get(node)?.map((edge) => edge.from))
    return from.filter((one) => !not.delete(one)).sort((a, b) => a - b)
  })
  const outputs: Array<Array<number>> = inputs.map(() => [])
  for (const [node, from] of drawn.entries()) for (const one of from) outputs[one]!.push(node)
  const edges = (all: ReadonlyArray<ReadonlyArray<unknown>>) => all.reduce((sum, some) => sum + some.length, 0)
  expect(edges(drawn) + cut.length).toBe(edges(inputs))
  expect(boxes.map((box) => reached(box, (cell) => up.get(cell)?.map((link) => link.from) ?? []))).toEqual(drawn)
  expect(boxes.map((box) => reached(box, (cell) => down.get(cell)?.map((link) => link.into) ?? []))).toEqual(outputs)
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
  checkLinks(inputs, drawn)
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
    expect(inputs).toHaveLength(40)
    const drawn = check(inputs)
    // The page makes what is wider than its window smaller, down to 700 pixels.
    expect(drawn.width).toBeLessThanOrEqual(900)
    // The longest chain of nodes, from the raw conversations to the answers.
    expect(drawn.layers).toBeLessThanOrEqual(16)
    expect(drawn.cut).toEqual([])
    expect(layout(inputs, sizes)).toEqual(drawn)
  })

  it("of nothing is nothing", () => {
    expect(layout([], sizes)).toMatchObject({ width: 0, height: 0, layers: 0, boxes: [], links: [], cut: [] })
  })
})

describe("a large graph", () => {
  const range = (n: number) => Array.from({ length: n }, (_, i) => i)
  /** n nodes; each reads three earlier ones, near and far. */
  const scattered = (n: number) =>
    range(n).map((i) => (i === 0 ? [] : [...new Set([i - 1, Math.floor(i / 2), (i * 7919) % i])]))
  const graphs: ReadonlyArray<readonly [string, ReadonlyArray<ReadonlyArray<number>>]> = [
    ["1,000 nodes that one reads", [...range(1000).map(() => []), range(1000)]],
    ["1,000 nodes between two", [[], ...range(1000).map(() => [0]), range(1000).map((i) => i + 1)]],
    ["a chain of 3,000", range(3000).map((i) => (i === 0 ? [] : [i - 1]))],
    ["a chain of 3,000 with one node that all read", range(3000).map((i) => (i === 0 ? [] : [...new Set([0, i - 1])]))],
    [
      "1,000 chains of three",
      [...range(3000).map((i) => (i % 3 === 0 ? [] : [i - 1])), range(1000).map((i) => 3 * i + 2)]
    ],
    ["60 nodes that 60 read", [...range(60).map(() => []), ...range(60).map(() => range(60))]],
    ["2,000 nodes that read near and far", scattered(2000)]
  ]

  /** Looks at cells that order and places may take, plus a round of each over the whole graph. */
  const most = (boxes: number, edges: number) => 2_000_000 + 100 * ((1 + TRUNKS_PER_BOX) * boxes + 1000 + edges)

  it.each(graphs)("%s: trunks and work are bounded by nodes and edges", (_, inputs) => {
    const drawn = layout(inputs, sizes)
    const edges = inputs.reduce((sum, from) => sum + from.length, 0)
    const cells = new Set(drawn.links.flatMap((link) => [link.from, link.into]))
    const trunks = [...cells].filter((cell) => cell.trunk).length
    expect(trunks).toBeLessThanOrEqual(TRUNKS_PER_BOX * inputs.length + 1000)
    expect(drawn.links.length).toBeLessThanOrEqual(edges + trunks)
    expect(drawn.effort).toBeLessThanOrEqual(most(inputs.length, edges))
    checkLinks(inputs, drawn)
  })

  it("whose nodes all lead to one has one line to it, and no edge is left out", () => {
    const drawn = layout(graphs[0]![1], sizes)
    const trunks = new Set(drawn.links.map((link) => link.into).filter((cell) => cell.trunk))
    expect(trunks.size).toBe(drawn.layers - 2)
    expect(drawn.cut).toEqual([])
    expect(drawn.width).toBeLessThanOrEqual(900)
  })

  it("leaves out its longest edges where lines would fill the page", () => {
    const inputs = scattered(2000)
    const { boxes, cut, links } = layout(inputs, sizes)
    expect(cut.length).toBeGreaterThan(0)
    const span = ({ from, into }: { readonly from: number; readonly into: number }) =>
      boxes[into]!.layer - boxes[from]!.layer
    const shortest = cut.reduce((least, edge) => Math.min(least, span(edge)), Number.POSITIVE_INFINITY)
    const gone = new Set(cut.map(({ from, into }) => `${from} ${into}`))
    for (const [into, from] of inputs.entries())
      for (const one of from) if (!gone.has(`${one} ${into}`)) expect(span({ from: one, into })).toBeLessThan(shortest)
    expect(links.length).toBeGreaterThan(2000)
  })
})

it.prop(
  "inversions: as many as counted pair by pair",
  [
    Arbitrary.array(Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 }))), { maxLength: 30 })
  ],
  ([places]) => {
    let count = 0
    for (const [i, one] of places.entries()) for (const other of places.slice(i + 1)) if (one > other) count++
    expect(inversions(places, 10)).toBe(count)
  }
)

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
