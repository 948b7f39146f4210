/** Commands in the documentation can be typed: flags exist, nodes and parameters exist, files behind links exist. */
import { execFileSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, expect, it } from "@effect/vitest"
import llavaPhi, { presets } from "../../pipelines/llava-phi.ts"
import { build } from "../../src/run/Recipe.ts"
import { anchors, blocks, links, pages, prose, root } from "./Markdown.ts"

const recipe = join(root, "pipelines", "llava-phi.ts")
const chat = join(root, "pipelines", "chat.ts")
const finetune = join(root, "pipelines", "finetune.ts")
const subcommands = ["runs", "show", "gc", "quarantine", "graph"]
const flags = new Set<string>()

beforeAll(() => {
  for (const words of [[recipe], ...subcommands.map((name) => [recipe, name]), [chat], [finetune]]) {
    const help = execFileSync(process.execPath, [...words, "--help"], { encoding: "utf8", timeout: 60_000 })
    for (const match of help.matchAll(/^ {2}(--[a-z-]+)/gm)) flags.add(match[1]!)
  }
}, 120_000)

/** Lines of shell blocks; `\` at the end of a line is not used in these pages. */
const shellLines = blocks()
  .filter((block) => /^(sh|bash)$/.test(block.info))
  .flatMap((block) => block.text.split("\n").map((line) => ({ where: `${block.page}:${block.line}`, line })))
  .filter(({ line }) => line.trim() !== "")

const words = (line: string): ReadonlyArray<string> =>
  [...line.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2]!)

/** Values of a flag that may be repeated. */
const valuesOf = (line: string, flag: string): ReadonlyArray<string> =>
  words(line).flatMap((word, i, all) => (word === flag && all[i + 1] !== undefined ? [all[i + 1]!] : []))

it("every flag named is a flag of a command", () => {
  expect(flags.size).toBeGreaterThan(15)
  const named = pages().flatMap((page) => [
    ...[...prose(page).matchAll(/`([^`\n]+)`/g)]
      .map((match) => match[1]!)
      .filter((code) => !/^([A-Z_]+=\S+ )?npm run /.test(code))
      .flatMap((code) => [...code.matchAll(/(?:^|\s)(--[a-z][a-z-]*)/g)].map((match) => `${page.path} ${match[1]}`))
  ])
  // Flags of launchers stand before what they launch; `Shell.test.ts` parses whole lines.
  const typed = shellLines
    .map(({ line, where }) => ({ where, line: line.slice(Math.max(0, line.indexOf("pipelines/"))) }))
    .filter(({ line }) => line.startsWith("pipelines/"))
    .flatMap(({ line, where }) => [...line.matchAll(/\s(--[a-z][a-z-]*)/g)].map((match) => `${where} ${match[1]}`))
  expect(named.length + typed.length).toBeGreaterThan(15)
  expect([...named, ...typed].filter((one) => !flags.has(one.split(" ")[1]!))).toEqual([])
})

it("every command names nodes, parameters and subcommands that exist", () => {
  const commands = shellLines.filter(({ line }) => line.includes("pipelines/llava-phi.ts"))
  expect(commands.length).toBeGreaterThan(4)
  for (const { line, where } of commands) {
    const preset = valuesOf(line, "--preset")[0] ?? "sample"
    expect(Object.keys(presets), where).toContain(preset)
    if (preset !== "sample") continue
    const { nodes } = build(llavaPhi, { preset, settings: valuesOf(line, "--set"), engine: "wasm" })
    const ids = nodes.map((node) => node.id)
    for (const flag of ["--until", "--from", "--only", "--force"])
      for (const id of valuesOf(line, flag).flatMap((value) => value.split(","))) expect(ids, where).toContain(id)
    const after = words(line.slice(line.indexOf("pipelines/llava-phi.ts")))[1]
    if (after !== undefined && !after.startsWith("-")) expect(subcommands, where).toContain(after)
    const asked = words(line.slice(line.indexOf("quarantine")))[1]
    if (after === "quarantine" && asked !== undefined && !asked.startsWith("-")) expect(ids, where).toContain(asked)
  }
})

it("every link leads to a file, every #part to a heading", () => {
  const all = pages().flatMap((page) => links(page).map((link) => ({ page: page.path, ...link })))
  expect(all.length).toBeGreaterThan(20)
  const broken = all.filter(({ part, to }) => {
    if (!existsSync(join(root, to))) return true
    const target = pages().find((page) => page.path === to)
    return part !== undefined && target !== undefined && !anchors(target).has(part)
  })
  expect(broken).toEqual([])
})

it("pages speak of nothing outside the repository", () => {
  const outside = pages().filter((page) => /\/work\/|\/tmp\/py|\.\.\/shared/.test(page.text))
  expect(outside.map((page) => page.path)).toEqual([])
})
