/**
 * SIGKILL at any moment loses nothing that was finished, and the rerun ends as if nothing had happened.
 *
 * Real processes, killed by themselves at a chosen shard, step or change to the file system. What may be repeated is
 * counted in the log that the fixture's nodes append to.
 */
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { type Bench, digestsOf, makeBench } from "./Harness.ts"

/** Digests of an uninterrupted run, and how many changes to the file system it makes. */
const uninterrupted = async () => {
  const bench = makeBench()
  const { told, stderr } = await bench.start().ended
  if (told?.status !== "completed") throw new Error(stderr)
  return { digests: digestsOf(told), changes: told.changes }
}
let reference: ReturnType<typeof uninterrupted> | undefined
const whole = () => (reference ??= uninterrupted())

/** How often each line was logged. */
const tally = (lines: ReadonlyArray<string>): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const line of lines) counts.set(line, (counts.get(line) ?? 0) + 1)
  return counts
}

const finishes = async (bench: Bench) => {
  const { told, stderr } = await bench.start().ended
  expect(stderr).toBe("")
  expect(told).toMatchObject({ status: "completed" })
  expect(digestsOf(told)).toEqual((await whole()).digests)
  expect(readdirSync(join(bench.store, "work"))).toEqual([])
  return told!
}

describe("SIGKILL", () => {
  test("inside a shard repeats the shards in flight, no others", async () => {
    const bench = makeBench()
    const killed = await bench.start({ options: { workers: 2 } }, { RUN_TEST_FAULT: "square:kill:4" }).ended
    expect(killed.signal).toBe("SIGKILL")
    await finishes(bench)
    const lines = tally(bench.logged())
    expect(lines.get("square 4 start")).toBe(2)
    const repeated = [0, 1, 2, 3, 5, 6].filter((index) => lines.get(`square ${index} start`) !== 1)
    expect(repeated.length).toBeLessThanOrEqual(1) // the other thread's
    expect(lines.get("read start")).toBe(1)
  })

  test("inside a whole node repeats that node alone", async () => {
    const bench = makeBench()
    const killed = await bench.start({}, { RUN_TEST_FAULT: "count:kill" }).ended
    expect(killed.signal).toBe("SIGKILL")
    await finishes(bench)
    const lines = tally(bench.logged())
    expect(lines.get("count start")).toBe(2)
    for (const line of ["read start", "offset", "square 0 start", "split 6 start"]) expect(lines.get(line)).toBe(1)
  })

  test.each([0, 3, 11, 23, 39])("in a fold at step %i goes on from the last checkpoint, to the bit", async (step) => {
    const bench = makeBench()
    const killed = await bench.start({}, { RUN_TEST_FAULT: `weigh:kill:${step}` }).ended
    expect(killed.signal).toBe("SIGKILL")
    bench.logged()
    await finishes(bench)
    const first = bench.logged().find((line) => line.startsWith("weigh"))!
    const from = Number(first.split(" ")[1])
    expect(step - from).toBeLessThan(11) // the newest checkpoint, or the one before it if that was being written
    expect(from % 5).toBe(0)
  })

  test("between any two changes to the file system leaves a store that goes on", async () => {
    const { changes } = await whole()
    expect(changes).toBeGreaterThan(300)
    for (let i = 0; i < 10; i++) {
      const bench = makeBench()
      const killAt = Math.floor((changes * (i + 0.5)) / 10)
      const killed = await bench.start({ killAt }).ended
      expect(killed.signal).toBe("SIGKILL")
      await finishes(bench)
      const shards = [...tally(bench.logged())].filter(([line]) => line.startsWith("square") && line.endsWith("start"))
      expect(shards.filter(([, times]) => times > 1).length).toBeLessThanOrEqual(1)
      const verified = await bench.run({ options: { verify: true } })
      expect(verified).toMatchObject({ status: "completed", nodesRun: 0, nodesCached: 7 })
    }
  }, 240_000)

  test("again and again still ends with the same result", async () => {
    const bench = makeBench()
    for (const killAt of [90, 40, 60, 120, 50, 30]) await bench.start({ killAt }).ended
    await finishes(bench)
  })
})
