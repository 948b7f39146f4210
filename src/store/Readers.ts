/**
 * Reads shards of finished entries lazily, with a bounded number of open files.
 *
 * Not a cache of rows: a reader's own index (an Arrow footer, line starts) stays in memory once made, bytes do not. An
 * entry of ten thousand shards opens none of them until a row is asked for, and never more than `limit` at a time.
 */
import { join } from "node:path"
import { Effect, Exit, FileSystem, Scope, Semaphore, Stream } from "effect"
import type { RowsArtifact } from "../dag/Artifact.ts"
import { type RandomAccess, ShardFormatError, type ShardReader } from "../dag/Format.ts"
import { fromPlatform } from "./Durable.ts"
import type { ShardEntry } from "./Manifest.ts"
import { filesAPool } from "./OpenFiles.ts"
import { readRange } from "./ShardFiles.ts"

const asFormatError = (path: string) => (cause: Parameters<ReturnType<typeof fromPlatform>>[0]) => {
  const error = fromPlatform(path)(cause)
  return new ShardFormatError({ format: "file", message: error.message, hint: error.hint, cause })
}

interface Slot {
  readonly scope: Scope.Closeable
  readonly file: FileSystem.File
  users: number
}

/** Files opened on demand; the longest unused one is closed when there are more than `limit`. */
export interface FilePool {
  /** A file of a known size as `RandomAccess`; nothing is opened before the first read. */
  readonly access: (path: string, size: number) => RandomAccess
}

/** A pool whose files are closed with the scope. */
export const makePool = (limit = filesAPool()): Effect.Effect<FilePool, never, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const outer = yield* Effect.scope
    const opening = yield* Semaphore.make(1)
    const slots = new Map<string, Slot>() // least recently used first
    const makeRoom = Effect.gen(function* () {
      for (const [path, slot] of slots) {
        if (slots.size < limit) return
        if (slot.users > 0) continue
        slots.delete(path)
        yield* Scope.close(slot.scope, Exit.void)
      }
    })
    const take = (path: string, size: number): Effect.Effect<Slot, ShardFormatError> =>
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
              ? take(path, size)
              : Effect.gen(function* () {
                  yield* makeRoom
                  const scope = yield* Scope.fork(outer)
                  const file = yield* Effect.onError(
                    Effect.mapError(
                      Effect.gen(function* () {
                        const opened = yield* Scope.provide(fs.open(path, { flag: "r" }), scope)
                        const actual = Number((yield* opened.stat).size)
                        return { opened, actual }
                      }),
                      asFormatError(path)
                    ),
                    () => Scope.close(scope, Exit.void)
                  )
                  if (file.actual !== size) {
                    yield* Scope.close(scope, Exit.void)
                    return yield* new ShardFormatError({
                      format: "file",
                      message: `${path} has ${file.actual} bytes, its manifest says ${size}`,
                      hint: "The shard is damaged; run again with --verify, it is recomputed alone."
                    })
                  }
                  const slot: Slot = { scope, file: file.opened, users: 1 }
                  slots.set(path, slot)
                  return slot
                })
          )
        )
      })
    return {
      access: (path, size) => ({
        size,
        read: (offset, length) =>
          Effect.acquireUseRelease(
            take(path, size),
            (slot) => readRange(path, slot.file, size, offset, length),
            (slot) =>
              Effect.sync(() => {
                slot.users--
              })
          )
      })
    }
  })

/** A shard's reader that opens its file on first use; `rows` comes from the manifest. */
export const lazyReader = <Row>(
  pool: FilePool,
  folder: string,
  entry: ShardEntry,
  artifact: RowsArtifact<string, Row>
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
                  const opened = yield* artifact.format.open(pool.access(path, entry.bytes))
                  if (opened.rows !== entry.rows)
                    return yield* new ShardFormatError({
                      format: artifact.format.id,
                      message: `${path} has ${opened.rows} rows, its manifest says ${entry.rows}`,
                      hint: "The shard is damaged; run again with --verify, it is recomputed alone."
                    })
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
