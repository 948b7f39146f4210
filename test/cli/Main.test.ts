import { readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Option } from "effect"
import { isEntry } from "../../src/cli/Entry.ts"
import { decodeEvent, type Event } from "../../src/cli/EventJson.ts"
import { samePressMs } from "../../src/cli/Signals.ts"
import { folder, recipe, start, words } from "./process.ts"

const events = (stdout: string): ReadonlyArray<Event> =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => Option.getOrThrow(decodeEvent(JSON.parse(line))))

type RunEvent = Extract<Event, { readonly event: "run" }>
const last = (stdout: string): RunEvent => events(stdout).at(-1) as RunEvent

const stack = /^\s+at .*[:(]\d+/m

const home = folder()
const store = join(home.path, "store")
afterAll(() => home.remove())

describe("a run", () => {
  let first: Awaited<ReturnType<typeof recipe>>
  beforeAll(async () => {
    first = await recipe(store)
  })

  it("says what ran, what was refused, the summary and where the outputs lie", () => {
    expect(first.code).toBe(0)
    expect(first.stderr).toBe("")
    expect(first.stdout).toContain("words, preset sample: 3 nodes, run 20")
    expect(first.stdout).toContain("0 cached, 3 will run, 0 may run")
    expect(first.stdout).toMatch(/^shout {2}ran +\d+\.\d +20 +18 +- +2 \(TooLoud 2\)$/m)
    expect(first.stdout).toMatch(/^train {2}ran +\d+\.\d +18 +0 +0\.25 +0$/m)
    expect(first.stdout).toContain("completed: 3 nodes ran, 0 cached")
    expect(first.stdout).toContain("loss 1 to 0.25")
    const path = /^report +[0-9a-f]{12} +(\S+)$/m.exec(first.stdout)?.[1]
    expect(path).toBeDefined()
    expect(first.stdout).not.toContain("\u001b")
  })

  it("is not repeated: the second one takes everything from the store", async () => {
    const again = await recipe(store)
    expect(again.code).toBe(0)
    expect(again.stdout).toContain("completed: 0 nodes ran, 3 cached")
    expect(again.stdout).toContain("loss 1 to 0.25")
  })

  it("quiet says only what came of it", async () => {
    const quiet = await recipe(store, "--quiet")
    expect(quiet.stdout.split("\n")[0]).toBe("loss 1 to 0.25")
    const json = await recipe(store, "--quiet", "--json")
    expect(json.stderr).toBe("")
  })

  it("with --json gives events and nothing else on stdout, the last one the run", async () => {
    const { code, stderr, stdout } = await recipe(
      store,
      "--json",
      "--set",
      "train.steps=3",
      "--set",
      "words.chatty=true"
    )
    expect(code).toBe(0)
    const all = events(stdout)
    expect(all[0]).toMatchObject({ event: "start", pipeline: "words", preset: "sample", nodes: 3 })
    expect(all.filter((one) => one.event === "plan").map((one) => [one.node, one.status])).toEqual([
      ["words", "run"],
      ["shout", "maybe"],
      // Its parameter changed, but what "shout" will give is not known: an older run may have left this very result.
      ["train", "maybe"]
    ])
    expect(last(stdout)).toMatchObject({ event: "run", status: "completed", metrics: { loss: 1 / 3 } })
    expect(Object.keys(last(stdout).outputs)).toEqual(["shouted", "report"])
    expect(all.filter((one) => one.event === "run")).toHaveLength(1)
    // An equal result upstream cuts the re-run off.
    expect(last(stdout)).toMatchObject({ nodesRun: 2, nodesCached: 1 })
    expect(stderr).toContain("completed: 2 nodes ran, 1 cached")
    expect(stderr).toContain("words says hello")
  })

  it("plans without running", async () => {
    const runs = () => readdirSync(join(store, "runs")).length
    const before = runs()
    const { code, stdout } = await recipe(store, "--plan", "--set", "shout.loudest=3")
    expect(code).toBe(0)
    expect(stdout).toMatch(/^words +20 +370 B +cached$/m)
    expect(stdout).toMatch(/^shout +~18 +~332 B +will run, because parameter loudest 18 to 3$/m)
    expect(stdout).toMatch(/^train +- +~\d+ B +(may|will) run/m)
    expect(stdout).toContain("1 cached, ")
    expect(runs()).toBe(before)
    const json = await recipe(store, "--plan", "--json")
    expect(events(json.stdout).map((one) => one.event)).toEqual(["start", "plan", "plan", "plan", "run"])
  })

  it("says which engine auto is and why, in the head of a plan and of a run, and in the first event", async () => {
    const plan = await recipe(store, "--plan", "--engine", "auto")
    expect(plan.stdout).toMatch(/^engine wasm: there is no other\n/)
    const { stderr, stdout } = await recipe(store, "--engine", "auto", "--json")
    expect(stderr).toMatch(/^words, preset sample: .*\nengine wasm: there is no other$/m)
    expect(events(stdout)[0]).toMatchObject({ event: "start", engine: "wasm", engineWhy: "there is no other" })
    const named = await recipe(store, "--plan", "--engine", "wasm")
    expect(named.stdout).not.toContain("engine")
  })

  it("verifies stored bytes and makes damaged shards again, alone", async () => {
    const entries = join(store, "entries")
    const shard = readdirSync(entries, { recursive: true })
      .map(String)
      .find((path) => path.endsWith("rows/00001.jsonl") && readFileSync(join(entries, path), "utf8").includes("WORD"))!
    const good = readFileSync(join(entries, shard), "utf8")
    writeFileSync(join(entries, shard), good.replace("WORD", "WURD"))
    const plan = await recipe(store, "--verify", "--plan")
    expect(plan.stdout).toMatch(/^shout .*will run, because damaged: rows\/00001\.jsonl$/m)
    const { code, stdout } = await recipe(store, "--verify")
    expect(code).toBe(0)
    expect(stdout).toContain("3 of 4 shards are done already")
    expect(readFileSync(join(entries, shard), "utf8")).toBe(good)
  })

  it("works from a worker pool, through a symbolic link, and under tsx", async () => {
    const link = join(home.path, "linked.ts")
    symlinkSync(words, link)
    const pool = await start([link, "--store", join(home.path, "pool"), "--workers", "2", "--until", "shout"]).ended
    expect(pool.stdout).toContain("completed: 2 nodes ran, 0 cached")
    const loader = ["--import", "tsx", words, "--store", store, "--quiet"]
    expect((await start(loader).ended).code).toBe(0)
  })

  it("does nothing when the recipe is imported", async () => {
    const { code, stdout } = await start([
      "--input-type=module",
      "-e",
      `console.log(Object.keys(await import(${JSON.stringify(words)})).join())`
    ]).ended
    expect([code, stdout]).toEqual([0, "default\n"])
    expect(isEntry({ url: `file://${words}` }, words)).toBe(true)
    expect(isEntry({ url: `file://${words}?query` }, words.replace(/\.ts$/, ""))).toBe(true)
    expect(isEntry({ url: `file://${words}`, main: false }, words)).toBe(false)
    expect(isEntry({ url: "data:text/javascript,0" }, words)).toBe(false)
    expect(isEntry({ url: `file://${words}` }, join(home.path, "other.ts"))).toBe(false)
  })
})

describe("a failure", () => {
  it("is at most eight lines with a hint, exit code 1, and no stack unless asked for", async () => {
    const { code, stderr, stdout } = await recipe(store, "--set", "words.fail=true")
    expect(code).toBe(1)
    expect(stderr.trimEnd().split("\n")).toEqual([
      "error: NodeFailed in words",
      "  Broken: the words ran out",
      "  at line two",
      "  hint: Set words.fail=false."
    ])
    expect(stdout).toContain("failed: 0 nodes ran, 0 cached")
    const args = [words, "--store", store, "--workers", "0", "--set", "words.fail=true"]
    expect((await start(args, { env: { MILLRACE_DEBUG: "1" } }).ended).stderr).toMatch(stack)
  })

  it("ends the events with what is known", async () => {
    const { code, stdout } = await recipe(store, "--json", "--set", "words.fail=true")
    expect(code).toBe(1)
    expect(last(stdout)).toMatchObject({
      event: "run",
      status: "failed",
      nodesRun: 0,
      metrics: { error: { tag: "NodeFailed", hint: "Set words.fail=false." } }
    })
  })

  it("of the summary keeps the outputs and says so", async () => {
    const { code, stderr } = await recipe(store, "--preset", "odd")
    expect(code).toBe(1)
    expect(stderr).toContain("error: SummaryFailed")
    expect(stderr).toContain("the run is complete")
  })
})

describe("wrong usage", () => {
  const cases: ReadonlyArray<readonly [args: ReadonlyArray<string>, says: RegExp]> = [
    [["--preset", "sampel"], /no preset is called "sampel"; did you mean "sample"\?[\s\S]*Presets: sample, slow/],
    [["--only", "trian"], /--only: no node is called "trian"; did you mean "train"\?[\s\S]*Nodes: train, words, shout/],
    [["--set", "train.steps=abc"], /train: parameter steps: expected number, got "abc"/],
    [["--bogus"], /Unrecognized flag: --bogus/],
    [["runz"], /Unknown subcommand "runz"[\s\S]*runs/],
    [["--workers", "-1"], /Expected: 0 or more/],
    [["quarantine", "shuot"], /did you mean "shout"\?/],
    [["show", "nosuchrun"], /there is no run nosuchrun/],
    [["gc", "--pin", "zz"], /no entry is called zz/]
  ]
  it.each(cases)("%j exits 2 and says what there is", async (args, says) => {
    const flags = args[0]!.startsWith("--") ? [words, "--store", store, ...args] : [words, ...args, "--store", store]
    const { code, stderr, stdout } = await start(flags).ended
    expect(stderr).toMatch(says)
    expect(stderr).not.toMatch(stack)
    expect([code, stdout]).toEqual([2, ""])
  })

  it("under --json still ends with the run event", async () => {
    for (const args of [["--only", "x"], ["--bogus"]]) {
      const { code, stdout } = await recipe(store, "--json", ...args)
      expect(code).toBe(2)
      expect(last(stdout)).toMatchObject({ event: "run", status: "failed", metrics: { error: { tag: "UsageError" } } })
    }
  })

  it("help and version are no errors", async () => {
    const help = await recipe(store, "--help")
    expect(help.code).toBe(0)
    expect(help.stdout).toMatch(/--checkpoint-every STEPS[\s\S]*quarantine/)
    expect((await start([words, "--version"]).ended).stdout).toContain("0.1.0")
  })
})

describe("an interruption", () => {
  it("waits politely, prints the command that goes on, and that command ends as if nothing had happened", async () => {
    const interrupted = join(home.path, "interrupted")
    const args = ["--store", interrupted, "--workers", "0", "--set", "train.steps=60", "--set", "train.stepMs=30"]
    const run = start([words, "--json", ...args])
    await run.until('"step":5')
    run.child.kill("SIGINT")
    const { code, stderr, stdout } = await run.ended
    expect(code).toBe(130)
    expect(stderr).toContain("SIGINT: stopping; waiting for train (a checkpoint)")
    expect(last(stdout)).toMatchObject({ event: "run", status: "interrupted", nodesRun: 2, nodesCached: 0 })
    const resume = /interrupted; to go on: (.*)/.exec(stderr)![1]!
    expect(resume).toContain("--set train.steps=60")

    const rest = await start(["-c", resume], { command: "/bin/sh" }).ended
    expect(rest.code).toBe(0)
    const resumed = events(rest.stdout).find((one) => one.event === "node-start")
    expect(resumed).toMatchObject({ node: "train", kind: "fold" })
    expect((resumed as { resumedAt: number }).resumedAt).toBeGreaterThanOrEqual(5)

    const whole = await start([words, "--json", ...args.with(1, join(home.path, "whole"))]).ended
    expect(last(rest.stdout).outputs["report"]!.digest).toBe(last(whole.stdout).outputs["report"]!.digest)
  })

  it("a second signal ends it at once", async () => {
    const run = start([words, "--json", "--store", join(home.path, "twice"), "--workers", "0", "--preset", "stuck"])
    await run.until('"node":"train","kind":"fold"')
    run.child.kill("SIGTERM")
    await run.until("SIGTERM: stopping")
    await new Promise((resolve) => setTimeout(resolve, samePressMs + 200))
    run.child.kill("SIGTERM")
    const { code, stderr, stdout } = await run.ended
    expect(code).toBe(130)
    expect(last(stdout)).toMatchObject({ event: "run", status: "interrupted", nodesRun: 2 })
    expect(stderr).toContain("to go on:")
  })

  it("a reader that leaves neither ends the run nor shows a stack", async () => {
    const run = start([words, "--json", "--store", join(home.path, "left"), "--workers", "0"])
    run.child.stdout!.destroy()
    const { code, stderr } = await run.ended
    expect(stderr).toContain("completed: 3 nodes ran")
    expect(stderr).not.toMatch(stack)
    expect(stderr).not.toContain("EPIPE")
    expect(code).toBe(0)
  })
})
