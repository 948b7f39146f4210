/**
 * Where the boxes of a graph stand: nodes in layers from top to bottom, and points that long edges pass through.
 *
 * Not a drawing and no force simulation: the same graph always gets the same places. After Sugiyama: layers of bounded
 * width (Coffman and Graham's list, from the last nodes up), trunks for long edges (`Trunks.ts`), an order with few
 * crossings (`Order.ts`), then x by least squares under the order (pool adjacent violators). The work is bounded by the
 * number of nodes and edges, in steps that are counted, not timed.
 *
 * Units: pixels; x is the middle of a box.
 */
import { type Effort, neighbours, order } from "./Order.ts"
import { type Cell, type CutEdge, type Line, type Trunks, withTrunks } from "./Trunks.ts"

/** Sizes of the drawing. */
export interface Sizes {
  /** Boxes of a layer at most. */
  readonly most: number
  readonly box: { readonly width: number; readonly height: number }
  /** Between boxes of a layer, and between layers. */
  readonly gap: { readonly x: number; readonly y: number }
  /** Room of a trunk that passes a layer. */
  readonly trunk: number
  /** The drawing is no wider than this, or than its widest layer where that is wider. */
  readonly width: number
}

export interface Layout {
  readonly width: number
  readonly height: number
  readonly layers: number
  /** One a node, in the order of nodes. */
  readonly boxes: ReadonlyArray<Readonly<Cell>>
  readonly links: ReadonlyArray<Readonly<Line>>
  /** Edges that are not drawn because they pass too many layers. */
  readonly cut: ReadonlyArray<CutEdge>
  /** Looks at cells and ends of lines that the order and the places took. */
  readonly effort: number
}

/**
 * The layer of each node, 0 at the top: every edge goes down, no layer holds more than `most`.
 *
 * `inputs[i]` are the nodes that node i reads, all smaller than i.
 */
export const layersOf = (inputs: ReadonlyArray<ReadonlyArray<number>>, most: number): ReadonlyArray<number> => {
  const depth: Array<number> = []
  /** Nodes that read a node and have no layer yet. */
  const waiting = new Array<number>(inputs.length).fill(0)
  for (const from of inputs) {
    let above = -1
    for (const one of from) {
      above = Math.max(above, depth[one]!)
      waiting[one]!++
    }
    depth.push(above + 1)
  }
  const fromEnd = new Array<number>(inputs.length).fill(-1)
  let ready = [...inputs.keys()].filter((node) => waiting[node] === 0)
  let layer = 0
  for (; ready.length > 0; layer++) {
    // What has the longest way above it goes first, so that no layer is added for waiting.
    ready.sort((a, b) => depth[b]! - depth[a]! || a - b)
    const now = ready.slice(0, most)
    ready = ready.slice(most)
    for (const node of now) {
      fromEnd[node] = layer
      for (const one of inputs[node]!) if (--waiting[one]! === 0) ready.push(one)
    }
  }
  return fromEnd.map((one) => layer - 1 - one)
}

/**
 * Places as near to `wanted` as the distances between neighbours allow: least squares, weighted.
 *
 * Subtracting what stands to the left turns distances into an order, which pool adjacent violators solves exactly. With
 * `room`, all stay between 0 and `room`, which must hold the distances: an order that is cut off at both ends is the
 * best one between them.
 */
export const spread = (
  wanted: ReadonlyArray<number>,
  weights: ReadonlyArray<number>,
  distances: ReadonlyArray<number>,
  room?: number
): ReadonlyArray<number> => {
  const before = [0]
  for (const distance of distances) before.push(before[before.length - 1]! + distance)
  const pools: Array<{ sum: number; weight: number; count: number }> = []
  for (const [i, want] of wanted.entries()) {
    const weight = weights[i]!
    pools.push({ sum: (want - before[i]!) * weight, weight, count: 1 })
    while (pools.length > 1) {
      const [a, b] = [pools[pools.length - 2]!, pools[pools.length - 1]!]
      if (a.sum / a.weight <= b.sum / b.weight) break
      pools.splice(-2, 2, { sum: a.sum + b.sum, weight: a.weight + b.weight, count: a.count + b.count })
    }
  }
  const out: Array<number> = []
  const most = room === undefined ? undefined : room - before[before.length - 1]!
  for (const { count, sum, weight } of pools) {
    const at = most === undefined ? sum / weight : Math.max(0, Math.min(most, sum / weight))
    for (let i = 0; i < count; i++) out.push(at + before[out.length]!)
  }
  return out
}

