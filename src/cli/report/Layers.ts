/**
 * Where the boxes of a graph stand: nodes in layers from top to bottom, and points that long edges pass through.
 *
 * Not a drawing and no force simulation: the same graph always gets the same places. After Sugiyama: layers of bounded
 * width (Coffman and Graham's list, from the last nodes up), an order with few crossings (barycentres, then swaps), then
 * x by least squares under the order (pool adjacent violators). All edges of one node share one trunk, so a tokenizer that
 * ten nodes read is one line with ten branches.
 *
 * Units: pixels; x and y are the left upper corners of boxes.
 */

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

/** A box, or the point where the trunk of node `of` passes a layer. */
export interface Item {
  readonly of: number
  readonly trunk: boolean
  readonly layer: number
  /** Middle. */
  readonly x: number
}

/** A line from one layer to the next: part of the way from `of` to each of `to`. */
export interface Link {
  readonly from: Item
  readonly into: Item
  readonly of: number
  readonly to: ReadonlyArray<number>
}

export interface Layout {
  readonly width: number
  readonly height: number
  readonly layers: number
  /** One a node, in the order of nodes. */
  readonly boxes: ReadonlyArray<Item>
  readonly links: ReadonlyArray<Link>
}

/**
 * The layer of each node, 0 at the top: every edge goes down, no layer holds more than `most`.
 *
 * `inputs[i]` are the nodes that node i reads, all smaller than i.
 */
export const layersOf = (inputs: ReadonlyArray<ReadonlyArray<number>>, most: number): ReadonlyArray<number> => {
  const outputs: Array<Array<number>> = inputs.map(() => [])
  const depth: Array<number> = []
  for (const [node, from] of inputs.entries()) {
    depth.push(Math.max(-1, ...from.map((one) => depth[one]!)) + 1)
    for (const one of from) outputs[one]!.push(node)
  }
  const fromEnd = new Array<number>(inputs.length).fill(-1)
  let left = inputs.length
  let layer = 0
  for (; left > 0; layer++) {
    const ready: Array<number> = []
    for (let node = 0; node < inputs.length; node++)
      if (fromEnd[node]! < 0 && outputs[node]!.every((one) => fromEnd[one]! >= 0 && fromEnd[one]! < layer))
        ready.push(node)
    // What has the longest way above it goes first, so that no layer is added for waiting.
    ready.sort((a, b) => depth[b]! - depth[a]! || a - b)
    for (const node of ready.slice(0, most)) fromEnd[node] = layer
    left -= Math.min(most, ready.length)
  }
  return fromEnd.map((one) => layer - 1 - one)
}

interface Cell {
  readonly of: number
  readonly trunk: boolean
  readonly layer: number
  x: number
}
interface Line {
  readonly from: Cell
  readonly into: Cell
  readonly to: Array<number>
}

/** Boxes and trunks with the lines between neighbouring layers. */
const withTrunks = (inputs: ReadonlyArray<ReadonlyArray<number>>, layer: ReadonlyArray<number>) => {
  const boxes: ReadonlyArray<Cell> = inputs.map((_, of) => ({ of, trunk: false, layer: layer[of]!, x: 0 }))
  const cells: Array<Cell> = [...boxes]
  const lines: Array<Line> = []
  const consumers: Array<Array<number>> = inputs.map(() => [])
  for (const [node, from] of inputs.entries()) for (const one of new Set(from)) consumers[one]!.push(node)
  for (const [of, to] of consumers.entries()) {
    let from: Cell = boxes[of]!
    for (let rest: ReadonlyArray<number> = to; rest.length > 0; ) {
      const below = from.layer + 1
      for (const one of rest) if (layer[one] === below) lines.push({ from, into: boxes[one]!, to: [one] })
      rest = rest.filter((one) => layer[one]! > below)
      if (rest.length === 0) break
      const next: Cell = { of, trunk: true, layer: below, x: 0 }
      cells.push(next)
      lines.push({ from, into: next, to: [...rest] })
      from = next
    }
  }
  return { boxes, cells, lines }
}

type Neighbours = ReadonlyMap<Cell, ReadonlyArray<Cell>>

const neighbours = (lines: ReadonlyArray<Line>): { readonly up: Neighbours; readonly down: Neighbours } => {
  const up = new Map<Cell, Array<Cell>>()
  const down = new Map<Cell, Array<Cell>>()
  for (const { from, into } of lines) {
    up.set(into, [...(up.get(into) ?? []), from])
    down.set(from, [...(down.get(from) ?? []), into])
  }
  return { up, down }
}

/** Crossings between the lines that leave two cells standing side by side, in this order. */
const crossings = (a: ReadonlyArray<Cell>, b: ReadonlyArray<Cell>, place: ReadonlyMap<Cell, number>): number => {
  let count = 0
  for (const one of a) for (const other of b) if (place.get(one)! > place.get(other)!) count++
  return count
}

const none: ReadonlyArray<Cell> = []

