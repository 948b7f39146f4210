/**
 * Nothing that data says reaches a terminal as a command: every command, as a real process, with hostile text wherever
 * data comes in.
 *
 * On a pipe not one control character is let through but ends of lines and tabs; on a terminal (`script` of util-linux
 * makes one) our own colours and the moves of the progress lines as well.
 */
import { spawn, spawnSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it } from "vitest"
import { printable } from "../../src/dag/Printable.ts"
import { folder } from "./process.ts"

const recipe = fileURLToPath(new URL("./fixtures/hostile.ts", import.meta.url))
const talker = fileURLToPath(new URL("./fixtures/hostileChat.ts", import.meta.url))
const { path, remove } = folder()
afterAll(remove)

const evil = "\u001b]0;T\u0007\u001b[2J\u001b[31mred\u001b[0m\u009b2J\u202e\u2066\u200b\u2028\ufeff\u007f\r\b"
const file = join(path, `in${evil}.txt`)
writeFileSync(file, `text ${evil}`)
const model = join(path, `model${evil}`)
mkdirSync(model)
writeFileSync(join(model, "config.json"), "{}")
const store = join(path, `store${evil}`)

interface Said {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: Buffer
}

const start = (
  command: string,
  args: ReadonlyArray<string>,
  options: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {}
): Promise<Said> =>
  new Promise((resolve, reject) => {
    const { NO_COLOR: _, MILLRACE_DEBUG: __, FORCE_COLOR: ___, ...env } = process.env
    const child = spawn(command, args, { env: { ...env, TERM: "xterm-256color", HOSTILE_FILE: file, ...options.env } })
    const out: Array<Buffer> = []
    const err: Array<Buffer> = []
    child.stdout.on("data", (data: Buffer) => out.push(data))
    child.stderr.on("data", (data: Buffer) => err.push(data))
    child.stdin.on("error", () => undefined)
    child.stdin.end(options.input ?? "")
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, stdout: Buffer.concat(out), stderr: Buffer.concat(err) }))
  })

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const seen = /^[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Zs}\n\t]*$/u
/** What is wrong with bytes for a terminal: none that is no UTF-8, none but what is seen. */
const faults = (bytes: Buffer, allowed?: RegExp): ReadonlyArray<string> => {
  const text = allowed === undefined ? utf8.decode(bytes) : utf8.decode(bytes).replace(allowed, "")
  return text
    .split("\n")
    .filter((line) => !seen.test(line))
    .map((line) => JSON.stringify(line))
}

/** A test's name, which reaches a terminal too. */
const titleOf = (words: ReadonlyArray<unknown>): string => printable(JSON.stringify(words))

/** Words of a command, and its exit code. */
const commands: ReadonlyArray<readonly [code: number, ...words: ReadonlyArray<string>]> = [
  [0, "--workers", "1"],
  [0, "--workers", "0", "--json"],
  [0, "--plan", "--preset", "other", "--json"],
  [1, "--preset", "fails"],
  [1, "--preset", "fails", "--json", "--workers", "0"],
  [1, "--preset", "dies", "--workers", "0", "--json"],
  [1, "--preset", "strays", "--workers", "0"],
  [0, "runs", "--json"],
  [0, "show", "last"],
  [0, "show", "last", "--json"],
  [0, "quarantine"],
  [0, "quarantine", "--json"],
  [0, "quarantine", "shout\u202e\u009b2J", "--json"],
  [0, "graph"],
  [0, "graph", "--format", "mermaid"],
  [0, "graph", "--format", "markdown"],
  [0, "gc"],
  [0, "gc", "--collect"],
  [0, "--help"],
  // Wrong usage, whose words come back.
  [2, "show", evil],
  [2, "quarantine", evil],
  [2, "--preset", evil],
  [2, "--set", `words.note${evil}=1`],
  [2, "--set", evil],
  [2, "--only", `words${evil}`],
  [2, `--${evil}`]
]

describe("of a recipe", { timeout: 120_000 }, () => {
  it.each(commands.map((words) => [titleOf(words.slice(1)), words] as const))("%s", async (_, [code, ...words]) => {
    const said = await start(process.execPath, [recipe, "--store", store, ...words])
    expect([faults(said.stdout), faults(said.stderr)]).toEqual([[], []])
    expect(said.code, said.stderr.toString()).toBe(code)
    expect(said.stdout.length + said.stderr.length).toBeGreaterThan(0)
    if (words.includes("--json"))
      for (const line of said.stdout.toString().split("\n").slice(0, -1))
        expect(() => JSON.parse(line) as unknown).not.toThrow()
  })

  it("what hostile text there was is shown, by its numbers", async () => {
    const run = await start(process.execPath, [recipe, "--store", store, "--force", "words", "--workers", "1"])
    const text = run.stdout.toString() + run.stderr.toString()
    for (const one of [
      "\\u001b]0;T\\u0007",
      "\\u009b2J",
      "\\u202e",
      "\\u2066",
      "\\u061c",
      "\\u200e",
      "\\u2028",
      "\\ufeff",
      "\\ud800"
    ])
      expect(text).toContain(one)
    expect(text).toContain("said: <\\u001b]0;T")
    // Bytes that are no UTF-8, from the worker's thread and from ours.
    expect(text).toContain("\ufffd2J")
    expect(text).toContain("Warning: <\\u001b]0;T")
    const json = await start(process.execPath, [
      recipe,
      "--store",
      store,
      "quarantine",
      "shout\u202e\u009b2J",
      "--json"
    ])
    const rows = json.stdout
      .toString()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { readonly error: { readonly hint: string } })
    expect(rows.length).toBe(3)
    expect(rows[0]!.error.hint).toMatch(/^<\u001b]0;T\u0007\u001b\[2J.*\u009b2J\u0085\u202eR/)
  })

  it("with stacks", async () => {
    for (const preset of ["fails", "dies"]) {
      const said = await start(process.execPath, [recipe, "--store", store, "--preset", preset], {
        env: { MILLRACE_DEBUG: "1" }
      })
      expect([faults(said.stdout), faults(said.stderr)]).toEqual([[], []])
      expect(said.stderr.toString()).toContain("hostile.ts")
    }
  })

  it("the page of a run holds none either", () => {
    const pages = readdirSync(store, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".html"))
    expect(pages.length).toBeGreaterThan(0)
    for (const page of pages) expect(faults(readFileSync(join(store, page)))).toEqual([])
  })
})

