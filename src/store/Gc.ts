/**
 * Removes what may go from a store, which `Garbage.ts` shows first. And pins, which keep what no pipeline reaches.
 *
 * Nothing is removed while a run is alive on the store; one that starts meanwhile waits. Gone means: renamed out of
 * sight under the entry's lock, then deleted; killed in between, the next `collect` goes on, because what is left
 * behind is garbage by its name (`Leftovers.ts`). Needs no free byte (`GcLock.ts`).
 */
import { basename, dirname, join } from "node:path"
import { Effect, type FileSystem } from "effect"
import { checksummed, readCheckedIfGood } from "./Checksum.ts"
import { listDir, makeFolder, removeWhole, withFs, writeAtomic } from "./Durable.ts"
import { type Garbage, type GcPlan, plan } from "./Garbage.ts"
import { announcedBy, type Hold, hold } from "./GcLock.ts"
import { decodeName, type Layout, layoutOf } from "./Layout.ts"
import type { Leftover } from "./Leftovers.ts"
import { settle, tryLock } from "./Lock.ts"
import * as Process from "./Process.ts"
import { hex, PinRecord } from "./Reached.ts"
import { dropEmpty, removeEntries, removeOut } from "./RemoveEntries.ts"
import * as RunLog from "./RunLog.ts"
import { type StoredEntry, StoreError } from "./Store.ts"

export { type Garbage, type GcOptions, type GcPlan, plan, type RunRules, runRules } from "./Garbage.ts"

/**
 * Removes what a plan shows, checking again that nothing became reachable since. Gives the bytes that went.
 *
 * Fails with `locked` while a run is alive on the store. An entry that somebody locks meanwhile is left alone.
 */
export const collect = (root: string, shown: GcPlan): Effect.Effect<number, StoreError, FileSystem.FileSystem> =>
  Effect.scoped(Effect.flatMap(hold(layoutOf(root)), (held) => collectAlone(root, shown, held)))

const collectAlone = (
  root: string,
  shown: GcPlan,
  held: Hold
): Effect.Effect<number, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const layout = layoutOf(root)
    // Runs and locks that cannot be seen from here are watched for their lease: a minute, and only if there are any.
    yield* RunLog.settleRuns(root)
    yield* settle((yield* listDir(layout.locks)).filter(isLockName).map((name) => join(layout.locks, name)))
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
    const still = new Set((yield* plan(root, shown.options, shown)).garbage.map((one) => one.path))
    // Two things under one lock go one after the other.
    const groups = new Map<string, Array<Garbage>>()
    for (const one of shown.garbage) {
      if (!still.has(one.path)) continue
      const group = lockOf(layout, one) ?? one.path
      groups.set(group, [...(groups.get(group) ?? []), one])
    }
    let bytes = 0
    const entries = [...groups].flatMap(([lock, [one, ...more]]) =>
      one?.kind === "entry" && more.length === 0 ? [{ lock, one }] : []
    )
    for (const { lock } of entries) groups.delete(lock)
    for (let at = 0; at < entries.length; at += TOGETHER)
      bytes += yield* removeTogether(layout, entries.slice(at, at + TOGETHER), held)
    yield* Effect.forEach(
      groups.values(),
      (group) =>
        Effect.gen(function* () {
          for (const one of group) if (yield* removeOne(layout, one, held)) bytes += one.bytes
        }),
      { concurrency: AT_ONCE, discard: true }
    )
    return bytes
  })

/** Entries that are removed together: their locks are held for so long. */
const TOGETHER = 256

/** Removes those entries that nobody else has locked; gives their bytes. */
const removeTogether = (
  layout: Layout,
  entries: ReadonlyArray<{ readonly lock: string; readonly one: Garbage }>,
  held: Hold
): Effect.Effect<number, StoreError, FileSystem.FileSystem> =>
  Effect.scoped(
    Effect.gen(function* () {
      const free = yield* Effect.filter(entries, ({ lock }) => unlessLocked(held.also(lock)), { concurrency: AT_ONCE })
      yield* removeEntries(
        layout,
        free.map(({ one }) => one.path)
      )
      return free.reduce((sum, { one }) => sum + one.bytes, 0)
    })
  )

/** Things that are removed at the same time. */
const AT_ONCE = 4

const lockOf = (layout: Layout, { code, key, lock }: Garbage): string | undefined =>
  key === "" ? lock : layout.lock(key, code)

/** Removes one thing; false when somebody has its lock. */
const removeOne = (
  layout: Layout,
  one: Garbage,
  held: Hold
): Effect.Effect<boolean, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const lock = lockOf(layout, one)
    const also = lock === undefined ? Effect.void : held.also(lock)
    const gone = yield* unlessLocked(
      Effect.scoped(Effect.andThen(also, one.kind === "leftover" ? removeLeftover(layout, one) : removeOut(one.path)))
    )
    const above = dirname(one.path)
    if (gone && dirname(dirname(above)) === layout.entries) yield* dropEmpty(layout, above)
    return gone
  })

const removeLeftover = (
  layout: Layout,
  { path }: Pick<Leftover, "path">
): Effect.Effect<void, StoreError, FileSystem.FileSystem> => {
  // Breaking it is the only safe way to remove a lock; a name that a process put there is used once.
  if (/\.(lock|break)$/.test(path) && announcedBy(basename(path)) === undefined)
    return Effect.asVoid(unlessLocked(Effect.scoped(tryLock(path))))
  if (dirname(dirname(path)) === layout.entries && hex.test(basename(path))) return dropEmpty(layout, path)
  return withFs(path, (fs) => fs.remove(path, { recursive: true, force: true }))
}

const isLockName = (name: string): boolean => /\.lock$/.test(name) && name !== "gc.lock"

/** True when done, false when somebody else has the lock. */
const unlessLocked = <R>(effect: Effect.Effect<void, StoreError, R>): Effect.Effect<boolean, StoreError, R> =>
  Effect.catchIf(
    Effect.as(effect, true),
    (error: StoreError) => error.reason === "locked",
    () => Effect.succeed(false)
  )

/**
 * Keeps an entry and everything it was made from, whatever pipelines do. A name pins one entry; again moves the pin.
 */
export const pin = (
  root: string,
  name: string,
  found: StoredEntry
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const layout = layoutOf(root)
    const record = { key: found.manifest.key, code: basename(found.folder), name }
    yield* makeFolder(layout.pins)
    yield* writeAtomic(layout.pin(name), checksummed(record))
  })

/** Removes a pin; true if there was one. */
export const unpin = (root: string, name: string): Effect.Effect<boolean, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const path = layoutOf(root).pin(name)
    const had = yield* withFs(path, (fs) => fs.exists(path))
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
    for (const file of yield* listDir(layout.pins)) {
      if (file.startsWith(".") || !file.endsWith(".json")) continue
      const name = decodeName(file.slice(0, -5))
      const record = yield* readCheckedIfGood(join(layout.pins, file), PinRecord, { name })
      if (record !== undefined) out.push({ ...record, name })
    }
    return out
  })
