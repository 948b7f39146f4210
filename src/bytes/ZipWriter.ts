/**
 * Writes zip files whose bytes depend on their entries alone: fixed timestamps, no host, no permissions.
 *
 * Not an archiver: entries are given in memory, in order, and nothing is read from a disk. Zip64 is used where the
 * numbers need it. Stored entries give equal bytes on every machine; deflated ones on equal versions of Node's zlib.
 */
import { open } from "node:fs/promises"
import { crc32, deflateRawSync } from "node:zlib"
import { Effect, type Scope, Stream } from "effect"
import {
  CENTRAL_BYTES,
  CENTRAL_HEADER,
  DEFLATED,
  END_BYTES,
  END_RECORD,
  FLAG_UTF8,
  isSafeName,
  LOCAL_BYTES,
  LOCAL_HEADER,
  MAX16,
  MAX32,
  STORED,
  ZIP64_END_BYTES,
  ZIP64_END_RECORD,
  ZIP64_EXTRA,
  ZIP64_LOCATOR,
  ZIP64_LOCATOR_BYTES,
  ZipError,
  zipError
} from "./ZipFormat.ts"

/** One file to write. `method` defaults to `stored`, which suits images. */
export interface ZipEntry {
  readonly name: string
  readonly data: Uint8Array
  readonly method?: "stored" | "deflate"
}

/** What was written. */
export interface ZipSummary {
  readonly entries: number
  readonly bytes: number
}

/** 1980-01-01 00:00, the first moment that the format knows. */
const DOS_TIME = 0
const DOS_DATE = 0x0021
const VERSION = 20
const VERSION_ZIP64 = 45
/** Bytes gathered before they are written. */
const WRITE_BYTES = 1 << 20

/** Encodes one zip. `add` and `finish` return the bytes to write next; after `finish` the encoder is spent. */
export class ZipEncoder {
  readonly #path: string
  readonly #names = new Set<string>()
  readonly #central: Array<Buffer> = []
  #offset: number
  #spent = false

  /** `path` names the zip in errors; `offset` is where its first byte will lie, for tests of zip64. */
  constructor(path = "zip", offset = 0) {
    this.#path = path
    this.#offset = offset
  }

