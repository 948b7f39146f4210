/**
 * A run that is stopped from outside, or has a low limit on open files, ends promptly, says why and keeps finished
 * results.
 */
import { readdirSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { parentLook } from "../../src/cli/Parent.ts"
import { stopMs } from "../../src/cli/Signals.ts"
import { filesAPool, limitIn, namedTooManyFiles, TooManyFiles } from "../../src/store/OpenFiles.ts"
import { writeReadings } from "../soak/chaos/recipe.ts"
import { folder, type Running, start } from "./process.ts"

const recipe = fileURLToPath(new URL("../soak/chaos/recipe.ts", import.meta.url))
const home = folder()
const source = join(home.path, "readings.tsv")
beforeAll(() => writeReadings(source, 300))
afterAll(home.remove)

type Json = Readonly<Record<string, any>>
const events = (text: string): ReadonlyArray<Json> =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Json)

const begin = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}): Running =>
  start([recipe, "--json", ...args], { env: { CHAOS_SOURCE: source, ...env } })

/** The record of the only run of a store. */
const recordOf = (store: string): { readonly status: string; readonly events: ReadonlyArray<Json> } => {
  const runs = join(store, "runs")
  const [run] = readdirSync(runs)
  const { status } = JSON.parse(readFileSync(join(runs, run!, "run.json"), "utf8"))
  return { status, events: events(readFileSync(join(runs, run!, "events.jsonl"), "utf8")) }
}

describe("a row that takes for ever", () => {
  for (const [hold, workers] of [
    ["compute", "2"],
    ["wait", "2"],
    ["wait", "0"]
  ] as const) {
    it(`that would ${hold} with --workers ${workers} is given up after SIGTERM; finished shards stay`, async () => {
      const store = join(home.path, `${hold}-${workers}`)
      const args = ["--store", store, "--workers", workers, "--set", `dropHot.hold=${hold}`]
      const run = begin(args, { MILLRACE_STOP_SECONDS: "0.5" })
      await run.until("row 100 is held")
      run.child.kill("SIGTERM")
      const { code, stderr, stdout } = await run.ended
      // Other nodes may be in flight beside it.
      expect(stderr).toMatch(/SIGTERM: stopping; waiting for .*dropHot \(the shards in flight\)/)
      expect(stderr).toContain("did not come within 0.5 s and is given up; what is finished is kept.")
      expect(stderr).toContain("interrupted; to go on: ")
      expect(code).toBe(130)
      expect(events(stdout).at(-1)).toMatchObject({ event: "run", status: "interrupted" })
      const record = recordOf(store)
      expect(record.status).toBe("interrupted")
      expect(record.events.some(({ message }) => message === "SIGTERM: asked to stop")).toBe(true)
      expect(record.events.find(({ event, node }) => event === "node-end" && node === "dropHot")).toMatchObject({
        status: "interrupted"
      })
      expect(readdirSync(join(store, "locks"))).toEqual([])

      const again = begin(args)
      await again.until('"node":"dropHot","kind":"sharded"')
      again.child.kill("SIGKILL")
      const begun = events((await again.ended).stdout.replace(/\n[^\n]*$/, "")).find(
        ({ event, node }) => event === "node-start" && node === "dropHot"
      )
      // Row 100 is in shard 4; with two threads, shard 3 may have been in flight.
      expect(begun!["shardsDone"]).toBeGreaterThanOrEqual(3)
    })
  }

  it("a training step has longer, and a variable sets both", () => {
    expect(stopMs({ fold: false, seconds: undefined })).toBe(5000)
    expect(stopMs({ fold: true, seconds: undefined })).toBe(20_000)
    expect(stopMs({ fold: true, seconds: 2 })).toBe(2000)
  })
})

