/**
 * Nothing wrong survives: a flipped bit in what a node reads is met by the run that reads it, made again, and the
 * results are those of a store that nothing happened to. What software that checked nothing made of damaged bytes is
 * suspect.
 */
import { chmodSync, cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, FileSystem, Layer } from "effect"
import { expect, test } from "vitest"
import type { Event } from "../../src/run/Events.ts"
import { planVerified } from "../../src/run/PlanVerified.ts"
import type { RunOptions } from "../../src/run/Run.ts"
import { planRecipe } from "../../src/run/Scheduler.ts"
import { layer as localStore } from "../../src/store/LocalStore.ts"
import { defaults, reportExit, runOnce } from "./fixtures/RunOnce.ts"
import recipe from "./fixtures/recipe.ts"
import { type Bench, digestsOf, freshFolder, makeBench, someNumbers } from "./Harness.ts"

const notices = (events: ReadonlyArray<Event>) =>
  events.flatMap((event) => (event.event === "notice" ? [`${event.node}: ${event.message}`] : []))

const manifestsIn = (store: string): ReadonlyArray<string> =>
  readdirSync(join(store, "entries"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith("manifest.json"))
    .map((name) => join(store, "entries", name))

/** Folder of the entry of a definition; there must be one. */
const entryOf = (store: string, definition: string): string => {
  const found = manifestsIn(store).filter(
    (path) => JSON.parse(readFileSync(path, "utf8")).parts.definition === definition
  )
  expect(found).toHaveLength(1)
  return join(found[0]!, "..")
}

/** One bit of a file, in the middle: equal size, other bytes. */
const flip = (path: string): Buffer => {
  const whole = readFileSync(path)
  const bytes = Buffer.from(whole)
  bytes[bytes.length >> 1]! ^= 1
  chmodSync(path, 0o644)
  writeFileSync(path, bytes)
  return whole
}

/** A store with one run in it, and what a run with `settings` gives there; made once for each. */
const undisturbed = new Map<string, { readonly store: string; readonly digests: Readonly<Record<string, string>> }>()
const benchWith = async (settings: ReadonlyArray<string>): Promise<{ bench: Bench; good: Record<string, string> }> => {
  const bench = makeBench()
  bench.numbers(someNumbers())
  const key = settings.join()
  const known = undisturbed.get(key)
  if (known !== undefined) {
    cpSync(known.store, bench.store, { recursive: true })
    return { bench, good: known.digests }
  }
  expect(await bench.run()).toMatchObject({ status: "completed" })
  const store = join(freshFolder(), "store")
  cpSync(bench.store, store, { recursive: true })
  const told = await bench.run({ choice: { settings } })
  const digests = digestsOf(told)
  undisturbed.set(key, { store, digests })
  const fresh = makeBench()
  fresh.numbers(someNumbers())
  cpSync(store, fresh.store, { recursive: true })
  return { bench: fresh, good: digests }
}

const cases: ReadonlyArray<{
  readonly name: string
  readonly file: readonly [definition: string, path: string]
  readonly producer: string
  readonly reader: string
  readonly settings: string
  readonly options?: Partial<RunOptions>
  readonly env?: Readonly<Record<string, string>>
}> = [
  {
    name: "a shard, read beside the caller",
    file: ["read", "ports/rows/00003.jsonl"],
    producer: "read",
    reader: "square",
    settings: "square.unlucky=7"
  },
  {
    name: "a shard, read by worker threads",
    file: ["read", "ports/rows/00003.jsonl"],
    producer: "read",
    reader: "square",
    settings: "square.unlucky=7",
    options: { workers: 2 }
  },
  {
    name: "a shard, read through a transient port",
    file: ["square", "ports/rows/00001.jsonl"],
    producer: "square",
    reader: "split",
    settings: "split.from=4000"
  },
  {
    name: "rows of a fold",
    file: ["split", "ports/large/00005.jsonl"],
    producer: "split",
    reader: "train/weigh",
    settings: "train/weigh.steps=43"
  },
  {
    name: "rows of a fold in the engine's thread, read by its loader",
    file: ["split", "ports/large/00005.jsonl"],
    producer: "split",
    reader: "train/weigh",
    settings: "train/weigh.steps=43",
    options: { workers: 2 },
    env: { RUN_TEST_LOADER: "1" }
  },
  {
    name: "rows of a fold, read by its helpers",
    file: ["split", "ports/large/00005.jsonl"],
    producer: "split",
    reader: "train/weigh",
    settings: "train/weigh.steps=43",
    options: { workers: 2 },
    env: { RUN_TEST_HELPERS: "1" }
  }
]

for (const { env = {}, file, name, options = {}, producer, reader, settings } of cases)
  test(`a flipped bit in ${name}, is made again by the run that meets it`, async () => {
    const { bench, good } = await benchWith([settings])
    const path = join(entryOf(bench.store, file[0]), file[1])
    const whole = flip(path)
    const spec = { choice: { settings: [settings] }, options }
    const run = options.workers === undefined ? await bench.run(spec, env) : (await bench.start(spec, env).ended).told!
    expect(run).toMatchObject({ status: "completed" })
    const shown = file[1].replace("ports/", "")
    expect(notices(run.events)).toEqual([
      `${producer}: damaged in the store: ${shown}; ${reader} met it, and it is made again`,
      `${producer}: ${shown} came out as before; ${reader} starts again`
    ])
    expect(readFileSync(path)).toEqual(whole)
    expect(digestsOf(run)).toEqual(good)
    const verified = await bench.run({ choice: { settings: [settings] }, options: { verify: true } })
    expect(verified).toMatchObject({ status: "completed", nodesRun: 0 })
    expect(digestsOf(verified)).toEqual(good)
  })

test("what a run may not make again fails it, by name, and a run that may goes on", async () => {
  const settings = ["square.unlucky=7"]
  const { bench, good } = await benchWith(settings)
  flip(join(entryOf(bench.store, "read"), "ports/rows/00003.jsonl"))
  const told = await bench.run({ choice: { settings }, options: { only: ["square"] } })
  expect(told.error).toMatchObject({ tag: "NodeFailed", node: "square" })
  expect(told.error?.message).toContain("rows/00003.jsonl of read is damaged in the store; square met it")
  expect(told.error?.hint).toContain("without --only")
  expect(digestsOf(await bench.run({ choice: { settings } }))).toEqual(good)
})

test("a producer whose source is gone cannot make it again, and says so", async () => {
  const settings = ["train/weigh.steps=43"]
  const { bench } = await benchWith(settings)
  flip(join(entryOf(bench.store, "split"), "ports/large/00005.jsonl"))
  const told = await bench.run({ choice: { settings } }, { RUN_TEST_FAULT: "split:fail" })
  expect(told.error).toMatchObject({ tag: "NodeFailed", node: "split" })
  expect(told.error?.message).toContain("could not be made again: Flaky")
  expect(await bench.run({ choice: { settings } })).toMatchObject({ status: "completed" })
})

test("a file that is damaged again after it was made again ends the run: no loop", async () => {
  const settings = ["square.unlucky=7"]
  const { bench } = await benchWith(settings)
  /** A disk that gives one bit of a file wrong, whatever was written. */
  const wrong = Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (real) =>
      FileSystem.FileSystem.of({
        ...real,
        open: (path, options) =>
          Effect.map(real.open(path, options), (file) =>
            path.endsWith("ports/rows/00003.jsonl") && options?.flag === "r"
              ? Object.assign(Object.create(file), {
                  read: (buffer: Uint8Array, at: never) =>
                    Effect.tap(file.read(buffer, at), () => Effect.sync(() => void (buffer[1]! ^= 4)))
                })
              : file
          )
      })
    )
  ).pipe(Layer.provide(NodeFileSystem.layer))
  process.env["RUN_TEST_FOLDER"] = bench.folder
  const module = new URL("./fixtures/recipe.ts", import.meta.url).href
  const { events, exit } = await Effect.runPromise(
    runOnce(recipe, module, { store: bench.store, choice: { settings } }, wrong)
  )
  expect(reportExit(exit).error).toMatchObject({
    tag: "NodeFailed",
    node: "square",
    message: expect.stringContaining("made again in this run and is damaged once more"),
    hint: expect.stringContaining("disk")
  })
  expect(notices(events)).toHaveLength(2)
})

