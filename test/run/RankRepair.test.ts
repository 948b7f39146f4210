/**
 * Damage that a rank meets heals as it does in a run of one process: all ranks give the fold up, rank 0 makes the input
 * again, and the fold goes on from its checkpoint with the same ranks.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { afterAll, expect, test } from "vitest"
import { CurrentCoordinator, openCoordinator, type RankAddress } from "../../src/run/Coordinator.ts"
import { newToken } from "../../src/run/Handshake.ts"
import { reportExit, runOnce } from "./fixtures/RunOnce.ts"
import recipe from "./fixtures/recipe.ts"
import { type Bench, digestsOf, makeBench, someNumbers } from "./Harness.ts"

const module = new URL("./fixtures/recipe.ts", import.meta.url).href
const follower = fileURLToPath(new URL("./fixtures/rankOnce.ts", import.meta.url))
const choice = { preset: "sample", settings: ["train/weigh.steps=43"], engine: "plain" }
const world = 3

const children = new Set<ChildProcess>()
afterAll(() => {
  for (const child of children) child.kill("SIGKILL")
})

/** The fold's rows: the file of its input that holds the row of the last steps, with one bit flipped. */
const flipRows = (store: string): { readonly path: string; readonly whole: Buffer } => {
  const path = readdirSync(join(store, "entries"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith("ports/large/00005.jsonl"))
    .map((name) => join(store, "entries", name))[0]!
  const whole = readFileSync(path)
  const bytes = Buffer.from(whole)
  bytes[bytes.length >> 1]! ^= 1
  chmodSync(path, 0o644)
  writeFileSync(path, bytes)
  return { path, whole }
}

/**
 * A run of rank 0 in this process and of the others in theirs; `reader` is the rank that reads the rows of the steps.
 */
const runRanks = async (bench: Bench, reader: number) => {
  const address: RankAddress = {
    rank: 0,
    world,
    host: "127.0.0.1",
    port: 0,
    store: undefined,
    listen: undefined,
    token: newToken()
  }
  const env = { RUN_TEST_FOLDER: bench.folder, RUN_TEST_READER: String(reader) }
  Object.assign(process.env, env)
  const ended: Array<Promise<{ readonly code: number | null; readonly stderr: string }>> = []
  const run = Effect.scoped(
    Effect.gen(function* () {
      const spawnRanks = ({ port }: { readonly port: number }) =>
        Effect.sync(() => {
          for (let rank = 1; rank < world; rank++) {
            const said = {
              address: { ...address, rank, port },
              run: "same",
              setup: { module, choice, store: bench.store }
            }
            const child = spawn(process.execPath, [follower, JSON.stringify(said)], {
              stdio: ["ignore", "ignore", "pipe"],
              env: { ...process.env, NODE_OPTIONS: "", ...env }
            })
            children.add(child)
            let stderr = ""
            child.stderr.on("data", (data) => (stderr += data))
            ended.push(new Promise((done) => child.once("close", (code) => done({ code, stderr }))))
          }
        })
      const coordinator = yield* openCoordinator(address, "same", spawnRanks)
      const running = runOnce(recipe, module, { store: bench.store, choice, options: { workers: 2 } })
      return yield* Effect.raceFirst(Effect.provideService(running, CurrentCoordinator, coordinator), coordinator.lost)
    })
  )
  const { events, exit } = await Effect.runPromise(run)
  return { ...reportExit(exit), events, ended: await Promise.all(ended) }
}

test.each([0, 1, 2])("damage that rank %i meets is made again, and the fold goes on with all ranks", async (reader) => {
  const bench = makeBench()
  bench.numbers(someNumbers())
  expect(await bench.run()).toMatchObject({ status: "completed" })
  const { path, whole } = flipRows(bench.store)
  const told = await runRanks(bench, reader)
  expect(told).toMatchObject({ status: "completed" })
  const said = told.events.flatMap((event) => (event.event === "notice" ? [`${event.node}: ${event.message}`] : []))
  expect(said).toEqual([
    "split: damaged in the store: large/00005.jsonl; train/weigh met it, and it is made again",
    "split: large/00005.jsonl came out as before; train/weigh starts again"
  ])
  const starts = told.events.flatMap((event) =>
    event.event === "node-start" && event.node === "train/weigh" ? [event.resumedAt ?? 0] : []
  )
  expect(starts).toHaveLength(2)
  expect(starts[1]).toBeGreaterThan(0)
  expect(readFileSync(path)).toEqual(whole)
  for (const { code, stderr } of told.ended) expect(code, stderr).toBe(0)
  const other = makeBench()
  other.numbers(someNumbers())
  expect(digestsOf(told)).toEqual(digestsOf(await other.run({ choice })))
})
