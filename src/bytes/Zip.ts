/**
 * Opens zip archives for random reads: half a million entries in under a second, each read checked by size and CRC.
 *
 * Not an extractor: nothing is ever written. Stored and deflated entries, zip and zip64, one file on one disk.
 *
 * Trusts nothing: record counts, sizes and offsets are checked against the file, entries must not share bytes, an entry
 * is inflated into at most the size it declares, and that at most `maxEntryBytes`.
 *
 * Units: bytes. Memory: the archive's directory and about 30 bytes an entry, see `ZipIndex`.
 */
import { type FileHandle, open } from "node:fs/promises"
import { promisify } from "node:util"
import { crc32, inflateRaw, inflateRawSync } from "node:zlib"
import { Effect, type Scope } from "effect"
import { HEAD_BYTES, wrongFile } from "../dag/WrongFile.ts"
import {
  DEFLATED,
  END_BYTES,
  END_RECORD,
  FLAG_ENCRYPTED,
  isSafeName,
  LOCAL_BYTES,
  LOCAL_HEADER,
  MAX16,
  normalName,
  STORED,
  ZIP64_END_BYTES,
  ZIP64_END_RECORD,
  ZIP64_LOCATOR,
  ZIP64_LOCATOR_BYTES,
  ZipError,
  zipError
} from "./ZipFormat.ts"
import { type Fault, type ZipEntryInfo, ZipIndex } from "./ZipIndex.ts"

export { ZipError } from "./ZipFormat.ts"

/** An open archive. Reads may run concurrently. */
export interface Zip {
  readonly path: string
  /** Files in it, folders not counted. */
  readonly size: number
  readonly has: (name: string) => boolean
  /** Names in the order of the directory, made lazily. */
  readonly names: () => Iterable<string>
  /** An entry's bytes, checked. The result is the caller's own. */
  readonly read: (name: string) => Effect.Effect<Uint8Array, ZipError>
  /**
   * Where the bytes of a stored entry lie in the file: for parts of large ones. Its header is checked, its CRC is not.
   */
  readonly locate: (name: string) => Effect.Effect<EntryPlace, ZipError>
}

/** The bytes of an entry in the file. */
export interface EntryPlace {
  readonly offset: number
  readonly size: number
}

/** What to accept. */
export interface ZipOptions {
  /** Uncompressed bytes of one entry at most. Default 64 MiB. */
  readonly maxEntryBytes?: number
  /** Bytes of the directory at most. Default 2 GiB. */
  readonly maxDirectoryBytes?: number
}

/** Comment and end record, and as much that may lie behind a zip. */
const TAIL_BYTES = END_BYTES + MAX16 + ZIP64_LOCATOR_BYTES
/** Beyond this the directory would not fit into one buffer with 32-bit places. */
const MAX_DIRECTORY_BYTES = 2 ** 31 - 1
/** Local headers may have more extra fields than the directory says; read this much more at once. */
const SLACK_BYTES = 64
/** Larger entries are inflated on another thread. */
const SYNC_BYTES = 1 << 16

const inflateAside = promisify<Uint8Array, { readonly maxOutputLength: number }, Buffer>(inflateRaw)

const isErrno = (cause: unknown): cause is Error & { readonly code: string } =>
  cause instanceof Error && "code" in cause

/** Reads exactly `length` bytes at `offset`. */
const readExactly = async (
  file: FileHandle,
  path: string,
  entry: string,
  offset: number,
  length: number
): Promise<Buffer> => {
  const buffer = Buffer.allocUnsafeSlow(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(buffer, done, length - done, offset + done)
    if (bytesRead === 0) throw zipError(path, entry, "truncated", `the file ends before byte ${offset + length}`)
    done += bytesRead
  }
  return buffer
}

interface Directory {
  readonly count: number
  readonly bytes: number
  /** From the start of the file. */
  readonly at: number
  /** Bytes before the archive, of a program that unpacks itself; offsets count from behind them. */
  readonly base: number
}

