/**
 * What a run looks like to a person: events reduced to a view, and the view as lines of text.
 *
 * Not a terminal: nothing is written and no clock is read here (`src/cli/Terminal.ts` does both), so the same reducer
 * serves a live terminal, a log file and a page. A figure is shown only when it is known: a rate needs two measured
 * points, a remaining time needs a total and a steady rate; otherwise the field is absent, never zero.
 *
 * Units: `at`, `now`, `...Ms` milliseconds; rates are per second; bytes are bytes.
 */
import { printableLine } from "../dag/Printable.ts"
import type { Event } from "./Events.ts"

type Of<T extends Event["event"]> = Extract<Event, { readonly event: T }>

/** A measured point of a running node: rows written, steps done or bytes fetched at a moment. */
interface Sample {
  readonly at: number
  readonly count: number
}

/** Rates look back this far, but never at fewer than `minSamples` points, so that slow steps have a rate too. */
const windowMs = 30_000
const minSamples = 5
/** Closer points replace one another: a node that reports a thousand times a second keeps few. */
const sampleEveryMs = 250

/** A node that started in this run. */
export interface NodeView {
  readonly id: string
  readonly kind: Of<"node-end">["kind"]
  readonly because: ReadonlyArray<string>
  readonly startedAt: number
  readonly rowsIn?: number
  readonly rows?: number
  /** Of a source that is fetched. */
  readonly bytes?: number
  readonly bytesTotal?: number
  readonly shards?: number
  readonly shardsDone?: number
  /** Shards that an earlier run had left finished: they say nothing of this run's speed. */
  readonly shardsBefore: number
  readonly step?: number
  readonly total?: number
  /** The step that a fold went on from. */
  readonly resumedAt?: number
  readonly metrics: Readonly<Record<string, number>>
  readonly checkpoint?: number
  /** Attempts that failed so far, of all shards. */
  readonly failedAttempts?: number
  /** Points of the sliding window, oldest first: steps for folds, bytes for sources, rows for all others. */
  readonly samples: ReadonlyArray<Sample>
  readonly end?: Of<"node-end">
}

/** Everything that is known of a run so far. */
export interface View {
  readonly start?: Of<"start">
  readonly plan: ReadonlyArray<Of<"plan">>
  /** By instance id, in the order they started (or ended, for cached ones). */
  readonly nodes: ReadonlyMap<string, NodeView>
  readonly notices: ReadonlyArray<Of<"notice">>
  readonly run?: Of<"run">
}

/** The view before the first event. */
export const empty: View = { plan: [], nodes: new Map(), notices: [] }

const sampled = (samples: ReadonlyArray<Sample>, next: Sample): ReadonlyArray<Sample> => {
  const last = samples[samples.length - 1]
  // The first point is kept as it is: it is what the rate is measured from.
  const kept =
    samples.length > 1 && last !== undefined && next.at - samples[samples.length - 2]!.at < sampleEveryMs
      ? samples.slice(0, -1)
      : samples
  const out = [...kept, next]
  let from = 0
  while (out.length - from > minSamples && next.at - out[from]!.at > windowMs) from++
  return from === 0 ? out : out.slice(from)
}

const progressed = (node: NodeView, event: Of<"node-progress">): NodeView => {
  const count = event.step ?? event.rows ?? event.bytes
  return {
    ...node,
    ...(event.rows === undefined ? {} : { rows: event.rows }),
    ...(event.shardsDone === undefined ? {} : { shardsDone: event.shardsDone }),
    ...(event.bytes === undefined ? {} : { bytes: event.bytes }),
    ...(event.bytesTotal === undefined ? {} : { bytesTotal: event.bytesTotal }),
    ...(event.step === undefined ? {} : { step: event.step }),
    ...(event.total === undefined ? {} : { total: event.total }),
    ...(event.metrics === undefined ? {} : { metrics: { ...node.metrics, ...event.metrics } }),
    samples: count === undefined ? node.samples : sampled(node.samples, { at: event.at, count })
  }
}

