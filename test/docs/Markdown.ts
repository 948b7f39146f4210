/**
 * The documentation as its tests see it: pages, fenced blocks, links, flags.
 *
 * Not a markdown parser: fences and links as these pages write them, nothing nested.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join, relative, sep } from "node:path"
import { fileURLToPath } from "node:url"

/** Absolute folder of the repository. */
export const root = fileURLToPath(new URL("../../", import.meta.url))

/** One markdown file; `path` is relative to the repository, with forward slashes. */
export interface Page {
  readonly path: string
  readonly text: string
}

/** A fenced block. `info` is what stands behind the opening fence, `line` the fence's line (from 1). */
export interface Block {
  readonly page: string
  readonly line: number
  readonly info: string
  readonly text: string
  /** The block that follows with nothing but blank lines between: what this one prints. */
  readonly next: Block | undefined
}

/** README.md and everything under docs/ that ends in .md. */
export const pages = (): ReadonlyArray<Page> => {
  const docs = readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
  return ["README.md", ...docs.map((name) => join("docs", name).split(sep).join("/"))]
    .filter((path) => path.endsWith(".md"))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }))
}

/** The fenced blocks of a page in order. Throws for a fence that is never closed. */
export const blocksOf = (page: Page): ReadonlyArray<Block> => {
  const lines = page.text.split("\n")
  const found: Array<{ -readonly [K in keyof Block]: Block[K] }> = []
  let lastEnd = -1
  for (let at = 0; at < lines.length; at++) {
    const info = /^```(.*)$/.exec(lines[at]!)?.[1]
    if (info === undefined) continue
    const end = lines.indexOf("```", at + 1)
    if (end < 0) throw new Error(`${page.path}:${at + 1}: this fence is never closed`)
    const block = {
      page: page.path,
      line: at + 1,
      info: info.trim(),
      text: lines.slice(at + 1, end).join("\n") + "\n",
      next: undefined
    }
    const before = found.at(-1)
    if (before !== undefined && lines.slice(lastEnd + 1, at).every((line) => line.trim() === "")) before.next = block
    found.push(block)
    lastEnd = end
    at = end
  }
  return found
}

/** All blocks of all pages. */
export const blocks = (): ReadonlyArray<Block> => pages().flatMap(blocksOf)

/** Code for another project, which imports the package by name: run where it is installed, not in the repository. */
export const isElsewhere = (block: Block): boolean => block.info === "ts" && /from "millrace\//.test(block.text)

/** A page without its fenced blocks: what stands in sentences, lists and tables. */
export const prose = (page: Page): string => page.text.replace(/^```[\s\S]*?^```$/gm, "")

/** Targets of links that are files of this repository, as (page, path relative to the repository, #part). */
export const links = (page: Page): ReadonlyArray<{ readonly to: string; readonly part: string | undefined }> =>
  [...prose(page).matchAll(/\]\(([^()\s]+)\)/g)]
    .map((match) => match[1]!)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [path, part] = target.split("#") as [string, string?]
      const to =
        path === ""
          ? page.path
          : relative(root, join(root, page.path, "..", path))
              .split(sep)
              .join("/")
      return { to, part }
    })

/** The anchors that headings of a page get where it is shown. */
export const anchors = (page: Page): ReadonlySet<string> =>
  new Set(
    [...prose(page).matchAll(/^#{1,6} (.+)$/gm)].map((match) =>
      match[1]!
        .trim()
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-")
    )
  )

/** The cells of the table rows under a heading line, header and rule left out. Throws where there is none. */
export const tableUnder = (page: Page, heading: string): ReadonlyArray<ReadonlyArray<string>> => {
  const lines = page.text.split("\n")
  const at = lines.indexOf(heading)
  if (at < 0) throw new Error(`${page.path} has no heading "${heading}"`)
  const first = lines.findIndex((line, i) => i > at && line.startsWith("|"))
  if (first < 0) throw new Error(`${page.path} has no table under "${heading}"`)
  const rows: Array<ReadonlyArray<string>> = []
  for (let i = first; i < lines.length && lines[i]!.startsWith("|"); i++)
    rows.push(
      lines[i]!.slice(1, -1)
        .split("|")
        .map((cell) => cell.trim())
    )
  return rows.slice(2)
}
