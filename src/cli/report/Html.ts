/**
 * Text as HTML: escaping, and tables of cells.
 *
 * Not a template language. Whatever comes from data goes through `escape`; strings that are HTML already are made here
 * or beside it, and never come from a run.
 */
import { printable } from "../../dag/Printable.ts"
import type { Cell, Table } from "../../dag/Sections.ts"

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;"
}

/**
 * Text for an element or a quoted attribute. Control characters, which HTML cannot hold, and bidirectional marks, which
 * would turn what stands around them, are shown by their numbers.
 */
export const escape = (text: string): string =>
  printable(text.replace(/\r\n?/g, "\n")).replace(/[&<>"']/g, (one) => entities[one]!)

/** A name that an element can be linked by. */
export const anchor = (id: string): string => `node-${encodeURIComponent(id)}`

/** What a marked cell says beside its colour. */
const signs = { right: "✓", wrong: "✗" } as const

/** A bar of a share, 0 to 1; nothing outside of that. */
export const bar = (share: number | undefined): string =>
  share === undefined || !Number.isFinite(share)
    ? ""
    : `<span class="bar"><i style="width:${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%"></i></span>`

const cellHtml = (cell: string | Cell, figures: boolean, column: string): string => {
  const { mark, share, text } = typeof cell === "string" ? ({ text: cell } as Cell) : cell
  const classes = [...(figures ? ["figures"] : []), ...(mark === undefined ? [] : [mark])]
  const sign = mark === undefined ? "" : `<b class="sign" title="${mark}">${signs[mark]}</b>&nbsp;`
  return (
    `<td${classes.length === 0 ? "" : ` class="${classes.join(" ")}"`} ` +
    `data-column="${escape(column)}">${bar(share)}${sign}${escape(text)}</td>`
  )
}

/** A table of plain cells. */
export const tableHtml = ({ columns, rows }: Table, name = ""): string =>
  [
    `<table${name === "" ? "" : ` class="${name}"`}><thead><tr>`,
    ...columns.map((column) => `<th${column.figures === true ? ' class="figures"' : ""}>${escape(column.name)}</th>`),
    "</tr></thead><tbody>",
    ...rows.map(
      (row) =>
        `<tr>${columns.map((column, i) => cellHtml(row[i] ?? "", column.figures === true, column.name)).join("")}</tr>`
    ),
    "</tbody></table>"
  ].join("")

/** A part of the page with a heading that can be linked to. */
export const section = (id: string, title: string, body: string, about?: string): string =>
  `<section id="${escape(id)}"><h2>${escape(title)}</h2>${about === undefined ? "" : `<p class="about">${escape(about)}</p>`}${body}</section>`
