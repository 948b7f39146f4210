/**
 * Writes and opens shards: port files, refused rows, and the record that makes a shard done.
 *
 * Not the Store service: a worker thread uses this file with nothing but a `FileSystem` and a work folder's path, so
 * rows never cross a thread. Lifecycle of a shard: port files (temporary, fsync, rename) -> refused rows -> record. A
 * shard without a record does not exist; writing it again replaces whatever an earlier attempt left. `Records.ts` reads
 * the records.
 *
 * Durable when: the bytes of every file before it has its name, so a record's name implies a whole record, and a file's
 * name whole contents. Names are made durable `soon` (`Durable.ts`): a shard costs one fsync a file and one for its
 * record, and a second of small shards one more a folder. After a power cut a record may be there without its files, or
 * files without their record: neither counts, and such a shard is made again, as are those in flight. A record and a
 * file that are replaced go durably first, so that a record is never seen beside other bytes than it was written for.
 * After SIGKILL, names need no fsync: every finished shard is there. The commit makes all names durable.
 *
 * Memory: one encoder and 1 MiB a port; a batch is encoded, hashed, written and let go.
 */

import { join } from "node:path"
import { Effect, Exit, type FileSystem, Schema, Scope, Stream } from "effect"
import type { RowsArtifact } from "../dag/Artifact.ts"
import { type RandomAccess, type ShardEncoder, ShardFormatError } from "../dag/Format.ts"
import type { Refusals } from "../dag/Refusals.ts"
import { checksummed } from "./Checksum.ts"
import { fromPlatform, makeFolder, openWriter, removeFile, SLICE, type Writer, withFs, writeAtomic } from "./Durable.ts"
import * as Layout from "./Layout.ts"
import { stillHeld } from "./Lock.ts"
import type { ShardEntry, ShardRecord } from "./Manifest.ts"
import { memoryWatch } from "./Memory.ts"
import { openQuarantine } from "./Quarantine.ts"
import { type Fence, StoreError } from "./Store.ts"

/** A row that its artifact's schema or format cannot encode. Raised as a defect: it is a bug in the node. */
export class RowsNotEncodable extends Schema.TaggedError<RowsNotEncodable>()("RowsNotEncodable", {
  port: Schema.String,
  artifact: Schema.String,
  shard: Schema.Number,
  /** Rows of the port before the batch that failed. */
  row: Schema.Number,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** One output port on its way into a shard. */
export interface PortStream<E, R> {
  readonly artifact: RowsArtifact<string, any>
  readonly batches: Stream.Stream<ReadonlyArray<any>, E, R>
}

interface OpenShard {
  readonly append: (batch: ReadonlyArray<unknown>) => Effect.Effect<void, StoreError>
  readonly finish: Effect.Effect<ShardEntry, StoreError>
  readonly rows: () => number
}

const openShardWriter = (
  folder: string,
  port: string,
  artifact: RowsArtifact<string, any>,
  index: number
): Effect.Effect<OpenShard, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const name = Layout.shardFile(index, artifact.format.extension)
    const writer: Writer = yield* openWriter(join(Layout.portFolder(folder, port), name), {
      readOnly: true,
      hashOnly: artifact.transient,
      names: "soon",
      sums: true
    })
    let rows = 0
    const guard = (encode: (encoder: ShardEncoder<unknown>) => ReadonlyArray<Uint8Array>) =>
      Effect.suspend(() => {
        try {
          return Effect.succeed(encode(encoder))
        } catch (cause) {
          return Effect.die(
            new RowsNotEncodable({
              port,
              artifact: artifact.tag,
              shard: index,
              row: rows,
              message: `port ${port}, shard ${index}, a row from ${rows} on: ${cause instanceof Error ? cause.message : String(cause)}`,
              hint: `The node gave a row that ${artifact.tag} (${artifact.format.id}) cannot write: fix the node or the schema.`,
              cause
            })
          )
        }
      })
    const encoder: ShardEncoder<unknown> = artifact.format.encoder()
    return {
      rows: () => rows,
      append: (batch) =>
        Effect.gen(function* () {
          yield* writer.write(yield* guard((one) => one.append(batch)))
          rows += batch.length
        }),
      finish: Effect.gen(function* () {
        yield* writer.write(yield* guard((one) => one.finish()))
        return { file: artifact.transient ? "" : name, rows, ...(yield* writer.finish) }
      })
    }
  })

