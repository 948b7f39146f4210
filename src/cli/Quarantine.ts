/**
 * A quarantine for people: how many rows of each reason, what to do about it, and the first rows.
 *
 * Reads the refused rows once, as a stream; memory is that of the rows that are shown.
 */
import { Effect, Stream } from "effect"
import { columns } from "../dag/Describe.ts"
import { number, rowsRead } from "../run/Progress.ts"

/** One refused row as a line: shard, row, reason, and the error's other fields. */
export interface RefusedRow {
  readonly shard: number
  readonly refused: { readonly row: number; readonly reason: string; readonly error: unknown }
}

const fields = (error: unknown): string => {
  if (typeof error !== "object" || error === null) return error === undefined ? "" : JSON.stringify(error)
  return Object.entries(error)
    .filter(([name]) => name !== "_tag" && name !== "reason" && name !== "hint")
    .map(([name, value]) => {
      const text = typeof value === "string" ? value : JSON.stringify(value)
      return `${name}=${text.length > 120 ? `${text.slice(0, 119)}…` : text}`
    })
    .join(" ")
    .replace(/\s+/g, " ")
}

const hintOf = (error: unknown): string => {
  const hint = typeof error === "object" && error !== null && "hint" in error ? error.hint : undefined
  return typeof hint === "string" ? hint : ""
}

/** What a quarantine holds: its first rows, and of each reason how many and what to do about it. */
export interface QuarantineView {
  readonly first: ReadonlyArray<RefusedRow>
  readonly reasons: ReadonlyMap<string, { readonly rows: number; readonly hint: string }>
}

/** Looks at a quarantine once, in memory of `limit` rows. */
export const viewQuarantine = <E, R>(
  rows: Stream.Stream<RefusedRow, E, R>,
  limit: number
): Effect.Effect<QuarantineView, E, R> =>
  Effect.suspend(() => {
    const first: Array<RefusedRow> = []
    const reasons = new Map<string, { rows: number; readonly hint: string }>()
    const look = (row: RefusedRow): void => {
      if (first.length < limit) first.push(row)
      const known = reasons.get(row.refused.reason)
      if (known === undefined) reasons.set(row.refused.reason, { rows: 1, hint: hintOf(row.refused.error) })
      else known.rows++
    }
    return Effect.as(
      Stream.runForEachArray(rows, (some) => Effect.sync(() => some.forEach(look))),
      { first, reasons }
    )
  })

/** Rows of all reasons together. */
export const rowsIn = (view: QuarantineView): number =>
  [...view.reasons.values()].reduce((sum, { rows }) => sum + rows, 0)

/** Counts by reason, most first, with what to do about it; then the first rows. */
export const quarantineText = (node: string, view: QuarantineView): string => {
  const all = rowsIn(view)
  if (all === 0) return `${node}: no row was refused`
  const { first, reasons } = view
  return [
    `${node}: ${number(all)} ${all === 1 ? "row was" : "rows were"} refused`,
    columns([
      ["reason", "rows", "hint"],
      ...[...reasons]
        .sort((a, b) => b[1].rows - a[1].rows)
        .map(([reason, { hint, rows }]) => [reason, number(rows), hint])
    ]),
    "",
    columns([
      ["shard", "row", "reason", "error"],
      ...first.map(({ shard, refused }) => [String(shard), String(refused.row), refused.reason, fields(refused.error)])
    ]),
    ...(first.length < all ? [`and ${number(all - first.length)} more (--limit ${all})`] : [])
  ].join("\n")
}

/**
 * Rows that a node refused for one reason. `rowsIn` where they can only be rows of one input. A node that reads several
 * inputs whole has `rowsInByPort` instead, where that is known: which input a row was refused of is not.
 */
export interface Drop {
  readonly node: string
  readonly rowsIn?: number
  readonly rowsInByPort?: Readonly<Record<string, number>>
  readonly reason: string
  readonly rows: number
}

/**
 * Nodes in the pipeline's order, the most frequent reason of each first; a share where it is known of how many rows.
 */
export const dropsTable = (drops: ReadonlyArray<Drop>): string => {
  if (drops.length === 0) return "no stored result refused a row"
  const order = [...new Set(drops.map(({ node }) => node))]
  const sorted = drops.toSorted((a, b) => order.indexOf(a.node) - order.indexOf(b.node) || b.rows - a.rows)
  return columns([
    ["node", "rows in", "reason", "refused", "of its rows"],
    ...sorted.map(({ node, reason, rows, rowsIn, rowsInByPort }, i) => {
      const first = sorted[i - 1]?.node !== node
      const share = rowsIn === undefined || rowsIn === 0 ? "-" : `${((100 * rows) / rowsIn).toFixed(1)} %`
      const read =
        rowsIn === undefined && rowsInByPort === undefined ? "-" : rowsRead({ rowsIn: rowsIn ?? 0, rowsInByPort })
      return [first ? node : "", first ? read : "", reason, number(rows), share]
    })
  ])
}