describe("of a chat", { timeout: 120_000 }, () => {
  it.each([
    ["a question", ["--model", model, "--prompt", evil], "", 0],
    ["with --json", ["--model", model, "--prompt", "x", "--json", "--image", evil], "", 0],
    ["a picture that cannot be read", ["--model", model, "--prompt", "x", "--image", `no${evil}`], "", 1],
    [
      "a conversation",
      ["--model", model, "--image", evil],
      `hello\n/image ${evil}\n/image no${evil}\n/${evil}\n/help\n`,
      0
    ],
    ["a model that is not there", ["--model", `${model}${evil}`], "", 1]
  ] as const)("%s", async (_, words, input, code) => {
    const said = await start(process.execPath, [talker, ...words], { input })
    expect([faults(said.stdout), faults(said.stderr)]).toEqual([[], []])
    expect(said.code, said.stderr.toString()).toBe(code)
  })
})

const hasScript = process.platform === "linux" && spawnSync("script", ["--version"]).status === 0
const quoted = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`

describe.skipIf(!hasScript)(
  `on a terminal${hasScript ? "" : " (skipped: no script of util-linux)"}`,
  { timeout: 120_000 },
  () => {
    /**
     * SGR codes that we paint with, the block of progress lines, the cursor, and what a terminal makes of an end of
     * line.
     */
    const ours = /\u001b\[(?:0|1|2|31|32|33)m|\u001b\[\d+A\r\u001b\[J|\u001b\[\?25[lh]|\r(?=\n)/g
    const there = (words: ReadonlyArray<string>, input = "") =>
      start("script", ["-qec", [process.execPath, ...words].map(quoted).join(" "), "/dev/null"], { input })

    it.each(
      [
        ["--force", "words", "--workers", "1"],
        ["--preset", "fails"],
        ["--preset", "dies"],
        ["--plan", "--preset", "other"],
        ["show", "last"],
        ["quarantine", "shout\u202e\u009b2J"]
      ].map((words) => [titleOf(words), words] as const)
    )("%s", async (_, words) => {
      const said = await there([recipe, "--store", store, ...words])
      expect(faults(said.stdout, ours)).toEqual([])
      expect(said.stdout.toString()).toContain("\\u202e")
      // Data asks for red, and is not painted: what is painted is ours, from its beginning to its end.
      const painted = said.stdout.toString().match(/\u001b\[(?:1|2|31|32|33)m/g)?.length ?? 0
      expect(said.stdout.toString().match(/\u001b\[0m/g)?.length ?? 0).toBe(painted)
      expect(said.stdout.toString()).not.toContain("\u001b[31mred")
    })

    it("colours are there, but for who wants none", async () => {
      const said = await there([recipe, "--store", store])
      expect(said.stdout.toString()).toContain("\u001b[1m")
      const help = await there([recipe, "--help"])
      expect(faults(help.stdout, /\u001b\[[0-9;]*m|\r(?=\n)/g)).toEqual([])
    })

    it("a chat, whose line editor moves the cursor", async () => {
      const said = await there([talker, "--model", model], "hello\n/exit\n")
      expect(faults(said.stdout, /\u001b\[[0-9;]*[A-Z]|\r|\u0004|\u0008/g)).toEqual([])
      expect(said.stdout.toString()).toContain("<\\u001b]0;T\\u0007")
      expect(said.stdout.toString()).not.toContain("\u001b[2J")
    })
  }
)

it("no other file of src or pipelines writes to a terminal", () => {
  const root = fileURLToPath(new URL("../..", import.meta.url))
  const writes =
    /process\s*\.\s*(?:stdout|stderr)|process\[|\bconsole\s*[.[]|\bConsole\.|writeSync\(\s*[12]\b|_rawDebug|from "node:console"/
  const sources = ["src", "pipelines"].flatMap((top) =>
    readdirSync(join(root, top), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(ts|js|mjs)$/.test(name) && !/vendor|node_modules/.test(name))
      .map((name) => join(top, name))
  )
  expect(sources.length).toBeGreaterThan(200)
  const code = (name: string) =>
    readFileSync(join(root, name), "utf8")
      .replace(/\/\*[\s\S]*?\*\//g, "")
      .replace(/^\s*\/\/.*$/gm, "")
  expect(sources.filter((name) => writes.test(code(name)))).toEqual(["src/cli/Output.ts"])
  // And its codes are made in one.
  const escapes = /\\u001b|\\x1b|\\033|\u001b/i
  expect(sources.filter((name) => escapes.test(code(name)))).toEqual(["src/cli/Paint.ts"])
})
