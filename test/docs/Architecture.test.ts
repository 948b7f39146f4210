/**
 * The table of scripts/arrows.ts is the import graph of the code, and biome.json and docs/architecture.md are made from
 * it.
 *
 * An import against the table fails here and in the linter, an arrow that no file uses fails here.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve, sep } from "node:path"
import { expect, it } from "@effect/vitest"
import { boxes, diagram, filesOf, folders, importLine, listing, overrides, reachable } from "../../scripts/arrows.ts"
import { blocks, root } from "./Markdown.ts"

const names = Object.keys(boxes)
const holds = (name: string, path: string): boolean =>
  filesOf(name).some((start) => path === start || path.startsWith(`${start}/`))

/** The box of a file: the one with the longest path that holds it. A folder that the table lacks is its own box. */
const boxOf = (path: string): string =>
  names.filter((name) => holds(name, path)).sort((a, b) => filesOf(b)[0]!.length - filesOf(a)[0]!.length)[0] ??
  path.split("/").slice(0, 2).join("/")

const sources = ["src", "pipelines", "datasets", "benchmarks"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name).split(sep).join("/"))
    .filter((path) => path.endsWith(".ts") && !/\/(vendor|assembly)\//.test(path))
)

/** Imports between boxes: "from to" -> one file that does it. */
const imports = new Map<string, string>()
for (const path of sources)
  for (const match of readFileSync(join(root, path), "utf8").matchAll(/(?:from|import|import\()\s*"(\.[^"]+)"/g)) {
    const target = relative(root, resolve(root, dirname(path), match[1]!))
      .split(sep)
      .join("/")
    const edge = `${boxOf(path)} ${boxOf(target)}`
    if (boxOf(path) !== boxOf(target) && !imports.has(edge)) imports.set(edge, path)
  }

const architecture = blocks().filter((block) => block.page === "docs/architecture.md")

it("every folder is in the table, and no import goes against it", () => {
  expect(imports.size).toBeGreaterThan(15)
  expect([...new Set(sources.map(boxOf))].filter((box) => !names.includes(box))).toEqual([])
  const wrong = [...imports].filter(([edge]) => {
    const [from, to] = edge.split(" ") as [string, string]
    return !reachable(from).has(to)
  })
  expect(wrong).toEqual([])
})

it("every import of the table exists, and what is called unused is not used", () => {
  const edges = (of: "imports" | "unused") =>
    names.flatMap((name) => (boxes[name]![of] ?? []).map((to) => `${name} ${to}`))
  expect(edges("imports").filter((edge) => !imports.has(edge))).toEqual([])
  expect(edges("unused").filter((edge) => imports.has(edge))).toEqual([])
})

it("the table has no circle, and lists a box before those that it imports", () => {
  expect(names.filter((name) => reachable(name).has(name))).toEqual([])
  for (const [at, name] of names.entries())
    expect(
      [...reachable(name)].filter((to) => names.indexOf(to) < at),
      name
    ).toEqual([])
})

it("biome.json has the table's rules: otherwise run `npm run arrows`", () => {
  const biome = JSON.parse(readFileSync(join(root, "biome.json"), "utf8")) as { readonly overrides: unknown }
  expect(biome.overrides).toEqual(overrides())
})

it("docs/architecture.md shows the table: otherwise run `npm run arrows`", () => {
  expect(architecture.find(({ info }) => info === "mermaid")?.text).toBe(diagram())
  expect(architecture.find(({ info }) => info === "text")?.text).toBe(listing())
})

it("each folder of src has a README.md with its imports, and links to files that are there", () => {
  for (const name of folders) {
    const path = join(root, "src", name, "README.md")
    const text = existsSync(path) ? readFileSync(path, "utf8") : ""
    expect(text.split("\n"), `src/${name}/README.md: run \`npm run arrows\``).toContain(importLine(name))
    const targets = [...text.matchAll(/\]\(([^)]+)\)/g)].map((match) => match[1]!)
    expect(targets.length, name).toBeGreaterThan(2)
    expect(targets.filter((target) => !existsSync(join(root, "src", name, target)))).toEqual([])
  }
})

/** Folders of tests that are about no folder of src. */
const APART = ["benchmarks", "datasets", "docs", "e2e", "golden", "pack", "pipelines", "scripts", "soak"]

it("test/ has the folders of src, down to the last, and those that are listed here", () => {
  const folders = readdirSync(join(root, "test"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".test.ts"))
    .map((entry) => relative(join(root, "test"), entry.parentPath).split(sep).join("/"))
  expect(folders.length).toBeGreaterThan(100)
  const strange = [...new Set(folders)].filter(
    (folder) => !APART.includes(folder.split("/")[0]!) && !existsSync(join(root, "src", folder))
  )
  expect(strange).toEqual([])
})
