/** What a run promises: finished work is never repeated, and nothing but content decides what is finished. */
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import type { Event } from "../../src/run/Events.ts"
import { digestsOf, makeBench, someNumbers } from "./Harness.ts"

type Of<K extends Event["event"]> = Extract<Event, { readonly event: K }>
const eventsOf = <K extends Event["event"]>(events: ReadonlyArray<Event>, kind: K) =>
  events.filter((event): event is Of<K> => event.event === kind)
const planOf = (events: ReadonlyArray<Event>, node: string) =>
  eventsOf(events, "plan").find((event) => event.node === node)
/** Nodes that did something, by their log lines. */
const workers = (lines: ReadonlyArray<string>) => [...new Set(lines.map((line) => line.split(" ")[0]!))].sort()
const all = ["count", "offset", "raise", "read", "split", "square", "weigh"]

describe("a second run", () => {
  test("takes everything from the store and computes nothing", async () => {
    const bench = makeBench()
    const first = await bench.run()
    expect(first).toMatchObject({ status: "completed", nodesRun: 7, nodesCached: 0 })
    expect(workers(bench.logged())).toEqual(all)
    const second = await bench.run()
    expect(second).toMatchObject({ status: "completed", nodesRun: 0, nodesCached: 7 })
    expect(bench.logged()).toEqual([])
    expect(digestsOf(second)).toEqual(digestsOf(first))
    expect(second.values).toEqual(first.values)
    const rowsOf = ({ events }: typeof first) =>
      Object.fromEntries(
        events.flatMap((one) => (one.event === "node-end" ? [[one.node, Object.entries(one.rowsByPort ?? {})]] : []))
      )
    expect(rowsOf(second)).toEqual(rowsOf(first)) // entries: their order counts
    expect(planOf(second.events, "train/weigh")).toMatchObject({ status: "cached" })
  })

  test("with a changed parameter runs that node and what depends on it, and says why", async () => {
    const bench = makeBench()
    await bench.run()
    bench.logged()
    const second = await bench.run({ choice: { settings: ["split.from=9000"] } })
    expect(second).toMatchObject({ status: "completed", nodesRun: 3, nodesCached: 4 })
    // The transient node streams again, because what it feeds runs again.
    expect(workers(bench.logged())).toEqual(["count", "raise", "split", "weigh"])
    expect(planOf(second.events, "split")?.because).toEqual(["parameter from 5000 to 9000"])
    expect(planOf(second.events, "count")).toMatchObject({ status: "maybe", because: ["if split changes"] })
  })

  test("cuts off where a changed node gives an equal result", async () => {
    const bench = makeBench()
    await bench.run()
    bench.logged()
    const second = await bench.run({ choice: { settings: ["offset.note=other"] } })
    expect(second).toMatchObject({ status: "completed", nodesRun: 1, nodesCached: 6 })
    expect(workers(bench.logged())).toEqual(["offset"])
    expect(planOf(second.events, "raise")).toMatchObject({ status: "maybe" })
  })

  test("finds a renamed instance by its content", async () => {
    const bench = makeBench()
    const first = await bench.run()
    bench.logged()
    const second = await bench.run({ choice: { preset: "renamed" } })
    expect(second).toMatchObject({ status: "completed", nodesRun: 0, nodesCached: 7 })
    expect(digestsOf(second)).toEqual(digestsOf(first))
  })

  test("sees a changed source by content, not by time or place", async () => {
    const bench = makeBench()
    await bench.run()
    bench.logged()
    bench.numbers(someNumbers())
    expect(await bench.run()).toMatchObject({ nodesRun: 0 })
    bench.numbers([...someNumbers(), 201])
    const third = await bench.run()
    expect(third).toMatchObject({ status: "completed", nodesRun: 6, nodesCached: 1 })
    expect(planOf(third.events, "read")?.because).toEqual(["input file (numbers) changed"])
    bench.numbers(someNumbers())
    expect(await bench.run()).toMatchObject({ nodesRun: 0, nodesCached: 7 })
  })

  test("on another engine runs only what computes with one", async () => {
    const bench = makeBench()
    await bench.run()
    bench.logged()
    const second = await bench.run({ choice: { engine: "other" } })
    expect(second).toMatchObject({ nodesRun: 1, nodesCached: 6 })
    expect(planOf(second.events, "train/weigh")?.because).toEqual(["numerics plain to other"])
  })
})

describe("digests", () => {
  test("do not depend on the number of worker threads", async () => {
    const benches = [0, 1, 2].map((count) => ({ count, bench: makeBench() }))
    const digests = []
    for (const { bench, count } of benches) digests.push(digestsOf(await bench.run({ options: { workers: count } })))
    expect(Object.keys(digests[0]!)).toHaveLength(6)
    expect(digests[1]).toEqual(digests[0])
    expect(digests[2]).toEqual(digests[0])
  })
})