const MAX_SWEEPS = 400

/** Gives each cell its x; stops when `effort` is spent. */
const place = (
  layers: ReadonlyArray<ReadonlyArray<Cell>>,
  { cells, lines }: Trunks,
  sizes: Sizes,
  effort: Effort
): void => {
  const { down, up } = neighbours(cells, lines)
  const half = (cell: Cell) => (cell.trunk ? sizes.trunk : sizes.box.width + sizes.gap.x) / 2
  const distances = layers.map((layer) => layer.slice(1).map((cell, i) => half(layer[i]!) + half(cell)))
  // Middles of boxes: half a box is left free at both ends.
  let room = sizes.width - sizes.box.width
  for (const some of distances)
    room = Math.max(
      room,
      some.reduce((all, one) => all + one, 0)
    )
  const put = (i: number, wanted: ReadonlyArray<{ readonly x: number; readonly weight: number }>) => {
    const at = spread(
      wanted.map((one) => one.x),
      wanted.map((one) => one.weight),
      distances[i]!,
      room
    )
    for (const [k, cell] of layers[i]!.entries()) cell.x = at[k]!
  }
  for (const [i, layer] of layers.entries())
    put(
      i,
      layer.map(() => ({ x: room / 2, weight: 1 }))
    )
  const pulled = (cell: Cell) => {
    let pull = 0
    let weight = 0
    for (const some of [up[cell.id]!, down[cell.id]!])
      for (const near of some) {
        // A trunk should be straight before a box stands in the middle of its neighbours.
        const w = cell.trunk && near.trunk ? 8 : cell.trunk || near.trunk ? 2 : 1
        pull += w * near.x
        weight += w
      }
    return weight === 0 ? { x: cell.x, weight: 1 } : { x: pull / weight, weight }
  }
  for (let round = 0; round < MAX_SWEEPS && effort.left > 0; round++) {
    effort.left -= cells.length + 2 * lines.length
    for (let k = 0; k < layers.length; k++) {
      const i = round % 2 === 0 ? k : layers.length - 1 - k
      put(i, layers[i]!.map(pulled))
    }
  }
}

/** What the order, and then the places, may take: a graph of 100 nodes and 300 edges gets all rounds and sweeps. */
const ORDER_EFFORT = 1_000_000
const PLACE_EFFORT = 1_000_000

/** The layout of a graph; `inputs[i]` are the nodes that node i reads, all smaller than i. */
export const layout = (inputs: ReadonlyArray<ReadonlyArray<number>>, sizes: Sizes): Layout => {
  const layer = layersOf(inputs, sizes.most)
  const trunks = withTrunks(inputs, layer)
  const { boxes, cells, cut, lines } = trunks
  const layers: Array<Array<Cell>> = []
  for (const cell of cells) (layers[cell.layer] ??= []).push(cell)
  const ordering: Effort = { left: ORDER_EFFORT }
  order(layers, neighbours(cells, lines), ordering)
  const placing: Effort = { left: PLACE_EFFORT }
  place(layers, trunks, sizes, placing)
  let left = Number.POSITIVE_INFINITY
  let right = Number.NEGATIVE_INFINITY
  for (const cell of cells) {
    const half = (cell.trunk ? sizes.trunk : sizes.box.width) / 2
    left = Math.min(left, cell.x - half)
    right = Math.max(right, cell.x + half)
  }
  for (const cell of cells) cell.x = Math.round(2 * (cell.x - left)) / 2
  const count = layers.length
  return {
    width: count === 0 ? 0 : Math.ceil(right - left),
    height: count === 0 ? 0 : count * sizes.box.height + (count - 1) * sizes.gap.y,
    layers: count,
    boxes,
    links: lines,
    cut,
    effort: ORDER_EFFORT - ordering.left + (PLACE_EFFORT - placing.left)
  }
}
