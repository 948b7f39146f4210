/** Every line of docs/compatibility.md names a test that exists: `path/of/file.test.ts: title`. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { pages, root } from "./Markdown.ts"

const page = pages().find(({ path }) => path === "docs/compatibility.md")!

/** Table rows with at least three cells, without headings and rules. A `|` inside a cell is written `\|`. */
const rows = page.text
  .split("\n")
  .filter((line, i, lines) => line.startsWith("| ") && !lines[i + 1]?.startsWith("|---"))
  .map((line) =>
    line
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim())
  )

it("compatibility: each line names a test file and the title of a test in it", () => {
  const wrong: Array<string> = []
  for (const row of rows) {
    const held = row.at(-1)!
    const found = /^`([^`]+\.test\.ts)`: (.+)$/.exec(held)
    if (found === null) wrong.push(`${row[0]}: "${held}" is not \`file\`: title`)
    else if (!existsSync(join(root, found[1]!))) wrong.push(`${row[0]}: there is no ${found[1]}`)
    else if (!readFileSync(join(root, found[1]!), "utf8").includes(found[2]!.replaceAll("\\|", "|")))
      wrong.push(`${row[0]}: ${found[1]} has no test "${found[2]}"`)
  }
  expect(wrong).toEqual([])
})
