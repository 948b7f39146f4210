/**
 * Removes garbage entries, many with few calls. Used by `Gc.ts`, which knows that they are garbage.
 *
 * Steps for some at a time, each under its own lock:
 *
 *   rename   entries/<2>/<key>/<code> -> entries/.gone-<token>/<n>      no reader sees half of an entry
 *   rmdir    entries/<2>/<key>, where that was its last entry
 *   fsync    each folder that lost a name, once: entries/<2> for all its keys, <key> where it stays
 *   delete   entries/.gone-<token>
 *
 * Killed or cut off anywhere: each entry is whole, or gone from its place; a `.gone-` folder, an empty key's folder and
 * aliases without a key are garbage by themselves (`Leftovers.ts`). The folder that they are moved to need not be
 * durable: without it they are gone. Where the disk has no room for it, each is removed in its place.
 */
import { existsSync, rmdirSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { Effect, type FileSystem, Result } from "effect"
import { recover, removeWhole, syncFolder, token, withFs } from "./Durable.ts"
import { namesNow, now } from "./Errno.ts"
import { type Layout, manifestFile } from "./Layout.ts"
import type { StoreError } from "./Store.ts"

type Fs = FileSystem.FileSystem

/**
 * Renamed, then deleted, so that no reader sees half of it. Where a folder has no room for the new name, an entry's
 * manifest goes first instead: without it there is no entry.
 */
export const removeOut = (path: string): Effect.Effect<void, StoreError, Fs> =>
  Effect.catchIf(
    removeWhole(path),
    (error) => error.reason === "full",
    () =>
      withFs(path, (fs) =>
        Effect.andThen(
          fs.remove(manifestFile(path), { force: true }),
          fs.remove(path, { recursive: true, force: true })
        )
      )
  )

/** rmdir, which the FileSystem service lacks: where a commit makes an entry right now it fails, and all stays. */
const rmdirNow = (folder: string): boolean =>
  Result.isSuccess(Result.try({ try: () => rmdirSync(folder), catch: (cause) => cause }))

const dropAliases = (layout: Layout, key: string): Effect.Effect<void, StoreError, Fs> => {
  const aliases = layout.aliasFolder(key)
  return Effect.suspend(() => (existsSync(aliases) ? removeOut(aliases) : Effect.void))
}

/** Removes a key's folder and aliases once it has no entry left. */
export const dropEmpty = (layout: Layout, folder: string): Effect.Effect<void, StoreError, Fs> =>
  Effect.gen(function* () {
    if ((yield* now(folder, () => namesNow(folder))).length > 0) return
    if (rmdirNow(folder)) yield* dropAliases(layout, basename(folder))
  })

const removeAlone = (layout: Layout, path: string): Effect.Effect<void, StoreError, Fs> =>
  Effect.andThen(removeOut(path), dropEmpty(layout, dirname(path)))

/** Removes entries whose locks the caller holds. */
export const removeEntries = (layout: Layout, paths: ReadonlyArray<string>): Effect.Effect<void, StoreError, Fs> =>
  Effect.gen(function* () {
    const out = join(layout.entries, `.gone-${token()}`)
    const isFull = (error: StoreError) => error.reason === "full"
    const room = withFs(out, (fs) => Effect.as(fs.makeDirectory(out), true))
    if (!(yield* Effect.catchIf(room, isFull, () => Effect.succeed(false))))
      return yield* Effect.forEach(paths, (path) => removeAlone(layout, path), { discard: true })
    const moved: Array<string> = []
    for (const [n, path] of paths.entries()) {
      const move = withFs(path, (fs) =>
        recover(Effect.as(fs.rename(path, join(out, String(n))), true), ["NotFound"], false)
      )
      const alone = Effect.as(removeAlone(layout, path), false)
      if (yield* Effect.catchIf(move, isFull, () => alone)) moved.push(path)
    }
    const changed = new Set<string>()
    const emptied: Array<string> = []
    for (const key of new Set(moved.map((path) => dirname(path)))) {
      const isGone = rmdirNow(key)
      if (isGone) emptied.push(basename(key))
      changed.add(isGone ? dirname(key) : key)
    }
    yield* Effect.forEach(changed, syncFolder, { concurrency: 4, discard: true })
    yield* withFs(out, (fs) => fs.remove(out, { recursive: true, force: true }))
    yield* Effect.forEach(emptied, (key) => dropAliases(layout, key), { discard: true })
  })
