/**
 * A run as one page: HTML text from values, complete in itself.
 *
 * Not a server and not a reader of the store: what is shown is what the caller knows of the run, however far it got.
 * Times and paths stand here, because the page belongs to the run's record and to no artifact.
 */

import { pngUrl } from "../../bytes/Png.ts"
import { encodeParams } from "../../dag/Key.ts"
import type { Pipeline } from "../../dag/Pipeline.ts"
import type { Card, Part, Section } from "../../dag/Sections.ts"
import type { History } from "../../run/History.ts"
import { duration, number, rowsRead, rowsWritten, type View } from "../../run/Progress.ts"
import type { Choice } from "../../run/Recipe.ts"
import { type CurveOptions, curveSvg } from "./Curve.ts"
import { graphSvg, type State, stateOf } from "./Graph.ts"
import { anchor, bar, escape, section, tableHtml } from "./Html.ts"
import { script, style } from "./Style.ts"

/** Everything that a page shows. `view` holds the last `run` event. */
export interface ReportData {
  readonly pipeline: Pipeline
  readonly choice: Choice
  /** Flags that cut or steer the run, as typed; empty ones left out. */
  readonly flags: ReadonlyArray<string>
  readonly view: View
  readonly history: History
  readonly startedMs: number
  readonly endedMs: number
  /** The recipe's own part; absent when it has none, or could not be made (`partError` says why). */
  readonly part?: Part
  readonly partError?: string
  /** A path of the store as a link from the page, percent-encoded. */
  readonly link: (path: string) => string
}

const when = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")} UTC`

const header = ({ choice, endedMs, pipeline, startedMs, view }: ReportData): string => {
  const run = view.run
  const facts: ReadonlyArray<readonly [string, string]> = [
    ["run", view.start?.run ?? "-"],
    ["preset", choice.preset],
    ["engine", choice.engine],
    ["started", when(startedMs)],
    ["took", duration(endedMs - startedMs)],
    ["nodes", `${run?.nodesRun ?? 0} ran, ${run?.nodesCached ?? 0} cached, of ${view.start?.nodes ?? 0}`]
  ]
  const status = run?.status ?? "interrupted"
  return `<header><h1>${escape(pipeline.name)}<span class="status ${status}">${status}</span></h1><ul class="facts">${facts
    .map(([name, text]) => `<li>${name} <b>${escape(text)}</b></li>`)
    .join("")}</ul></header>`
}

const problem = (title: string, message: string, hint: string, kind = ""): string =>
  `<div class="problem ${kind}"><b>${escape(title)}</b><pre>${escape(message)}</pre>${hint === "" ? "" : `<span class="muted">${escape(hint)}</span>`}</div>`

const textOf = (value: unknown, name: string): string => {
  const field =
    typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined
  return typeof field === "string" ? field : ""
}

/** What went wrong, and what a person should know: nothing when all went well. */
const problems = ({ partError, view }: ReportData): string => {
  const out: Array<string> = []
  for (const { end, id } of view.nodes.values())
    if (end?.error !== undefined)
      out.push(problem(`${id}: ${end.error.tag}`, end.error.message, end.error.hint, end.status))
  const metrics = view.run?.metrics
  const error = typeof metrics === "object" && metrics !== null && "error" in metrics ? metrics["error"] : undefined
  // Errors of nodes are shown above; this one is of the run itself.
  if (error !== undefined && view.run?.status !== "completed" && out.length === 0)
    out.push(problem(textOf(error, "tag"), textOf(error, "message"), textOf(error, "hint")))
  if (partError !== undefined)
    out.push(problem("The recipe's part of this page could not be made", partError, "The run is not affected."))
  if (view.notices.length > 0)
    out.push(
      `<ul class="notices">${view.notices
        .map(({ message, node }) => `<li>${escape(node === undefined ? message : `${node}: ${message}`)}</li>`)
        .join("")}</ul>`
    )
  return out.length === 0 ? "" : section("problems", "Errors and notices", out.join(""))
}

/** `Dropped: TooShort 5, BannedWord 3; BadRow 1`: an error's name once, most rows first. */
const reasonsHtml = (refusedBy: Readonly<Record<string, number>>): string => {
  const sorted = Object.entries(refusedBy).sort((a, b) => b[1] - a[1])
  const groups = Map.groupBy(sorted, ([reason]) => reason.split(": ", 1)[0]!)
  return [...groups]
    .map(([tag, some]) =>
      some
        .map(
          ([reason, count], i) =>
            `<span>${escape(i === 0 ? reason : reason.slice(tag.length + 2))} ${number(count)}</span>`
        )
        .join(", ")
    )
    .join("; ")
}

