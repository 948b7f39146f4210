/** A run that a program starts leaves a record like any other. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect } from "effect"
import { expect, test } from "vitest"
import * as RunLog from "../../src/store/RunLog.ts"
import { makeBench } from "./Harness.ts"

const recordsOf = (store: string) =>
  Effect.runPromise(Effect.provide(RunLog.list(store), NodeFileSystem.layer)).then((all) => [...all])

test("a run from a program is listed with its nodes and events, also when it failed", async () => {
  const bench = makeBench()
  expect(await bench.run()).toMatchObject({ status: "completed" })
  const [done] = await recordsOf(bench.store)
  expect(done).toMatchObject({ status: "done", settings: { preset: "sample", engine: "plain" } })
  expect(Object.values(done!.nodes).map((node) => (node as { status: string }).status)).toContain("ran")
  const lines = readFileSync(
    join(bench.store, "runs", readdirSync(join(bench.store, "runs"))[0]!, "events.jsonl"),
    "utf8"
  )
  const events = lines
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { event: string }).event)
  expect([events[0], events.at(-1)]).toEqual(["start", "run"])
  expect(await bench.run({ options: { force: ["squares-of-nothing"] } })).toMatchObject({ status: "failed" })
  const statuses = (await recordsOf(bench.store)).map(({ status }) => status).sort()
  expect(statuses).toEqual(["done", "failed"])
})
