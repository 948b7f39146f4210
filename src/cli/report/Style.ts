/**
 * The report's style sheet and its one script, as text.
 *
 * Nothing is fetched: system fonts, no images. Colours follow the reader's light or dark setting.
 */

export const style = `
:root {
  color-scheme: light dark;
  --page: #fff; --text: #1d2127; --soft: #5d6673; --line: #dde1e7; --tint: #f6f7f9;
  --ran: #2f6fb3; --ran-tint: #eaf2fb; --cached: #7a8594; --cached-tint: #f3f4f6;
  --bad: #b3362b; --bad-tint: #fcecea; --amber: #a06a00; --amber-tint: #fdf3dd; --good: #2b7a3d;
  --edge: #a9b2be; --bar: #d5e4f4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --text: #e4e7eb; --soft: #9aa4b2; --line: #2d343d; --tint: #1b1f25;
    --ran: #6ea8e5; --ran-tint: #1a2938; --cached: #8d98a7; --cached-tint: #20252c;
    --bad: #f0857a; --bad-tint: #38201e; --amber: #e0ad4e; --amber-tint: #33291499; --good: #74c287;
    --edge: #566170; --bar: #24405c;
  }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--text); font: 14px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 64px }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 4px; font-weight: 650 }
h2 { font-size: 17px; margin: 0 0 10px; font-weight: 650 }
section { margin-top: 40px }
p { margin: 0 0 10px; max-width: 78ch }
.about, .facts, figcaption, nav, .muted { color: var(--soft) }
a { color: var(--ran); text-decoration: none }
a:hover { text-decoration: underline }
nav { margin-top: 14px; display: flex; flex-wrap: wrap; gap: 4px 18px; border-top: 1px solid var(--line); padding-top: 10px }
code, .mono { font: 12px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.facts { display: flex; flex-wrap: wrap; gap: 2px 20px; margin: 6px 0 0; padding: 0; list-style: none }
.facts b { color: var(--text); font-weight: 500 }
.status { font-size: 13px; font-weight: 600; padding: 2px 10px; border-radius: 99px; vertical-align: 4px; margin-left: 10px }
.status.completed { background: var(--ran-tint); color: var(--ran) }
.status.failed { background: var(--bad-tint); color: var(--bad) }
.status.interrupted { background: var(--amber-tint); color: var(--amber) }
.figures-row { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 22px }
.figures-row div { border: 1px solid var(--line); border-radius: 6px; padding: 8px 14px; min-width: 130px }
.figures-row b { display: block; font-size: 21px; line-height: 1.3; font-weight: 600; font-variant-numeric: tabular-nums }
.figures-row span { color: var(--soft); font-size: 12.5px }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
table.nodes, table.outputs, .card table { width: 100% }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 12.5px }
th, td { padding: 4px 28px 4px 0; border-bottom: 1px solid var(--line); vertical-align: baseline }
th:last-child, td:last-child { padding-right: 0 }
th.figures, td.figures { text-align: right; white-space: nowrap } td.rows { white-space: normal } td.rows span { white-space: nowrap }
table.nodes th, table.nodes td { padding-right: 16px } table.nodes td:first-child { white-space: nowrap }
td.reasons { padding-left: 8px } .reasons b { color: var(--text); font-weight: 500; font-size: 14px; margin-right: 4px } .reasons span { white-space: nowrap }
table.parameters td:nth-child(3) { overflow-wrap: anywhere }
tr:target td { background: var(--ran-tint) }
.sign { font-weight: 600 }
.right .sign { color: var(--good) }
td.wrong, .wrong .sign { color: var(--bad) }
.bar { display: inline-block; width: 70px; height: 8px; margin-right: 8px; border-radius: 2px; background: var(--tint); vertical-align: 0 }
.bar i { display: block; height: 100%; background: var(--ran); opacity: .65; border-radius: 2px }
.state { white-space: nowrap }
.state::before { content: ""; display: inline-block; width: 8px; height: 8px; border-radius: 2px; margin-right: 7px; background: var(--edge) }
.state.ran::before { background: var(--ran) } .state.cached::before { background: var(--cached) }
.state.failed::before { background: var(--bad) } .state.interrupted::before, .state.skipped::before, .state.unfinished::before { background: var(--amber) }
.reasons { color: var(--soft); font-size: 12.5px }
.problem { border-left: 3px solid var(--bad); background: var(--bad-tint); padding: 10px 14px; margin: 0 0 10px; border-radius: 0 5px 5px 0; overflow-wrap: anywhere }
.problem.interrupted { border-color: var(--amber); background: var(--amber-tint) }
.problem pre { margin: 4px 0; white-space: pre-wrap; font: inherit }
.notices { margin: 0; padding-left: 18px }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 20px; padding: 0; margin: 0 0 14px; color: var(--soft); font-size: 12.5px }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; border: 1px solid var(--edge); background: var(--page) }
.legend .source i { border-radius: 6px }
.legend .ran i { background: var(--ran); border-color: var(--ran) } .legend .cached i { background: var(--cached); border-color: var(--cached) }
.legend .failed i { background: var(--bad); border-color: var(--bad) }
.legend .interrupted i, .legend .skipped i, .legend .unfinished i { background: var(--amber); border-color: var(--amber) }
.legend .unreached i { border-style: dashed }
svg { display: block; font: 12px system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif }
svg.graph { margin: 0 auto; max-width: 100%; min-width: 700px }
.graph a:hover { text-decoration: none }
.edge path { fill: none; stroke: var(--edge); stroke-width: 1.2 }
.edge.cut path { stroke-dasharray: 3 2 }
.edge path.tip { fill: var(--edge); stroke: none }
.node rect { fill: var(--page); stroke: var(--edge) }
.node .flag { stroke: none; fill: none }
.node .name { text-anchor: middle; fill: var(--text); font-weight: 500 }
.node .small { fill: var(--soft); font-size: 10.5px }
.node .end, .tick.end { text-anchor: end } .node .centre { text-anchor: middle }
.node.source rect { fill: var(--tint); stroke: var(--line) }
.node.ran rect { fill: var(--ran-tint); stroke: var(--ran) } .node.ran .flag { fill: var(--ran) }
.node.cached rect { fill: var(--cached-tint) } .node.cached .flag { fill: var(--cached) }
.node.failed rect { fill: var(--bad-tint); stroke: var(--bad) } .node.failed .flag { fill: var(--bad) }
.node.interrupted rect, .node.skipped rect, .node.unfinished rect { fill: var(--amber-tint); stroke: var(--amber) }
.node.interrupted .flag, .node.skipped .flag, .node.unfinished .flag { fill: var(--amber) }
.node.unreached rect { stroke-dasharray: 4 3 } .node.unreached .name { fill: var(--soft) }
.graph.lit .edge { opacity: .18 } .graph.lit .node { opacity: .35 }
.graph.lit .node.on, .graph.lit .edge.on { opacity: 1 }
.edge.on path { stroke: var(--ran); stroke-width: 1.8 } .edge.on path.tip { fill: var(--ran) }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 22px 28px }
figure { margin: 0 }
figcaption { font-size: 12.5px; margin-bottom: 4px }
figcaption b { color: var(--text); font-size: 14px; font-weight: 600; display: block }
.of-node { display: flex; flex-direction: column; gap: 10px }
figure.small figcaption b { font-size: 12.5px; display: inline }
.curve svg { width: 100%; height: auto }
.grid { stroke: var(--line); fill: none } .tick { fill: var(--soft); font-size: 11px } .tick.middle { text-anchor: middle }
.raw { fill: none; stroke: var(--ran); stroke-width: 1; opacity: .45 } .raw.alone { opacity: 1; stroke-width: 1.6 }
.mean { fill: none; stroke: var(--ran); stroke-width: 1.8 }
.held { fill: none; stroke: var(--amber); stroke-width: 1.3; stroke-dasharray: 5 4 }
path.measured { fill: none; stroke: var(--amber); stroke-width: 1.3 }
circle.measured { fill: var(--amber) }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 520px), 1fr)); gap: 16px }
.card { border: 1px solid var(--line); border-radius: 6px; padding: 14px; display: flex; gap: 16px; align-items: flex-start }
.card img { width: 112px; height: auto; image-rendering: pixelated; border-radius: 3px; flex: none }
.card h3 { margin: 0 0 4px; font-size: 13px; font-weight: 600; overflow-wrap: anywhere }
.card > div { flex: 1; min-width: 0 }
.card th, .card td { padding-right: 12px; font-size: 13px } .card th:first-child { width: 45% } .card tr:last-child td { border-bottom: 0 }
details { margin-top: 14px } summary { cursor: pointer; color: var(--ran) }
details table { margin-top: 8px }
.path { overflow-wrap: anywhere }
@media (max-width: 1000px) { table.nodes { font-size: 13px } table.nodes th, table.nodes td { padding-right: 10px } table.nodes .bar { width: 36px } .reasons span { white-space: normal } }
@media (max-width: 640px) { main { padding: 18px 14px 40px } .card { flex-direction: column } }
@media print { nav { display: none } section { break-inside: avoid-page } }
`