/**
 * Where the end record is: the one whose comment ends with the file, or else the last one, as Python's zipfile takes
 * it. The latter has zeros behind it (a download that had room reserved), a comment that is cut, or other bytes.
 */
const findEnd = (tail: Buffer): number => {
  let last = -1
  for (let at = tail.length - END_BYTES; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== END_RECORD) continue
    if (at + END_BYTES + tail.readUInt16LE(at + 20) === tail.length) return at
    if (last < 0) last = at
  }
  return last
}

/** Finds the directory from the end record, classic or zip64. */
const findDirectory = async (file: FileHandle, path: string, size: number): Promise<Directory> => {
  const tailBytes = Math.min(size, TAIL_BYTES)
  const tail = await readExactly(file, path, "", size - tailBytes, tailBytes)
  const end = findEnd(tail)
  if (end < 0) {
    const began = (await readExactly(file, path, "", 0, 4)).readUInt32LE(0) === LOCAL_HEADER
    throw began
      ? zipError(path, "", "truncated", "it begins as a zip, and its last 64 KiB hold no end record")
      : zipError(path, "", "not-a-zip", "no end record at the end of the file")
  }
  const endAt = size - tailBytes + end
  const disk = tail.readUInt16LE(end + 4)
  let count = tail.readUInt16LE(end + 10)
  let bytes = tail.readUInt32LE(end + 12)
  let offset = tail.readUInt32LE(end + 16)
  let stop = endAt
  const locator = end - ZIP64_LOCATOR_BYTES
  if (locator >= 0 && tail.readUInt32LE(locator) === ZIP64_LOCATOR) {
    const recorded = Number(tail.readBigUInt64LE(locator + 8))
    const locatorAt = endAt - ZIP64_LOCATOR_BYTES
    // Bytes put before the archive move the record from where the locator says to right before the locator.
    const adjacent = locatorAt - ZIP64_END_BYTES
    for (const at of [recorded, adjacent]) {
      if (at < 0 || at + ZIP64_END_BYTES > locatorAt) continue
      const record = await readExactly(file, path, "", at, ZIP64_END_BYTES)
      if (record.readUInt32LE(0) !== ZIP64_END_RECORD) continue
      count = Number(record.readBigUInt64LE(32))
      bytes = Number(record.readBigUInt64LE(40))
      offset = Number(record.readBigUInt64LE(48))
      stop = at
      break
    }
    if (stop === endAt) throw zipError(path, "", "damaged", "the zip64 end record is missing")
  } else if (disk !== 0 && disk !== MAX16) {
    throw zipError(path, "", "damaged", "the archive spans several disks")
  }
  const at = stop - bytes
  if (at < 0 || offset > at)
    throw zipError(path, "", "truncated", `a directory of ${bytes} bytes at ${offset} does not fit`)
  return { count, bytes, at, base: at - offset }
}

/** Inflates into at most the declared size. */
const inflate = async (fault: () => ZipError, body: Uint8Array, size: number): Promise<Uint8Array> => {
  const options = { maxOutputLength: Math.max(1, size) }
  try {
    return body.length <= SYNC_BYTES && size <= SYNC_BYTES * 4
      ? inflateRawSync(body, options)
      : await inflateAside(body, options)
  } catch (cause) {
    if (isErrno(cause) && cause.code === "ERR_BUFFER_TOO_LARGE") throw fault()
    throw cause
  }
}

class OpenZip implements Zip {
  readonly path: string
  readonly size: number
  readonly #file: FileHandle
  readonly #index: ZipIndex
  readonly #directory: Directory
  readonly #maxEntryBytes: number

  constructor(path: string, file: FileHandle, index: ZipIndex, directory: Directory, maxEntryBytes: number) {
    this.path = path
    this.size = index.size
    this.#file = file
    this.#index = index
    this.#directory = directory
    this.#maxEntryBytes = maxEntryBytes
  }

