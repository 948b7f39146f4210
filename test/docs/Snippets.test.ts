/**
 * Every `ts` block of the documentation compiles and runs, and prints what the page says it prints.
 *
 * Blocks are written to one folder beside `pipelines/`, so imports read as a reader's own file would have them. A block
 * that opens with `// pipelines/NAME.ts` gets that name and can be imported by later blocks of its page. A `text` block
 * right behind it is what it prints. Blocks for another project are run by `test/pack`.
 */
import { execFile } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { type Block, blocks, isElsewhere, root } from "./Markdown.ts"

interface Snippet {
  readonly block: Block
  /** Relative to the folder of its page. */
  readonly file: string
  readonly folder: string
}

const isCode = (block: Block): boolean => /^(ts|typescript|js|javascript|tsx)\b/.test(block.info)
const code = blocks().filter((block) => isCode(block) && !isElsewhere(block))

const home = mkdtempSync(join(root, ".snippets-"))
const snippets: ReadonlyArray<Snippet> = code
  .filter((block) => block.info === "ts")
  .map((block, i) => ({
    block,
    file: /^\/\/ pipelines\/([\w-]+\.ts)\n/.exec(block.text)?.[1] ?? `snippet-${i}.ts`,
    folder: join(home, block.page.replace(/\W+/g, "-"))
  }))

/**
 * Imports as they read in `pipelines/`, from two folders deeper: `../` goes up once more, and recipes that exist are
 * imported from where they are.
 */
const moved = (text: string): string =>
  text
    .replace(/(from |import\(|URL\()"\.\.\/(?!\.)/g, '$1"../../')
    .replace(/(from |import\()"\.\/([\w-]+\.ts)"/g, (all, start: string, name: string) =>
      existsSync(join(root, "pipelines", name)) ? `${start}"../../pipelines/${name}"` : all
    )

interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

const command = (file: string, args: ReadonlyArray<string>, cwd: string): Promise<Ended> =>
  new Promise((resolve) => {
    execFile(file, args, { cwd, timeout: 110_000, maxBuffer: 16 << 20 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, out, err })
    )
  })

beforeAll(() => {
  writeFileSync(join(home, ".gitignore"), "*\n")
  for (const { block, file, folder } of snippets) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, file), moved(block.text), { flag: "wx" })
  }
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

describe("snippets", () => {
  it("are all run: no block is marked as something to skip", () => {
    expect(
      code.filter((block) => block.info !== "ts").map((block) => `${block.page}:${block.line} ${block.info}`)
    ).toEqual([])
    expect(snippets.length).toBeGreaterThan(7)
  })

  it("type-check, all together", { timeout: 120_000 }, async () => {
    writeFileSync(
      join(home, "tsconfig.json"),
      JSON.stringify({ extends: "../tsconfig.json", include: ["**/*.ts"], exclude: [] })
    )
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc")
    const { code, err, out } = await command(process.execPath, [tsc, "--noEmit", "-p", home], root)
    expect(out + err).toBe("")
    expect(code).toBe(0)
  })

  for (const { block, file, folder } of snippets)
    it(`${block.page}:${block.line} runs`, { timeout: 120_000 }, async () => {
      const { code, err, out } = await command(process.execPath, [join(folder, file)], folder)
      expect({ code, err: code === 0 ? "" : err }).toEqual({ code: 0, err: "" })
      if (block.next?.info === "text") expect(out).toBe(block.next.text)
    })
})
