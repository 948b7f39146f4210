/** Two runs may share a store: both complete, and what one makes the other takes. */
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { digestsOf, makeBench, type Started } from "./Harness.ts"

const why = ({ told, stderr }: Awaited<Started["ended"]>) => `${told?.error?.message ?? ""} ${stderr}`

test("two processes at once complete alike and compute each shard and step once", async () => {
  const bench = makeBench()
  const both = [1, 2].map(() => bench.start({ options: { workers: 1 } }, { RUN_TEST_SLOW_MS: "3" }))
  const [a, b] = await Promise.all(both.map((one) => one.ended))
  expect(a!.told, why(a!)).toMatchObject({ status: "completed" })
  expect(b!.told, why(b!)).toMatchObject({ status: "completed" })
  expect(digestsOf(b!.told)).toEqual(digestsOf(a!.told))
  expect(a!.told!.nodesRun! + b!.told!.nodesRun!).toBe(7)
  const lines = bench.logged().filter((line) => !line.startsWith("raise"))
  expect(new Set(lines).size).toBe(lines.length)
  expect(readdirSync(join(bench.store, "work"))).toEqual([])
})

test("a run waits for a killed run's lock no longer than the kill", async () => {
  const bench = makeBench()
  const slow = bench.start({}, { RUN_TEST_SLOW_MS: "100" })
  await new Promise((done) => setTimeout(done, 1500))
  const other = bench.start()
  await new Promise((done) => setTimeout(done, 1000))
  slow.child.kill("SIGKILL")
  const { told, stderr } = await other.ended
  expect(told, stderr).toMatchObject({ status: "completed" })
})

test("a polite stop is heard while another run holds the lock", async () => {
  const bench = makeBench()
  const slow = bench.start({}, { RUN_TEST_SLOW_MS: "60000" }) // a batch of `read`: longer than the other run takes to start
  while (!bench.logged().includes("read start")) await new Promise((done) => setTimeout(done, 50))
  const stopped = await bench.run({ stopAt: { event: "node-end", node: "offset", times: 1 } })
  expect(bench.logged()).toEqual([])
  expect(stopped.error).toMatchObject({ tag: "Interrupted", message: "stopped before read" })
  slow.child.kill("SIGKILL")
  await slow.ended
})