/** Makes a store as software left it that checked nothing: no sums, and no word of what was checked. */
const forget = (store: string): void => {
  const without = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(without)
    if (typeof value !== "object" || value === null) return value
    return Object.fromEntries(
      Object.entries(value).flatMap(([name, one]) =>
        ["sums", "readsChecked", "checksum"].includes(name) ? [] : [[name, without(one)]]
      )
    )
  }
  const change = (path: string, drop: (json: Record<string, unknown>) => Record<string, unknown>) =>
    writeFileSync(path, `${JSON.stringify(without(drop(JSON.parse(readFileSync(path, "utf8")))))}\n`)
  for (const path of manifestsIn(store)) change(path, (manifest) => ({ ...manifest, format: 1 }))
  for (const name of readdirSync(join(store, "entries"), { recursive: true, encoding: "utf8" }))
    if (/shards\/\d+\.json$/.test(name)) change(join(store, "entries", name), ({ key: _, ...record }) => record)
}

test("what was made from a damaged entry by software that checked nothing is made again, also by another pipeline", async () => {
  // Such software's wrong result: `square` of numbers of which one is another, under the key of the right ones.
  const { bench, good } = await benchWith(["split.from=4000"])
  const first = digestsOf(await bench.run())
  const other = makeBench()
  other.numbers(someNumbers().map((line) => (line === 101 ? 102 : line)))
  await other.run()
  const square = entryOf(bench.store, "square")
  const wrong = entryOf(other.store, "square")
  const manifest = JSON.parse(readFileSync(join(square, "manifest.json"), "utf8"))
  const { outputs } = JSON.parse(readFileSync(join(wrong, "manifest.json"), "utf8"))
  for (const folder of ["ports", "shards"])
    cpSync(join(wrong, folder), join(square, folder), { recursive: true, force: true })
  writeFileSync(join(square, "manifest.json"), JSON.stringify({ ...manifest, outputs }))
  forget(bench.store)
  const path = join(entryOf(bench.store, "read"), "ports/rows/00003.jsonl")
  flip(path)

  // Another preset, which does not read what `square` read, finds the damage and puts it on record.
  const found = await bench.run({ options: { verify: true, until: ["read"] } })
  expect(notices(found.events)).toEqual(["read: damaged in the store: rows/00003.jsonl; it is made again"])

  const told = await bench.run({ choice: { settings: ["split.from=4000"] } })
  const plan = told.events.flatMap((event) => (event.event === "plan" && event.node === "square" ? [event] : []))
  expect(plan).toMatchObject([{ status: "run", because: ["suspect: made from a damaged read"] }])
  expect(notices(told.events).join("\n")).toMatch(/square: made again, it came out different .* is replaced/)
  expect(digestsOf(told)).toEqual(good)
  const again = await bench.run()
  expect(digestsOf(again)).toEqual(first)
  expect(await bench.run({ options: { verify: true } })).toMatchObject({ nodesRun: 0 })
})

