/**
 * Finished nodes: finding them by key, blessing them for other code, and what plans remember of them.
 *
 * Not how they come to be (`PendingEntry.ts`), and not what a read checks (`ReadEntry.ts`).
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { basename, join } from "node:path"
import { Effect, type FileSystem, Schema } from "effect"
import { KeyParts, settingsOf } from "../dag/Key.ts"
import { checksummed, type Opened, opener, openerOf, readCheckedIfGood } from "./Checksum.ts"
import { listDir, makeFolder, withFs, writeAtomic } from "./Durable.ts"
import { type Layout, manifestFile } from "./Layout.ts"
import { Code } from "./Manifest.ts"
import { manifestNow, quickly, readEntry } from "./ReadEntry.ts"
import { type Last, type StoredEntry, StoreError } from "./Store.ts"
import { suspicions } from "./Suspects.ts"

/** "This code may use the entry of that code." Lives beside the entry, never in it. */
export const AliasRecord = Schema.Struct({
  format: Schema.Literal(1),
  key: Schema.String,
  /** Code digest of the entry. */
  entry: Schema.String,
  /** The code that may use it. */
  code: Code
})
export type AliasRecord = typeof AliasRecord.Type

/** What a plan compares with; see `Last`. */
export const LastRecord = Schema.Struct({
  key: Schema.String,
  code: Schema.String,
  parts: KeyParts,
  /** Whose record it is. Missing in records of earlier versions. */
  pipeline: Schema.optionalKey(Schema.String),
  instance: Schema.optionalKey(Schema.String)
})

const bytesNow = (path: string): Buffer | undefined => (existsSync(path) ? readFileSync(path) : undefined)
const openedNow = <A>(path: string, open: (bytes: Buffer) => Opened<A>): A | undefined => {
  const bytes = bytesNow(path)
  return bytes === undefined ? undefined : open(bytes).value
}
const namesNow = (folder: string): ReadonlyArray<string> => (existsSync(folder) ? readdirSync(folder) : [])
const openAlias = opener(AliasRecord)
const openLast = opener(LastRecord)

const hex = /^[0-9a-f]{64}$/

const aliasesOf = (
  layout: Layout,
  key: string
): Effect.Effect<ReadonlyArray<AliasRecord>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const out: Array<AliasRecord> = []
    const folder = layout.aliasFolder(key)
    for (const name of yield* quickly(() => namesNow(folder), listDir(folder))) {
      if (!name.endsWith(".json") || name.startsWith(".")) continue
      const path = join(folder, name)
      const record = yield* quickly(() => openedNow(path, openAlias), readCheckedIfGood(path, AliasRecord))
      if (record?.key === key && name === `${record.code.digest}.json`) out.push(record)
    }
    return out
  })

/**
 * Entries under a key: that of `code` first, then those that `code` is blessed for, then the others; newest first among
 * equals, by the time their manifest was written. Sizes are checked, digests are not.
 */
export const find = (
  layout: Layout,
  key: string,
  code: string
): Effect.Effect<ReadonlyArray<StoredEntry>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const under = layout.keyFolder(key)
    const codes = (yield* quickly(() => namesNow(under), listDir(under))).filter((name) => hex.test(name))
    if (codes.length === 0) return []
    const aliases = yield* aliasesOf(layout, key)
    const found: Array<{ readonly rank: number; readonly at: number; readonly entry: StoredEntry }> = []
    for (const one of codes) {
      const folder = layout.entry(key, one)
      const manifest = yield* readEntry(folder)
      if (manifest === undefined) continue
      const blessed = aliases.filter((alias) => alias.entry === one).map((alias) => alias.code.digest)
      const aliased = blessed.includes(code)
      const suspect = suspicions(layout, manifest)
      found.push({
        rank: one === code ? 0 : aliased ? 1 : 2,
        at: codes.length === 1 ? 0 : (statSync(manifestFile(folder), { throwIfNoEntry: false })?.mtimeMs ?? 0),
        entry: { manifest, folder, aliased, aliases: blessed, ...(suspect.length === 0 ? {} : { suspect }) }
      })
    }
    return found
      .sort((a, b) => a.rank - b.rank || b.at - a.at || (a.entry.folder < b.entry.folder ? -1 : 1))
      .map(({ entry }) => entry)
  })