/**
 * The view after one more event; pure, the given view is not changed.
 *
 * Progress of a node that never started (or has ended) is ignored: events of a retried shard may come late.
 *
 * @example
 * const view = events.reduce(reduce, empty)
 */
export const reduce = (view: View, event: Event): View => {
  const put = (node: NodeView): View => ({ ...view, nodes: new Map(view.nodes).set(node.id, node) })
  switch (event.event) {
    case "start":
      return { ...view, start: event }
    case "plan":
      return { ...view, plan: [...view.plan, event] }
    case "notice":
      return { ...view, notices: [...view.notices, event] }
    case "run":
      return { ...view, run: event }
    // A plan's alone: nothing of a run changes by it.
    case "cost":
      return view
    case "node-start":
      return put({
        id: event.node,
        kind: event.kind,
        because: event.because,
        startedAt: event.at,
        ...(event.rowsIn === undefined ? {} : { rowsIn: event.rowsIn }),
        ...(event.shards === undefined ? {} : { shards: event.shards }),
        ...(event.shardsDone === undefined ? {} : { shardsDone: event.shardsDone }),
        shardsBefore: event.shardsDone ?? 0,
        ...(event.resumedAt === undefined ? {} : { resumedAt: event.resumedAt, step: event.resumedAt }),
        metrics: {},
        // No point yet: loading a model is not part of a step, and would make the first rates too low.
        samples: []
      })
    case "node-progress": {
      const node = view.nodes.get(event.node)
      return node === undefined || node.end !== undefined ? view : put(progressed(node, event))
    }
    case "checkpoint": {
      const node = view.nodes.get(event.node)
      return node === undefined ? view : put({ ...node, checkpoint: event.step })
    }
    case "attempt": {
      const node = view.nodes.get(event.node)
      return node === undefined ? view : put({ ...node, failedAttempts: (node.failedAttempts ?? 0) + 1 })
    }
    case "node-end": {
      const node = view.nodes.get(event.node)
      return put({
        ...(node ?? { id: event.node, because: [], startedAt: event.at, shardsBefore: 0, metrics: {}, samples: [] }),
        kind: event.kind,
        end: event
      })
    }
  }
}

/** Nodes that started and have not ended, in the order they started. */
export const running = (view: View): ReadonlyArray<NodeView> =>
  [...view.nodes.values()].filter((node) => node.end === undefined)

/** Nodes (sources apart) that ended with this status. */
export const ended = (view: View, status: Of<"node-end">["status"]): number => {
  let count = 0
  for (const node of view.nodes.values()) if (node.end?.status === status && node.kind !== "source") count++
  return count
}

/**
 * Rows (or steps, for folds) per second over the sliding window; undefined while fewer than two points are known.
 *
 * A node that has been silent for more than twice its usual gap is measured up to `now`, so a stalled node slows down
 * on the screen instead of keeping its last figure.
 */
export const rate = (node: NodeView, now: number): number | undefined => {
  const first = node.samples[0]
  const last = node.samples[node.samples.length - 1]
  if (first === undefined || last === undefined || last.at <= first.at) return undefined
  const gap = (last.at - first.at) / (node.samples.length - 1)
  const until = now - last.at > 2 * gap ? now : last.at
  // Under half a second a rate is noise, unless the node is that slow to speak that these two points are all there is.
  if (until - first.at < 500) return undefined
  return Math.max(0, ((last.count - first.count) / (until - first.at)) * 1000)
}

/**
 * Milliseconds until the node ends, where that can be known: folds from steps, sources from bytes, sharded nodes from
 * shards finished in this run. Undefined for nodes that see all rows at once, before three steps or two shards, and for
 * a stalled node.
 */
export const remainingMs = (node: NodeView, now: number): number | undefined => {
  if (node.total !== undefined && node.step !== undefined) {
    const first = node.samples[0]
    if (first === undefined || node.step - first.count < 3) return undefined
    const perSecond = rate(node, now)
    if (perSecond === undefined || perSecond <= 0) return undefined
    return (Math.max(0, node.total - node.step) / perSecond) * 1000
  }
  if (node.bytesTotal !== undefined && node.bytes !== undefined) {
    const perSecond = rate(node, now)
    if (perSecond === undefined || perSecond <= 0) return undefined
    return (Math.max(0, node.bytesTotal - node.bytes) / perSecond) * 1000
  }
  if (node.shards !== undefined && node.shardsDone !== undefined) {
    const here = node.shardsDone - node.shardsBefore
    if (here < 2 || now <= node.startedAt) return undefined
    return ((node.shards - node.shardsDone) / here) * (now - node.startedAt)
  }
  return undefined
}

