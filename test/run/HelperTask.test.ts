/** Threads that help a fold change nothing but the clock, and end with it, however it ends. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { digestsOf, makeBench } from "./Harness.ts"

const weigh = { options: { workers: 3, until: ["train/weigh"] } }
const helped = { RUN_TEST_HELPERS: "2" }
const told = (lines: ReadonlyArray<string>, what: string) =>
  lines.filter((line) => line.startsWith(`${what} `)).map((line) => Number(line.slice(what.length)))
const all = Array.from({ length: 40 }, (_, i) => i)

test("as many are started as the run has threads, less one, and the result is that of none", async () => {
  const alone = makeBench()
  const expected = digestsOf(await alone.run({ options: { ...weigh.options, workers: 0 } }, helped))
  expect(Object.keys(expected)).toContain("weight")
  for (const [workers, helpers] of [
    [1, 0],
    [2, 1],
    [3, 2],
    [9, 2]
  ] as const) {
    const bench = makeBench()
    const run = await bench.run({ options: { ...weigh.options, workers } }, helped)
    expect(run).toMatchObject({ status: "completed" })
    expect(digestsOf(run)).toEqual(expected)
    const lines = bench.logged()
    expect(lines.filter((line) => line === "help")).toHaveLength(helpers)
    expect(told(lines, "help")).toEqual(helpers === 0 ? [] : all)
    expect(told(lines, "weigh")).toEqual(all)
  }
})

test("one that exits fails the node with what to do; with a retry the fold goes on from its checkpoint", async () => {
  const bench = makeBench()
  const run = await bench.run(weigh, { ...helped, RUN_TEST_FAULT: "help:exit:12" })
  expect(run.error).toMatchObject({
    tag: "NodeFailed",
    node: "train/weigh",
    message: "HelperFailed: a helper thread exited with code 7"
  })
  expect(run.error!.hint).toContain("--workers 1")
  const first = told(bench.logged(), "weigh")
  expect(first.at(-1)).toBe(12)
  const env = { ...helped, RUN_TEST_FAULT: "help:exit-once:23", RUN_TEST_RETRIES: "1" }
  const again = await bench.start(weigh, env).ended
  expect(again.told, again.stderr).toMatchObject({ status: "completed" })
  const lines = bench.logged()
  expect([5, 10]).toContain(told(lines, "weigh")[0])
  expect(told(lines, "weigh").at(-1)).toBe(39)
  expect(lines.filter((line) => line === "help")).toHaveLength(4)
})

test("an error in one arrives with its words and hint, a bug as a bug", async () => {
  const bench = makeBench()
  const run = await bench.run(weigh, { ...helped, RUN_TEST_FAULT: "help:fail:7" })
  expect(run.error).toMatchObject({
    node: "train/weigh",
    message: "HelperFailed: Flaky: help fails at 7",
    hint: "Unset RUN_TEST_FAULT."
  })
  const bug = await bench.run(weigh, { ...helped, RUN_TEST_FAULT: "help:throw:8" })
  expect(bug.error).toMatchObject({ node: "train/weigh", message: "TypeError: help has a bug at 8" })
  expect(bug.error!.hint).toContain("bug in the node")
})

test("one broken by a stray timer fails its node, not the process", async () => {
  const run = await makeBench().run(weigh, { ...helped, RUN_TEST_FAULT: "help:stray:3" })
  expect(run.error).toMatchObject({
    node: "train/weigh",
    message: "HelperFailed: outside of its effect: Error: thrown from a stray timer"
  })
})

test("one stuck in a loop is ended with its node at the node's timeout", async () => {
  const env = { ...helped, RUN_TEST_FAULT: "help:spin:3", RUN_TEST_FOLD_TIMEOUT_MS: "3000" }
  const { told } = await makeBench().start(weigh, env).ended
  expect(told?.error).toMatchObject({ node: "train/weigh", message: "NodeTimeout: no result after 3000 ms" })
})

test("a stop is heard while helpers work, and their node goes on with another number of them", async () => {
  const bench = makeBench()
  const stopAt = { event: "checkpoint", node: "train/weigh", times: 2 } as const
  const stopped = await bench.run({ ...weigh, stopAt }, { ...helped, RUN_TEST_SLOW_MS: "5" })
  expect(stopped.error).toMatchObject({ tag: "Interrupted" })
  const first = told(bench.logged(), "help")
  const rest = await bench.run({ options: { ...weigh.options, workers: 2 } }, { RUN_TEST_HELPERS: "1" })
  expect(rest).toMatchObject({ status: "completed" })
  expect([...first, ...told(bench.logged(), "help")]).toEqual(all)
})

test("one whose code was edited since the run began says so", async () => {
  const bench = makeBench()
  const copy = new URL("./fixtures/recipe.ts", import.meta.url)
  const text = readFileSync(copy, "utf8")
    .replaceAll(/from "(\.[^"]+)"/g, (_, path: string) => `from "${new URL(path, copy).href}"`)
    .replace('from "effect"', `from "${import.meta.resolve("effect")}"\nimport { factor } from "./helper.ts"`)
    .replace('log("help")', 'log("help by " + factor)')
  writeFileSync(join(bench.folder, "recipe.ts"), text)
  writeFileSync(join(bench.folder, "helper.ts"), "export const factor = 2\n")
  const recipe = new URL(`file://${join(bench.folder, "recipe.ts")}`).href
  const { told, stderr } = await bench.start({ ...weigh, recipe }, { ...helped, RUN_TEST_FAULT: "begin:edit" }).ended
  expect(told?.error, stderr).toMatchObject({ node: "train/weigh" })
  expect(told?.error?.message).toContain("was edited while the run went on")
  expect(bench.logged().filter((line) => line.startsWith("help"))).toEqual([])
})
