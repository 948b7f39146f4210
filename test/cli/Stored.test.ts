import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { inStore, runsTable } from "../../src/cli/Stored.ts"
import type { RunRecord } from "../../src/store/RunLog.ts"
import { folder, recipe, start, words } from "./process.ts"

interface RunEvent {
  readonly outputs: Readonly<Record<string, { readonly path: string }>>
}

const home = folder()
const store = join(home.path, "store")
const ask = (...args: ReadonlyArray<string>) => start([words, ...args, "--store", store]).ended
afterAll(() => home.remove())

it("outputs are told where they lie in the store that is looked at, wherever it was when they were made", () => {
  const at = folder()
  const here = join("entries", "ab", "abcd", "0123", "ports", "model")
  mkdirSync(join(at.path, here), { recursive: true })
  const recorded = (before: string, rest = here) => ({ model: { digest: "d", path: join(before, rest) } })
  for (const before of [".millrace", "/elsewhere/store", at.path, "/has/entries/in/its/name"])
    expect(inStore(at.path, recorded(before))["model"]).toEqual({ digest: "d", path: join(at.path, here) })
  expect(existsSync(join(at.path, here))).toBe(true)
  const gone = join("entries", "cd", "gone")
  expect(inStore(at.path, recorded("/old", gone))["model"]!.path).toBe(join(at.path, gone))
  at.remove()
})

