/**
 * Boxes and trunks of a layered graph, with the lines between neighbouring layers.
 *
 * Not an order and no places: x is filled in later. A line that passes a layer passes it at a point, its trunk. All
 * lines that lead to the same nodes share one trunk, whichever nodes they come from: a tokenizer that ten nodes read is
 * one line with ten branches, and a thousand nodes that one node reads are one line with a thousand feeders. So from a
 * box, the boxes that are reached down (or up) through trunks are exactly those that read it (or that it reads).
 *
 * Sizes are bounded: trunks are at most `TRUNKS_PER_BOX` times the boxes, whatever the graph. Lines that pass more
 * layers than that allows are not drawn; they are given as `cut`.
 */

/** A box, or the point where a trunk passes a layer. */
export interface Cell {
  /** Number in the drawing: a box has its node's number, trunks come after. */
  readonly id: number
  readonly trunk: boolean
  readonly layer: number
  /** Middle; pixels. */
  x: number
}

/** A line from one layer to the next. */
export interface Line {
  readonly from: Cell
  readonly into: Cell
}

/** An edge that is not drawn: it passes too many layers. Node numbers. */
export interface CutEdge {
  readonly from: number
  readonly into: number
}

export interface Trunks {
  readonly boxes: ReadonlyArray<Cell>
  /** Boxes first. */
  readonly cells: ReadonlyArray<Cell>
  readonly lines: ReadonlyArray<Line>
  readonly cut: ReadonlyArray<CutEdge>
}

/** Trunks of a graph, per box, at most; a small graph has room for more. */
export const TRUNKS_PER_BOX = 4
const SMALL_GRAPH_TRUNKS = 1000

/** A list of nodes that lines lead to, the nearest layer first; equal lists are one object. */
interface Targets {
  readonly first: number
  readonly rest: Targets | undefined
  readonly id: number
}

/** Makes equal lists one object, from their ends up: time is that of the list's length. */
const targetLists = () => {
  const known = new Map<string, Targets>()
  return (first: number, rest: Targets | undefined): Targets => {
    const name = `${first} ${rest?.id ?? -1}`
    const found = known.get(name)
    if (found !== undefined) return found
    const built = { first, rest, id: known.size }
    known.set(name, built)
    return built
  }
}

/** The drawing with edges of up to `span` layers; undefined where it has more than `most` trunks. */
const within = (
  consumers: ReadonlyArray<ReadonlyArray<number>>,
  layer: ReadonlyArray<number>,
  span: number,
  most: number
): Trunks | undefined => {
  const boxes = layer.map((one, id): Cell => ({ id, trunk: false, layer: one, x: 0 }))
  const cells = [...boxes]
  const lines: Array<Line> = []
  const cut: Array<CutEdge> = []
  const list = targetLists()
  /** Trunks of a layer by the list of nodes that they lead to. */
  const trunks: Array<Map<Targets, Cell>> = []
  for (const [of, to] of consumers.entries()) {
    let targets: Targets | undefined
    for (let i = to.length - 1; i >= 0; i--)
      if (layer[to[i]!]! - layer[of]! > span) cut.push({ from: of, into: to[i]! })
      else targets = list(to[i]!, targets)
    let from = boxes[of]!
    while (targets !== undefined) {
      const below = from.layer + 1
      for (; targets !== undefined && layer[targets.first] === below; targets = targets.rest)
        lines.push({ from, into: boxes[targets.first]! })
      if (targets === undefined) break
      const passing = (trunks[below] ??= new Map<Targets, Cell>())
      const met = passing.get(targets)
      if (met !== undefined) {
        lines.push({ from, into: met })
        break
      }
      if (cells.length - boxes.length === most) return undefined
      const next: Cell = { id: cells.length, trunk: true, layer: below, x: 0 }
      passing.set(targets, next)
      cells.push(next)
      lines.push({ from, into: next })
      from = next
    }
  }
  return { boxes, cells, lines, cut }
}

/**
 * Boxes, trunks and lines of a graph whose node i stands in `layer[i]`; `inputs[i]` are the nodes that node i reads.
 *
 * Every line goes down by one layer. Edges are left out, the longest first, only where the trunks would be too many.
 */
export const withTrunks = (inputs: ReadonlyArray<ReadonlyArray<number>>, layer: ReadonlyArray<number>): Trunks => {
  const consumers: Array<Array<number>> = inputs.map(() => [])
  let longest = 1
  for (const [node, from] of inputs.entries())
    for (const one of new Set(from)) {
      consumers[one]!.push(node)
      longest = Math.max(longest, layer[node]! - layer[one]!)
    }
  for (const to of consumers) to.sort((a, b) => layer[a]! - layer[b]! || a - b)
  const most = TRUNKS_PER_BOX * inputs.length + SMALL_GRAPH_TRUNKS
  // An edge to the next layer needs no trunk, so the last one is never too large.
  for (let span = longest; ; span = Math.max(1, Math.floor(span / 2))) {
    const built = within(consumers, layer, span, most)
    if (built !== undefined) return built
  }
}