/** Rows of several ports, a part each: a line may break between two parts and in none. */
const rowParts = (rows: string): string =>
  rows
    .split(/(?<=,) (?=\d)|(?= \+ )/)
    .map((part) => `<span>${escape(part.trim())}</span>`)
    .join(" ")

const nodeRows = ({ pipeline, view }: ReportData): string => {
  const nodes = pipeline.nodes.filter((node) => node.spec.kind !== "source")
  const slowest = Math.max(0, ...nodes.map((node) => view.nodes.get(node.id)?.end?.seconds ?? 0))
  const tried = nodes.some((node) => (view.nodes.get(node.id)?.failedAttempts ?? 0) > 0)
  const rows = nodes.map((node) => {
    const seen = view.nodes.get(node.id)
    const end = seen?.end
    const state: State = stateOf(node, view)
    const built = end?.status === "ran" || end?.status === "cached" ? end : undefined
    const attempts = tried ? `<td class="figures">${seen?.failedAttempts ?? ""}</td>` : ""
    const seconds = end === undefined || end.status === "cached" || end.status === "skipped" ? undefined : end.seconds
    return [
      `<tr id="${escape(anchor(node.id))}"><td>${escape(node.id)}</td>`,
      `<td><span class="state ${state}">${state}</span></td>`,
      `<td class="figures">${seconds === undefined ? "" : `${bar(slowest > 0 ? seconds / slowest : 0)}${seconds.toFixed(1)}`}</td>${attempts}`,
      `<td class="figures rows">${built === undefined || built.rowsIn === 0 ? "" : rowParts(rowsRead(built))}</td>`,
      `<td class="figures rows">${built === undefined || built.rowsOut === 0 ? "" : rowParts(rowsWritten(built))}</td>`,
      `<td class="reasons">${built === undefined || built.refused === 0 ? "" : `<b>${number(built.refused)}</b> `}${reasonsHtml(built?.refusedBy ?? {})}</td>`,
      `<td><code>${end?.key === undefined ? "" : end.key.slice(0, 12)}</code></td></tr>`
    ].join("")
  })
  const head = [
    "node",
    "status",
    "seconds",
    ...(tried ? ["failed attempts"] : []),
    "rows in",
    "rows out",
    "refused",
    "key"
  ]
  const right = new Set(["seconds", "failed attempts", "rows in", "rows out"])
  return `<div class="scroll"><table class="nodes"><thead><tr>${head
    .map((name) => `<th${right.has(name) ? ' class="figures"' : ""}>${name}</th>`)
    .join("")}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`
}

/** The figure that training gives after steps that measured held-out rows; drawn beside the loss. */
const HELD_OUT = "heldOutLoss"

/**
 * The curves of each training node: its loss, the other figures smaller below. Stored losses are taken where the recipe
 * gives them (they have every step, also of a cached node), else what events said.
 */
export const curves = ({
  history,
  part,
  pipeline
}: Pick<ReportData, "history" | "part" | "pipeline">): ReadonlyArray<string> =>
  pipeline.nodes.flatMap(({ id }) => {
    const seen = history.get(id)
    const stored = part?.losses.find((one) => one.node === id)
    const out: Array<string> = []
    if (stored !== undefined) {
      const options: CurveOptions = {
        title: `${id}: loss`,
        smooth: true,
        heldOut: stored.heldOut,
        ...(stored.evaluations === undefined
          ? {}
          : { measured: stored.evaluations.map(({ loss, step }) => ({ step, value: loss })) }),
        ...(stored.keptStep === undefined ? {} : { kept: stored.keptStep }),
        ...(seen === undefined ? { note: "as stored" } : {})
      }
      const points = stored.losses.map((value, i) => ({ step: i + 1, value }))
      out.push(curveSvg(points, options))
    }
    for (const [name, points] of seen ?? [])
      if (name === HELD_OUT) continue
      else if (name !== "loss") out.push(curveSvg(points, { title: name, small: true }))
      else if (stored === undefined) {
        const measured = seen?.get(HELD_OUT)
        out.push(
          curveSvg(points, { title: `${id}: loss`, smooth: true, ...(measured === undefined ? {} : { measured }) })
        )
      }
    return out.length === 0 ? [] : [`<div class="of-node" data-id="${escape(id)}">${out.join("")}</div>`]
  })