describe("what a store remembers", () => {
  beforeAll(async () => {
    await recipe(store)
    await recipe(store, "--set", "train.steps=7")
    await recipe(store, "--set", "words.fail=true")
  })

  it("runs lists every run, newest first, with how it ended", async () => {
    const { code, stdout } = await ask("runs")
    expect(code).toBe(0)
    const lines = stdout.trimEnd().split("\n")
    expect(lines[0]).toMatch(/^run +pipeline +preset +status +started \(UTC\) +duration +nodes$/)
    expect(lines.slice(1).map((line) => line.split(/ {2,}/).filter((_, i) => [1, 2, 3, 6].includes(i)))).toEqual([
      ["words", "sample", "failed", "1 failed"],
      ["words", "sample", "done", "1 ran, 2 cached"],
      ["words", "sample", "done", "3 ran"]
    ])
    const json = await ask("runs", "--json")
    expect(
      json.stdout
        .trimEnd()
        .split("\n")
        .map((line) => (JSON.parse(line) as RunRecord).status)
    ).toEqual(["failed", "done", "done"])
  })

  it("show tells times, losses, lineage and outputs of one run", async () => {
    const listed = (await ask("runs", "--json")).stdout.trimEnd().split("\n")
    const id = (JSON.parse(listed[1]!) as RunRecord).id
    const { code, stdout } = await ask("show", id)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^train +ran +\d+\.\d +18 +0 +0\.1429 +0$/m)
    expect(stdout).toMatch(/^ {2}train: step 1 1, .*step 7 0\.1429$/m)
    expect(stdout).toMatch(/^train +[0-9a-f]{12} +train 1, code [0-9a-f]{12} +rows: shout [0-9a-f]{12}$/m)
    const [, path = ""] = /^report +[0-9a-f]{12} +(\/.*)$/m.exec(stdout) ?? []
    expect(path.startsWith(store)).toBe(true)
    expect(existsSync(path)).toBe(true)
    expect((await ask("show", "last")).stdout).toContain("words: NodeFailed: Broken: the words ran out at line two")
  })

  it("show tells paths of the store that is looked at, as text and with --json, and says what is gone", async () => {
    const [, last] = (await ask("runs", "--json")).stdout.trimEnd().split("\n")
    const { id } = JSON.parse(last!) as RunRecord
    const moved = folder()
    const copy = join(moved.path, "copy")
    cpSync(store, copy, { recursive: true })
    const told = async () => {
      const [text, json] = await Promise.all(
        [[], ["--json"]].map((more) => start([words, "show", id, ...more, "--store", copy]).ended)
      )
      const event = JSON.parse(json!.stdout.trimEnd().split("\n").at(-1)!) as RunEvent
      return { path: event.outputs["report"]!.path, text: text!.stdout }
    }
    const { path, text } = await told()
    expect(path.startsWith(join(copy, "entries"))).toBe(true)
    expect(existsSync(path)).toBe(true)
    expect(text).toMatch(new RegExp(`^report .* ${path}$`, "m"))
    // Entries are read-only.
    chmodSync(dirname(path), 0o755)
    rmSync(path, { recursive: true, force: true })
    const gone = await told()
    expect(gone.path).toBe(path)
    expect(gone.text).toContain(`${path} (not in the store any more)`)
    moved.remove()
  })

  it("show says which other code an entry was accepted for", async () => {
    const listed = (await ask("runs", "--json")).stdout.trimEnd().split("\n")
    const run = JSON.parse(listed[1]!) as RunRecord
    const { key } = run.nodes["train"] as { readonly key: string }
    const [entry] = readdirSync(join(store, "entries", key.slice(0, 2), key))
    const digest = "ab".repeat(32)
    const code = { digest, weak: false, files: [], packages: {} }
    mkdirSync(join(store, "aliases", key), { recursive: true })
    writeFileSync(join(store, "aliases", key, `${digest}.json`), JSON.stringify({ format: 1, key, entry, code }))
    const { stdout } = await ask("show", run.id)
    expect(stdout).toMatch(/^train +[0-9a-f]{12} +train 1, code [0-9a-f]{12}, accepted for code abababababab /m)
    rmSync(join(store, "aliases"), { recursive: true })
  })

  it("quarantine counts by reason and shows the first rows", async () => {
    const { code, stdout } = await ask("quarantine", "shout", "--limit", "1")
    expect(code).toBe(0)
    expect(stdout).toMatch(/^TooLoud +2 +Whisper\.$/m)
    expect(stdout).toMatch(/^3 +3 +TooLoud +text=word 18$/m)
    expect(stdout).toContain("and 1 more (--limit 2)")
    const { stdout: json } = await ask("quarantine", "shout", "--json")
    expect(
      json
        .trimEnd()
        .split("\n")
        .map((line) => (JSON.parse(line) as { row: number }).row)
    ).toEqual([3, 4])
  })

  it("quarantine without a node counts all nodes' rows by reason", async () => {
    const { code, stdout } = await ask("quarantine")
    expect(code).toBe(0)
    expect(stdout).toMatch(/^shout +\d+ +TooLoud +2 +\d+\.\d %$/m)
    const { stdout: json } = await ask("quarantine", "--json")
    expect(
      json
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown)
    ).toContainEqual(expect.objectContaining({ node: "shout", reason: "TooLoud", rows: 2 }))
  })

  it("gc shows before it removes, and a pin keeps", async () => {
    const shown = await ask("gc")
    expect(shown.stdout).toMatch(/^entry .*train +\//m)
    expect(shown.stdout).toContain("Nothing was removed; --collect does.")
    const key = /entries\/\w\w\/([0-9a-f]{64})/.exec(shown.stdout)![1]!
    const pinned = await ask("gc", "--pin", `keep=${key.slice(0, 10)}`)
    expect([pinned.code, pinned.stdout]).toEqual([
      0,
      expect.stringContaining(`pinned train ${key.slice(0, 12)} as keep`)
    ])
    expect((await ask("gc", "--collect")).stdout).not.toContain(`entries/${key.slice(0, 2)}/${key}`)
    expect((await ask("gc", "--unpin", "kept")).stderr).toContain('did you mean "keep"?')
    const collected = await ask("gc", "--unpin", "keep", "--collect")
    expect(collected.stdout).toMatch(/removed [1-9]/)
    expect((await ask("gc")).stdout).toContain("0 things could go")
    const after = await recipe(store, "--set", "train.steps=7")
    expect(after.stdout).toContain("0 nodes ran, 3 cached")
  })

  it("graph draws the pipeline as a table, as Mermaid and as JSON, without a store", async () => {
    const graph = (...args: ReadonlyArray<string>) => start([words, "graph", ...args]).ended
    expect((await graph()).stdout).toMatch(/^train +fold +shout\.rows +report$/m)
    expect((await graph("--format", "mermaid")).stdout).toContain("flowchart LR")
    const json = JSON.parse((await graph("--format", "json", "--set", "train.steps=9")).stdout) as {
      nodes: ReadonlyArray<{ id: string; params: unknown }>
    }
    expect(json.nodes[2]).toMatchObject({ id: "train", params: { steps: 9 } })
    const line = (await graph("--json", "--set", "train.steps=9")).stdout
    expect(line.trimEnd()).not.toContain("\n")
    expect(JSON.parse(line)).toEqual(json)
  })

  it("a store that is not there is an error with a hint, and is not made", async () => {
    const { code, stderr } = await start([words, "runs", "--store", join(home.path, "nowhere")]).ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/does not exist[\s\S]*hint:/)
  })
})

it("a run that was killed has no duration; one that goes on says so far", () => {
  const base: RunRecord = {
    format: 1,
    id: "r",
    pipeline: "p",
    settings: { preset: "s" },
    startedMs: 0,
    status: "running",
    // A source that was fetched is no node that ran.
    nodes: { a: { status: "ran" }, b: { status: "ran", kind: "source" } },
    process: { pid: 1, start: "", host: "h", boot: "", namespace: "" }
  }
  const lines = runsTable([base, { ...base, status: "killed" }, { ...base, settings: null, nodes: {} }], 65_000).split(
    "\n"
  )
  expect(lines[1]).toBe("r    p         s       running  1970-01-01 00:00:00  1m 05s so far  1 ran")
  expect(lines[2]).toMatch(/killed {3}1970-01-01 00:00:00 {2}- +1 ran$/)
  expect(lines[3]).toMatch(/^r {4}p {9}- .* -$/)
})
