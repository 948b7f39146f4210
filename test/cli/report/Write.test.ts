/** Every run leaves a page and says where; one that trained leaves an event file; neither can fail a run. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { storeLayer } from "../../../src/cli/RunRecorder.ts"
import type { ReportData } from "../../../src/cli/report/Page.ts"
import { writePage } from "../../../src/cli/report/Write.ts"
import { empty } from "../../../src/run/Progress.ts"
import { build, type Choice } from "../../../src/run/Recipe.ts"
import { StoreError } from "../../../src/store/Store.ts"
import words from "../fixtures/words.ts"
import { folder, recipe, start, words as wordsFile } from "../process.ts"

const home = folder()
const store = join(home.path, "store")
afterAll(() => home.remove())

const pageOf = (text: string): string => /^This run as a page: (.*)$/m.exec(text)?.[1] ?? "no page is named"
const read = (text: string): string => readFileSync(pageOf(text), "utf8")

describe("a run", () => {
  it("that completes ends with the path of its page; show names it too", async () => {
    const { stdout } = await recipe(store)
    expect(stdout.trimEnd().split("\n").at(-1)).toBe(`This run as a page: ${pageOf(stdout)}`)
    const html = read(stdout)
    expect(html).toContain("status completed")
    expect(html).toContain("1 to 0.25, 4 steps")
    expect(html).toContain("../../entries/")
    const show = await start([wordsFile, "show", "last", "--store", store]).ended
    expect(pageOf(show.stdout)).toBe(pageOf(stdout))
    const board = join(dirname(pageOf(stdout)), "tensorboard")
    expect(readdirSync(board)).toEqual([expect.stringMatching(/^events\.out\.tfevents\.\d{10}\.millrace$/)])
    expect(readFileSync(join(board, readdirSync(board)[0]!)).includes("train/loss")).toBe(true)
  })

  it("that trains nothing leaves a page and no event file", async () => {
    const { stdout } = await recipe(store)
    expect(read(stdout)).toContain("0 ran, 3 cached")
    expect(existsSync(join(dirname(pageOf(stdout)), "tensorboard"))).toBe(false)
  })

  it("with --json names the page to people and leaves the last event as it is", async () => {
    const { stderr, stdout } = await recipe(store, "--json")
    expect(read(stderr)).toContain("status completed")
    const last = JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as object
    expect(Object.keys(last)).toEqual(["event", "status", "nodesRun", "nodesCached", "outputs", "metrics"])
  })

  it("that fails leaves what is known", async () => {
    const { code, stdout } = await recipe(store, "--set", "words.fail=true")
    expect(code).toBe(1)
    const html = read(stdout)
    expect(html).toContain("status failed")
    expect(html).toContain("Set words.fail=false.")
  })

  it("that is interrupted leaves the curve so far", async () => {
    const run = start([
      wordsFile,
      "--store",
      join(home.path, "stopped"),
      "--workers",
      "0",
      "--preset",
      "slow",
      "--json"
    ])
    await run.until('"step":5')
    run.child.kill("SIGINT")
    const { code, stderr } = await run.ended
    expect(code).toBe(130)
    expect(read(stderr)).toContain("status interrupted")
    expect(read(stderr)).toMatch(/train: loss<\/b> 1 to 0\.\d+, \d+ steps/)
  })
})

describe("a page", () => {
  const choice: Choice = { preset: "sample", engine: "wasm", settings: [] }
  const run: Omit<ReportData, "part" | "partError" | "link" | "endedMs"> = {
    pipeline: build(words, choice),
    choice,
    flags: [],
    view: empty,
    history: new Map(),
    startedMs: 0
  }
  const at = <A, E>(effect: Effect.Effect<A, E, any>) =>
    effect.pipe(Effect.provide(storeLayer(store)), Effect.provide(NodeServices.layer)) as Effect.Effect<A, E>

  it.effect("names a recipe's part that fails, and is written without it", () =>
    Effect.gen(function* () {
      for (const report of [() => Effect.fail(new Error("it broke")), () => Effect.die(new Error("it broke"))]) {
        let html = ""
        const keep = (make: (folder: string) => string) =>
          Effect.sync(() => {
            html = make("/f")
            return "/f/report.html"
          })
        const { failed, path } = yield* at(writePage({ report }, run, keep))
        expect([path, failed]).toEqual([
          "/f/report.html",
          "the recipe's part of /f/report.html could not be made: it broke"
        ])
        expect(html).toContain("it broke")
      }
    })
  )

  it.effect("that cannot be written is told and fails nothing", () =>
    Effect.gen(function* () {
      const full = new StoreError({ reason: "full", path: "/f", message: "no space", hint: "Make room." })
      expect(yield* at(writePage(words, run, () => Effect.fail(full)))).toEqual({
        failed: "the page of this run could not be written: no space"
      })
    })
  )
})
