/**
 * The order of boxes and trunks in their layers: few lines should cross.
 *
 * Not the best order, which is hard to find (Garey and Johnson 1983): barycentres in turns from above and below, then
 * swaps of neighbours (Sugiyama, Tagawa and Toda 1981; Gansner et al. 1993). Crossings are counted as inversions with a
 * Fenwick tree (Barth, Juenger and Mutzel 2002). What is spent is counted, so that the time is bounded for any graph
 * and the same graph always gets the same order.
 */
import type { Cell, Line } from "./Trunks.ts"

/** Work that may still be done, in looks at a cell or an end of a line. */
export interface Effort {
  left: number
}

/** Neighbours of each cell, by its id. */
export interface Neighbours {
  readonly up: ReadonlyArray<ReadonlyArray<Cell>>
  readonly down: ReadonlyArray<ReadonlyArray<Cell>>
}

export const neighbours = (cells: ReadonlyArray<Cell>, lines: ReadonlyArray<Line>): Neighbours => {
  const up: Array<Array<Cell>> = cells.map(() => [])
  const down: Array<Array<Cell>> = cells.map(() => [])
  for (const { from, into } of lines) {
    up[into.id]!.push(from)
    down[from.id]!.push(into)
  }
  return { up, down }
}

/** Pairs of `places` of which the first is larger than the second; places are below `size`. */
export const inversions = (places: ReadonlyArray<number>, size: number): number => {
  const tree = new Int32Array(size + 1)
  let count = 0
  for (const [seen, place] of places.entries()) {
    let notLarger = 0
    for (let i = place + 1; i > 0; i -= i & -i) notLarger += tree[i]!
    count += seen - notLarger
    for (let i = place + 1; i <= size; i += i & -i) tree[i]!++
  }
  return count
}

/** Crossings between the lines of two cells that stand side by side; places are sorted. */
const crossings = (left: ReadonlyArray<number>, right: ReadonlyArray<number>): number => {
  let count = 0
  let below = 0
  for (const place of left) {
    while (below < right.length && right[below]! < place) below++
    count += below
  }
  return count
}

const MAX_ROUNDS = 16

/** Orders each layer so that few lines cross. Sorts `layers` in place, and stops when `effort` is spent. */
export const order = (layers: Array<Array<Cell>>, { down, up }: Neighbours, effort: Effort): void => {
  /** Where each cell stands in its layer, by id. */
  const place: Array<number> = []
  const number = (layer: ReadonlyArray<Cell>) => {
    for (const [i, cell] of layer.entries()) place[cell.id] = i
  }
  for (const layer of layers) number(layer)
  const placesOf = (cells: ReadonlyArray<Cell>) => {
    effort.left -= cells.length
    return cells.map((cell) => place[cell.id]!).sort((a, b) => a - b)
  }
  const total = () => {
    let sum = 0
    for (const [i, layer] of layers.entries())
      sum += inversions(
        layer.flatMap((cell) => placesOf(down[cell.id]!)),
        layers[i + 1]?.length ?? 0
      )
    return sum
  }
  const sweep = (layer: Array<Cell>, near: Neighbours["up"]) => {
    effort.left -= layer.length
    const centre = new Map(
      layer.map((cell, i) => {
        const cells = near[cell.id]!
        effort.left -= cells.length
        return [cell, cells.length === 0 ? i : cells.reduce((sum, one) => sum + place[one.id]!, 0) / cells.length]
      })
    )
    layer.sort((a, b) => centre.get(a)! - centre.get(b)! || place[a.id]! - place[b.id]!)
    number(layer)
  }
  /** Swaps neighbours while that lessens crossings. */
  const swap = (layer: Array<Cell>) => {
    const ends = new Map(layer.map((cell) => [cell, [placesOf(up[cell.id]!), placesOf(down[cell.id]!)] as const]))
    for (let better = true; better && effort.left > 0; ) {
      better = false
      for (let i = 0; i + 1 < layer.length; i++) {
        const [a, b] = [layer[i]!, layer[i + 1]!]
        const [upA, downA] = ends.get(a)!
        const [upB, downB] = ends.get(b)!
        effort.left -= upA.length + downA.length + upB.length + downB.length + 1
        if (crossings(upB, upA) + crossings(downB, downA) >= crossings(upA, upB) + crossings(downA, downB)) continue
        layer[i] = b
        layer[i + 1] = a
        better = true
      }
    }
    number(layer)
  }
  let best = layers.map((layer) => [...layer])
  let fewest = total()
  for (let round = 0; round < MAX_ROUNDS && fewest > 0 && effort.left > 0; round++) {
    if (round % 2 === 0) for (const layer of layers) sweep(layer, up)
    else for (let i = layers.length - 1; i >= 0; i--) sweep(layers[i]!, down)
    for (const layer of layers) swap(layer)
    const now = total()
    if (now >= fewest) continue
    fewest = now
    best = layers.map((layer) => [...layer])
  }
  for (const [i, layer] of best.entries()) layers[i] = layer
}
