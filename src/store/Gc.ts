/**
 * What may go from a store: shown first, then removed. And pins, which keep what no pipeline reaches.
 *
 * Kept: everything that the last manifests of the given pipelines and the pins reach through their parents; downloads
 * that these read, or that a source of the pipelines was last; links to its files and digests of them; work and downloads that a living process has locked;
 * unfinished work and downloads that could still be resumed, unless asked for. A parent is reached by key
 * *and* content: of several entries under a key, those whose outputs the consumer read. Nothing is collected while a
 * run is alive on this store, because what it will need next is written nowhere yet; one that starts meanwhile waits.
 *
 * Gone means: renamed out of sight under the entry's lock, then deleted; killed in between, the next `collect` goes on.
 */
import { rmdirSync } from "node:fs"
import { basename, join } from "node:path"
import { Effect, type FileSystem, Schema } from "effect"
import { checksummed, readChecked, readCheckedIfGood } from "./Checksum.ts"
import { walk } from "./Digests.ts"
import { io, makeFolder, namesIn, removeWhole, writeWhole } from "./Durable.ts"
import { aliasTarget, LastRecord } from "./Entries.ts"
import { checkpointsFolder, decodeName, type Layout, layoutOf, recordsFolder } from "./Layout.ts"
import { isHeld, lock, look, settle, tryLock } from "./Lock.ts"
import type { Manifest } from "./Manifest.ts"
import * as Process from "./Process.ts"
import { readManifest } from "./ReadEntry.ts"
import * as RunLog from "./RunLog.ts"
import { unreached, unreachedViews, used } from "./remote/Unreached.ts"
import { type Found, StoreError } from "./Store.ts"

const PinRecord = Schema.Struct({ key: Schema.String, code: Schema.String })

/** Something that would go. */
export interface Garbage {
  readonly kind: "entry" | "work" | "checkpoints" | "download" | "links" | "digests" | "leftover"
  /** Absolute path. */
  readonly path: string
  /** Bytes on disk. */
  readonly bytes: number
  /** Definition id of an entry, or why it is garbage. */
  readonly what: string
  readonly key: string
  readonly code: string
  /** Of a download under way: held while it is removed. */
  readonly lock?: string
}

/** What a collection would do. */
export interface GcPlan {
  readonly garbage: ReadonlyArray<Garbage>
  /** Bytes of all garbage. */
  readonly bytes: number
  /** Entries that are reached. */
  readonly kept: number
  /** Unfinished work that is kept because it can be resumed; `unfinished: true` gives it up. */
  readonly resumable: ReadonlyArray<Garbage>
  readonly options: GcOptions
}

export interface GcOptions {
  /** Pipelines whose last manifests are roots; all that the store knows when left out. */
  readonly pipelines?: ReadonlyArray<string>
  /** Also give up unfinished work that nobody works on. */
  readonly unfinished?: boolean
}

const hex = /^[0-9a-f]{64}$/

const bytesUnder = (path: string): Effect.Effect<number, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const info = yield* io(path, (fs) => fs.stat(path))
    if (info.type !== "Directory") return Number(info.size)
    const { files } = yield* walk(path, { links: "follow" })
    return files.reduce((sum, file) => sum + file.bytes, 0)
  })

interface Node {
  readonly manifest: Manifest | undefined
  readonly key: string
  readonly code: string
  readonly folder: string
}

const readAll = (
  layout: Layout
): Effect.Effect<ReadonlyMap<string, ReadonlyArray<Node>>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const all = new Map<string, Array<Node>>()
    for (const prefix of yield* namesIn(layout.entries))
      for (const key of yield* namesIn(join(layout.entries, prefix))) {
        if (!hex.test(key)) continue
        for (const code of yield* namesIn(layout.keyFolder(key))) {
          if (!hex.test(code)) continue
          const folder = layout.entry(key, code)
          const manifest = yield* Effect.catchIf(
            readManifest(folder),
            (error) => error.reason === "damaged",
            () => Effect.succeed(undefined)
          )
          all.set(key, [...(all.get(key) ?? []), { manifest, key, code, folder }])
        }
      }
    return all
  })