const cardHtml = (card: Card): string => {
  const { picture } = card
  const image =
    picture === undefined
      ? ""
      : `<img src="${pngUrl(picture)}" width="${picture.width}" height="${picture.height}" alt="${escape(card.title)}">`
  return `<div class="card">${image}<div><h3>${escape(card.title)}</h3>${tableHtml(card)}</div></div>`
}

const sectionHtml = (one: Section, index: number): string =>
  section(
    `part-${index}`,
    one.title,
    one.kind === "table"
      ? `<div class="scroll">${tableHtml(one)}</div>`
      : `<div class="cards">${one.cards.map(cardHtml).join("")}</div>`,
    one.about
  )

const settings = ({ choice, flags, pipeline }: ReportData): string => {
  const overridden = new Set(choice.settings.map((one) => one.slice(0, one.indexOf("="))))
  const rows = pipeline.nodes
    .filter((node) => node.spec.kind !== "source")
    .flatMap((node) =>
      Object.entries((encodeParams(node) ?? {}) as Readonly<Record<string, unknown>>).map(([name, value]) => [
        node.id,
        name,
        JSON.stringify(value),
        overridden.has(`${node.id}.${name}`) ? "set for this run" : ""
      ])
    )
  const typed = [...choice.settings.map((one) => `--set ${one}`), ...flags]
  return [
    `<p>Preset <b>${escape(choice.preset)}</b> on engine <b>${escape(choice.engine)}</b>, `,
    typed.length === 0 ? "nothing replaced." : `with <code>${escape(typed.join(" "))}</code>.`,
    `</p><details><summary>Parameters of all nodes</summary><div class="scroll">`,
    tableHtml({ columns: ["node", "parameter", "value", ""].map((name) => ({ name })), rows }, "parameters"),
    "</div></details>"
  ].join("")
}

const outputs = ({ link, view }: ReportData): string => {
  const rows = Object.entries(view.run?.outputs ?? {}).map(
    ([name, one]) =>
      `<tr><td>${escape(name)}</td><td><code>${escape(one.digest.slice(0, 12))}</code></td><td class="path"><a ` +
      `href="${escape(link(one.path))}">${escape(one.path)}</a></td></tr>`
  )
  return rows.length === 0
    ? `<p class="muted">None: the run did not get there.</p>`
    : `<table class="outputs"><thead><tr><th>output</th><th>digest</th><th>path</th></tr></thead><tbody>${rows.join("")}</tbody></table>`
}

/** Nothing may be fetched, whatever a run's text holds. */
const policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"

/** The page. Equal values give equal text. */
export const page = (data: ReportData): string => {
  const { part } = data
  const drawn = curves(data)
  const parts: ReadonlyArray<readonly [id: string, title: string, html: string]> = [
    ["problems", "Errors and notices", problems(data)],
    ["graph", "Graph", section("graph", "Graph", graphSvg(data.pipeline, data.view))],
    [
      "curves",
      "Training",
      drawn.length === 0 ? "" : section("curves", "Training", `<div class="curves">${drawn.join("")}</div>`)
    ],
    ...(part?.sections ?? []).map((one, i) => [`part-${i}`, one.title, sectionHtml(one, i)] as const),
    ["nodes", "Nodes", section("nodes", "Nodes", nodeRows(data))],
    ["settings", "Settings", section("settings", "Settings", settings(data))],
    ["outputs", "Outputs", section("outputs", "Outputs", outputs(data))]
  ]
  const shown = parts.filter(([, , html]) => html !== "")
  const figures = (part?.figures ?? []).map(
    ({ name, text }) => `<div><b>${escape(text)}</b><span>${escape(name)}</span></div>`
  )
  return [
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" ` +
      `content="${policy}">`,
    `<meta name="viewport" ` +
      `content="width=device-width"><title>${escape(`${data.pipeline.name} ${data.view.start?.run ?? ""}`)}</title>`,
    `<link rel="icon" href="data:,"><style>${style}</style></head><body><main>`,
    header(data),
    figures.length === 0 ? "" : `<div class="figures-row">${figures.join("")}</div>`,
    `<nav>${shown.map(([id, title]) => `<a href="#${id}">${escape(title)}</a>`).join("")}</nav>`,
    ...shown.map(([, , html]) => html),
    `</main><script>${script}</script></body></html>\n`
  ].join("\n")
}
