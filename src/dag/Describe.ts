/**
 * A pipeline as a table, as Mermaid and as JSON, from the value alone.
 *
 * Not a plan: nothing is looked up and no source is read.
 */
import type { Artifact } from "./Artifact.ts"
import { encodeParams } from "./Key.ts"
import type { AnyNode } from "./Node.ts"
import type { Pipeline } from "./Pipeline.ts"
import { printableLine } from "./Printable.ts"

/** An artifact for people: its tag, and what it is. */
export const showArtifact = (artifact: Artifact): string =>
  `${artifact.tag}${artifact.kind === "rows" ? (artifact.transient ? " (rows, transient)" : " (rows)") : artifact.kind === "tree" ? " (files)" : ""}`

/** The pipeline as plain JSON: nodes with kind, parameters, wiring; targets by name. */
export const toJson = (pipeline: Pipeline) => ({
  name: pipeline.name,
  nodes: pipeline.nodes.map((node) => ({
    id: node.id,
    definition: node.spec.id,
    version: node.spec.version,
    kind: node.spec.kind,
    ...(node.spec.about === undefined ? {} : { about: node.spec.about }),
    params: encodeParams(node),
    inputs: Object.fromEntries(Object.entries(node.inputs).map(([port, ref]) => [port, `${ref.node.id}.${ref.port}`])),
    outputs: Object.fromEntries(
      Object.entries(node.spec.outputs).map(([port, artifact]) => [port, showArtifact(artifact)])
    )
  })),
  targets: Object.fromEntries(
    Object.entries(pipeline.targets).map(([name, ref]) => [name, `${ref.node.id}.${ref.port}`])
  )
})

/** Columns padded to their widest cell, two blanks between. Cells may be from data: each is one printable line. */
export const columns = (cells: ReadonlyArray<ReadonlyArray<string>>): string => {
  const rows = cells.map((row) => row.map(printableLine))
  const widths: Array<number> = []
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length)
    })
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]!)))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

/** The pipeline as a text table: a line a node, inputs before consumers. */
export const toTable = (pipeline: Pipeline): string =>
  columns([
    ["node", "kind", "takes", "gives"],
    ...pipeline.nodes.map((node) => [
      node.id,
      node.spec.kind,
      [...new Set(Object.values(node.inputs).map((ref) => `${ref.node.id}.${ref.port}`))].join(", ") || "-",
      Object.values(node.spec.outputs).map(showArtifact).join(", ")
    ])
  ])

/** The pipeline as a Mermaid flow chart; edge labels are artifact tags. */
export const toMermaid = (pipeline: Pipeline): string => {
  const names = new Map<AnyNode, string>(pipeline.nodes.map((node, i) => [node, `n${i}`]))
  const quote = (text: string) => `"${text.replaceAll('"', "'")}"`
  const shape = (node: AnyNode) =>
    node.spec.kind === "source"
      ? `[(${quote(node.id)})]`
      : node.spec.kind === "fold"
        ? `{{${quote(node.id)}}}`
        : `[${quote(node.id)}]`
  const lines = ["flowchart LR"]
  for (const node of pipeline.nodes) lines.push(`  ${names.get(node)}${shape(node)}`)
  for (const node of pipeline.nodes)
    for (const ref of Object.values(node.inputs))
      lines.push(`  ${names.get(ref.node)} -->|${ref.artifact.tag}| ${names.get(node)}`)
  Object.entries(pipeline.targets).forEach(([name, ref], i) => {
    lines.push(`  t${i}([${quote(name)}])`, `  ${names.get(ref.node)} ==>|${ref.artifact.tag}| t${i}`)
  })
  return lines.join("\n")
}
