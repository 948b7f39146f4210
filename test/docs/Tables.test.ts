/** Tables in the documentation that repeat what the code says are equal to the code. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { expect, it } from "@effect/vitest"
import { presets } from "../../pipelines/llava-phi.ts"
import type { NodeSpec } from "../../src/dag/index.ts"
import { type Page, pages, root, tableUnder } from "./Markdown.ts"

const page = (path: string): Page => {
  const found = pages().find((one) => one.path === path)
  if (found === undefined) throw new Error(`there is no page ${path}`)
  return found
}

const at = (value: unknown, path: string): unknown =>
  path.split(".").reduce<unknown>((part, name) => (part as Readonly<Record<string, unknown>>)[name], value)

it("presets: every cell is the preset's number", () => {
  const rows = tableUnder(page("docs/presets.md"), "## Number by number")
  expect(rows.length).toBeGreaterThan(30)
  const wrong: Array<string> = []
  for (const [name, ...cells] of rows) {
    const path = name!.slice(1, -1)
    ;[presets.sample, presets.paper, presets.authors].forEach((preset, i) => {
      const now = JSON.stringify(at(preset, path))
      if (JSON.stringify(JSON.parse(cells[i]!)) !== now) wrong.push(`${path}: ${cells[i]} is ${now}`)
    })
  }
  expect(wrong).toEqual([])
})

it("nodes: docs/nodes.md lists every definition with its kind", async () => {
  const folder = join(root, "src", "nodes")
  const found: Array<string> = []
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".ts"))) {
    const module = (await import(pathToFileURL(join(folder, file)).href)) as Readonly<Record<string, unknown>>
    for (const value of Object.values(module)) {
      const spec = typeof value === "function" && "spec" in value ? (value.spec as NodeSpec) : undefined
      if (spec !== undefined) found.push(`${spec.id} ${spec.kind}`)
    }
  }
  const listed = tableUnder(page("docs/nodes.md"), "# The nodes").map(([id, kind]) => `${id!.slice(1, -1)} ${kind}`)
  expect([...listed].sort()).toEqual(found.sort())
})

it("dependencies: every package of package.json is explained, and no other", () => {
  const text = readFileSync(join(root, "package.json"), "utf8")
  const { dependencies, devDependencies, peerDependencies } = JSON.parse(text) as Readonly<
    Record<"dependencies" | "devDependencies" | "peerDependencies", Readonly<Record<string, string>>>
  >
  // Peers are needed at run time and brought by whoever installs the package; here, the development ones bring them.
  const run = Object.keys({ ...dependencies, ...peerDependencies })
  const explained = (heading: string) =>
    tableUnder(page("docs/dependencies.md"), heading)
      .flatMap(([names]) => [...names!.matchAll(/`([^`]+)`/g)].map((match) => match[1]!))
      .sort()
  expect(explained("## At run time")).toEqual(run.sort())
  expect(explained("## For development")).toEqual(
    Object.keys(devDependencies)
      .filter((name) => !(name in peerDependencies))
      .sort()
  )
})