/** Orders each layer so that few lines cross. Sorts `layers` in place. */
const order = (layers: Array<Array<Cell>>, lines: ReadonlyArray<Line>): void => {
  const { down, up } = neighbours(lines)
  const place = new Map<Cell, number>()
  const number = (layer: ReadonlyArray<Cell>) => {
    for (const [i, cell] of layer.entries()) place.set(cell, i)
  }
  for (const layer of layers) number(layer)
  const total = (): number =>
    layers.reduce((sum, layer) => {
      for (let i = 0; i < layer.length; i++)
        for (let j = i + 1; j < layer.length; j++)
          sum += crossings(down.get(layer[i]!) ?? none, down.get(layer[j]!) ?? none, place)
      return sum
    }, 0)
  const sweep = (layer: Array<Cell>, near: Neighbours) => {
    const centre = new Map(
      layer.map((cell, i) => {
        const cells = near.get(cell) ?? none
        return [cell, cells.length === 0 ? i : cells.reduce((sum, one) => sum + place.get(one)!, 0) / cells.length]
      })
    )
    layer.sort((a, b) => centre.get(a)! - centre.get(b)! || place.get(a)! - place.get(b)!)
    number(layer)
  }
  /** Swaps neighbours while that lessens crossings. */
  const swap = (layer: Array<Cell>) => {
    for (let better = true; better; ) {
      better = false
      for (let i = 0; i + 1 < layer.length; i++) {
        const [a, b] = [layer[i]!, layer[i + 1]!]
        const cost = (near: Neighbours, left: Cell, right: Cell) =>
          crossings(near.get(left) ?? none, near.get(right) ?? none, place)
        if (cost(up, b, a) + cost(down, b, a) >= cost(up, a, b) + cost(down, a, b)) continue
        layer[i] = b
        layer[i + 1] = a
        number(layer)
        better = true
      }
    }
  }
  let best = layers.map((layer) => [...layer])
  let fewest = total()
  for (let round = 0; round < 16 && fewest > 0; round++) {
    if (round % 2 === 0) for (const layer of layers) sweep(layer, up)
    else for (const layer of [...layers].reverse()) sweep(layer, down)
    for (const layer of layers) swap(layer)
    const now = total()
    if (now >= fewest) continue
    fewest = now
    best = layers.map((layer) => [...layer])
  }
  layers.splice(0, layers.length, ...best)
}

/**
 * Places as near to `wanted` as the distances between neighbours allow: least squares, weighted.
 *
 * Subtracting what stands to the left turns distances into an order, which pool adjacent violators solves exactly. With
 * `room`, all stay between 0 and `room`, which must hold the distances: an order that is cut off at both ends is the best
 * one between them.
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

const sweeps = 400

/** Gives each cell its x. */
const place = (layers: ReadonlyArray<ReadonlyArray<Cell>>, lines: ReadonlyArray<Line>, sizes: Sizes): void => {
  const { down, up } = neighbours(lines)
  const half = (cell: Cell) => (cell.trunk ? sizes.trunk : sizes.box.width + sizes.gap.x) / 2
  const distances = layers.map((layer) => layer.slice(1).map((cell, i) => half(layer[i]!) + half(cell)))
  const sum = (values: ReadonlyArray<number>) => values.reduce((all, one) => all + one, 0)
  // Middles of boxes: half a box is left free at both ends.
  const room = Math.max(sizes.width - sizes.box.width, ...distances.map(sum))
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
  for (let round = 0; round < sweeps; round++)
    for (let k = 0; k < layers.length; k++) {
      const i = round % 2 === 0 ? k : layers.length - 1 - k
      put(
        i,
        layers[i]!.map((cell) => {
          let pull = 0
          let weight = 0
          for (const near of [...(up.get(cell) ?? none), ...(down.get(cell) ?? none)]) {
            // A trunk should be straight before a box stands in the middle of its neighbours.
            const w = cell.trunk && near.trunk ? 8 : cell.trunk || near.trunk ? 2 : 1
            pull += w * near.x
            weight += w
          }
          return weight === 0 ? { x: cell.x, weight: 1 } : { x: pull / weight, weight }
        })
      )
    }
}

/** The layout of a graph; `inputs[i]` are the nodes that node i reads, all smaller than i. */
export const layout = (inputs: ReadonlyArray<ReadonlyArray<number>>, sizes: Sizes): Layout => {
  const layer = layersOf(inputs, sizes.most)
  const count = Math.max(-1, ...layer) + 1
  const { boxes, cells, lines } = withTrunks(inputs, layer)
  const layers: Array<Array<Cell>> = Array.from({ length: count }, () => [])
  for (const cell of cells) layers[cell.layer]!.push(cell)
  order(layers, lines)
  place(layers, lines, sizes)
  let left = 0
  let right = 0
  const half = (cell: Cell) => (cell.trunk ? sizes.trunk : sizes.box.width) / 2
  for (const [i, cell] of cells.entries()) {
    left = i === 0 ? cell.x - half(cell) : Math.min(left, cell.x - half(cell))
    right = i === 0 ? cell.x + half(cell) : Math.max(right, cell.x + half(cell))
  }
  for (const cell of cells) cell.x = Math.round(2 * (cell.x - left)) / 2
  return {
    width: Math.ceil(right - left),
    height: count === 0 ? 0 : count * sizes.box.height + (count - 1) * sizes.gap.y,
    layers: count,
    boxes,
    links: lines.map(({ from, into, to }) => ({ from, into, of: from.of, to }))
  }
}
