/** A fold survives a polite stop, failures and damaged checkpoints without a step more than it must repeat. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { digestsOf, makeBench } from "./Harness.ts"

const steps = (lines: ReadonlyArray<string>) =>
  lines.filter((line) => line.startsWith("weigh")).map((line) => Number(line.split(" ")[1]))

test("a polite stop saves the step it stopped at, and the next run repeats none", async () => {
  const bench = makeBench()
  const reference = await makeBench().run()
  const stopped = await bench.run(
    { options: { checkpointEverySteps: 7 }, stopAt: { event: "checkpoint", node: "train/weigh", times: 2 } },
    { RUN_TEST_SLOW_MS: "5" }
  )
  expect(stopped).toMatchObject({ status: "failed", error: { tag: "Interrupted" } })
  expect(stopped.error!.message).toMatch(/stopped at step \d+ of 40, checkpoint saved/)
  expect(stopped.events.at(-1)).toMatchObject({ event: "node-end", node: "train/weigh", status: "interrupted" })
  const first = steps(bench.logged())
  const resumed = await bench.run()
  expect(resumed.events.find((event) => event.event === "node-start" && event.node === "train/weigh")).toMatchObject({
    resumedAt: first.length
  })
  expect([...first, ...steps(bench.logged())]).toEqual(Array.from({ length: 40 }, (_, i) => i))
  expect(digestsOf(resumed)).toEqual(digestsOf(reference))
})

test("a polite stop finishes the shards in flight and starts no more", async () => {
  const bench = makeBench()
  const stopped = await bench.run({
    options: { workers: 2 },
    stopAt: { event: "node-progress", node: "square", times: 2 }
  })
  expect(stopped.error).toMatchObject({ tag: "Interrupted", message: expect.stringContaining("between shards") })
  const done = bench.logged().filter((line) => line.startsWith("square"))
  expect(done.filter((line) => line.endsWith("start")).length).toBe(done.filter((line) => line.endsWith("end")).length)
  expect(done.length).toBeLessThan(14)
  const resumed = await bench.run({ options: { workers: 2 } })
  expect(resumed.status).toBe("completed")
  expect(done.length + bench.logged().filter((line) => line.startsWith("square")).length).toBe(14)
})

test("a failed step loses no more than the steps since the checkpoint", async () => {
  const bench = makeBench()
  const failed = await bench.run({}, { RUN_TEST_FAULT: "weigh:fail:23" })
  expect(failed.error).toMatchObject({ node: "train/weigh", message: "Flaky: weigh fails at 23" })
  bench.logged()
  expect(await bench.run()).toMatchObject({ status: "completed" })
  const again = steps(bench.logged())
  expect([15, 20]).toContain(again[0]) // 20, unless the failure came while it was still being written
  expect(again.at(-1)).toBe(39)
})

test("a damaged newest checkpoint is skipped for the one before, and said so", async () => {
  const bench = makeBench()
  const reference = await makeBench().run()
  await bench.run({}, { RUN_TEST_FAULT: "weigh:fail:24", RUN_TEST_SLOW_MS: "5" })
  const work = join(bench.store, "work", readdirSync(join(bench.store, "work"))[0]!, "checkpoints")
  const newest = readdirSync(work).sort().at(-1)!
  const step = Number(newest.slice(5)) // 20, or 15 where the disk is slow
  const path = join(work, newest, "state.json")
  writeFileSync(path, readFileSync(path, "utf8").replace(/\d/, "9"))
  bench.logged()
  const resumed = await bench.run()
  expect(steps(bench.logged())[0]).toBe(step - 5)
  expect(resumed.events.find((event) => event.event === "notice")).toMatchObject({
    message: expect.stringMatching(new RegExp(`${newest}.*damaged.*going on from step ${step - 5}`))
  })
  expect(digestsOf(resumed)).toEqual(digestsOf(reference))
})

test("only the newest two checkpoints and the best are kept", async () => {
  const bench = makeBench()
  await bench.run({}, { RUN_TEST_FAULT: "weigh:fail:39", RUN_TEST_SLOW_MS: "2" })
  const work = join(bench.store, "work", readdirSync(join(bench.store, "work"))[0]!, "checkpoints")
  expect(readdirSync(work).length).toBeLessThanOrEqual(3)
})
