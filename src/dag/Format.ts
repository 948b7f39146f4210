/**
 * How the rows of an artifact become the bytes of a shard, and back.
 *
 * Not a file writer: a format is a pure encoder and a reader over ranges of bytes. Whoever owns the bytes (the store,
 * a test, a notebook) owns files, hashing, fsync and renames, so a format behaves the same on disk and in memory.
 *
 * Promise: equal rows in equal batches give equal bytes, on every machine. No time, host or path is written.
 */
import { Effect, Schema, type Stream } from "effect"

/** A shard whose bytes do not hold what its format says. */
export class ShardFormatError extends Schema.TaggedError<ShardFormatError>()("ShardFormatError", {
  format: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** Bytes that can be read by range: a file, or a buffer. */
export interface RandomAccess {
  /** Bytes. */
  readonly size: number
  /** Reads `length` bytes from `offset`; past the end fails. The result may alias a cache: copy before mutating. */
  readonly read: (offset: number, length: number) => Effect.Effect<Uint8Array, ShardFormatError>
}

/** Encodes one shard. `append` and `finish` return the bytes to write next; after `finish` the encoder is spent. */
export interface ShardEncoder<in Row> {
  readonly append: (batch: ReadonlyArray<Row>) => ReadonlyArray<Uint8Array>
  readonly finish: () => ReadonlyArray<Uint8Array>
}

/** Reads one shard: in order as batches, or by row number in any order. */
export interface ShardReader<out Row> {
  readonly rows: number
  readonly batches: Stream.Stream<ReadonlyArray<Row>, ShardFormatError>
  /** Rows at `indices`, in the order asked for. An index out of range fails. */
  readonly get: (indices: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<Row>, ShardFormatError>
}

/** A named, versioned way to write rows. `id` reaches keys: change it whenever the bytes change. */
export interface ShardFormat<Row> {
  /** For example `jsonl/1` or `arrow/2`. */
  readonly id: string
  /** File name ending without the dot. */
  readonly extension: string
  readonly encoder: () => ShardEncoder<Row>
  readonly open: (bytes: RandomAccess) => Effect.Effect<ShardReader<Row>, ShardFormatError>
}

/** A buffer as `RandomAccess`, for tests and notebooks. */
export const fromBuffer = (buffer: Uint8Array, format = "buffer"): RandomAccess => ({
  size: buffer.byteLength,
  read: (offset, length) =>
    offset < 0 || length < 0 || offset + length > buffer.byteLength
      ? Effect.fail(
          new ShardFormatError({
            format,
            message: `range ${offset}+${length} lies outside ${buffer.byteLength} bytes`,
            hint: "The shard is truncated; delete it and run again, the store recomputes it alone."
          })
        )
      : Effect.succeed(buffer.subarray(offset, offset + length))
})
