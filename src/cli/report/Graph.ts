/**
 * The pipeline as inline SVG: a box a node with its state and seconds, edges from top to bottom.
 *
 * Not a plan: states are those that the run ended with. Hovering a box shows rows, refusals and key, and lights up what
 * it reads and what reads it; without scripts the titles still show them.
 */
import type { AnyNode } from "../../dag/Node.ts"
import type { Pipeline } from "../../dag/Pipeline.ts"
import { showLocation } from "../../dag/Source.ts"
import { duration, type NodeView, number, rowsRead, rowsWritten, type View } from "../../run/Progress.ts"
import { anchor, escape } from "./Html.ts"
import { type Layout, layout, type Sizes } from "./Layers.ts"
import type { Cell, CutEdge, Line } from "./Trunks.ts"

/** How a node stands at the end of a run. `unreached`: its turn never came, or it was cut off. */
export type State = "source" | "ran" | "cached" | "failed" | "interrupted" | "skipped" | "unfinished" | "unreached"

export const stateOf = (node: AnyNode, view: View): State => {
  if (node.spec.kind === "source") return "source"
  const seen = view.nodes.get(node.id)
  return seen === undefined ? "unreached" : (seen.end?.status ?? "unfinished")
}

const sizes: Sizes = { most: 4, box: { width: 150, height: 40 }, gap: { x: 12, y: 36 }, trunk: 8, width: 748 }
const margin = 2
/** Letters of a name that fit a box. */
const letters = 23

const cut = (text: string, most: number): string => (text.length <= most ? text : `${text.slice(0, most - 1)}…`)

/** What a hovered box says. */
const titleOf = (node: AnyNode, state: State, seen: NodeView | undefined): string => {
  const lines = [node.id, `${node.spec.id} ${node.spec.version}, ${node.spec.kind}`]
  if (node.spec.about !== undefined) lines.push(node.spec.about)
  const end = seen?.end
  lines.push(state === "ran" ? `ran in ${duration(end!.seconds * 1000)}` : state)
  if (end !== undefined && (end.status === "ran" || end.status === "cached")) {
    lines.push(`rows in: ${rowsRead(end)}`, `rows out: ${rowsWritten(end)}`, `refused: ${number(end.refused)}`)
    for (const [reason, rows] of Object.entries(end.refusedBy)) lines.push(`  ${reason} ${number(rows)}`)
    if (end.key !== undefined) lines.push(`key ${end.key.slice(0, 12)}`)
  }
  if (end?.error !== undefined) lines.push(`${end.error.tag}: ${end.error.message}`)
  if (node.location !== undefined) lines.push(showLocation(node.location))
  return lines.join("\n")
}

const y = (layer: number): number => layer * (sizes.box.height + sizes.gap.y)

/** Where a line ends in a box: side by side in the order of where they come from. */
const portsOf = (links: ReadonlyArray<Line>): ReadonlyMap<Line, number> => {
  const into = Map.groupBy(
    links.filter((link) => !link.into.trunk),
    (link) => link.into
  )
  const at = new Map<Line, number>()
  for (const [box, lines] of into) {
    lines.sort((a, b) => a.from.x - b.from.x)
    const step = Math.min(16, (sizes.box.width - 40) / lines.length)
    for (const [i, line] of lines.entries()) at.set(line, box.x + (i - (lines.length - 1) / 2) * step)
  }
  return at
}

const linkSvg = (link: Line, port: number | undefined): string => {
  const x1 = link.from.x
  const top = y(link.from.layer) + (link.from.trunk ? 0 : sizes.box.height)
  const y1 = y(link.from.layer) + sizes.box.height
  const x2 = port ?? link.into.x
  const y2 = y(link.into.layer) - (link.into.trunk ? 0 : 5)
  const middle = (y1 + y2) / 2
  const path = `M${x1} ${top}V${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`
  const tip = link.into.trunk ? "" : `<path class="tip" d="M${x2 - 3.5} ${y2 - 1}h7l-3.5 6z"/>`
  return `<g class="edge" data-from="${link.from.id}" data-into="${link.into.id}"><path d="${path}"/>${tip}</g>`
}

