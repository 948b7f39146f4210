/**
 * Names in backticks in what the code says to people, and what there is for them to name.
 *
 * Read from sources as they stand: string and template literals of all code but pages that are written as markdown. A
 * name with a placeholder in it (`${key}`) is a value, and not looked at.
 */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve, sep } from "node:path"
import { parseAst } from "rolldown/parseAst"
import { root } from "./Markdown.ts"

/** Folders whose literals people see. */
const SPEAKING = ["src", "pipelines", "datasets", "scripts"]
/** These write markdown for pages: cards of exported models, the recipe's page. */
const PAGES = ["src/nodes/ExportCard.ts", "src/nodes/ExportOriginal.ts", "src/dag/Page.ts", "scripts/recipe-page.ts"]

const slashes = (path: string): string => path.split(sep).join("/")

/** TypeScript files under the folders, relative to the repository. */
export const sources: ReadonlyArray<string> = SPEAKING.flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((name) => slashes(join(folder, name)))
    .filter((path) => path.endsWith(".ts") && !/\/(vendor|assembly)\//.test(path) && !PAGES.includes(path))
)

type Tree = { readonly type?: string; readonly [key: string]: unknown }
/** Every node of a syntax tree. */
const visit = (node: unknown, see: (node: Tree) => void): void => {
  if (Array.isArray(node)) for (const one of node) visit(one, see)
  else if (typeof node === "object" && node !== null) {
    see(node as Tree)
    for (const value of Object.values(node)) visit(value, see)
  }
}

interface Quasi {
  readonly value: { readonly cooked: string }
}
/** Stands for each placeholder of a template. */
const PLACEHOLDER = "\u0000"
/** The text of a literal; undefined for other nodes. */
const textOf = (node: Tree): string | undefined => {
  if (node.type === "Literal" && typeof node["value"] === "string") return node["value"]
  if (node.type !== "TemplateLiteral") return undefined
  return (node["quasis"] as ReadonlyArray<Quasi>).map(({ value }) => value.cooked).join(PLACEHOLDER)
}

const trees = new Map(sources.map((path) => [path, parseAst(readFileSync(join(root, path), "utf8"), { lang: "ts" })]))

export interface Named {
  readonly path: string
  readonly name: string
}
const uncommented = sources.flatMap((path) => {
  const texts: Array<string> = []
  visit(trees.get(path), (node) => {
    const text = textOf(node)
    if (text !== undefined) texts.push(text)
  })
  return texts.map((text) => ({ path, text }))
})

/** Names in backticks, without those that hold a placeholder. */
export const named: ReadonlyArray<Named> = uncommented.flatMap(({ path, text }) =>
  [...text.matchAll(/`([^`\n]+)`/g)]
    .map((match) => ({ path, name: match[1]! }))
    .filter(({ name }) => !name.includes(PLACEHOLDER))
)

/** Flags that a sentence names, with or without backticks. Style sheets and the flags of compilers are no sentences. */
export const namedFlags: ReadonlyArray<Named> = uncommented.flatMap(({ path, text }) =>
  path.startsWith("scripts/") || path.endsWith("/Style.ts") || text.split(" ").length < 4
    ? []
    : [...text.matchAll(/(?<=^|[\s`(])--[a-z][a-z_-]*/g)].map((match) => ({ path, name: match[0] }))
)

/** Names of flags and subcommands that the command lines declare. */
export const declared = (() => {
  const flags = new Set<string>(["--help", "--version"])
  const subcommands = new Set<string>()
  for (const path of sources.filter((one) => one.startsWith("src/cli/")))
    visit(trees.get(path), (node) => {
      if (node.type !== "CallExpression") return
      const first = (node["arguments"] as ReadonlyArray<Tree>)[0]
      const name = first === undefined ? undefined : textOf(first)
      if (name === undefined || !/^[a-z][a-z-]*$/.test(name)) return
      const callee = node["callee"] as Tree
      const object = (callee["object"] as Tree | undefined)?.["name"]
      const called = callee["name"] ?? (callee["property"] as Tree | undefined)?.["name"]
      if (object === "Flag" || called === "ids" || called === "onOff") flags.add(`--${name}`)
      if (object === "Command" && called === "make") subcommands.add(name)
    })
  // Sources of a recipe that have a flag of their own.
  for (const path of sources.filter((one) => one.startsWith("pipelines/")))
    visit(trees.get(path), (node) => {
      const { key, type, value } = node as { key?: Tree; type: string; value?: Tree }
      if (type !== "Property" || key?.["name"] !== "sourceFlags") return
      for (const one of (value?.["properties"] ?? []) as ReadonlyArray<Tree>)
        flags.add(`--${(one["key"] as Tree)["name"]}`)
    })
  return { flags, subcommands }
})()

/** Property names of the interfaces in a file: what a definition, a fold or a recipe may declare. */
export const propertiesOf = (path: string): ReadonlySet<string> => {
  const found = new Set<string>()
  visit(trees.get(path), (node) => {
    if (node.type === "TSPropertySignature") found.add(String((node["key"] as Tree)["name"]))
  })
  return found
}

const imports = new Map(
  sources.map((path) => {
    const text = readFileSync(join(root, path), "utf8")
    const targets = [...text.matchAll(/(?:from|import|import\()\s*"(\.[^"]+\.ts)"/g)].map((match) =>
      slashes(relative(root, resolve(root, dirname(path), match[1]!)))
    )
    return [path, targets] as const
  })
)
/** The file and everything it imports. */
export const reached = (path: string): ReadonlySet<string> => {
  const seen = new Set([path])
  for (const one of seen) for (const target of imports.get(one) ?? []) seen.add(target)
  return seen
}