describe("tsx", () => {
  it("killed alone takes its run with it, politely: the run can go on, and its record says why it ended", async () => {
    const store = join(home.path, "tsx")
    const tsx = join(dirname(createRequire(import.meta.url).resolve("tsx/package.json")), "dist", "cli.mjs")
    const slow = ["--set", "followTrend.steps=400", "--set", "followTrend.stepMs=30"]
    const args = [recipe, "--json", "--store", store, "--workers", "0", ...slow]
    const run = start([tsx, ...args], { env: { CHAOS_SOURCE: source } })
    await run.until('"node":"followTrend","step":5')
    run.child.kill("SIGKILL")
    const { code, stderr, stdout } = await run.ended // the run holds the pipes: this is its end, not that of tsx
    expect(code).toBe(null)
    expect(stderr).toMatch(/tsx, which started this run \(process \d+\), is gone: stopping; waiting for .*followTrend/)
    expect(events(stdout).at(-1)).toMatchObject({ event: "run", status: "interrupted" })
    const record = recordOf(store)
    expect(record.status).toBe("interrupted")
    expect(record.events.some(({ message }) => /^tsx, which started this run .* asked to stop$/.test(message))).toBe(
      true
    )
    const rest = begin(["--store", store, "--workers", "0", ...slow])
    await rest.until('"resumedAt"')
    rest.child.kill("SIGKILL")
    await rest.ended
  })

  it("is missed only where it started the process, once, and only when it is gone", () => {
    const gone: Array<number> = []
    const child = { execArgv: ["--import", "file:///x/node_modules/tsx/dist/loader.mjs"], ppid: 10 }
    expect(parentLook({ ...child, execArgv: [] }, (pid) => gone.push(pid))).toBe(undefined)
    const look = parentLook(child, (pid) => gone.push(pid))!
    look()
    expect(gone).toEqual([])
    child.ppid = 1
    look()
    look()
    expect(gone).toEqual([10])
  })
})

const noLimit = process.platform === "win32" ? " (skipped: no ulimit on Windows)" : ""

describe.skipIf(noLimit !== "")(`few open files${noLimit}`, () => {
  const limited = (files: number, store: string) =>
    start(
      [
        "-c",
        `ulimit -n ${files}; exec "$0" "$@"`,
        process.execPath,
        recipe,
        "--json",
        "--store",
        store,
        "--workers",
        "0"
      ],
      { command: "/bin/sh", env: { CHAOS_SOURCE: source } }
    ).ended

  it("64 are enough, with the same results; 28 end at once with what to do, and nothing is lost", async () => {
    const few = await limited(64, join(home.path, "few"))
    expect(few.stderr).not.toContain("error:")
    expect(few.code).toBe(0)
    const store = join(home.path, "fewer")
    const fewer = await limited(28, store)
    expect(fewer.code).toBe(1)
    expect(fewer.stderr).toMatch(/error: \w+/)
    expect(fewer.stderr).toContain("hint: Too many open files: raise the limit (`ulimit -n 65536`)")
    expect(fewer.stderr).not.toMatch(/\n {4}at /)
    expect(events(fewer.stdout).at(-1)).toMatchObject({ event: "run", status: "failed" })
    const whole = await begin(["--store", store, "--workers", "0"]).ended
    expect(whole.code).toBe(0)
    const digests = (text: string) =>
      Object.entries<Json>(events(text).at(-1)!["outputs"]).map(([name, { digest }]) => [name, digest])
    expect(digests(whole.stdout)).toEqual(digests(few.stdout))
  })

  it("a reader takes a share of the limit, and the error has a name", () => {
    const line = (n: string) => `Limit Soft Limit\nMax open files            ${n}                   ${n}   files\n`
    expect(filesAPool(limitIn(line("64")))).toBe(4)
    expect(filesAPool(limitIn(line("1048576")))).toBe(128)
    expect(filesAPool(limitIn("nothing"))).toBe(128)
    expect(filesAPool(8)).toBe(2)
    const error = Object.assign(new Error("spawn x EMFILE"), { code: "EMFILE" })
    expect(namedTooManyFiles(error)).toBeInstanceOf(TooManyFiles)
    expect(namedTooManyFiles(new Error("other"))).not.toBeInstanceOf(TooManyFiles)
  })
})