/** The two ends of an edge that is not drawn: dashes below the one box and above the other. */
const cutSvg = ({ from, into }: CutEdge, boxes: ReadonlyArray<Cell>): string => {
  const [a, b] = [boxes[from]!, boxes[into]!]
  return (
    `<g class="edge cut" data-from="${from}" data-into="${into}"><path d="M${a.x} ` +
    `${y(a.layer) + sizes.box.height}v12M${b.x} ${y(b.layer) - 12}v12"/></g>`
  )
}

const boxSvg = (node: AnyNode, index: number, item: Cell, view: View): string => {
  const state = stateOf(node, view)
  const seen = view.nodes.get(node.id)
  const left = item.x - sizes.box.width / 2
  const top = y(item.layer)
  const slash = node.id.lastIndexOf("/")
  const scope = slash < 0 ? "" : node.id.slice(0, slash)
  const said = state === "ran" ? duration(seen!.end!.seconds * 1000) : state
  return [
    `<a href="#${escape(anchor(node.id))}" class="node ${state}" data-node="${index}" data-id="${escape(node.id)}">`,
    `<title>${escape(titleOf(node, state, seen))}</title>`,
    `<rect x="${left}" y="${top}" width="${sizes.box.width}" height="${sizes.box.height}" ` +
      `rx="${state === "source" ? 20 : 5}"/>`,
    state === "source"
      ? ""
      : `<rect class="flag" x="${left}" y="${top + 6}" width="3" height="${sizes.box.height - 12}"/>`,
    `<text class="name" x="${item.x}" y="${top + 17}">${escape(cut(node.id.slice(slash + 1), letters))}</text>`,
    state === "source"
      ? `<text class="small centre" x="${item.x}" y="${top + 32}">${escape(cut(scope, letters))}</text>`
      : `<text class="small" x="${left + 12}" y="${top + 32}">${escape(cut(scope, 12))}</text><text class="small ` +
        `end" x="${left + sizes.box.width - 12}" y="${top + 32}">${escape(said)}</text>`,
    "</a>"
  ].join("")
}

const legend: ReadonlyArray<readonly [State, string]> = [
  ["ran", "ran"],
  ["cached", "cached: taken from the store"],
  ["failed", "failed"],
  ["interrupted", "interrupted"],
  ["unfinished", "started and not ended"],
  ["skipped", "skipped: a node before it failed"],
  ["unreached", "not reached"],
  ["source", "file from outside"]
]

/** The graph and what its colours mean. */
export const graphSvg = (pipeline: Pipeline, view: View): string => {
  const at = new Map(pipeline.nodes.map((node, i) => [node, i]))
  const inputs = pipeline.nodes.map((node) => [...new Set(Object.values(node.inputs).map((ref) => at.get(ref.node)!))])
  const drawn: Layout = layout(inputs, sizes)
  const ports = portsOf(drawn.links)
  const boxes = pipeline.nodes.map((node, i) => boxSvg(node, i, drawn.boxes[i]!, view))
  const links = [
    ...drawn.links.map((link) => linkSvg(link, ports.get(link))),
    ...drawn.cut.map((edge) => cutSvg(edge, drawn.boxes))
  ]
  const states = new Set(pipeline.nodes.map((node) => stateOf(node, view)))
  const [width, height] = [drawn.width + 2 * margin, drawn.height + 2 * margin]
  return [
    `<ul class="legend">${legend
      .filter(([state]) => states.has(state))
      .map(([state, about]) => `<li class="${state}"><i></i>${about}</li>`)
      .join(
        ""
      )}${drawn.cut.length === 0 ? "" : `<li>${number(drawn.cut.length)} long edges are drawn as dashes at both ends: hover a box to see what it reads</li>`}</ul>`,
    `<div class="scroll"><svg class="graph" viewBox="${-margin} ${-margin} ${width} ${height}" ` +
      `style="width:${width}px" role="img" aria-label="the pipeline">`,
    ...links,
    ...boxes,
    "</svg></div>"
  ].join("")
}
