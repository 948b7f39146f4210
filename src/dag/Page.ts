/**
 * A pipeline as a page of documentation, in markdown, from the value alone: graph, sources, every definition with what
 * it says about itself, and each of its instances with wiring and parameters.
 *
 * Not a plan and not prose: nothing is looked up, and places on this machine are left out.
 */
import type { Artifact } from "./Artifact.ts"
import { showArtifact, toMermaid } from "./Describe.ts"
import { encodeParams } from "./Key.ts"
import type { AnyNode } from "./Node.ts"
import type { Pipeline } from "./Pipeline.ts"

/** Text for a table cell: one line, and no bar that would end the cell. */
export const cell = (text: string): string => text.replace(/\s*[\r\n]+\s*/g, " ").replaceAll("|", "\\|")

/** Code in a cell; fenced by more backticks than it holds. */
const code = (text: string): string => {
  const longest = Math.max(0, ...[...text.matchAll(/`+/g)].map(([run]) => run.length))
  const fence = "`".repeat(longest + 1)
  return longest === 0 ? cell(`\`${text}\``) : cell(`${fence} ${text} ${fence}`)
}

const table = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  return [line(rows[0]!), `|${"---|".repeat(rows[0]!.length)}`, ...rows.slice(1).map(line)]
}

const inputOf = (node: AnyNode, port: string): string => {
  const ref = node.inputs[port]!
  return code(ref.node.spec.kind === "source" ? ref.node.id : `${ref.node.id}.${ref.port}`)
}

const gives = (outputs: Readonly<Record<string, Artifact>>): string =>
  Object.entries(outputs)
    .map(([port, artifact]) => `${code(port)}: ${cell(showArtifact(artifact))}`)
    .join(", ")

/** One definition: what it is, then a column for each instance with inputs and parameters. */
const definition = (nodes: ReadonlyArray<AnyNode>): ReadonlyArray<string> => {
  const { spec } = nodes[0]!
  const params = nodes.map((node) => encodeParams(node) as Readonly<Record<string, unknown>>)
  const names = [...new Set(params.flatMap((one) => Object.keys(one)))]
  return [
    `### ${spec.id}`,
    "",
    ...(spec.about === undefined ? [] : [spec.about, ""]),
    `Kind ${spec.kind}, version ${spec.version}. Gives ${gives(spec.outputs)}.`,
    "",
    ...table([
      ["", ...nodes.map((node) => code(node.id))],
      ...Object.keys(spec.inputs).map((port) => [`input ${code(port)}`, ...nodes.map((node) => inputOf(node, port))]),
      ...names.map((name) => [code(name), ...params.map((one) => (name in one ? code(JSON.stringify(one[name])) : ""))])
    ]),
    ""
  ]
}

/**
 * The pipeline as markdown, from headings of the second level down; definitions in the order of the graph.
 *
 * @example
 * console.log(toMarkdown(llavaPhi(presets.sample, sampleSources()).pipeline))
 */
export const toMarkdown = (pipeline: Pipeline): string => {
  const sources = pipeline.nodes.filter((node) => node.spec.kind === "source")
  const byDefinition = Map.groupBy(
    pipeline.nodes.filter((node) => node.spec.kind !== "source"),
    (node) => node.spec.id
  )
  return [
    "## Graph",
    "",
    "```mermaid",
    toMermaid(pipeline),
    "```",
    "",
    ...(sources.length === 0
      ? []
      : [
          "## Sources",
          "",
          ...table([
            ["source", "artifact", "about"],
            ...sources.map((node) => [
              code(node.id),
              Object.values(node.spec.outputs)
                .map((artifact) => cell(showArtifact(artifact)))
                .join(", "),
              cell(node.spec.about ?? "")
            ])
          ]),
          ""
        ]),
    "## Outputs",
    "",
    ...table([
      ["output", "artifact", "made by"],
      ...Object.entries(pipeline.targets).map(([name, ref]) => [
        code(name),
        cell(showArtifact(ref.artifact)),
        code(`${ref.node.id}.${ref.port}`)
      ])
    ]),
    "",
    "## Definitions",
    "",
    ...[...byDefinition.values()].flatMap(definition)
  ].join("\n")
}