const list = (folder: string): ReadonlyArray<string> => {
  try {
    return readdirSync(folder)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === "ENOENT" || code === "ENOTDIR") return []
    throw error
  }
}

/** All keys that have an entry's folder; whether it is whole, `find` says. */
export const keys = (layout: Layout): Effect.Effect<ReadonlySet<string>, StoreError> =>
  Effect.try({
    try: () => {
      const out = new Set<string>()
      for (const prefix of list(layout.entries))
        for (const key of list(join(layout.entries, prefix))) if (hex.test(key)) out.add(key)
      return out
    },
    catch: (cause) =>
      new StoreError({
        reason: "io",
        path: layout.entries,
        message: `${layout.entries}: ${cause instanceof Error ? cause.message : String(cause)}`,
        hint: "The store's folder cannot be listed: check its permissions and the disk.",
        cause
      })
  })

/**
 * Settings of all entries, for plans of nodes that never ran. A manifest that cannot be read counts as none: `find`
 * tells of it.
 */
export const settings = (layout: Layout): Effect.Effect<ReadonlySet<string>, StoreError> =>
  Effect.map(keys(layout), (all) => {
    const out = new Set<string>()
    for (const key of all)
      for (const code of namesNow(layout.keyFolder(key))) {
        if (!hex.test(code)) continue
        try {
          const manifest = manifestNow(layout.entry(key, code))
          if (manifest !== undefined) out.add(settingsOf(manifest.parts))
        } catch {
          // damaged, or gone meanwhile: no result that a run would take
        }
      }
    return out
  })

/** Blesses an entry for another code. Writing the same again changes nothing. */
export const alias = (
  layout: Layout,
  found: StoredEntry,
  code: Code
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const key = found.manifest.key
    const record: AliasRecord = { format: 1, key, entry: basename(found.folder), code }
    if (record.entry === code.digest) return
    yield* makeFolder(layout.aliasFolder(key))
    yield* writeAtomic(layout.alias(key, code.digest), checksummed(record))
  })

/** The entry's code digest that `code` is blessed for under `key`. */
export const aliasTarget = (
  layout: Layout,
  key: string,
  code: string
): Effect.Effect<string | undefined, StoreError, FileSystem.FileSystem> =>
  Effect.map(readCheckedIfGood(layout.alias(key, code), AliasRecord, { key }), (record) =>
    record?.code.digest === code ? record.entry : undefined
  )

/** What an instance was when it was last done. A damaged record is reported and counts as none. */
export const last = (
  layout: Layout,
  pipeline: string,
  instance: string
): Effect.Effect<Last | undefined, StoreError, FileSystem.FileSystem> =>
  Effect.suspend(() => {
    const path = layout.instance(pipeline, instance)
    const owner = { pipeline, instance }
    return Effect.map(
      quickly(() => openedNow(path, openerOf(openLast, owner)), readCheckedIfGood(path, LastRecord, owner)),
      (record) => (record === undefined ? undefined : { key: record.key, code: record.code, parts: record.parts })
    )
  })

/** One file an instance, so that concurrent runs of one pipeline never lose each other's. */
export const remember = (
  layout: Layout,
  pipeline: string,
  instance: string,
  record: Last
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const path = layout.instance(pipeline, instance)
    const text = checksummed({ ...record, pipeline, instance })
    const before = yield* quickly(
      () => (existsSync(path) ? readFileSync(path, "utf8") : ""),
      withFs(path, (fs) => Effect.catch(fs.readFileString(path), () => Effect.succeed("")))
    )
    if (before === text) return
    yield* makeFolder(layout.pipeline(pipeline))
    yield* writeAtomic(path, text)
  })
