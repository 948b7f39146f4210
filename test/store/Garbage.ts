/** A store with garbage of every kind, for tests of what a collection leaves when it is hindered. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { keyOf } from "../../src/dag/Key.ts"
import * as Process from "../../src/store/Process.ts"
import * as RunLog from "../../src/store/RunLog.ts"
import { Store } from "../../src/store/Store.ts"
import { codeOf, makeEntry, partsOf, shardOf, temporaryFolder } from "./Support.ts"

/** Removes all records of runs but the newest of each pipeline. */
export const options = { runs: { keepLast: 1, keepDays: -1 } }

const begin = (name: string) =>
  Effect.flatMap(Store, (store) =>
    store.begin({ key: keyOf(partsOf(name)), code: codeOf("code"), allowStaleCode: false, fresh: false })
  )

const plant = (path: string): void => {
  mkdirSync(join(path, ".."), { recursive: true })
  writeFileSync(path, "half")
}

/** Fills the store at hand. What is kept: a fold's entry, a half finished node, the newest run. */
export const fill = Effect.gen(function* () {
  const store = yield* Store
  const { root } = store
  yield* Effect.scoped(
    Effect.gen(function* () {
      const work = yield* begin("fold")
      for (const step of [1, 2])
        yield* work.saveCheckpoint({ step, files: new Map([["w", new Uint8Array(100)]]), keepLast: 2 })
    })
  )
  const { found } = yield* makeEntry("fold")
  yield* store.remember("p", "fold", {
    key: found.manifest.key,
    code: found.manifest.code.digest,
    parts: found.manifest.parts
  })
  const { found: loose } = yield* makeEntry("loose")
  yield* store.alias(loose, codeOf("new"))
  yield* makeEntry("loose", { code: codeOf("other") })
  yield* Effect.scoped(begin("empty"))
  const half = yield* Effect.scoped(
    Effect.flatMap(begin("half"), (work) => Effect.as(shardOf(work.folder, 0), work.folder))
  )
  for (let i = 0; i < 3; i++)
    yield* Effect.scoped(
      Effect.flatMap(RunLog.start(root, { pipeline: "p", settings: {} }), (log) =>
        Effect.andThen(log.event({ event: "one" }), log.end("done"))
      )
    )
  const newest = (yield* RunLog.list(root))[0]!.id
  const token = "0123456789abcdef"
  for (const path of [
    join(found.folder, `.gone-${token}`, "step-000000001", "w"),
    join(found.folder, "ports", `.gone-${token}`, "a.txt"),
    join(found.folder, "ports", "files", "sub", `.b.txt.${token}.tmp`),
    join(half, "checkpoints", `.tmp-step-000000003-${token}`, "w"),
    join(half, "ports", "rows", `.00001.jsonl.${token}.tmp`),
    join(half, "ports", `.gone-${token}`, "a.txt"),
    join(root, "entries", `.gone-${token}`, "a"),
    join(root, "entries", found.manifest.key.slice(0, 2), `.gone-${token}`, "a"),
    join(root, "work", `.gone-${token}`, "a"),
    join(root, "runs", newest, "run.json.tmp"),
    join(root, "runs", newest, `.report.html.${token}.tmp`),
    join(root, "runs", "20260101-000000-dead", `.run.json.${token}.tmp`),
    join(root, "instances", "p", `.fold.json.${token}.tmp`),
    join(root, "pins", `.mine.json.${token}.tmp`),
    join(root, "aliases", "f".repeat(64), "a.json"),
    join(root, "downloads", `.gone-${token}`, "a"),
    join(root, "downloads", "addresses", `.a.json.${token}.tmp`),
    join(root, "downloads", "parts", "a", `.b.json.${token}.tmp`),
    join(root, "downloads", "1".repeat(64), "fetched.bin"),
    join(root, "views", "0".repeat(32), "a"),
    join(root, `.code.json.${token}.tmp`)
  ])
    plant(path)
  // A run that was killed while it began holds a lock, and the file that was to become it: both go with the folder.
  for (const name of ["run.lock", `run.lock.${token}`])
    writeFileSync(
      join(root, "runs", "20260101-000000-dead", name),
      JSON.stringify({ ...Process.self(), start: "1", token: name })
    )
  mkdirSync(join(root, "entries", "ee", "e".repeat(64)), { recursive: true })
})

/** A copy of a store's folder. */
export const copyOf = (root: string): string => {
  const to = temporaryFolder()
  cpSync(root, to, { recursive: true, verbatimSymlinks: true })
  return to
}

/** What SIGKILL and some time do to this process's locks: they stay, and their holder is dead. */
export const killHolders = (root: string): void => {
  for (const locks of [join(root, "locks"), join(root, "downloads", "locks")]) killIn(locks)
}

const killIn = (locks: string): void => {
  for (const name of existsSync(locks) ? readdirSync(locks) : []) {
    const path = join(locks, name)
    if (name.startsWith("gc.by+")) {
      const parts = name.split("+")
      parts[3] = "1"
      renameSync(path, join(locks, parts.join("+")))
    } else if (name !== "gc.reserve") {
      const text = readFileSync(path, "utf8")
      if (text !== "") writeFileSync(path, JSON.stringify({ ...JSON.parse(text), start: "1" }))
      utimesSync(path, 0, 0) // one that cannot be read is garbage once it is old
    }
  }
}

/** A name that a process put among the locks. */
export const nameOf = (start = Process.self().start): string => {
  const { boot, host, namespace, pid } = Process.self()
  return `gc.by+${["0123456789abcdef", String(pid), start, boot, namespace, host].map(encodeURIComponent).join("+")}`
}