const roots = (
  layout: Layout,
  options: GcOptions
): Effect.Effect<ReadonlyArray<{ readonly key: string; readonly code: string }>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const out: Array<{ readonly key: string; readonly code: string }> = []
    const unreadable = (path: string) => (error: StoreError) =>
      new StoreError({
        reason: "damaged",
        path,
        message: `${error.message}; what it keeps is unknown, so nothing is collected`,
        hint: "Run that pipeline once (it writes the file anew), or delete the file if the pipeline is gone."
      })
    const given = options.pipelines
    for (const folder of yield* namesIn(layout.instances)) {
      if (folder.startsWith(".") || (given !== undefined && !given.includes(decodeName(folder)))) continue
      for (const name of yield* namesIn(join(layout.instances, folder))) {
        if (name.startsWith(".") || !name.endsWith(".json")) continue
        const path = join(layout.instances, folder, name)
        const record = yield* Effect.mapError(readChecked(path, LastRecord), unreadable(path))
        if (record !== undefined) out.push(record)
      }
    }
    for (const name of yield* namesIn(layout.pins)) {
      if (name.startsWith(".") || !name.endsWith(".json")) continue
      const path = join(layout.pins, name)
      const record = yield* Effect.mapError(readChecked(path, PinRecord), unreadable(path))
      if (record !== undefined) out.push(record)
    }
    return out
  })

/** Folders of all entries that the roots reach. */
const reached = (
  layout: Layout,
  all: ReadonlyMap<string, ReadonlyArray<Node>>,
  options: GcOptions
): Effect.Effect<ReadonlySet<string>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const keep = new Set<string>()
    const queue: Array<Node> = []
    const enter = (nodes: ReadonlyArray<Node>) => {
      for (const node of nodes)
        if (!keep.has(node.folder)) {
          keep.add(node.folder)
          queue.push(node)
        }
    }
    for (const { key, code } of yield* roots(layout, options)) {
      const under = all.get(key) ?? []
      const target = under.some((node) => node.code === code) ? code : yield* aliasTarget(layout, key, code)
      const exact = under.filter((node) => node.code === target)
      enter(exact.length > 0 ? exact : under)
    }
    for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
      for (const [port, key] of Object.entries(node.manifest?.parents ?? {})) {
        if (key === "") continue
        const under = all.get(key) ?? []
        const content = node.manifest?.parts.inputs[port]
        const exact = under.filter(({ manifest }) =>
          Object.values(manifest?.outputs ?? {}).some((output) => output.digest === content)
        )
        enter(exact.length > 0 ? exact : under)
      }
    }
    return keep
  })

/**
 * What would go, and how much. Changes nothing.
 *
 * @example
 * const plan = yield* Gc.plan(store.root, { pipelines: ["llava-phi"] })
 * yield* Gc.collect(store.root, plan)
 */