  has = (name: string): boolean => this.#index.has(normalName(name))

  names = (): Iterable<string> => this.#index.names()

  read = (name: string): Effect.Effect<Uint8Array, ZipError> => this.#attempt(name, () => this.#read(name))

  locate = (name: string): Effect.Effect<EntryPlace, ZipError> => this.#attempt(name, () => this.#locate(name))

  #attempt = <A>(name: string, work: () => Promise<A>): Effect.Effect<A, ZipError> =>
    Effect.tryPromise({
      try: work,
      catch: (cause) =>
        cause instanceof ZipError
          ? cause
          : isErrno(cause) && cause.code.startsWith("Z_")
            ? zipError(this.path, name, "crc-mismatch", `does not inflate: ${cause.message}`, cause)
            : zipError(this.path, name, "unreadable", String(cause), cause)
    })

  #fault: Fault = (entry, reason, detail) => zipError(this.path, entry, reason, detail)

  /** The directory's record of an entry that can be read. */
  #record(asked: string): { readonly name: string; readonly info: ZipEntryInfo } {
    if (!isSafeName(asked)) throw this.#fault(asked, "unsafe-name", "the name leaves the archive")
    const name = normalName(asked)
    const info = this.#index.get(name, this.#fault)
    if (info === undefined) throw this.#fault(name, "not-found", "no such entry")
    if ((info.flags & FLAG_ENCRYPTED) !== 0) throw this.#fault(name, "encrypted", "the entry is encrypted")
    if (info.link) throw this.#fault(name, "link", "is a symbolic link, not the file itself")
    if (info.method !== STORED && info.method !== DEFLATED) {
      throw this.#fault(name, "unsupported-method", `compression method ${info.method} is not read`)
    }
    if (info.method === STORED && info.size !== info.compressedSize) {
      throw this.#fault(name, "size-mismatch", `stored, but ${info.compressedSize} bytes hold ${info.size}`)
    }
    return { name, info }
  }

  async #locate(asked: string): Promise<EntryPlace> {
    const { info, name } = this.#record(asked)
    if (info.method !== STORED) throw this.#fault(name, "unsupported-method", "it is packed, not stored")
    const at = this.#directory.base + info.offset
    const guess = Math.min(this.#directory.at - at, LOCAL_BYTES + Buffer.byteLength(name) + SLACK_BYTES)
    const start = this.#startOf(name, info, await readExactly(this.#file, this.path, name, at, guess))
    return { offset: at + start, size: info.size }
  }

  async #read(asked: string): Promise<Uint8Array> {
    const { info, name } = this.#record(asked)
    if (info.size > this.#maxEntryBytes || info.compressedSize > this.#maxEntryBytes + SYNC_BYTES) {
      throw this.#fault(
        name,
        "too-large",
        `${info.size} bytes (${info.compressedSize} packed) > ${this.#maxEntryBytes}`
      )
    }
    const body = await this.#body(name, info)
    const mismatch = (): ZipError =>
      this.#fault(name, "size-mismatch", `holds more than the declared ${info.size} bytes`)
    const bytes = info.method === STORED ? body : await inflate(mismatch, body, info.size)
    if (bytes.length !== info.size) {
      throw this.#fault(name, "size-mismatch", `holds ${bytes.length} bytes, declared are ${info.size}`)
    }
    if (crc32(bytes) !== info.crc) throw this.#fault(name, "crc-mismatch", "its CRC-32 differs from the directory's")
    return bytes
  }

  /** The entry's packed bytes, behind a local header that must agree with the directory. */
  async #body(name: string, info: ZipEntryInfo): Promise<Buffer> {
    const at = this.#directory.base + info.offset
    const end = this.#directory.at
    const nameBytes = Buffer.byteLength(name)
    const guess = Math.min(end - at, LOCAL_BYTES + nameBytes + SLACK_BYTES + info.compressedSize)
    const bytes = await readExactly(this.#file, this.path, name, at, guess)
    const start = this.#startOf(name, info, bytes)
    const stop = start + info.compressedSize
    if (stop <= bytes.length) return bytes.subarray(start, stop)
    return await readExactly(this.#file, this.path, name, at + start, info.compressedSize)
  }

  /**
   * Where an entry's bytes begin behind its local header, with which `bytes` begin; it must agree with the directory.
   */
  #startOf(name: string, info: ZipEntryInfo, bytes: Buffer): number {
    const at = this.#directory.base + info.offset
    if (bytes.length < LOCAL_BYTES || bytes.readUInt32LE(0) !== LOCAL_HEADER) {
      throw this.#fault(name, "damaged", `no local header at byte ${at}`)
    }
    const nameEnd = LOCAL_BYTES + bytes.readUInt16LE(26)
    const sameName = nameEnd <= bytes.length && this.#index.isNamed(name, bytes.subarray(LOCAL_BYTES, nameEnd))
    if (!sameName || bytes.readUInt16LE(8) !== info.method) {
      throw this.#fault(name, "damaged", "its local header differs from the directory")
    }
    const start = nameEnd + bytes.readUInt16LE(28)
    if (at + start + info.compressedSize > this.#directory.at)
      throw this.#fault(name, "damaged", "its bytes run into the directory")
    return start
  }
}