describe("selection", () => {
  test("--until stops after a node, --only runs one on stored inputs, --from goes on", async () => {
    const bench = makeBench()
    const until = await bench.run({ options: { until: ["square"] } })
    expect(until).toMatchObject({ status: "completed", nodesRun: 2 })
    expect(Object.keys(until.outputs!)).toEqual(["squares"])
    expect(workers(bench.logged())).toEqual(["read", "square"])
    const only = await bench.run({ options: { only: ["split"] } })
    expect(only).toMatchObject({ status: "failed", error: { tag: "SelectionError" } })
    expect(only.error!.message).toMatch(/raise|offset/)
    expect(workers(bench.logged())).toEqual([])
    await bench.run({ options: { until: ["raise"] } })
    expect(await bench.run({ options: { only: ["split"] } })).toMatchObject({ status: "completed", nodesRun: 1 })
    bench.logged()
    const from = await bench.run({ options: { from: ["train/weigh"] } })
    expect(from).toMatchObject({ status: "completed", nodesRun: 1 })
    expect(workers(bench.logged())).toEqual(["weigh"]) // `count` is not in the store and has nothing to do with it
    expect(await bench.run()).toMatchObject({ status: "completed", nodesRun: 1, nodesCached: 6 })
  })

  test("--force runs a stored node again and leaves equal consumers alone", async () => {
    const bench = makeBench()
    await bench.run()
    bench.logged()
    const forced = await bench.run({ options: { force: ["square"] } })
    expect(forced).toMatchObject({ status: "completed", nodesRun: 1, nodesCached: 6 })
    expect(workers(bench.logged())).toEqual(["square"])
    expect(planOf(forced.events, "square")?.because).toEqual(["forced"])
  })

  test("names the node that is not there", async () => {
    const bench = makeBench()
    expect(await bench.run({ options: { only: ["sqare"] } })).toMatchObject({
      error: { tag: "SelectionError", node: "sqare" }
    })
  })
})

describe("refused rows", () => {
  test("lie beside the manifest with row and typed reason, and are counted", async () => {
    const bench = makeBench()
    const run = await bench.run({ options: { workers: 1 } })
    const end = eventsOf(run.events, "node-end").find((event) => event.node === "square")
    expect(end).toMatchObject({ rowsIn: 197, refused: 40, refusedBy: { "Unlucky: multiple": 40 }, rowsOut: 157 })
    const folder = join(run.outputs!["squares"]!.path, "../../refused")
    const lines = readdirSync(folder)
      .sort()
      .flatMap((name) =>
        readFileSync(join(folder, name), "utf8")
          .trim()
          .split("\n")
          .map((line) => ({ shard: name, ...JSON.parse(line) }))
      )
    expect(lines).toHaveLength(40)
    expect(lines[0]).toEqual({
      shard: "00000.jsonl",
      row: 0,
      reason: "Unlucky: multiple",
      error: { _tag: "Unlucky", n: 0, reason: "multiple" }
    })
    expect(eventsOf(run.events, "node-end").find((event) => event.node === "read")).toMatchObject({
      refused: 3,
      refusedBy: { NotANumber: 3 }
    })
  })

  test("past the stated share fail the node and name the reasons", async () => {
    const bench = makeBench()
    bench.numbers(Array.from({ length: 100 }, (_, i) => (i % 4 === 0 ? "bad" : i)))
    const run = await bench.run()
    expect(run).toMatchObject({ status: "failed", error: { tag: "NodeFailed", node: "read" } })
    // Nothing is stored, so `quarantine` cannot show a row: the error does.
    expect(run.error!.message.split("\n")).toEqual([
      "25 of 100 rows were refused, more than the 20 % allowed: NotANumber (25)",
      'shard 0, row 0: {"text":"bad"}'
    ])
  })
})

