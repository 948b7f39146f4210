/**
 * Figures of training nodes by step: the report draws its curves from them.
 *
 * Not the record: it holds what events said, and no more than `most` points a figure, evenly thinned, so a week of
 * training costs no more memory than a minute.
 */
import type { Event } from "./Events.ts"

/** A measured figure after a step. */
export interface Point {
  readonly step: number
  readonly value: number
}

/** Points by figure (`loss`, `lr`), by node. Steps rise. */
export type History = ReadonlyMap<string, ReadonlyMap<string, ReadonlyArray<Point>>>

interface Kept {
  points: Array<Point>
  /** The newest point when it is between two kept ones. */
  newest: Point | undefined
  /** One point in so many is kept. */
  every: number
  seen: number
}

/** Points of one figure at most. */
export const most = 4096

const add = (kept: Kept, point: Point): void => {
  // A node that is tried again starts from its last checkpoint: what it had reached beyond is void.
  while (kept.points.length > 0 && kept.points[kept.points.length - 1]!.step >= point.step) kept.points.pop()
  kept.newest = point
  if (kept.seen++ % kept.every !== 0) return
  kept.points.push(point)
  kept.newest = undefined
  if (kept.points.length < most) return
  kept.points = kept.points.filter((_, i) => i % 2 === 0)
  kept.every *= 2
}

/**
 * Gathers a run's figures.
 *
 * @example
 * const history = makeHistory()
 * for (const event of events) history.add(event)
 * history.points().get("sft/train")?.get("loss")
 */
export const makeHistory = () => {
  const nodes = new Map<string, Map<string, Kept>>()
  return {
    add: (event: Event): void => {
      if (event.event !== "node-progress" || event.step === undefined || event.metrics === undefined) return
      let figures = nodes.get(event.node)
      if (figures === undefined) nodes.set(event.node, (figures = new Map()))
      for (const [name, value] of Object.entries(event.metrics)) {
        if (!Number.isFinite(value)) continue
        let kept = figures.get(name)
        if (kept === undefined) figures.set(name, (kept = { points: [], newest: undefined, every: 1, seen: 0 }))
        add(kept, { step: event.step, value })
      }
    },
    points: (): History =>
      new Map(
        [...nodes].map(([node, figures]) => [
          node,
          new Map(
            [...figures].map(([name, { newest, points }]) => [
              name,
              newest === undefined ? [...points] : [...points, newest]
            ])
          )
        ])
      )
  }
}