/**
 * Writes one shard of a sharded node and its record; all ports are drained at once.
 *
 * `refusals` is asked between batches, `rowsIn` when the ports are done. `onRows` hears of every batch of every port.
 * Fails with the streams' errors or `StoreError`; then no record exists and the shard is written anew next time.
 *
 * @example
 * const record = yield* writeShard({
 *   folder: work.folder, index: 3, outputs: { rows: { artifact: Clean, batches } },
 *   refusals, rowsIn: () => seen
 * })
 */
export const writeShard = <E, R>(options: {
  readonly folder: string
  /** The lock that the node is made under: a process that lost it gives no file its name. */
  readonly fence?: Fence | undefined
  readonly index: number
  readonly outputs: Readonly<Record<string, PortStream<E, R>>>
  readonly refusals: Pick<Refusals, "take" | "waiting">
  readonly rowsIn: () => number
  readonly onRows?: (rows: number) => void
  /** Runs once the ports are done; where it fails, there is no record. */
  readonly check?: Effect.Effect<void, E, R>
}): Effect.Effect<ShardRecord, E | StoreError, R | FileSystem.FileSystem> =>
  Effect.scopedWith((scope) =>
    Effect.gen(function* () {
      const { fence, folder, index } = options
      const held = fence === undefined ? Effect.void : stillHeld(fence)
      yield* removeFile(Layout.recordFile(folder, index))
      const quarantine = yield* Scope.provide(openQuarantine(folder, index, options.refusals), scope)
      const memory = yield* Scope.provide(memoryWatch, scope)
      const drain = (port: string, { artifact, batches }: PortStream<E, R>) =>
        Effect.scoped(
          Effect.gen(function* () {
            if (!artifact.transient) yield* makeFolder(Layout.portFolder(folder, port))
            const shard = yield* openShardWriter(folder, port, artifact, index)
            let count = 0
            yield* Stream.runForEach(batches, (batch) =>
              Effect.gen(function* () {
                yield* shard.append(batch)
                yield* quarantine.spill
                if (count++ % 16 === 0) memory.sample()
                options.onRows?.(batch.length)
              })
            )
            yield* held
            return [port, yield* shard.finish] as const
          })
        )
      const ports = yield* Effect.forEach(Object.entries(options.outputs), ([port, output]) => drain(port, output), {
        concurrency: "unbounded"
      })
      if (options.check !== undefined) yield* options.check
      const place = Layout.placeOf(folder)
      const record: ShardRecord = {
        ...(place === undefined ? {} : { key: place.key }),
        index,
        rowsIn: options.rowsIn(),
        ports: Object.fromEntries(ports),
        ...(yield* quarantine.finish),
        peakMemory: memory.peak()
      }
      yield* makeFolder(Layout.recordsFolder(folder))
      yield* held
      yield* writeAtomic(Layout.recordFile(folder, index), checksummed(record), { names: "soon" })
      return record
    })
  )

/**
 * Cuts one stream into shards of exactly `shardRows` rows (the last may be smaller; no rows give one empty shard).
 *
 * For `whole` and `fold` nodes. Whatever an earlier attempt left in the port's folder is removed first. Writes no
 * record: such a node is done when it is committed.
 *
 * @example
 * const shards = yield* writeRows({ folder: work.folder, port: "rows", artifact: Pairs, batches, shardRows: 1024 })
 */
