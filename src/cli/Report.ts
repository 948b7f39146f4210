/**
 * Tables for people: the plan before a run, the nodes after it, stored runs.
 *
 * Pure text from values; nothing is read or written here.
 */
import { columns } from "../dag/Describe.ts"
import type { AnyNode } from "../dag/Node.ts"
import { bytes, duration, figure, type NodeView, number, rowsRead, rowsWritten, type View } from "../run/Progress.ts"

/** One line of a plan, as far as it is shown. */
export interface PlanLine {
  readonly node: Pick<AnyNode, "id" | "spec">
  readonly status: "source" | "cached" | "run" | "maybe"
  readonly because: ReadonlyArray<string>
  readonly rows?: number | undefined
  readonly rowsByPort?: Readonly<Record<string, number>> | undefined
  readonly bytes?: number | undefined
}

const planned = (step: PlanLine): string => {
  const why = step.because.join("; ")
  switch (step.status) {
    case "source":
      return why === "" ? "source" : `source, ${why}`
    case "cached":
      return why === "" ? "cached" : `cached (${why})`
    case "run":
      return why === "" ? "will run" : `will run, because ${why}`
    case "maybe":
      return why === "" ? "may run" : `may run, ${why}`
  }
}

/** `1 source, 3 cached, 4 will run, 2 may run` */
export const planCounts = (steps: ReadonlyArray<Pick<PlanLine, "status">>): string => {
  const count = (status: PlanLine["status"]) => steps.filter((step) => step.status === status).length
  const sources = count("source")
  return [
    ...(sources > 0 ? [`${sources} source${sources === 1 ? "" : "s"}`] : []),
    `${count("cached")} cached`,
    `${count("run")} will run`,
    `${count("maybe")} may run`
  ].join(", ")
}

/**
 * The plan as a table and a line that counts. Rows and bytes of nodes that are not cached come from their last run and
 * are marked `~`; where there was none the cell is empty.
 */
export const planTable = (steps: ReadonlyArray<PlanLine>): string => {
  const hasRows = (step: PlanLine) => Object.values(step.node.spec.outputs).some((output) => output.kind === "rows")
  /** In the order of the declaration; a manifest read back has them by name. */
  const rows = ({ node, rowsByPort }: PlanLine, rowsOut: number): string => {
    const order = Object.keys(node.spec.outputs)
    const ports = Object.entries(rowsByPort ?? {}).sort(([a], [b]) => order.indexOf(a) - order.indexOf(b))
    return rowsWritten({ rowsOut, rowsByPort: rowsByPort === undefined ? undefined : Object.fromEntries(ports) })
  }
  const size = (step: PlanLine, value: number | undefined, show: (n: number) => string) =>
    value === undefined ? "" : `${step.status === "run" || step.status === "maybe" ? "~" : ""}${show(value)}`
  return [
    columns([
      ["node", "rows", "bytes", "plan"],
      ...steps.map((step) => [
        step.node.id,
        hasRows(step) ? size(step, step.rows, (count) => rows(step, count)) : "-",
        size(step, step.bytes, bytes),
        planned(step)
      ])
    ]),
    planCounts(steps)
  ].join("\n")
}

const refused = (node: NodeView): string => {
  const by = Object.entries(node.end?.refusedBy ?? {}).sort((a, b) => b[1] - a[1])
  if (node.end === undefined) return "-"
  const count = node.end.refused
  if (count === 0) return "0"
  const shown = by.slice(0, 2).map(([reason, n]) => `${reason} ${number(n)}`)
  const rest = by.length - shown.length
  return `${number(count)} (${[...shown, ...(rest > 0 ? [`${rest} more`] : [])].join(", ")})`
}

/**
 * The nodes of a run: what ran, how long, rows in and out (a number an input or output), rows refused. `last loss` is
 * that of the last step alone, a mean over its tokens. Sources are left out. Where attempts failed, a column counts
 * them.
 */
export const nodeTable = (view: View): string => {
  const nodes = [...view.nodes.values()].filter((node) => node.kind !== "source")
  const failed = nodes.some((node) => (node.failedAttempts ?? 0) > 0)
  return columns([
    [
      "node",
      "status",
      "seconds",
      ...(failed ? ["failed attempts"] : []),
      "rows in",
      "rows out",
      "last loss",
      "refused"
    ],
    ...nodes.map((node) => [
      node.id,
      node.end?.status ?? "unfinished",
      node.end === undefined || ["cached", "skipped"].includes(node.end.status) ? "-" : node.end.seconds.toFixed(1),
      ...(failed ? [node.failedAttempts === undefined ? "-" : number(node.failedAttempts)] : []),
      node.end === undefined ? "-" : rowsRead(node.end),
      node.end === undefined ? "-" : rowsWritten(node.end),
      node.metrics["loss"] === undefined ? "-" : figure(node.metrics["loss"]),
      refused(node)
    ])
  ])
}

/** `3 nodes ran, 2 cached in 4m 10s` */
export const runLine = (status: string, nodesRun: number, nodesCached: number, ms: number): string =>
  `${status}: ${nodesRun} node${nodesRun === 1 ? "" : "s"} ran, ${nodesCached} cached, in ${duration(ms)}`

/** `engine torch: the addon over libtorch 2.13.0 is built`; nothing where the engine was named. */
export const engineLine = (start: {
  readonly engine?: string | undefined
  readonly engineWhy?: string | undefined
}): string | undefined => (start.engineWhy === undefined ? undefined : `engine ${start.engine}: ${start.engineWhy}`)

/** Where the outputs lie: `name  path`. */
export const outputLines = (
  outputs: Readonly<Record<string, { readonly path: string; readonly digest: string }>>
): ReadonlyArray<string> => {
  const entries = Object.entries(outputs)
  if (entries.length === 0) return []
  return columns([
    ["output", "digest", "path"],
    ...entries.map(([name, out]) => [name, out.digest.slice(0, 12), out.path])
  ]).split("\n")
}
