/**
 * A thread that loads for a fold changes nothing but the clock, loads while a step holds its thread, and ends with the
 * fold.
 */
import { Effect } from "effect"
import { describe, expect, test } from "vitest"
import { buffersOf } from "../../src/run/LoaderTask.ts"
import { digestsOf, makeBench } from "./Harness.ts"

const weigh = { options: { workers: 2, until: ["train/weigh"] } }
const loaded = { RUN_TEST_LOADER: "1" }
const told = (lines: ReadonlyArray<string>, what: string) =>
  lines.filter((line) => line.startsWith(`${what} `)).map((line) => Number(line.slice(what.length)))
const all = Array.from({ length: 40 }, (_, i) => i)

test("loads the next step in a thread of its own while this one holds the fold's thread", async () => {
  const plain = makeBench()
  const expected = digestsOf(await plain.run({ options: { ...weigh.options, workers: 0 } }))
  const bench = makeBench()
  const run = await bench.run(weigh, loaded)
  expect(run).toMatchObject({ status: "completed" })
  expect(digestsOf(run)).toEqual(expected)
  const lines = bench.logged()
  expect(told(lines, "load")).toEqual(all)
  expect(lines.filter((line) => line.startsWith("loaded"))).toEqual(
    all.slice(1).map((step) => `loaded ${step} meanwhile by another thread`)
  )
  expect(lines.filter((line) => line.startsWith("got"))).toEqual(all.map(() => "got 65536"))
  // Two steps ahead and no more.
  const begun = lines.filter((line) => /^(load|weigh) \d/.test(line))
  for (const [at, line] of begun.entries()) {
    const steps = begun.slice(0, at).filter((one) => one.startsWith("weigh")).length - 1
    if (line.startsWith("load")) expect(Number(line.slice(4))).toBeLessThanOrEqual(steps + 2)
  }
})

test("there is none where the run has no thread left", async () => {
  for (const [workers, helpers, loads] of [
    [0, 0, 0],
    [1, 0, 0],
    [2, 1, 0],
    [3, 1, 1]
  ] as const) {
    const bench = makeBench()
    const run = await bench.run(
      { options: { ...weigh.options, workers } },
      { ...loaded, RUN_TEST_HELPERS: String(helpers) }
    )
    expect(run).toMatchObject({ status: "completed" })
    expect(bench.logged().filter((line) => line === "load")).toHaveLength(loads)
  }
})

test("what fails to load fails the step with its tag, words and hint, a bug as a bug", async () => {
  const bench = makeBench()
  const run = await bench.run(weigh, { ...loaded, RUN_TEST_FAULT: "load:fail:7" })
  expect(run.error).toMatchObject({
    node: "train/weigh",
    message: "Flaky: load fails at 7",
    hint: "Unset RUN_TEST_FAULT."
  })
  const bug = await bench.run(weigh, { ...loaded, RUN_TEST_FAULT: "load:throw:8" })
  expect(bug.error).toMatchObject({ node: "train/weigh", message: "TypeError: load has a bug at 8" })
  expect(bug.error!.hint).toContain("bug in the node")
})

test("one that exits fails the node with what to do; with a retry the fold goes on from its checkpoint", async () => {
  const bench = makeBench()
  const run = await bench.run(weigh, { ...loaded, RUN_TEST_FAULT: "load:exit:12" })
  expect(run.error).toMatchObject({
    tag: "NodeFailed",
    node: "train/weigh",
    message: "LoaderFailed: a loader thread exited with code 7"
  })
  expect(run.error!.hint).toContain("--workers 1")
  const env = { ...loaded, RUN_TEST_FAULT: "load:exit-once:23", RUN_TEST_RETRIES: "1" }
  const again = await bench.start(weigh, env).ended
  expect(again.told, again.stderr).toMatchObject({ status: "completed" })
  expect(told(bench.logged(), "weigh").at(-1)).toBe(39)
})

test("one that is killed with its process costs nothing but the steps since the checkpoint", async () => {
  const plain = makeBench()
  const expected = digestsOf(await plain.run({ options: { ...weigh.options, workers: 0 } }))
  const bench = makeBench()
  const killed = await bench.start(weigh, { ...loaded, RUN_TEST_FAULT: "load:kill:21" }).ended
  expect(killed.signal).toBe("SIGKILL")
  const run = await bench.run(weigh, loaded)
  expect(run).toMatchObject({ status: "completed" })
  expect(digestsOf(run)).toEqual(expected)
})

test("it ends with the fold: stopped, timed out in a loop of its own, or finished, the process exits by itself", async () => {
  const bench = makeBench()
  const stopAt = { event: "checkpoint", node: "train/weigh", times: 2 } as const
  const stopped = await bench.start({ ...weigh, stopAt }, { ...loaded, RUN_TEST_SLOW_MS: "5" }).ended
  expect(stopped.told?.error, stopped.stderr).toMatchObject({ tag: "Interrupted" })
  const env = { ...loaded, RUN_TEST_FAULT: "load:spin:30", RUN_TEST_FOLD_TIMEOUT_MS: "3000" }
  const spun = await bench.start(weigh, env).ended
  expect(spun.told?.error).toMatchObject({ node: "train/weigh", message: "NodeTimeout: no result after 3000 ms" })
  const rest = await bench.start(weigh, loaded).ended
  expect(rest.told, rest.stderr).toMatchObject({ status: "completed" })
})

describe("what is handed over", () => {
  test("is what a typed array fills alone; parts of larger buffers and shared memory are not", () => {
    const ids = new Int32Array(4)
    const pixels = new Uint8Array(8)
    const part = new Uint8Array(16).subarray(4, 8)
    const shared = new Uint8Array(new SharedArrayBuffer(4))
    const value = { ids, inner: [{ pixels, values: pixels }], part, shared, names: ["a"], more: Buffer.from("abc") }
    const buffers = buffersOf(value)
    expect(buffers).toEqual([ids.buffer, pixels.buffer])
    const there = Effect.runSync(Effect.sync(() => structuredClone(value, { transfer: buffers })))
    expect([there.ids.length, there.inner[0]!.pixels.length, there.part.length]).toEqual([4, 8, 4])
    expect(there.inner[0]!.pixels).toBe(there.inner[0]!.values)
    expect([ids.length, pixels.length, part.length, shared.length]).toEqual([0, 0, 4, 4])
  })
})
