/**
 * Which folder may import which: the one table behind the linter's rules and docs/architecture.md.
 *
 * `npm run arrows` writes both, and a line of each folder's README.md; a test compares them with the table, and the
 * table with the imports of the code. A new folder is one line of `boxes`, its name in the `imports` of those that use
 * it, and its README.md.
 */
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath, pathToFileURL } from "node:url"

export interface Box {
  /** What lives there, in a line. */
  readonly holds: string
  /** Boxes that its files import. What those import in turn is allowed too, and is not repeated here. */
  readonly imports: ReadonlyArray<string>
  /** Boxes that its files may import, and do not today. */
  readonly unused?: ReadonlyArray<string>
  /** Where its files are, when that is not `src/NAME`. */
  readonly files?: ReadonlyArray<string>
}

/** Topmost first: a box imports only boxes below it. */
export const boxes: Readonly<Record<string, Box>> = {
  benchmarks: {
    holds: "speed beside other libraries, on generated data: `npm run bench`",
    imports: ["cli", "cost", "datasets"],
    files: ["benchmarks"]
  },
  pipelines: {
    holds: "recipes: wiring, presets and sources of LLaVA-Phi, its variants, and a chat",
    imports: ["cli", "cost", "datasets"],
    files: ["pipelines"]
  },
  datasets: {
    holds: "typed descriptions of sources, and the sample that ships",
    imports: ["text", "bytes"],
    files: ["datasets"]
  },
  golden: {
    holds: "`npm run golden -- DIR`: compares text, images and models with reference outputs",
    imports: ["cli", "model", "text", "data"],
    files: ["src/cli/golden.ts", "src/cli/golden"]
  },
  cli: { holds: "the command line", imports: ["run", "bytes"] },
  run: { holds: "scheduler, worker threads, ranks, events", imports: ["store"] },
  store: { holds: "artifact store, manifests, checkpoints, garbage collection", imports: ["dag"] },
  cost: { holds: "what training will cost: operations, memory, bytes, hours", imports: ["nodes"] },
  nodes: { holds: "the node definitions, and what several of them share", imports: ["training", "text", "data"] },
  training: { holds: "schedules, orders, packing, the training step and the loop over it", imports: ["model"] },
  model: { holds: "CLIP, Phi, projector, LLaVA, LoRA, safetensors, generation", imports: ["tensor", "bytes"] },
  text: { holds: "conversations, templates, tokenizer, HTML to markdown, noun phrases", imports: ["tensor"] },
  data: { holds: "JSON streams, tar, Arrow shards, Parquet, images", imports: ["bytes"], unused: ["tensor"] },
  tensor: { holds: "engines, gradients, optimiser, random numbers", imports: ["dag"] },
  bytes: { holds: "zip archives, read and written, and PNG files", imports: ["dag"] },
  dag: { holds: "artifact, node, pipeline, key, plan", imports: [] }
}

/** Folders outside the diagram: the code above imports none of them. */
const others: Readonly<Record<string, string>> = {
  "docs/": "guides, reference and notebooks; their snippets run in the tests",
  "scripts/": "commands run by hand: package, generated pages, notebook, wasm kernels",
  "native/": "the addon over libtorch, in C++: `npm run build:torch`",
  "test/": "a folder for each of src; beside them e2e (whole runs), docs, pack, golden (reference outputs), soak"
}

/** Folders and files of a box, relative to the repository. */
export const filesOf = (name: string): ReadonlyArray<string> => boxes[name]?.files ?? [`src/${name}`]

/** Names of all boxes that a box may import, directly or through others, itself left out. */
export const reachable = (name: string): ReadonlySet<string> => {
  const seen = new Set<string>()
  const visit = (from: string): void => {
    const { imports, unused = [] } = boxes[from]!
    for (const to of [...imports, ...unused])
      if (!seen.has(to)) {
        seen.add(to)
        visit(to)
      }
  }
  visit(name)
  return seen
}

const glob = (path: string): string => (path.endsWith(".ts") ? path : `${path}/**`)

const overrideOf = (name: string) => {
  const allowed = reachable(name)
  // A box inside another's folder, as golden in cli, has rules of its own.
  const inner = Object.keys(boxes)
    .filter((other) => other !== name)
    .flatMap(filesOf)
    .filter((path) => filesOf(name).some((folder) => path.startsWith(folder)))
  const walls = Object.keys(boxes).filter((other) => other !== name && !allowed.has(other) && other !== "golden")
  const names = Object.keys(boxes).filter((other) => allowed.has(other))
  const others = names.length === 0 ? "no other folder" : names.join(", ")
  return {
    includes: [...filesOf(name).map(glob), ...inner.map((path) => `!${glob(path)}`)],
    linter: {
      rules: {
        style: {
          noRestrictedImports: {
            level: "error",
            options: {
              patterns: [
                {
                  group: walls.map((other) => `**/${other}/**`),
                  message: `${filesOf(name)[0]} may import ${others}: see docs/architecture.md.`
                }
              ]
            }
          }
        }
      }
    }
  }
}

/** `overrides` of biome.json. */
export const overrides = (): ReadonlyArray<unknown> => Object.keys(boxes).map(overrideOf)

/** The mermaid diagram, without its fences. */
export const diagram = (): string => {
  const lines = Object.entries(boxes).flatMap(([name, { imports, unused = [] }]) => [
    ...(imports.length > 0 ? [`  ${name} --> ${imports.join(" & ")}`] : []),
    ...(unused.length > 0 ? [`  ${name} -.-> ${unused.join(" & ")}`] : [])
  ])
  return ["flowchart TD", ...lines, ""].join("\n")
}

/** The list of folders, without its fences. */
export const listing = (): string => {
  const rows = [
    ...Object.entries(boxes).map(([name, { files, holds }]) => [
      files === undefined ? `src/${name}` : files[0]!,
      holds
    ]),
    ...Object.entries(others)
  ].map(([path, holds]) => [/\.ts$|^src\/|\/$/.test(path!) ? path! : `${path}/`, holds!] as const)
  const width = Math.max(...rows.map(([path]) => path.length))
  return rows.map(([path, holds]) => `${path.padEnd(width)}  ${holds}\n`).join("")
}

/** The line of a folder's README.md that says what it imports. */
export const importLine = (name: string): string => {
  const allowed = Object.keys(boxes).filter((other) => reachable(name).has(other))
  return `Imports: ${allowed.length === 0 ? "no other folder" : allowed.map((other) => `\`${other}\``).join(", ")}.`
}

/** Boxes that are a folder of src, each with a README.md. */
export const folders = Object.keys(boxes).filter((name) => boxes[name]!.files === undefined)

const file = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url))

const write = (): void => {
  const biome = JSON.parse(readFileSync(file("biome.json"), "utf8")) as object
  writeFileSync(file("biome.json"), JSON.stringify({ ...biome, overrides: overrides() }, null, 2))
  execFileSync("npx", ["biome", "format", "--write", "biome.json"], { cwd: file("."), stdio: "inherit" })
  const page = readFileSync(file("docs/architecture.md"), "utf8")
  writeFileSync(
    file("docs/architecture.md"),
    page
      .replace(/(```text\n)[\s\S]*?(?=```)/, () => "```text\n" + listing())
      .replace(/(```mermaid\n)[\s\S]*?(?=```)/, () => "```mermaid\n" + diagram())
  )
  for (const name of folders) {
    const readme = file(`src/${name}/README.md`)
    writeFileSync(readme, readFileSync(readme, "utf8").replace(/^Imports: .*$/m, importLine(name)))
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) write()
