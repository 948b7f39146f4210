/**
 * Says what was measured: one JSON line a row, or a table; on the last line what failed and why.
 *
 * Not a judge (`Row`).
 */
import { columns } from "../src/dag/Describe.ts"
import type { Outcome, RowLine } from "./Row.ts"

const number = (figure: number | null): string => (figure === null ? "-" : String(figure))

/** A row's line for `--json`: keys in a fixed order. */
export const jsonLine = ({ goal, name, note, ours, peer, peerName, ratio, unit }: RowLine): string =>
  JSON.stringify({ name, ours, peer, unit, ratio, goal, peerName, note })

/** The rows as a table, notes under it. */
export const table = (outcomes: ReadonlyArray<Outcome>): string =>
  [
    columns([
      ["row", "ours", "peer", "unit", "ratio", "goal", "", "against"],
      ...outcomes.map(({ failed, line }) => [
        line.name,
        number(line.ours),
        number(line.peer),
        line.unit,
        number(line.ratio),
        number(line.goal),
        failed === undefined ? "ok" : line.ratio === null ? "MISSING" : "FAILED",
        line.peerName
      ])
    ]),
    "",
    ...outcomes.map(({ line }) => `${line.name}: ${line.note}`)
  ].join("\n")

/** The last line: every row that failed with its reason, or that none did. */
export const verdict = (outcomes: ReadonlyArray<Outcome>): string => {
  const failed = outcomes.filter((outcome) => outcome.failed !== undefined)
  return failed.length === 0
    ? `all ${outcomes.length} rows reach their goals`
    : `${failed.length} of ${outcomes.length} rows failed: ${failed.map(({ failed, line }) => `${line.name} (${failed})`).join("; ")}`
}

/** 0 when every row has a ratio at its goal and equal results; nothing measured is no success. */
export const exitCode = (outcomes: ReadonlyArray<Outcome>): 0 | 1 =>
  outcomes.length > 0 && outcomes.every((outcome) => outcome.failed === undefined) ? 0 : 1
