/** A run computes what the store lacks and takes the rest from it; options of a run change no result. */
import { expect, test } from "vitest"
import { digestsOf, makeBench, someNumbers } from "./Harness.ts"

test("the second of two equal runs computes nothing and gives equal outputs", async () => {
  const bench = makeBench()
  bench.numbers(someNumbers())
  const first = await bench.run()
  expect(first).toMatchObject({ status: "completed", nodesRun: 7, nodesCached: 0 })
  expect(bench.logged().length).toBeGreaterThan(0)
  const second = await bench.run()
  expect(second).toMatchObject({ status: "completed", nodesRun: 0, nodesCached: 7 })
  expect(digestsOf(second)).toEqual(digestsOf(first))
  expect(Object.keys(digestsOf(first)).length).toBeGreaterThan(2)
  expect(bench.logged()).toEqual([])
})

test("the number of workers and of steps between checkpoints changes no output", async () => {
  const digests = []
  for (const options of [{ workers: 0 }, { workers: 2 }, { checkpointEverySteps: 1 }]) {
    const bench = makeBench()
    bench.numbers(someNumbers())
    digests.push(digestsOf(await bench.run({ options })))
  }
  expect(digests[1]).toEqual(digests[0])
  expect(digests[2]).toEqual(digests[0])
})

test("new input runs what depends on it; a node whose inputs come out equal stays cached", async () => {
  const bench = makeBench()
  bench.numbers(someNumbers())
  const first = await bench.run()
  bench.numbers([...someNumbers(), "not a number"]) // refused: the rows are the same
  const same = await bench.run()
  expect(same).toMatchObject({ status: "completed", nodesRun: 1, nodesCached: 6 })
  expect(digestsOf(same)).toEqual(digestsOf(first))
  bench.numbers([...someNumbers(), 3])
  const changed = await bench.run()
  expect(changed.nodesRun).toBeGreaterThan(1)
  expect(digestsOf(changed)).not.toEqual(digestsOf(first))
})

test("--force computes a node again, and an equal result leaves what follows cached", async () => {
  const bench = makeBench()
  bench.numbers(someNumbers())
  await bench.run()
  const forced = await bench.run({ options: { force: ["read"] } })
  expect(forced).toMatchObject({ status: "completed", nodesRun: 1, nodesCached: 6 })
})
