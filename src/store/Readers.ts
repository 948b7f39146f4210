/**
 * Reads shards of finished entries lazily, with a bounded number of open files, and checks what it reads.
 *
 * Not a cache of rows: a reader's own index (an Arrow footer, line starts) stays in memory once made, bytes do not. An
 * entry of ten thousand shards opens none of them until a row is asked for, and never more than `limit` at a time.
 *
 * A block (`Sums.ts`) is checked when it is first read, on the bytes that are handed over, and remembered while the
 * file is the same (inode, time, size); later ranges read only what they ask for. A shard without sums, of an older
 * store, is read and hashed whole before its first byte is handed over. What is not as it was written is reported
 * (`Damage.ts`) and fails.
 */
import { createHash } from "node:crypto"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { Effect, Exit, FileSystem, PlatformError, Scope, Semaphore, Stream } from "effect"
import type { RowsArtifact } from "../dag/Artifact.ts"
import { type RandomAccess, ShardFormatError, type ShardReader } from "../dag/Format.ts"
import { damagedFile } from "./Damage.ts"
import { errnoOf, fromPlatform, SLICE } from "./Durable.ts"
import type { ShardEntry } from "./Manifest.ts"
import { filesAPool } from "./OpenFiles.ts"
import { readRange } from "./ShardFiles.ts"
import { BLOCK, blocksOf, readSums } from "./Sums.ts"

const asFormatError = (path: string) => (cause: PlatformError.PlatformError) => {
  const error = fromPlatform(path)(cause)
  return new ShardFormatError({ format: "file", message: error.message, hint: error.hint, cause: error })
}

/** Whether the disk says by itself that a file is not what it was: gone, or unreadable. */
const isLost = (cause: unknown): boolean =>
  cause instanceof PlatformError.PlatformError && ["ENOENT", "EIO"].includes(errnoOf(cause) ?? "")

/** Whether a range that the file must have could not be read: it was cut off meanwhile, or the disk lost it. */
const isCut = ({ cause }: ShardFormatError, offset: number, length: number, size: number): boolean =>
  offset >= 0 && length >= 0 && offset + length <= size && (cause === undefined || isLost(cause))

interface Slot {
  readonly scope: Scope.Closeable
  readonly file: FileSystem.File
  readonly checked: Checked
  users: number
}

/** What is known of a file's bytes. */
interface Checked {
  /** Device, inode and time of the file that was checked. */
  readonly identity: string
  /** 1 for a block whose bytes are those that were written. */
  readonly blocks: Uint8Array
  left: number
}

/** What a file must be. */
export type Wanted = Pick<ShardEntry, "bytes" | "sha256" | "sums">

/** Files opened on demand; the longest unused one is closed when there are more than `limit`. */
export interface FilePool {
  /**
   * A file as `RandomAccess`; nothing is opened before the first read. `onDamage` hears when it is not what it must be.
   */
  readonly access: (path: string, wanted: Wanted, onDamage?: () => void) => RandomAccess
}

const identityOf = ({ dev, ino, mtime }: FileSystem.File.Info): string =>
  [dev, ino._tag === "Some" ? ino.value : 0n, mtime._tag === "Some" ? mtime.value.getTime() : 0].join(":")

/** Fails where a file is not what it must be; `what` says which bytes. */
const failDamaged = (path: string, what: string, onDamage: () => void) =>
  Effect.suspend(() => {
    onDamage()
    const cause = damagedFile(path, what)
    return Effect.fail(new ShardFormatError({ format: "file", message: cause.message, hint: cause.hint, cause }))
  })

/** Reads a file whole and compares its sha256. */
const checkWhole = Effect.fnUntraced(function* (
  path: string,
  file: FileSystem.File,
  { bytes, sha256 }: Wanted,
  onDamage: () => void
) {
  const hash = createHash("sha256")
  for (let at = 0; at < bytes; at += SLICE)
    hash.update(yield* readRange(path, file, bytes, at, Math.min(SLICE, bytes - at)))
  if (hash.digest("hex") !== sha256)
    return yield* failDamaged(path, "its bytes are not those that were written", onDamage)
})

/** Reads a range and checks every block of it that was not checked before, on the bytes that it gives. */
const readChecked = Effect.fnUntraced(function* (
  path: string,
  { checked, file }: Slot,
  size: number,
  sums: Uint32Array,
  offset: number,
  length: number,
  onDamage: () => void
) {
  const out = yield* readRange(path, file, size, offset, length)
  if (checked.left === 0 || length === 0) return out
  const end = offset + length
  for (let block = Math.floor(offset / BLOCK); block * BLOCK < end; block++) {
    if (checked.blocks[block] === 1) continue
    const from = block * BLOCK
    const to = Math.min(from + BLOCK, size)
    let sum = from < offset ? crc32(yield* readRange(path, file, size, from, offset - from)) : 0
    sum = crc32(out.subarray(Math.max(from, offset) - offset, Math.min(to, end) - offset), sum)
    if (to > end) sum = crc32(yield* readRange(path, file, size, end, to - end), sum)
    if (sum !== sums[block])
      return yield* failDamaged(path, `bytes ${from} to ${to} are not those that were written`, onDamage)
    if (checked.blocks[block] === 0) checked.left--
    checked.blocks[block] = 1
  }
  return out
})