/** A duration for people: `0.4 s`, `12 s`, `3m 20s`, `2h 05m`, `3d 4h`. */
export const duration = (ms: number): string => {
  if (!Number.isFinite(ms) || ms < 0) return "?"
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const two = (n: number) => String(n).padStart(2, "0")
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${two(seconds % 60)}s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 1440) return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`
  const hours = Math.round(minutes / 60)
  return `${Math.floor(hours / 24)}d ${hours % 24}h`
}

/** Bytes for people, in powers of 1024: `812 B`, `1.5 MiB`. */
export const bytes = (n: number): string => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
  let unit = 0
  while (n >= 1023.5 && unit < units.length - 1) {
    n /= 1024
    unit++
  }
  return `${unit === 0 || n >= 99.95 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`
}

/** A count with thousands separated: `1,203`. */
export const number = (n: number): string => String(Math.round(n)).replace(/\B(?=(\d{3})+(?!\d))/g, ",")

/** A measured figure in four significant digits (`2.314`, `0.00002`), thousands separated when large. */
export const figure = (n: number): string => {
  if (!Number.isFinite(n)) return String(n)
  const size = Math.abs(n)
  if (size >= 10_000 && size < 1e15) return number(n)
  if (size >= 1e15 || (size !== 0 && size < 1e-3)) return n.toExponential(2).replace(/\.?0+e/, "e")
  return String(Number(n.toPrecision(4)))
}

const perSecond = (n: number, unit: string): string =>
  n >= 100
    ? `${number(n)} ${unit}/s`
    : n >= 1 || n === 0
      ? `${n.toFixed(1)} ${unit}/s`
      : `${(1 / n).toFixed(1)} s/${unit.replace(/s$/, "")}`

/** Known figures of a running node, left to right in order of interest. Empty before anything is known. */
export const figures = (node: NodeView, now: number): ReadonlyArray<string> => {
  const out: Array<string> = []
  const speed = rate(node, now)
  const left = remainingMs(node, now)
  const { loss, ...others } = node.metrics
  if (node.step !== undefined)
    out.push(`step ${number(node.step)}${node.total === undefined ? "" : `/${number(node.total)}`}`)
  if (loss !== undefined) out.push(`loss ${figure(loss)}`)
  if (node.shards !== undefined) out.push(`shards ${number(node.shardsDone ?? 0)}/${number(node.shards)}`)
  if (node.rows !== undefined) out.push(`${number(node.rows)} rows`)
  if (node.bytes !== undefined)
    out.push(`${bytes(node.bytes)}${node.bytesTotal === undefined ? "" : `/${bytes(node.bytesTotal)}`}`)
  if (speed !== undefined)
    out.push(node.kind === "source" ? `${bytes(speed)}/s` : perSecond(speed, node.kind === "fold" ? "steps" : "rows"))
  if (left !== undefined) out.push(`about ${duration(left)} left`)
  for (const [name, value] of Object.entries(others).slice(0, 4)) out.push(`${name} ${figure(value)}`)
  if (node.checkpoint !== undefined) out.push(`saved at ${number(node.checkpoint)}`)
  return out
}

/** One line for a running node: `id  figures  elapsed`. */
export const runningLine = (node: NodeView, now: number): string =>
  [node.id, ...figures(node, now), duration(now - node.startedAt)].join("  ")

/** One line for the start of a node: why it runs, and where it goes on from. */
export const startLine = (event: Of<"node-start">): string => {
  const resumed =
    event.resumedAt !== undefined && event.resumedAt > 0
      ? [`goes on from step ${number(event.resumedAt)}`]
      : event.shardsDone !== undefined && event.shardsDone > 0
        ? [`${number(event.shardsDone)} of ${number(event.shards ?? event.shardsDone)} shards are done already`]
        : []
  const notes = [...event.because, ...resumed]
  return `${event.node}  started${notes.length === 0 ? "" : `: ${notes.join("; ")}`}`
}

/** One line for an attempt that failed: which, why, and when the next one begins. */
export const attemptLine = (event: Of<"attempt">): string => {
  const shard = event.shard === undefined ? "" : ` of shard ${number(event.shard)}`
  const next = event.waitMs === undefined ? "" : `; trying again in ${duration(event.waitMs)}`
  return `${event.node}  attempt ${event.attempt} of ${event.of}${shard} failed: ${event.message}${next}`
}

/**
 * Rows of ports: `2,410 + 2,350` of two, and by name of more, which need not be alike: `849 rows, 849 pixels, 0
 * misnamed`.
 */
const byPort = (rows: Readonly<Record<string, number>>): string => {
  const ports = Object.entries(rows)
  return ports.length > 2
    ? ports.map(([port, count]) => `${number(count)} ${port}`).join(", ")
    : ports.map(([, count]) => number(count)).join(" + ")
}

/** Rows that a node wrote: one number, or one a port (`byPort`). */
export const rowsWritten = (end: {
  readonly rowsOut: number
  readonly rowsByPort?: Readonly<Record<string, number>> | undefined
}): string => (end.rowsByPort === undefined ? number(end.rowsOut) : byPort(end.rowsByPort))

/** Rows that a node read: one number, or one an input (`byPort`); rows of several inputs are unlike things. */
export const rowsRead = (end: {
  readonly rowsIn: number
  readonly rowsInByPort?: Readonly<Record<string, number>> | undefined
}): string => (end.rowsInByPort === undefined ? number(end.rowsIn) : byPort(end.rowsInByPort))

/** One line for the end of a node: status, time, rows, refusals by reason. */
export const endLine = (event: Of<"node-end">): string => {
  const named = Object.keys(event.rowsByPort ?? {}).length > 2
  const rows = event.rowsOut > 0 ? [`${rowsWritten(event)}${named ? "" : " rows"}`] : []
  const reasons = Object.entries(event.refusedBy).sort((a, b) => b[1] - a[1])
  const shown = reasons.slice(0, 3).map(([reason, count]) => `${reason} ${number(count)}`)
  if (reasons.length > 3) shown.push(`${reasons.length - 3} other reasons`)
  const refused =
    event.refused > 0 ? [`${number(event.refused)} refused${shown.length ? ` (${shown.join(", ")})` : ""}`] : []
  const time = event.status === "cached" ? [] : [`in ${duration(event.seconds * 1000)}`]
  const status = event.kind === "source" && event.status === "ran" ? "fetched" : event.status
  if (event.status === "skipped") return `${event.node}  skipped: it needs ${(event.skippedFor ?? []).join(", ")}`
  const why = event.error === undefined ? [] : [`${event.error.tag}: ${event.error.message}`]
  return [event.node, [status, ...time].join(" "), ...rows, ...refused, ...why].join("  ")
}

/** Cuts a line to `width` columns, with an ellipsis where something was cut. Control characters become blanks. */
export const clip = (line: string, width: number): string => {
  const points = [...printableLine(line)]
  return points.length <= width ? points.join("") : `${points.slice(0, Math.max(0, width - 1)).join("")}…`
}

/** The lines that are redrawn in place: one a running node, at most `height`, each at most `width` columns. */
export const liveLines = (view: View, now: number, width: number, height: number): ReadonlyArray<string> => {
  const nodes = running(view)
  const shown = nodes.length > height ? nodes.slice(0, Math.max(0, height - 1)) : nodes
  const pad = Math.min(40, Math.max(0, ...shown.map((node) => node.id.length)))
  const lines = shown.map((node) =>
    clip([node.id.padEnd(pad), ...figures(node, now), duration(now - node.startedAt)].join("  "), width)
  )
  if (shown.length < nodes.length) lines.push(clip(`and ${nodes.length - shown.length} more nodes`, width))
  return lines
}
