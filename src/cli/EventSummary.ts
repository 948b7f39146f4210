/**
 * What `show` prints of a run's events: the end of each node, its last loss, a few losses on the way.
 *
 * Not `reduce` of every event: a long training reports a million steps, of which a dozen are printed. A line of
 * progress is recognised by its form, without `JSON.parse`, and left out where nothing printed depends on it; what is
 * not recognised is parsed. The view is right in what `nodeTable` prints; rates and figures of running nodes it has
 * not.
 */
import { Option, type Schema } from "effect"
import type { Event } from "../run/Events.ts"
import { empty, figure, number, reduce, type View } from "../run/Progress.ts"
import { decodeEvent } from "./EventJson.ts"

/** Losses of one node on the way: the first, the last, and evenly spaced ones between; memory stays bounded. */
interface Losses {
  points: Array<{ readonly step: number; readonly loss: number }>
  every: number
  seen: number
  last: { readonly step: number; readonly loss: number } | undefined
}
const lossPoints = 8

const addLoss = (losses: Losses, step: number, loss: number): void => {
  if (losses.seen % losses.every === 0) losses.points.push({ step, loss })
  losses.seen++
  losses.last = { step, loss }
  if (losses.points.length > 2 * lossPoints) {
    losses.points = losses.points.filter((_, i) => i % 2 === 0)
    losses.every *= 2
  }
}

const lossLine = (node: string, { last, points }: Losses): string => {
  const shown = points.filter((_, i) => i % Math.ceil(points.length / lossPoints) === 0)
  if (last !== undefined && shown[shown.length - 1]?.step !== last.step) shown.push(last)
  return `  ${node}: ${shown.map(({ loss, step }) => `step ${number(step)} ${figure(loss)}`).join(", ")}`
}

/** A number that is finite for certain, or one of those that JSON has no number for. */
const num = String.raw`(?:-?(?:0|[1-9]\d{0,17})(?:\.\d{1,25})?(?:[eE][+-]?\d{1,2})?|"NaN"|"-?Infinity")`
const key = `"[A-Za-z][A-Za-z0-9_./-]*"`
const pair = `${key}: ?${num}`
const count = `, ?"(?:rows|shardsDone|bytes|bytesTotal|step|total)": ?${num}`
const head = (node: string) => String.raw`\{"event": ?"node-progress", ?"at": ?${num}, ?"node": ?"${node}"`
/** A line of progress that is valid JSON and a valid event: its node, its counts, its metrics. */
const progress = new RegExp(
  `${head(String.raw`([^"\\\u0000-\u001f]*)`)}((?:${count})*)` +
    String.raw`(?:, ?"metrics": ?\{((?:${pair}(?:, ?${pair})*)?)\})?\}\n`,
  "y"
)
/** A text as a pattern of itself alone. */
const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&")

/** The same of one node, with a step and a loss: most lines of a training. Without groups it makes no garbage. */
const stepOf = (node: string): RegExp =>
  new RegExp(
    `${head(escaped(node))}(?:${count})*?, ?"step": ?${num}(?:${count})*` +
      String.raw`, ?"metrics": ?\{(?:${pair}, ?)*?"loss": ?${num}(?:, ?${pair})*\}\}\n`,
    "y"
  )

/** A node with losses, and where its last line lies that was left out of the text at hand; `end` 0 for none. */
interface Fold {
  readonly losses: Losses
  readonly step: RegExp
  start: number
  end: number
}

/** Gathers what `show` prints of a run. Give it all events in order, by `event` or by `lines`. */
export const makeEventSummary = () => {
  let view: View = empty
  let unknown = 0
  const folds = new Map<string, Fold>()
  const foldOf = (node: string): Fold => {
    let fold = folds.get(node)
    if (fold === undefined) {
      const losses: Losses = { points: [], every: 1, seen: 0, last: undefined }
      folds.set(node, (fold = { losses, step: stepOf(node), start: 0, end: 0 }))
    }
    return fold
  }

  /** One event; gives it decoded, or nothing where this version does not know it. */
  const event = (json: Schema.Json): Event | undefined => {
    const known = Option.getOrUndefined(decodeEvent(json))
    if (known === undefined) {
      unknown++
      return undefined
    }
    view = reduce(view, known)
    const loss = known.event === "node-progress" ? known.metrics?.["loss"] : undefined
    if (known.event !== "node-progress" || loss === undefined || known.step === undefined) return known
    addLoss(foldOf(known.node).losses, known.step, loss)
    return known
  }

  /**
   * Leaves a step's line out, unless its loss is one of the points: then, or where the node is new, it is to be read.
   */
  const leaveOut = (fold: Fold, start: number, end: number): boolean => {
    // `event` counts a line that is read after all.
    const seen = fold.losses.seen + (fold.end > 0 ? 1 : 0)
    if (seen % fold.losses.every === 0) return false
    fold.losses.seen = seen
    fold.start = start
    fold.end = end
    return true
  }

  /** Events as whole lines of JSON, each ended by a newline; `parse` reads one line. */
  const lines = (text: string, parse: (line: string) => Schema.Json): void => {
    /** Reads the last of the lines that were left out, of each node. */
    const readLeft = () => {
      for (const fold of folds.values()) {
        if (fold.end > 0) event(parse(text.slice(fold.start, fold.end)))
        fold.end = 0
      }
    }
    let latest: Fold | undefined
    for (let start = 0, next = 0; start < text.length; start = next) {
      if (latest !== undefined) {
        latest.step.lastIndex = start
        if (latest.step.test(text)) {
          next = latest.step.lastIndex
          if (leaveOut(latest, start, next - 1)) continue
        }
      }
      progress.lastIndex = start
      const [line, node = "", counts = "", metrics = ""] = progress.exec(text) ?? []
      next = line === undefined ? text.indexOf("\n", start) + 1 : progress.lastIndex
      if (next === start + 1) continue
      if (line !== undefined && !metrics.includes('"loss"')) continue
      latest = line !== undefined && counts.includes('"step"') ? foldOf(node) : undefined
      if (latest !== undefined && leaveOut(latest, start, next - 1)) continue
      readLeft()
      event(parse(text.slice(start, next - 1)))
    }
    readLeft()
  }

  return {
    event,
    lines,
    view: () => view,
    unknown: () => unknown,
    /** One line a node that had losses. */
    losses: (): ReadonlyArray<string> => [...folds].map(([node, fold]) => lossLine(node, fold.losses))
  }
}
