/**
 * A benchmark and the line it ends in: our figure, the peer's on the same input in the same run, their ratio, a goal.
 *
 * Not a timer (`Rounds`) and not a printer (`Report`). A ratio is always larger-is-better: theirs over ours for times,
 * ours over theirs for rates, the limit over ours for memory. A row without a ratio, below its goal, or whose results
 * are not equal, has failed. A row whose goal is null is told and not judged: a figure alone, or a dry run.
 */
import { Schema } from "effect"

/** How much data: `quick` for a look, `full` for figures that are quoted, `tiny` for a walk through the code. */
export type Size = "tiny" | "quick" | "full"

/** The peer is not installed here. `what` names the package, interpreter or flag that is missing. */
export class PeerMissing extends Schema.TaggedError<PeerMissing>()("PeerMissing", {
  what: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

/** The peer was started and did not do its work. */
export class PeerFailed extends Schema.TaggedError<PeerFailed>()("PeerFailed", {
  peer: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

/** What a benchmark is given: a size, a folder for what it makes, an interpreter with the Python peers. */
export interface Context {
  readonly size: Size
  readonly data: string
  readonly python: string | undefined
  /** Prints a progress line. */
  readonly say: (what: string) => void
}

/** One figure a round, in the row's unit. A limit is a peer that is asked once. */
export interface Measured {
  readonly ours: ReadonlyArray<number>
  readonly peer: ReadonlyArray<number>
  /** True: the ratio is the median of the rounds' ratios, and not that of the medians. */
  readonly paired?: boolean
  /** The processor's seconds for equal work, which a busy machine changes less than wall time; printed in the note. */
  readonly cpu?: { readonly ours: number; readonly peer: number }
  /** Input, conditions that held, versions. */
  readonly note: string
  /** The condition that did not hold: the row fails whatever its ratio. */
  readonly wrong?: string | undefined
}

/** Our figures without a peer to hold them to. */
export interface Unmatched {
  readonly ours: ReadonlyArray<number>
  readonly missing: string
}

/** One row: measured by `run`, which interleaves ours and the peer. */
export interface Benchmark {
  readonly name: string
  readonly about: string
  readonly unit: string
  /** Whether a smaller figure is better (seconds, bytes) or a larger one (rates). */
  readonly better: "less" | "more"
  /** Null: the figure is printed without a verdict. */
  readonly goal: number | null
  readonly peerName: string
  /** Fails with `PeerMissing` where the peer is not installed. */
  readonly run: (context: Context) => Promise<Measured | Unmatched>
}

/** The line of a row, as `--json` prints it. Null where nothing was measured. */
export interface RowLine {
  readonly name: string
  readonly ours: number | null
  readonly peer: number | null
  readonly unit: string
  readonly ratio: number | null
  readonly goal: number | null
  readonly peerName: string
  readonly note: string
}

/** A row's line and whether the command may end well. */
export interface Outcome {
  readonly line: RowLine
  /** Why the row failed; undefined where it is good. */
  readonly failed: string | undefined
}

/** The middle figure; of an even number the mean of both. NaN without figures. */
export const median = (figures: ReadonlyArray<number>): number => {
  const sorted = [...figures].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length === 0
    ? Number.NaN
    : sorted.length % 2 === 1
      ? sorted[half]!
      : (sorted[half - 1]! + sorted[half]!) / 2
}

/**
 * Larger is better, whatever is measured.
 *
 * @example
 * ratioOf("less", 2, 6) // 3: we take 2 s, the peer 6 s
 */
export const ratioOf = (better: Benchmark["better"], ours: number, peer: number): number =>
  better === "less" ? peer / ours : ours / peer

const finite = (figure: number): number | null => (Number.isFinite(figure) ? Number(figure.toPrecision(4)) : null)

const spread = (figures: ReadonlyArray<number>): string =>
  figures.length < 2
    ? ""
    : ` (${Math.min(...figures).toPrecision(3)} to ${Math.max(...figures).toPrecision(3)} in ${figures.length} rounds)`

/** The outcome of what was measured: medians, ratio, and the reason if it failed. */
export const judge = (benchmark: Benchmark, measured: Measured | Unmatched): Outcome => {
  const { better, goal, name, peerName, unit } = benchmark
  const ours = median(measured.ours)
  const same = { name, ours: finite(ours), unit, goal, peerName }
  if ("missing" in measured) {
    const note = `missing: ${measured.missing}`
    return { line: { ...same, peer: null, ratio: null, note }, failed: goal === null ? undefined : note }
  }
  if (measured.peer.length === 0 && goal === null) {
    const note = `${measured.note}${spread(measured.ours)}`
    const failed = measured.wrong ?? (Number.isFinite(ours) ? undefined : "nothing was measured")
    return { line: { ...same, peer: null, ratio: null, note }, failed }
  }
  const peer = median(measured.peer)
  const ratio = finite(
    measured.paired === true
      ? median(measured.ours.map((figure, i) => ratioOf(better, figure, measured.peer[i]!)))
      : ratioOf(better, ours, peer)
  )
  const failed =
    measured.wrong ??
    (ratio === null
      ? "nothing was measured"
      : goal !== null && ratio < goal
        ? `ratio ${ratio} is under the goal ${goal}`
        : undefined)
  const parts = [
    ...(measured.wrong === undefined ? [] : [`NOT EQUAL: ${measured.wrong}`]),
    measured.note,
    `ours${spread(measured.ours)}`,
    `peer${spread(measured.peer)}`,
    ...(measured.cpu === undefined
      ? []
      : [`by processor time ${(measured.cpu.peer / measured.cpu.ours).toPrecision(3)}`])
  ]
  const note = parts.filter((part) => part !== "" && part !== "ours" && part !== "peer").join("; ")
  return { line: { ...same, peer: finite(peer), ratio, note }, failed }
}

/** Measures one row; an error is an outcome, so that the other rows are still measured. */
export const measure = async (benchmark: Benchmark, context: Context): Promise<Outcome> => {
  try {
    return judge(benchmark, await benchmark.run(context))
  } catch (cause) {
    if (cause instanceof PeerMissing) {
      const { line } = judge(benchmark, { ours: [], missing: `${cause.what}. ${cause.hint}` })
      return { line, failed: line.note }
    }
    const message = cause instanceof Error ? cause.message : String(cause)
    const { goal, name, peerName, unit } = benchmark
    const line = { name, ours: null, peer: null, unit, ratio: null, goal, peerName, note: `failed: ${message}` }
    return { line, failed: `failed: ${message}` }
  }
}