export const plan = (root: string, options: GcOptions = {}): Effect.Effect<GcPlan, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const layout = layoutOf(root)
    const all = yield* readAll(layout)
    const keep = yield* reached(layout, all, options)
    const garbage: Array<Garbage> = []
    const resumable: Array<Garbage> = []
    const add = (into: Array<Garbage>, one: Omit<Garbage, "bytes">) =>
      Effect.map(bytesUnder(one.path), (bytes) => {
        into.push({ ...one, bytes })
      })
    for (const { folder, manifest, key, code } of [...all.values()].flat()) {
      if (!keep.has(folder)) {
        const what = manifest?.parts.definition ?? "damaged entry"
        yield* add(garbage, { kind: "entry", path: folder, what, key, code })
      } else if ((yield* namesIn(checkpointsFolder(folder))).length > 0) {
        const what = `checkpoints of finished ${manifest?.parts.definition ?? "work"}`
        yield* add(garbage, { kind: "checkpoints", path: checkpointsFolder(folder), what, key, code })
      }
    }
    for (const name of yield* namesIn(layout.works)) {
      const path = join(layout.works, name)
      const [key = "", code = ""] = name.split(".")
      if (!hex.test(key) || !hex.test(code)) {
        if (name.startsWith(".gone-"))
          yield* add(garbage, { kind: "leftover", path, what: "half removed", key: "", code: "" })
        continue
      }
      if (yield* isHeld(layout.lock(key, code))) continue
      const done = (all.get(key) ?? []).some((node) => node.code === code && node.manifest !== undefined)
      const something =
        (yield* namesIn(recordsFolder(path))).length > 0 || (yield* namesIn(checkpointsFolder(path))).length > 0
      const into = done || !something || options.unfinished === true ? garbage : resumable
      const what = done ? "finished elsewhere" : something ? "unfinished work" : "empty work"
      yield* add(into, { kind: "work", path, what, key, code })
    }
    const uses = yield* used(layout, options.pipelines)
    const content = new Set(uses.map(({ digest }) => digest))
    for (const { folder, manifest } of [...all.values()].flat())
      if (keep.has(folder)) for (const digest of Object.values(manifest?.parts.inputs ?? {})) content.add(digest)
    for (const { resumable: goesOn, ...one } of yield* unreached(layout, content))
      yield* add(goesOn && options.unfinished !== true ? resumable : garbage, { ...one, key: "", code: "" })
    // What links lead to is no part of the store, and may be gone.
    for (const one of yield* unreachedViews(layout, uses))
      if (one.kind === "links") garbage.push({ ...one, bytes: 0, key: "", code: "" })
      else yield* add(garbage, { ...one, key: "", code: "" })
    yield* leftovers(layout, garbage)
    const bytes = garbage.reduce((sum, one) => sum + one.bytes, 0)
    return { garbage, bytes, kept: keep.size, resumable, options }
  })

/** What a write that was killed before its rename leaves: `.name.json.` and its token. */
const HALF_WRITTEN = /^\..+\.json\.[0-9a-f]{16}(\.tmp)?$/

/** What a process leaves that is killed while it writes what is to be linked to a lock's name. */
const HALF_LOCK = /\.(lock|break)\.[0-9a-f]{16}$/

/** What killed writes, killed removals and dead holders left beside entries, records and locks. */
const leftovers = (layout: Layout, garbage: Array<Garbage>): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const root = layout.root
    const add = (path: string, what: string) =>
      Effect.map(bytesUnder(path), (bytes) => {
        garbage.push({ kind: "leftover", path, bytes, what, key: "", code: "" })
      })
    for (const prefix of yield* namesIn(layout.entries))
      for (const key of yield* namesIn(join(layout.entries, prefix)))
        for (const name of yield* namesIn(join(layout.entries, prefix, key)))
          if (name.startsWith(".gone-")) yield* add(join(layout.entries, prefix, key, name), "half removed")
    for (const name of yield* namesIn(root)) if (HALF_WRITTEN.test(name)) yield* add(join(root, name), "half written")
    for (const shelf of [layout.instances, layout.uses, join(root, "aliases")]) // a folder a pipeline, a folder a key
      for (const inner of yield* namesIn(shelf))
        for (const name of yield* namesIn(join(shelf, inner)))
          if (HALF_WRITTEN.test(name)) yield* add(join(shelf, inner, name), "half written")
    for (const name of yield* namesIn(join(root, "pins")))
      if (HALF_WRITTEN.test(name)) yield* add(join(root, "pins", name), "half written")
    for (const name of yield* namesIn(layout.locks)) {
      const path = join(layout.locks, name)
      const { state } = yield* look(path)
      if (state === "dead") yield* add(path, "lock of a dead process")
      // No run is alive while this is removed, and none can start.
      if (state === "unreadable" && HALF_LOCK.test(name)) yield* add(path, "lock half written")
    }
  })

/**
 * Removes what a plan shows, checking again that nothing became reachable since. Gives the bytes that went.
 *
 * Fails with `locked` while a run is alive on the store. An entry that somebody locks meanwhile is left alone.
 */
export const collect = (root: string, shown: GcPlan): Effect.Effect<number, StoreError, FileSystem.FileSystem> =>
  Effect.scoped(Effect.andThen(lock(layoutOf(root).gcLock), collectAlone(root, shown)))