  /** One entry's bytes. Throws `ZipError` for an unsafe or repeated name and for data over 4 GiB. */
  add({ name, data, method }: ZipEntry): ReadonlyArray<Uint8Array> {
    if (this.#spent) throw zipError(this.#path, name, "damaged", "the encoder is spent")
    if (!isSafeName(name) || !name.isWellFormed()) throw zipError(this.#path, name, "unsafe-name", "the name is unsafe")
    if (this.#names.has(name)) throw zipError(this.#path, name, "duplicate", "the name was written before")
    const nameBytes = Buffer.from(name)
    const body = method === "deflate" ? deflateRawSync(data) : data
    if (data.length >= MAX32 || body.length >= MAX32 || nameBytes.length > MAX16) {
      throw zipError(this.#path, name, "too-large", "an entry must be under 4 GiB")
    }
    this.#names.add(name)
    const shared = Buffer.alloc(22)
    shared.writeUInt16LE(FLAG_UTF8, 0)
    shared.writeUInt16LE(method === "deflate" ? DEFLATED : STORED, 2)
    shared.writeUInt16LE(DOS_TIME, 4)
    shared.writeUInt16LE(DOS_DATE, 6)
    shared.writeUInt32LE(crc32(data), 8)
    shared.writeUInt32LE(body.length, 12)
    shared.writeUInt32LE(data.length, 16)
    shared.writeUInt16LE(nameBytes.length, 20)

    const local = Buffer.alloc(LOCAL_BYTES)
    local.writeUInt32LE(LOCAL_HEADER, 0)
    local.writeUInt16LE(VERSION, 4)
    shared.copy(local, 6)

    const far = this.#offset >= MAX32
    const extra = Buffer.alloc(far ? 12 : 0)
    if (far) {
      extra.writeUInt16LE(ZIP64_EXTRA, 0)
      extra.writeUInt16LE(8, 2)
      extra.writeBigUInt64LE(BigInt(this.#offset), 4)
    }
    const central = Buffer.alloc(CENTRAL_BYTES)
    central.writeUInt32LE(CENTRAL_HEADER, 0)
    central.writeUInt16LE(far ? VERSION_ZIP64 : VERSION, 4)
    central.writeUInt16LE(far ? VERSION_ZIP64 : VERSION, 6)
    shared.copy(central, 8)
    central.writeUInt16LE(extra.length, 30)
    central.writeUInt32LE(far ? MAX32 : this.#offset, 42)
    this.#central.push(Buffer.concat([central, nameBytes, extra]))

    this.#offset += LOCAL_BYTES + nameBytes.length + body.length
    return [Buffer.concat([local, nameBytes]), body]
  }

  /** The directory. */
  finish(): ReadonlyArray<Uint8Array> {
    this.#spent = true
    const directory = Buffer.concat(this.#central)
    const count = this.#central.length
    const pieces: Array<Uint8Array> = [directory]
    if (count >= MAX16 || this.#offset >= MAX32 || directory.length >= MAX32) {
      const end = Buffer.alloc(ZIP64_END_BYTES + ZIP64_LOCATOR_BYTES)
      end.writeUInt32LE(ZIP64_END_RECORD, 0)
      end.writeBigUInt64LE(BigInt(ZIP64_END_BYTES - 12), 4)
      end.writeUInt16LE(VERSION_ZIP64, 12)
      end.writeUInt16LE(VERSION_ZIP64, 14)
      end.writeBigUInt64LE(BigInt(count), 24)
      end.writeBigUInt64LE(BigInt(count), 32)
      end.writeBigUInt64LE(BigInt(directory.length), 40)
      end.writeBigUInt64LE(BigInt(this.#offset), 48)
      end.writeUInt32LE(ZIP64_LOCATOR, ZIP64_END_BYTES)
      end.writeBigUInt64LE(BigInt(this.#offset + directory.length), ZIP64_END_BYTES + 8)
      end.writeUInt32LE(1, ZIP64_END_BYTES + 16)
      pieces.push(end)
    }
    const end = Buffer.alloc(END_BYTES)
    end.writeUInt32LE(END_RECORD, 0)
    end.writeUInt16LE(Math.min(count, MAX16), 8)
    end.writeUInt16LE(Math.min(count, MAX16), 10)
    end.writeUInt32LE(Math.min(directory.length, MAX32), 12)
    end.writeUInt32LE(Math.min(this.#offset, MAX32), 16)
    pieces.push(end)
    return pieces
  }
}

/**
 * A small zip in memory. Throws `ZipError` for an unsafe or repeated name.
 *
 * @example
 * ```ts
 * const bytes = zipBytes([{ name: "a.txt", data: new TextEncoder().encode("hello"), method: "deflate" }])
 * ```
 */
export const zipBytes = (entries: Iterable<ZipEntry>): Uint8Array => {
  const encoder = new ZipEncoder()
  const pieces: Array<Uint8Array> = []
  for (const entry of entries) pieces.push(...encoder.add(entry))
  pieces.push(...encoder.finish())
  return new Uint8Array(Buffer.concat(pieces))
}

const openForWriting = (path: string) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => open(path, "w"),
      catch: (cause) => zipError(path, "", "unreadable", `cannot be written: ${String(cause)}`, cause)
    }),
    (file) => Effect.promise(() => file.close())
  )

/**
 * Writes a stream of entries to `path`, replacing what is there; memory holds one entry and the directory.
 *
 * Not atomic: write beside the target and rename, as the store does. Fails with `ZipError`, or as `entries` fails.
 *
 * @example
 * ```ts
 * yield* writeZip("images.zip", Stream.fromIterable([{ name: "a.jpg", data }]))
 * ```
 */
export const writeZip = <E, R>(
  path: string,
  entries: Stream.Stream<ZipEntry, E, R>
): Effect.Effect<ZipSummary, E | ZipError, Exclude<R, Scope.Scope>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const file = yield* openForWriting(path)
      const encoder = new ZipEncoder(path)
      let count = 0
      let bytes = 0
      let pending: Array<Uint8Array> = []
      let pendingBytes = 0
      const take = (pieces: ReadonlyArray<Uint8Array>): void => {
        for (const piece of pieces) {
          pending.push(piece)
          pendingBytes += piece.length
        }
      }
      const flush = Effect.suspend(() => {
        const pieces = pending
        bytes += pendingBytes
        pending = []
        pendingBytes = 0
        return Effect.tryPromise({
          try: () => file.writeFile(Buffer.concat(pieces)),
          catch: (cause) => zipError(path, "", "unreadable", `cannot be written: ${String(cause)}`, cause)
        })
      })
      const step = (make: () => ReadonlyArray<Uint8Array>) =>
        Effect.try({
          try: () => take(make()),
          catch: (cause) =>
            cause instanceof ZipError
              ? cause
              : zipError(path, "", "damaged", `cannot be encoded: ${String(cause)}`, cause)
        })
      yield* Stream.runForEach(entries, (entry) =>
        step(() => encoder.add(entry)).pipe(
          Effect.flatMap(() => {
            count++
            return pendingBytes >= WRITE_BYTES ? flush : Effect.void
          })
        )
      )
      yield* step(() => encoder.finish())
      yield* flush
      return { entries: count, bytes }
    })
  )
