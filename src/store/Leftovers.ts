/**
 * What killed processes left in a store: names on their way in or out, at any depth, and folders that hold nothing.
 *
 * Looks only; `Gc.ts` shows and removes. Names that millrace gives while it works are known by their form
 * (`isLeftover`), and what a manifest lists is never one of them, however a node called its files. Nothing is said of
 * the contents of sources and of trees under way, which belong to others. Reads with `node:fs`, for the sake of stores
 * of a hundred thousand files.
 */
import { type Dirent, existsSync, readdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { Effect, type FileSystem } from "effect"
import { isLeftover } from "./Durable.ts"
import { namesNow, now } from "./Errno.ts"
import { announcedBy } from "./GcLock.ts"
import { encodeName, type Layout } from "./Layout.ts"
import { look } from "./Lock.ts"
import type { Manifest } from "./Manifest.ts"
import * as Process from "./Process.ts"
import { layoutIn } from "./remote/Downloads.ts"
import type { StoreError } from "./Store.ts"

/** Something that no living process needs. */
export interface Leftover {
  /** Absolute. */
  readonly path: string
  readonly what: string
  /** The lock to hold while it is removed. */
  readonly lock?: string
}

/** A folder that has an owner: an entry that is kept, or work that can be resumed. */
export interface Kept {
  readonly folder: string
  /** Of an entry; undefined for one that is damaged, and for work. */
  readonly manifest: Manifest | undefined
  readonly lock: string
  readonly kind: "entry" | "work"
}

/** What a process leaves that is killed while it writes what is to be linked to a lock's name. */
const HALF_LOCK = /\.(lock|break)\.[0-9a-f]{16}$/

const whatIs = (name: string): string => (name.startsWith(".gone-") ? "half removed" : "half written")

const entriesNow = (folder: string): ReadonlyArray<Dirent> =>
  existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : []

/** Whether the manifest lists a path of its entry, or a file below it. */
const lists = (manifest: Manifest, path: string): boolean => {
  for (const [port, output] of Object.entries(manifest.outputs)) {
    const prefix = `ports/${encodeName(port)}/`
    if (!path.startsWith(prefix)) continue
    const inside = path.slice(prefix.length)
    if (output.kind === "rows" && output.shards.some(({ file }) => file === inside)) return true
    if (
      output.kind === "tree" &&
      output.files.some((file) => file.path === inside || file.path.startsWith(`${inside}/`))
    )
      return true
  }
  return manifest.refusedFiles.some((file) => `refused/${file.path}` === path)
}

/**
 * In a folder that has an owner. A tree under way is emptied by whoever makes it again, so work is looked at two levels
 * deep.
 */
const inside = ({ folder, kind, lock, manifest }: Kept): ReadonlyArray<Leftover> => {
  const out: Array<Leftover> = []
  const visit = (at: string, prefix: string, depth: number): void => {
    for (const entry of entriesNow(at)) {
      const path = prefix + entry.name
      // Checkpoints of a finished node go as a whole. What a damaged manifest lists is not known.
      if (kind === "entry" && (path === "checkpoints" || (manifest === undefined && path === "ports"))) continue
      if (isLeftover(entry.name) && (manifest === undefined || !lists(manifest, path)))
        out.push({ path: join(at, entry.name), what: whatIs(entry.name), lock })
      else if (entry.isDirectory() && (kind === "entry" || depth < 2))
        visit(join(at, entry.name), `${path}/`, depth + 1)
    }
  }
  visit(folder, "", 0)
  return out
}

/** By their names alone: in the root, and beside records and pins. */
const besideRecords = (layout: Layout): ReadonlyArray<Leftover> => {
  const out: Array<Leftover> = []
  const look = (folder: string, levels: number): void => {
    for (const entry of entriesNow(folder)) {
      const path = join(folder, entry.name)
      if (isLeftover(entry.name)) out.push({ path, what: whatIs(entry.name) })
      else if (levels > 0 && entry.isDirectory()) look(path, levels - 1)
    }
  }
  look(layout.root, 0)
  look(layout.works, 0)
  for (const shelf of [layout.instances, layout.uses, layout.aliases]) look(shelf, 1)
  look(layout.pins, 0)
  return out
}

/**
 * By their names beside entries (`entries/<2>/<key>/<code>`), and folders of keys without an entry. `keys` gets the
 * keys whose folder holds something. Each folder is listed once.
 */
const besideEntries = (layout: Layout, keys: Set<string>): ReadonlyArray<Leftover> => {
  const out: Array<Leftover> = []
  /** Folders in a folder that are no leftovers. */
  const foldersIn = (folder: string): ReadonlyArray<readonly [name: string, path: string]> =>
    entriesNow(folder).flatMap((entry) => {
      const path = join(folder, entry.name)
      if (isLeftover(entry.name)) out.push({ path, what: whatIs(entry.name) })
      else if (entry.isDirectory()) return [[entry.name, path]]
      return []
    })
  for (const [, prefix] of foldersIn(layout.entries))
    for (const [key, path] of foldersIn(prefix)) {
      const names = namesNow(path)
      for (const name of names) if (isLeftover(name)) out.push({ path: join(path, name), what: whatIs(name) })
      if (names.length > 0) keys.add(key)
      else if (/^[0-9a-f]{64}$/.test(key)) out.push({ path, what: "empty folder" })
    }
  return out
}

/** Aliases of keys that have neither an entry nor work. */
const withoutKey = (layout: Layout, keys: ReadonlySet<string>): ReadonlyArray<Leftover> => {
  const out: Array<Leftover> = []
  const worked = new Set(namesNow(layout.works).map((name) => name.slice(0, 64)))
  for (const key of namesNow(layout.aliases))
    if (/^[0-9a-f]{64}$/.test(key) && !keys.has(key) && !worked.has(key))
      out.push({ path: layout.aliasFolder(key), what: "aliases of an entry that is gone" })
  return out
}

/**
 * In records of runs, and runs that were killed before they had one. A run that lives is none of a collection's
 * business.
 */
const inRuns = (layout: Layout): ReadonlyArray<Leftover> => {
  const out: Array<Leftover> = []
  for (const run of entriesNow(layout.runs)) {
    const folder = join(layout.runs, run.name)
    if (isLeftover(run.name)) out.push({ path: folder, what: whatIs(run.name) })
    else if (run.isDirectory()) {
      const names = namesNow(folder)
      const events = statSync(join(folder, "events.jsonl"), { throwIfNoEntry: false })
      if (!names.includes("run.json") && (events?.size ?? 0) === 0)
        out.push({ path: folder, what: "run that never began" })
      else
        for (const name of names)
          if (isLeftover(name) || name.endsWith(".tmp")) out.push({ path: join(folder, name), what: whatIs(name) })
    }
  }
  return out
}

/** Beside downloads and in those under way: never in what was fetched. */
const inDownloads = (layout: Layout, gone: ReadonlySet<string>): ReadonlyArray<Leftover> => {
  const at = layoutIn(layout.downloads)
  const out: Array<Leftover> = []
  const look = (folder: string, lock?: string): void => {
    for (const name of namesNow(folder)) {
      const path = join(folder, name)
      if (isLeftover(name) && !gone.has(path))
        out.push({ path, what: whatIs(name), ...(lock === undefined ? {} : { lock }) })
    }
  }
  look(at.root)
  look(at.addresses)
  for (const id of namesNow(at.parts)) if (!gone.has(at.part(id))) look(at.part(id), at.lock(id))
  return out
}

/** Locks of dead processes, their own files, and names that they put among the locks. */
const deadLocks = (
  folder: string,
  prefix = ""
): Effect.Effect<ReadonlyArray<Leftover>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const out: Array<Leftover> = []
    for (const name of yield* now(folder, () => namesNow(folder))) {
      if (!name.startsWith(prefix)) continue
      const path = join(folder, name)
      const by = announcedBy(name)
      if (by !== undefined) {
        if (Process.liveness(by) === "dead") out.push({ path, what: "name of a dead process" })
        continue
      }
      const { state } = yield* look(path)
      if (state === "dead") out.push({ path, what: "lock of a dead process" })
      // No run is alive while this is removed, and none can start.
      if (state === "unreadable" && HALF_LOCK.test(name)) out.push({ path, what: "lock half written" })
    }
    return out
  })

/** All that was left behind, without what is in `gone` or below it. */
export const leftovers = (
  layout: Layout,
  kept: ReadonlyArray<Kept>,
  gone: ReadonlySet<string>
): Effect.Effect<ReadonlyArray<Leftover>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const files = yield* now(layout.root, () => {
      const keys = new Set<string>()
      const all = [
        ...kept.flatMap(inside),
        ...besideRecords(layout),
        ...besideEntries(layout, keys),
        ...withoutKey(layout, keys),
        ...inRuns(layout),
        ...inDownloads(layout, gone)
      ]
      return all.filter(({ path }) => !gone.has(path))
    })
    const locks = [...(yield* deadLocks(layout.locks)), ...(yield* deadLocks(layoutIn(layout.downloads).locks))]
    for (const run of yield* now(layout.runs, () => namesNow(layout.runs))) {
      const folder = join(layout.runs, run)
      const isLocked = yield* now(folder, () => namesNow(folder).some((name) => name.startsWith("run.lock")))
      // The locks of a run that goes whole go with its folder.
      const goes = gone.has(folder) || files.some(({ path }) => path === folder)
      if (isLocked && !goes) locks.push(...(yield* deadLocks(folder, "run.lock")))
    }
    return [...files, ...locks]
  })
