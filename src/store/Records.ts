/**
 * Reads the records of finished shards: what is resumed after a crash, and from what a damaged manifest is made again.
 *
 * Not how they are written (`ShardFiles.ts`). A record counts if its checksum is right, its name is that of its index,
 * it is of the folder's key, and all files that it lists are there with their sizes, not through a link. Bytes are read
 * by `readShardRecords` only.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, type FileSystem } from "effect"
import { keyOf } from "../dag/Key.ts"
import { type Opened, opener, readOpened } from "./Checksum.ts"
import { isPlain, misplaced } from "./Derive.ts"
import { hashFile, listDir, syncFolder, type Written, withFs } from "./Durable.ts"
import * as Layout from "./Layout.ts"
import { openManifest, ShardRecord } from "./Manifest.ts"
import { quickly, wrongFile } from "./ReadEntry.ts"
import { StoreError } from "./Store.ts"

const openRecord = opener(ShardRecord)

/** The files that a record lists, with their absolute paths. */
const filesOf = (folder: string, record: ShardRecord): ReadonlyArray<Written & { readonly path: string }> => {
  const files = Object.entries(record.ports)
    .filter(([, entry]) => entry.file !== "")
    .map(([port, { bytes, file, sha256 }]) => ({ path: join(Layout.portFolder(folder, port), file), bytes, sha256 }))
  const { refusedFile } = record
  if (refusedFile !== undefined)
    files.push({ ...refusedFile, path: join(Layout.refusedFolder(folder), refusedFile.path) })
  return files
}

/** Why a record cannot be that of its file in that folder. */
const misplacedRecord = (folder: string, name: string, record: ShardRecord): string | undefined => {
  if (!Number.isSafeInteger(record.index) || name !== Layout.shardFile(record.index, "json"))
    return `it is the record of shard ${record.index}`
  const place = Layout.placeOf(folder)
  if (record.key !== undefined && place !== undefined && record.key !== place.key)
    return `it is of another node, ${record.key.slice(0, 12)}`
  const names = Object.values(record.ports).map(({ file }) => file)
  const stem = Layout.shardFile(record.index, "")
  const stray =
    names.find((file) => file !== "" && !(isPlain(file) && file.startsWith(stem) && !file.includes("/"))) ??
    (record.refusedFile !== undefined && record.refusedFile.path !== `${stem}jsonl`
      ? record.refusedFile.path
      : undefined)
  return stray === undefined ? undefined : `it lists a file called ${JSON.stringify(stray)}`
}

/** Names of the records in a folder. */
export const recordNames = (folder: string): Effect.Effect<ReadonlyArray<string>, StoreError, FileSystem.FileSystem> =>
  Effect.map(listDir(Layout.recordsFolder(folder)), (names) => names.filter((name) => /^\d{5,}\.json$/.test(name)))

/** One record, files not looked at; `damaged` says why it does not count. */
export const readRecord = (
  folder: string,
  name: string
): Effect.Effect<ShardRecord, StoreError, FileSystem.FileSystem> => {
  const path = join(Layout.recordsFolder(folder), name)
  const open = (bytes: Buffer) => {
    const opened = openRecord(bytes)
    const wrong = misplacedRecord(folder, name, opened.value)
    if (wrong !== undefined) throw new Error(wrong)
    if (opened.value.key !== undefined && !opened.checked) throw new Error("it has lost its checksum")
    return opened
  }
  return quickly(
    () => open(readFileSync(path)).value,
    Effect.flatMap(readOpened(path, open), (opened) =>
      opened === undefined
        ? Effect.fail(
            new StoreError({
              reason: "damaged",
              path,
              message: `${path} is gone`,
              hint: "Its shard is made again."
            })
          )
        : Effect.succeed(opened.value)
    )
  )
}

/** Shard records that count, by index. Damaged ones are reported and left out. */
export const readShardRecords = (
  folder: string
): Effect.Effect<ReadonlyMap<number, ShardRecord>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const found: Array<ShardRecord> = []
    for (const name of yield* recordNames(folder)) {
      const record = yield* Effect.catchIf(
        readRecord(folder, name),
        (error) => error.reason === "damaged",
        (error) => Effect.as(Effect.logWarning(error.message), undefined)
      )
      if (record === undefined) continue
      let wrong: string | undefined
      for (const { bytes, path } of filesOf(folder, record)) {
        const why = wrongFile(path, bytes)
        if (why !== undefined) wrong ??= `${path} ${why}; shard ${record.index} is made again`
      }
      if (wrong === undefined) found.push(record)
      else yield* Effect.logWarning(wrong)
    }
    return new Map(found.sort((a, b) => a.index - b.index).map((record) => [record.index, record]))
  })

/**
 * Removes the records of a damaged entry whose files' bytes are not as recorded, so that those shards are made again.
 * Reads every byte: something is wrong here, and what is taken over is not looked at again.
 */
export const dropUnsound = (folder: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    let dropped = false
    for (const record of (yield* readShardRecords(folder)).values())
      for (const { bytes, path, sha256 } of filesOf(folder, record)) {
        const got = yield* hashFile(path)
        if (got.bytes === bytes && got.sha256 === sha256) continue
        yield* Effect.logWarning(`${path} is not what was written; shard ${record.index} is made again`)
        const own = Layout.recordFile(folder, record.index)
        yield* withFs(own, (fs) => fs.remove(own, { force: true }))
        dropped = true
        break
      }
    if (dropped) yield* syncFolder(Layout.recordsFolder(folder))
  })

/**
 * Whether what lies in a folder is another node's, copied or swapped: its manifest is sound and of another place, or a
 * record is of another key. Nothing in it is of use then.
 */
export const isForeign = (folder: string): Effect.Effect<boolean, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const place = Layout.placeOf(folder)
    const ifGood = <A>(path: string, open: (bytes: Buffer) => Opened<A>) =>
      Effect.catchIf(
        Effect.map(readOpened(path, open), (opened) => opened?.value),
        (error: StoreError) => error.reason === "damaged",
        () => Effect.succeed(undefined)
      )
    const manifest = yield* ifGood(Layout.manifestFile(folder), openManifest)
    if (manifest !== undefined && keyOf(manifest.parts) === manifest.key)
      return misplaced(folder, manifest) !== undefined
    for (const name of yield* recordNames(folder)) {
      const record = yield* ifGood(join(Layout.recordsFolder(folder), name), openRecord)
      if (record?.key !== undefined) return record.key !== place?.key
    }
    return false
  })