describe("failures", () => {
  test("keep what was finished and name node, shard, cause and what to do", async () => {
    const bench = makeBench()
    const failed = await bench.run({}, { RUN_TEST_FAULT: "split:fail:2" })
    expect(failed).toMatchObject({
      status: "failed",
      error: {
        tag: "NodeFailed",
        node: "split",
        shard: 2,
        message: "Flaky: split fails at 2",
        hint: "Unset RUN_TEST_FAULT."
      }
    })
    expect(eventsOf(failed.events, "node-end").find((event) => event.node === "split")).toMatchObject({
      status: "failed"
    })
    bench.logged()
    const again = await bench.run()
    expect(again).toMatchObject({ status: "completed", nodesRun: 3, nodesCached: 4 })
    const lines = bench.logged()
    expect(lines.filter((line) => line.startsWith("split"))).toEqual([2, 3, 4, 5, 6].map((i) => `split ${i} start`))
  })

  test("of a service name the node that wanted it", async () => {
    const bench = makeBench()
    const failed = await bench.run({}, { RUN_TEST_FAULT: "services" })
    expect(failed.error).toMatchObject({ tag: "NodeFailed", message: "services could not start: Flaky: no scale here" })
  })

  test("a bug in a node shows as a bug, not as a refusal", async () => {
    const bench = makeBench()
    const failed = await bench.run({}, { RUN_TEST_FAULT: "count:throw" })
    expect(failed.error).toMatchObject({ node: "count", message: "TypeError: count has a bug at 0" })
    expect(failed.error!.hint).toContain("bug in the node")
  })

  test("a missing source fails before anything runs", async () => {
    const bench = makeBench()
    rmSync(join(bench.folder, "numbers.txt"))
    const failed = await bench.run()
    expect(failed).toMatchObject({ status: "failed", error: { tag: "SourceError", node: "numbers" } })
    expect(failed.error!.message).toContain("numbers.txt")
    expect(bench.logged()).toEqual([])
  })

  test("a source that changes while it is read is not stored as what it was", async () => {
    const bench = makeBench()
    const failed = await bench.run({}, { RUN_TEST_FAULT: "read:grow" })
    expect(failed.error).toMatchObject({ tag: "NodeFailed", node: "read" })
    expect(failed.error!.message).toMatch(/numbers\.txt changed while the run read it/)
    expect(await bench.run()).toMatchObject({ status: "completed", nodesCached: expect.any(Number) })
    const after = await bench.run({ store: join(bench.folder, "fresh") })
    expect(digestsOf(await bench.run())).toEqual(digestsOf(after))
  })

  test("inputs with different numbers of shards cannot be read side by side", async () => {
    const bench = makeBench()
    const failed = await bench.run({ choice: { preset: "mismatch" } })
    expect(failed.error).toMatchObject({
      node: "pair",
      message: "InputUnavailable: others.rows has 4 shards, another input has 7"
    })
  })

  test("a failed shard is tried again as often as declared", async () => {
    const bench = makeBench()
    expect(await bench.run({ options: { workers: 1 } }, { RUN_TEST_FAULT: "square:once:1" })).toMatchObject({
      status: "completed"
    })
    expect(bench.logged().filter((line) => line === "square 1 start")).toHaveLength(2)
  })
})

describe("a damaged store", () => {
  test("with a shard cut off makes that shard again, alone", async () => {
    const bench = makeBench()
    const first = await bench.run()
    bench.logged()
    truncateSync(join(first.outputs!["squares"]!.path, "00003.jsonl"), 5)
    const second = await bench.run()
    expect(second).toMatchObject({ status: "completed", nodesRun: 1, nodesCached: 6 })
    expect(bench.logged()).toEqual(["square 3 start", "square 3 end"])
    expect(digestsOf(second)).toEqual(digestsOf(first))
  })

  test("with a flipped byte is found by --verify and mended alone", async () => {
    const bench = makeBench()
    const first = await bench.run()
    bench.logged()
    const path = join(first.outputs!["squares"]!.path, "00004.jsonl")
    const whole = readFileSync(path)
    const bytes = Buffer.from(whole)
    bytes[8]! ^= 1
    writeFileSync(path, bytes)
    expect(await bench.run()).toMatchObject({ nodesRun: 0 })
    const mended = await bench.run({ options: { verify: true } })
    expect(mended).toMatchObject({ status: "completed", nodesRun: 1, nodesCached: 6 })
    expect(bench.logged()).toEqual(["square 4 start", "square 4 end"])
    expect(readFileSync(path)).toEqual(whole)
    expect(eventsOf(mended.events, "notice").map((event) => event.message)).toEqual([
      "damaged in the store: rows/00004.jsonl; it is made again"
    ])
  })

  test("a damaged tree is made again", async () => {
    const bench = makeBench()
    const first = await bench.run()
    writeFileSync(join(first.outputs!["book"]!.path, "small.txt"), "??\n")
    expect(await bench.run({ options: { verify: true } })).toMatchObject({ nodesRun: 1, nodesCached: 6 })
    expect(readFileSync(join(first.outputs!["book"]!.path, "small.txt"), "utf8")).not.toBe("??\n")
  })

  test("a forced node replaces a damaged result", async () => {
    const bench = makeBench()
    const first = await bench.run()
    const path = join(first.outputs!["book"]!.path, "large.txt")
    const whole = readFileSync(path, "utf8")
    writeFileSync(path, whole.replace(/./, "?"))
    await bench.run({ options: { force: ["count"] } })
    expect(readFileSync(path, "utf8")).toBe(whole)
  })
})