export const writeRows = <E, R>(options: {
  readonly folder: string
  readonly port: string
  readonly artifact: RowsArtifact<string, any>
  readonly batches: Stream.Stream<ReadonlyArray<any>, E, R>
  readonly shardRows: number
  readonly onRows?: (rows: number) => void
  /** Runs after every batch. */
  readonly afterBatch?: Effect.Effect<void, StoreError, FileSystem.FileSystem>
}): Effect.Effect<ReadonlyArray<ShardEntry>, E | StoreError, R | FileSystem.FileSystem> =>
  Effect.scopedWith((scope) =>
    Effect.gen(function* () {
      const { folder, port, artifact, shardRows } = options
      const target = Layout.portFolder(folder, port)
      if (!Number.isInteger(shardRows) || shardRows < 1)
        return yield* new StoreError({
          reason: "io",
          path: target,
          message: `shards of ${shardRows} rows were asked for`,
          hint: "`shardRows` must be a whole number of at least 1."
        })
      yield* withFs(target, (fs) => fs.remove(target, { recursive: true, force: true }))
      if (!artifact.transient) yield* makeFolder(target)
      const done: Array<ShardEntry> = []
      let open: { readonly shard: OpenShard; readonly scope: Scope.Closeable } | undefined
      const current = Effect.gen(function* () {
        if (open !== undefined) return open
        const own = yield* Scope.fork(scope)
        const shard = yield* Scope.provide(openShardWriter(folder, port, artifact, done.length), own)
        return (open = { shard, scope: own })
      })
      const close = Effect.gen(function* () {
        const { shard, scope: own } = yield* current
        done.push(yield* shard.finish)
        open = undefined
        yield* Scope.close(own, Exit.void)
      })
      yield* Stream.runForEach(options.batches, (batch) =>
        Effect.gen(function* () {
          for (let at = 0; at < batch.length; ) {
            const { shard } = yield* current
            const room = shardRows - shard.rows()
            const piece = at === 0 && batch.length <= room ? batch : batch.slice(at, at + room)
            yield* shard.append(piece)
            at += piece.length
            if (shard.rows() === shardRows) yield* close
          }
          options.onRows?.(batch.length)
          if (options.afterBatch !== undefined) yield* options.afterBatch
        })
      )
      if (open !== undefined || done.length === 0) yield* close
      return done
    })
  )

/** A range outside a file, as a format's reader expects it. */
export const rangeError = (path: string, offset: number, length: number, size: number): ShardFormatError =>
  new ShardFormatError({
    format: "file",
    message: `${path}: range ${offset}+${length} lies outside ${size} bytes`,
    hint: "The shard is cut off; `--verify` finds damaged shards and recomputes them alone."
  })

/** Reads exactly `length` bytes at `offset`; results are the caller's own. */
export const readRange = (
  path: string,
  file: FileSystem.File,
  size: number,
  offset: number,
  length: number
): Effect.Effect<Uint8Array, ShardFormatError> =>
  Effect.gen(function* () {
    if (offset < 0 || length < 0 || offset + length > size) return yield* rangeError(path, offset, length, size)
    const out = Buffer.allocUnsafe(length)
    for (let at = 0; at < length; ) {
      const part = at === 0 && length <= SLICE ? out : out.subarray(at, Math.min(length, at + SLICE))
      const got = yield* Effect.mapError(file.read(part, { position: BigInt(offset + at) }), (cause) => {
        const error = fromPlatform(path)(cause)
        return new ShardFormatError({ format: "file", message: error.message, hint: error.hint, cause })
      })
      if (got === 0) return yield* rangeError(path, offset + at, length - at, offset + at)
      at += got
    }
    return out
  })

/** Opens a file for reads by range; one handle, closed with the scope. */
export const openFile = (path: string): Effect.Effect<RandomAccess, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const file = yield* withFs(path, (fs) => fs.open(path, { flag: "r" }))
    const size = Number((yield* Effect.mapError(file.stat, fromPlatform(path))).size)
    return { size, read: (offset, length) => readRange(path, file, size, offset, length) }
  })