test("a plan with --verify says which results are suspect by the damage that it finds, and puts nothing on record", async () => {
  const { bench } = await benchWith(["split.from=4000"])
  forget(bench.store)
  flip(join(entryOf(bench.store, "read"), "ports/rows/00003.jsonl"))
  process.env["RUN_TEST_FOLDER"] = bench.folder
  const choice = { preset: "sample", settings: [], engine: "plain" }
  const module = new URL("./fixtures/recipe.ts", import.meta.url).href
  const planOf = (plan: typeof planRecipe) =>
    Effect.runPromise(
      Effect.map(plan(recipe, choice, defaults, module), ({ steps }) =>
        Object.fromEntries(steps.map(({ because, node, status }) => [node.id, [status, ...because]]))
      ).pipe(Effect.provide(Layer.provideMerge(localStore({ root: bench.store }), NodeFileSystem.layer)))
    )
  const unread = await planOf(planRecipe)
  expect(unread).toMatchObject({ read: ["cached"], square: ["cached"] })
  const plan = await planOf(planVerified)
  expect(plan).toMatchObject({
    read: ["run", "damaged: rows/00003.jsonl"],
    square: ["run", "suspect: made from a damaged read"],
    raise: ["maybe", "if square changes"]
  })
  expect(await planOf(planRecipe)).toEqual(unread)
  const told = await bench.run({ options: { verify: true } })
  expect(told.events.flatMap((one) => (one.event === "node-start" ? [[one.node, ...one.because]] : []))).toEqual([
    ["read", "damaged in the store: rows/00003.jsonl"],
    ["square", "suspect: made from a damaged read"]
  ])
})

test("a suspect that comes out equal is proved: what follows it is taken from the store", async () => {
  const { bench } = await benchWith(["split.from=4000"])
  const first = digestsOf(await bench.run())
  forget(bench.store)
  flip(join(entryOf(bench.store, "read"), "ports/rows/00003.jsonl"))
  const told = await bench.run({ options: { verify: true } })
  expect(notices(told.events)).toEqual([
    "read: damaged in the store: rows/00003.jsonl; it is made again",
    "square: made again, it came out equal: the stored result was right"
  ])
  expect(told).toMatchObject({ status: "completed", nodesRun: 2, nodesCached: 5 })
  expect(digestsOf(told)).toEqual(first)
  expect(await bench.run()).toMatchObject({ nodesRun: 0 })
})