/** Lights up what a hovered or focused box reads and is read by: what lines lead to, through trunks, up and down. */
export const script = `
for (const graph of document.querySelectorAll("svg.graph")) {
  const nodes = new Map([...graph.querySelectorAll(".node")].map((node) => [node.dataset.node, node]))
  const down = new Map(), up = new Map()
  for (const edge of graph.querySelectorAll(".edge")) {
    const { from, into } = edge.dataset
    if (!down.has(from)) down.set(from, [])
    if (!up.has(into)) up.set(into, [])
    down.get(from).push([edge, into])
    up.get(into).push([edge, from])
  }
  const clear = () => {
    graph.classList.remove("lit")
    for (const one of graph.querySelectorAll(".on")) one.classList.remove("on")
  }
  const light = (start) => {
    clear()
    nodes.get(start).classList.add("on")
    for (const ways of [down, up]) {
      const seen = new Set([start]), open = [start]
      while (open.length > 0)
        for (const [edge, next] of ways.get(open.pop()) ?? []) {
          edge.classList.add("on")
          if (seen.has(next)) continue
          seen.add(next)
          if (nodes.has(next)) nodes.get(next).classList.add("on")
          else open.push(next)
        }
    }
    graph.classList.add("lit")
  }
  for (const [id, node] of nodes) {
    node.addEventListener("pointerenter", () => light(id))
    node.addEventListener("focus", () => light(id))
    node.addEventListener("pointerleave", clear)
    node.addEventListener("blur", clear)
  }
}
`
