/**
 * The diagram in docs/architecture.md is the import graph of the code: no import goes against an arrow, no arrow is invented.
 *
 * Solid arrows are imports that exist; dotted ones are allowed and not used today. What follows from several arrows in
 * a row is allowed and need not be drawn.
 */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve, sep } from "node:path"
import { expect, it } from "@effect/vitest"
import { blocks, root } from "./Markdown.ts"

/** The box a file belongs to; `src/cli/golden*` is a box of its own. */
const boxOf = (path: string): string => {
  const parts = path.split("/")
  if (parts[0] !== "src") return parts[0]!
  if (parts[1] === "cli" && /^golden(\.ts)?$/.test(parts[2]!)) return "golden"
  return parts[1]!
}

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

const diagram = blocks().find(
  (block) => block.page === "docs/architecture.md" && block.text.includes("pipelines --> cli")
)
const drawn = (arrow: string): ReadonlyArray<string> => {
  const edges: Array<string> = []
  for (const line of diagram?.text.split("\n") ?? []) {
    const parts = line.trim().split(/ (-->|-\.->) /)
    for (let i = 1; i + 1 < parts.length; i += 2)
      if (parts[i] === arrow)
        for (const from of parts[i - 1]!.split(" & "))
          for (const to of parts[i + 1]!.split(" & ")) edges.push(`${from} ${to}`)
  }
  return edges
}
const solid = drawn("-->")
const dotted = drawn("-.->")
const arrows = [...solid, ...dotted]

const reaches = (from: string, to: string): boolean => {
  const seen = new Set([from])
  for (const box of seen)
    for (const arrow of arrows) {
      const [a, b] = arrow.split(" ") as [string, string]
      if (a === box) seen.add(b)
    }
  return seen.has(to)
}

it("no import goes against the arrows", () => {
  expect(imports.size).toBeGreaterThan(15)
  const wrong = [...imports].filter(([edge]) => {
    const [from, to] = edge.split(" ") as [string, string]
    return !reaches(from, to)
  })
  expect(wrong).toEqual([])
})

it("every solid arrow is an import that exists, every dotted one is not used", () => {
  expect(solid.filter((arrow) => !imports.has(arrow))).toEqual([])
  expect(dotted.filter((arrow) => imports.has(arrow))).toEqual([])
})

it("arrows point one way, and every folder has a box", () => {
  const boxes = new Set(arrows.flatMap((arrow) => arrow.split(" ")))
  expect(
    [...boxes].filter((box) =>
      arrows.some((arrow) => arrow.startsWith(`${box} `) && reaches(arrow.split(" ")[1]!, box))
    )
  ).toEqual([])
  expect([...new Set(sources.map(boxOf))].filter((box) => !boxes.has(box))).toEqual([])
})