const collectAlone = (root: string, shown: GcPlan): Effect.Effect<number, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const layout = layoutOf(root)
    // Runs and locks that cannot be seen from here are watched for their lease: a minute, and only if there are any.
    yield* RunLog.settleRuns(root)
    yield* settle((yield* namesIn(layout.locks)).filter(isLockName).map((name) => join(layout.locks, name)))
    const alive = (yield* RunLog.list(root)).find((run) => run.status === "running")
    if (alive !== undefined)
      return yield* new StoreError({
        reason: "locked",
        path: layout.run(alive.id),
        message: `run ${alive.id} (${alive.pipeline}) is alive: process ${alive.process.pid} on ${alive.process.host}`,
        hint:
          Process.liveness(alive.process) === "alive"
            ? "Collect when it has ended; what it will read next cannot be known from here."
            : "It cannot be seen from here, but it renews its lease. Collect when it has ended."
      })
    const now = new Set((yield* plan(root, shown.options)).garbage.map((one) => one.path))
    let bytes = 0
    for (const one of shown.garbage) {
      if (!now.has(one.path)) continue
      if (one.kind === "leftover") {
        if (/\.(lock|break)$/.test(one.path))
          yield* unlessLocked(Effect.scoped(tryLock(one.path))) // breaking it is the only safe way to remove it
        else yield* io(one.path, (fs) => fs.remove(one.path, { recursive: true, force: true }))
        bytes += one.bytes
        continue
      }
      const held =
        one.key !== ""
          ? tryLock(layout.lock(one.key, one.code))
          : one.lock === undefined
            ? Effect.void
            : tryLock(one.lock)
      const gone = yield* unlessLocked(Effect.scoped(Effect.andThen(held, removeWhole(one.path))))
      if (!gone) continue
      bytes += one.bytes
      if (one.kind === "entry") yield* dropEmpty(layout, one.key)
    }
    return bytes
  })

const isLockName = (name: string): boolean => /\.lock$/.test(name) && name !== "gc.lock"

/** True when done, false when somebody else has the lock. */
const unlessLocked = <R>(effect: Effect.Effect<void, StoreError, R>): Effect.Effect<boolean, StoreError, R> =>
  Effect.catchIf(
    Effect.as(effect, true),
    (error: StoreError) => error.reason === "locked",
    () => Effect.succeed(false)
  )

/** Removes a key's folder and aliases once it has no entry left. */
const dropEmpty = (layout: Layout, key: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const folder = layout.keyFolder(key)
    if ((yield* namesIn(folder)).length > 0) return
    // rmdir, which the FileSystem service lacks: a commit that makes an entry right now makes it fail, and all stays.
    const removed = yield* Effect.result(Effect.try({ try: () => rmdirSync(folder), catch: (cause) => cause }))
    if (removed._tag === "Success") yield* removeWhole(layout.aliasFolder(key))
  })

/** Keeps an entry and everything it was made from, whatever pipelines do. A name pins one entry; again moves the pin. */
export const pin = (root: string, name: string, found: Found): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const layout = layoutOf(root)
    const record = { key: found.manifest.key, code: basename(found.folder) }
    yield* makeFolder(layout.pins)
    yield* writeWhole(layout.pin(name), checksummed(record))
  })

/** Removes a pin; true if there was one. */
export const unpin = (root: string, name: string): Effect.Effect<boolean, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const path = layoutOf(root).pin(name)
    const had = yield* io(path, (fs) => fs.exists(path))
    if (had) yield* removeWhole(path)
    return had
  })

/** All pins by name. */
export const pins = (
  root: string
): Effect.Effect<
  ReadonlyArray<{ readonly name: string; readonly key: string; readonly code: string }>,
  StoreError,
  FileSystem.FileSystem
> =>
  Effect.gen(function* () {
    const layout = layoutOf(root)
    const out: Array<{ readonly name: string; readonly key: string; readonly code: string }> = []
    for (const file of yield* namesIn(layout.pins)) {
      if (file.startsWith(".") || !file.endsWith(".json")) continue
      const record = yield* readCheckedIfGood(join(layout.pins, file), PinRecord)
      if (record !== undefined) out.push({ name: decodeName(file.slice(0, -5)), ...record })
    }
    return out
  })
