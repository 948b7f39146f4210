/** A run that a program starts leaves a record like any other. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs"
import { hostname } from "node:os"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, Layer, Schema, Stream } from "effect"
import { expect, test } from "vitest"
import { pipeline, value, whole } from "../../src/dag/index.ts"
import { Events } from "../../src/run/Events.ts"
import { recipe } from "../../src/run/Recipe.ts"
import { type RunOptions, Stop } from "../../src/run/Run.ts"
import { runRecipe } from "../../src/run/Scheduler.ts"
import * as Gc from "../../src/store/Gc.ts"
import { layer as localStore } from "../../src/store/LocalStore.ts"
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

const Text = value("text", Schema.String)
const say = whole({ id: "say", version: "1", params: Schema.Struct({}), inputs: {}, outputs: { text: Text } }, () =>
  Effect.succeed({ text: Effect.succeed("said") })
)
const small = recipe({
  name: "small",
  presets: { a: {} },
  build: () => ({ pipeline: pipeline("small", { text: say({}, {}).out.text }) }),
  services: () => Layer.empty,
  engines: ["none"],
  numerics: (engine) => engine
})

test("gc sees a run from a program while it lives, and collects when it has ended", async () => {
  const { store } = makeBench()
  const garbage = join(store, "views", "0".repeat(32))
  const answers: Array<string> = []
  const collect = Effect.gen(function* () {
    mkdirSync(garbage, { recursive: true })
    const plan = yield* Gc.plan(store)
    expect(plan.garbage.map(({ path }) => path)).toContain(garbage)
    return yield* Effect.match(Gc.collect(store, plan), {
      onFailure: ({ message, reason }) => `${reason}: ${message}`,
      onSuccess: () => "collected"
    })
  }).pipe(Effect.provide(NodeFileSystem.layer), Effect.orDie)
  const events = Layer.succeed(
    Events,
    Events.of({
      stream: Stream.empty,
      publish: (event) =>
        event.event !== "node-start" ? Effect.void : Effect.map(collect, (answer) => void answers.push(answer))
    })
  )
  const options: RunOptions = {
    only: [],
    from: [],
    until: [],
    force: [],
    allowStaleCode: false,
    workers: 0,
    checkpointEveryMs: 60_000
  }
  await Effect.runPromise(
    runRecipe(small, import.meta.url, { preset: "a", settings: [], engine: "none" }, options).pipe(
      Effect.provide(Layer.mergeAll(events, Stop.layer, localStore({ root: store }))),
      Effect.provide(NodeFileSystem.layer)
    )
  )
  const [run] = await recordsOf(store)
  expect(run).toMatchObject({ pipeline: "small", status: "done" })
  expect(answers).toEqual([`locked: run ${run!.id} (small) is alive: process ${process.pid} on ${hostname()}`])
  expect(existsSync(garbage)).toBe(true)
  expect(await Effect.runPromise(collect)).toBe("collected")
  expect(existsSync(garbage)).toBe(false)
})