const fromFile = async (path: string, file: FileHandle, options: ZipOptions): Promise<Zip> => {
  const { size } = await file.stat()
  const wrong = wrongFile(await readExactly(file, path, "", 0, Math.min(size, HEAD_BYTES)), size, "zip")
  // What follows other bytes (a program that unpacks itself) is a zip all the same; what begins as nothing known,
  // perhaps.
  const isOther = wrong !== undefined && wrong.kind !== "encrypted-zip"
  const notZip = (): ZipError => zipError(path, "", "not-a-zip", wrong!.message, undefined, wrong!.hint)
  if (isOther && size < END_BYTES) throw notZip()
  if (size < END_BYTES) throw zipError(path, "", "not-a-zip", `${size} bytes are too few for a zip`)
  const directory = await findDirectory(file, path, size).catch((cause) => {
    throw isOther && cause instanceof ZipError && cause.reason === "not-a-zip" ? notZip() : cause
  })
  if (directory.bytes > (options.maxDirectoryBytes ?? MAX_DIRECTORY_BYTES))
    throw zipError(path, "", "too-large", `a directory of ${directory.bytes} bytes`)
  const records = await readExactly(file, path, "", directory.at, directory.bytes)
  const fault: Fault = (entry, reason, detail) => zipError(path, entry, reason, detail)
  const dataEnd = directory.at - directory.base
  const index = new ZipIndex(records, directory.count, dataEnd, fault)
  if (index.encrypted) throw zipError(path, "", "encrypted", "all of its entries are encrypted")
  return new OpenZip(path, file, index, directory, options.maxEntryBytes ?? 64 * 1024 * 1024)
}

/**
 * Opens a zip for random reads; closed with the scope.
 *
 * Fails with `ZipError` when the file is no whole zip, when its directory is damaged, or when entries share bytes.
 *
 * @example
 * ```ts
 * const zip = yield* openZip("images.zip")
 * const bytes = yield* zip.read("GCC_train_002582585.jpg")
 * ```
 */
export const openZip = (path: string, options: ZipOptions = {}): Effect.Effect<Zip, ZipError, Scope.Scope> => {
  const failed = (cause: unknown): ZipError =>
    cause instanceof ZipError ? cause : zipError(path, "", "unreadable", String(cause), cause)
  return Effect.acquireRelease(Effect.tryPromise({ try: () => open(path, "r"), catch: failed }), (file) =>
    Effect.promise(() => file.close())
  ).pipe(Effect.flatMap((file) => Effect.tryPromise({ try: () => fromFile(path, file, options), catch: failed })))
}