/** A pool whose files are closed with the scope. Longer than a screen: its operations share open files and counts. */
export const makePool = (limit = filesAPool()): Effect.Effect<FilePool, never, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const outer = yield* Effect.scope
    const opening = yield* Semaphore.make(1)
    const slots = new Map<string, Slot>() // least recently used first
    const known = new Map<string, Checked>()
    const makeRoom = Effect.gen(function* () {
      for (const [path, slot] of slots) {
        if (slots.size < limit) return
        if (slot.users > 0) continue
        slots.delete(path)
        yield* Scope.close(slot.scope, Exit.void)
      }
    })
    /**
     * What was checked of this very file before it was closed, or nothing. A file without sums is checked here, whole.
     */
    const checkedOf = Effect.fnUntraced(function* (
      path: string,
      file: FileSystem.File,
      info: FileSystem.File.Info,
      wanted: Wanted,
      onDamage: () => void
    ) {
      const identity = identityOf(info)
      const before = known.get(path)
      if (before?.identity === identity) return before
      const blocks = new Uint8Array(blocksOf(wanted.bytes))
      const checked: Checked = { identity, blocks, left: blocks.length }
      if (readSums(wanted.sums, wanted.bytes) === undefined) {
        yield* checkWhole(path, file, wanted, onDamage)
        checked.left = 0
      }
      known.set(path, checked)
      return checked
    })
    const openSlot = (path: string, wanted: Wanted, onDamage: () => void) =>
      Effect.gen(function* () {
        yield* makeRoom
        const scope = yield* Scope.fork(outer)
        const opened = Effect.gen(function* () {
          const file = yield* Scope.provide(fs.open(path, { flag: "r" }), scope)
          return { file, info: yield* file.stat }
        }).pipe(
          Effect.tapError((cause) => Effect.sync(() => isLost(cause) && onDamage())),
          Effect.mapError(asFormatError(path))
        )
        const slot = Effect.gen(function* () {
          const { file, info } = yield* opened
          const actual = Number(info.size)
          if (actual !== wanted.bytes)
            return yield* failDamaged(path, `it has ${actual} bytes, its manifest says ${wanted.bytes}`, onDamage)
          const checked = yield* checkedOf(path, file, info, wanted, onDamage)
          return { scope, file, checked, users: 1 } satisfies Slot
        })
        return yield* Effect.onError(slot, () => Scope.close(scope, Exit.void))
      })
    const take = (path: string, wanted: Wanted, onDamage: () => void): Effect.Effect<Slot, ShardFormatError> =>
      Effect.suspend(() => {
        const have = slots.get(path)
        if (have !== undefined) {
          have.users++
          slots.delete(path)
          slots.set(path, have)
          return Effect.succeed(have)
        }
        return opening.withPermits(1)(
          Effect.suspend(() =>
            slots.has(path)
              ? take(path, wanted, onDamage)
              : Effect.tap(openSlot(path, wanted, onDamage), (slot) => Effect.sync(() => slots.set(path, slot)))
          )
        )
      })
    return {
      access: (path, wanted, onDamage = () => undefined) => {
        const sums = readSums(wanted.sums, wanted.bytes) ?? new Uint32Array()
        return {
          size: wanted.bytes,
          read: (offset, length) =>
            Effect.acquireUseRelease(
              take(path, wanted, onDamage),
              (slot) =>
                Effect.tapError(readChecked(path, slot, wanted.bytes, sums, offset, length, onDamage), (error) =>
                  Effect.sync(() => isCut(error, offset, length, wanted.bytes) && onDamage())
                ),
              (slot) =>
                Effect.sync(() => {
                  slot.users--
                })
            )
        }
      }
    }
  })

/** A shard's reader that opens its file on first use; `rows` comes from the manifest. `onDamage`: see `FilePool`. */
export const lazyReader = <Row>(
  pool: FilePool,
  folder: string,
  entry: ShardEntry,
  artifact: RowsArtifact<string, Row>,
  onDamage: () => void = () => undefined
): ShardReader<Row> => {
  const path = join(folder, entry.file)
  const once = Semaphore.makeUnsafe(1)
  let reader: ShardReader<Row> | undefined
  const open = Effect.suspend(() =>
    reader !== undefined
      ? Effect.succeed(reader)
      : once.withPermits(1)(
          Effect.suspend(() =>
            reader !== undefined
              ? Effect.succeed(reader)
              : Effect.gen(function* () {
                  const opened = yield* artifact.format.open(pool.access(path, entry, onDamage))
                  if (opened.rows !== entry.rows)
                    return yield* failDamaged(
                      path,
                      `it has ${opened.rows} rows, its manifest says ${entry.rows}`,
                      onDamage
                    )
                  return (reader = opened)
                })
          )
        )
  )
  return {
    rows: entry.rows,
    batches: Stream.unwrap(Effect.map(open, (one) => one.batches)),
    get: (indices) => Effect.flatMap(open, (one) => one.get(indices))
  }
}
