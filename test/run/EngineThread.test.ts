/** A node that computes with an engine runs in a thread of its own, and behaves there as it does beside the caller. */
import { expect, test } from "vitest"
import { digestsOf, makeBench } from "./Harness.ts"

const thread = { options: { workers: 1 } }
const steps = (lines: ReadonlyArray<string>) =>
  lines.filter((line) => line.startsWith("weigh")).map((line) => Number(line.split(" ")[1]))

test("gives what it gives beside the caller, step by step", async () => {
  const [inside, beside] = [makeBench(), makeBench()]
  const [a, b] = [await inside.run(thread), await beside.run()]
  expect(a).toMatchObject({ status: "completed" })
  expect(digestsOf(a)).toEqual(digestsOf(b))
  const told = (events: typeof a.events) =>
    events.filter((one) => "node" in one && one.node === "train/weigh" && one.event === "checkpoint")
  expect(told(a.events).length).toBeGreaterThan(0)
  const start = a.events.filter((one) => one.event === "node-start" && one.node === "train/weigh")
  expect(start).toHaveLength(1)
})

test("is tried again as often as declared, from its newest checkpoint, and starts once in the events", async () => {
  const bench = makeBench()
  const env = { RUN_TEST_FAULT: "weigh:once:23", RUN_TEST_RETRIES: "1" }
  const { told, stderr } = await bench.start(thread, env).ended
  expect(told, stderr).toMatchObject({ status: "completed" })
  expect(told!.events.filter((one) => one.event === "node-start" && one.node === "train/weigh")).toHaveLength(1)
  const done = steps(bench.logged())
  const again = done.slice(done.indexOf(23) + 1)
  expect([15, 20]).toContain(again[0]) // 20, unless the failure came while it was still being written
  expect(again.at(-1)).toBe(39)
})

test("that has a bug ends once, told as a bug, and the run ends", async () => {
  const bench = makeBench()
  const run = await bench.run(thread, { RUN_TEST_FAULT: "weigh:throw:7" })
  expect(run.error).toMatchObject({ node: "train/weigh", message: "TypeError: weigh has a bug at 7" })
  const ends = run.events.filter((one) => one.event === "node-end" && one.node === "train/weigh")
  expect(ends).toMatchObject([{ status: "failed" }])
  expect(steps(bench.logged()).filter((step) => step === 7)).toHaveLength(1)
})

test("asked to stop saves the step it stopped at, and goes on from there", async () => {
  const bench = makeBench()
  const stopped = await bench.run(
    { ...thread, stopAt: { event: "checkpoint", node: "train/weigh", times: 2 } },
    { RUN_TEST_SLOW_MS: "5" }
  )
  expect(stopped.error).toMatchObject({ tag: "Interrupted" })
  expect(stopped.error!.message).toMatch(/stopped at step \d+ of 40, checkpoint saved/)
  const first = steps(bench.logged())
  expect(await bench.run(thread)).toMatchObject({ status: "completed" })
  expect([...first, ...steps(bench.logged())]).toEqual(Array.from({ length: 40 }, (_, i) => i))
})
