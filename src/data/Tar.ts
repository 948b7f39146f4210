/**
 * Opens tar files for random reads: one file, or a folder of them as webdatasets come (`00000.tar` holding `1.jpg`,
 * `1.json`).
 *
 * Not an extractor: nothing is ever written. Headers are read once, in one pass; a name then costs one read of its
 * bytes. Plain files count, and links: hard links to earlier entries and symbolic links, also those of folders, are
 * followed as long as their target is in the archive (or in another of the folder), as Python's tarfile does; reading
 * one that leads elsewhere says so. Folders and devices are passed over, as are entries whose names leave the archive.
 * Sparse files and archives in several volumes are refused.
 *
 * Trusts nothing: header checksums, sizes and the end of the archive are checked against the file. Tar has no checksum
 * of contents: that an image's bytes are whole is known only from the source's digest, or from decoding it.
 *
 * Units: bytes. Memory: an index of each name and 30 to 60 bytes an entry, kept for the last few archives that were
 * opened (threads open the same one for each shard); at most 64 open files.
 */
import { readSync } from "node:fs"
import { type FileHandle, open, readdir, stat } from "node:fs/promises"
import { join, posix } from "node:path"
import { setImmediate } from "node:timers/promises"
import { Effect, type Scope } from "effect"
import { isSafeName, normalBytes, normalName } from "../bytes/ZipFormat.ts"
import { HEAD_BYTES, wrongFile } from "../dag/WrongFile.ts"
import { BLOCK, isZero, padded, parseHeader, parsePax, TarError, tarError } from "./TarFormat.ts"
import { TarIndex, type TarPlace } from "./TarIndex.ts"

export { TarError } from "./TarFormat.ts"

/** An open archive, or a folder of them. Reads may run concurrently. */
export interface Tar {
  readonly path: string
  /** Files in it. */
  readonly size: number
  readonly has: (name: string) => boolean
  /** Names in the order of the archives, made lazily. */
  readonly names: () => Iterable<string>
  /** An entry's bytes. The result is the caller's own. */
  readonly read: (name: string) => Effect.Effect<Uint8Array, TarError>
}

/** What to accept. */
export interface TarOptions {
  /** Of a folder: its tar files that are opened. Default: all. */
  readonly files?: ReadonlyArray<string>
  /** Bytes of one entry at most. Default 64 MiB. */
  readonly maxEntryBytes?: number
}

/**
 * Read ahead where entries are small: one call for several headers. Measured: three times as fast as one by one at 1
 * KiB an entry.
 */
const WINDOW = 1 << 16
/** Read where the next header is far. */
const FAR_WINDOW = 1 << 12
/** Long names and pax headers at most. */
const MAX_EXTENSION = 1 << 20
/** Zeros after the end, which fill the last record, at most. */
const MAX_TAIL = 1 << 20
/** Headers read between two turns of the event loop. */
const TURN = 4096
const MAX_OPEN = 64
/** Indexes kept. */
const MAX_KNOWN = 4

/** Kinds of `wrongFile` for which there is a hint of tar's own. */
const COMPRESSED: ReadonlySet<string> = new Set(["gzip", "zstd", "bzip2", "xz", "lz4"])
/** Zeros that tar itself writes as an archive without entries, at most. */
const EMPTY_TAR = 10_240

/** Reads pieces of a file in rising order through one window. */
class Window {
  readonly #file: FileHandle
  readonly #bytes = Buffer.allocUnsafeSlow(WINDOW)
  #from = 0
  #to = 0
  #last = 0

  constructor(file: FileHandle) {
    this.#file = file
  }

  /** `length` bytes at `at`, or fewer at the file's end; valid until the next call. */
  read(at: number, length: number): Buffer {
    if (length > WINDOW) return this.#fill(Buffer.allocUnsafe(length), at)
    if (at < this.#from || at + length > this.#to) {
      const far = at - this.#last > WINDOW
      const want = Math.max(length, far ? FAR_WINDOW : WINDOW)
      this.#from = at
      this.#to = at + this.#fill(this.#bytes.subarray(0, want), at).length
    }
    this.#last = at
    return this.#bytes.subarray(at - this.#from, Math.min(at + length, this.#to) - this.#from)
  }

  #fill(into: Buffer, at: number): Buffer {
    let done = 0
    for (let got = 1; got > 0 && done < into.length; done += got) {
      got = readSync(this.#file.fd, into, done, into.length - done, at + done)
    }
    return into.subarray(0, done)
  }
}

/** What a link names: a hard link an entry's name, a symbolic one a path from the folder of the link. */
const linkTarget = (name: Buffer, link: Buffer, type: string): string => {
  const target = link.toString()
  return type === "1" || target.startsWith("/") ? target : posix.join(posix.dirname(name.toString()), target)
}

/** Reads the headers of one file into the index. */
const scan = async (path: string, file: FileHandle, number: number, index: TarIndex): Promise<void> => {
  const { size: fileBytes } = await file.stat()
  const window = new Window(file)
  const fail = (reason: TarError["reason"], detail: string, entry: Buffer | string = ""): TarError =>
    tarError(path, entry.toString(), reason, detail)
  const wrong = wrongFile(window.read(0, HEAD_BYTES), fileBytes, "tar")
  const isEmptyTar = wrong?.kind === "zeros" && fileBytes >= 2 * BLOCK && fileBytes <= EMPTY_TAR
  // A header whose checksum is right is a tar's, whatever its first entry's name looks like.
  if (wrong !== undefined && !isEmptyTar && typeof parseHeader(window.read(0, BLOCK)) === "string") {
    if (COMPRESSED.has(wrong.kind)) throw fail("compressed", `the file is compressed (${wrong.kind})`)
    throw tarError(path, "", "not-a-tar", wrong.message, { hint: wrong.hint })
  }
  let at = 0
  let longName: Buffer | undefined
  let longLink: Buffer | undefined
  let longSize: number | undefined
  for (let count = 1; ; count++) {
    if (count % TURN === 0) await setImmediate()
    const block = window.read(at, BLOCK)
    if (block.length < BLOCK) {
      throw at === 0
        ? fail("not-a-tar", `${fileBytes} bytes are too few for a tar`)
        : fail("truncated", `the file ends at byte ${fileBytes} without the two zero blocks of an end`)
    }
    if (block[0] === 0 && isZero(block)) break
    const header = parseHeader(block)
    if (typeof header === "string") {
      throw at === 0 ? fail("not-a-tar", header) : fail("damaged", `at byte ${at}: ${header}`)
    }
    const { type } = header
    const body = at + BLOCK
    if ("LKxg".includes(type)) {
      if (header.size > MAX_EXTENSION) throw fail("damaged", `a name or header of ${header.size} bytes at byte ${at}`)
      const bytes = window.read(body, header.size)
      if (bytes.length < header.size) throw fail("truncated", `the file ends inside the header at byte ${at}`)
      if (type === "L" || type === "K") {
        const end = bytes.indexOf(0)
        const long = Buffer.from(bytes.subarray(0, end < 0 ? bytes.length : end))
        if (type === "L") longName = long
        else longLink = long
      } else {
        const pax = parsePax(bytes)
        if (pax === undefined) throw fail("damaged", `the pax header at byte ${at} is damaged`)
        const sparse = [...pax.keys()].some((key) => key.startsWith("GNU.sparse"))
        const global = type === "g" && ["path", "linkpath", "size"].some((key) => pax.has(key))
        if (sparse || global) throw fail("unsupported", sparse ? "a sparse file" : "names or sizes for all entries")
        longName = pax.get("path") ?? longName
        longLink = pax.get("linkpath") ?? longLink
        const size = pax.get("size")?.toString("latin1")
        if (size !== undefined && !(/^[0-9]+$/.test(size) && Number.isSafeInteger(Number(size)))) {
          throw fail("damaged", `the pax header at byte ${at} says a size of ${size.slice(0, 40)}`)
        }
        if (size !== undefined) longSize = Number(size)
      }
      at = body + padded(header.size)
      continue
    }
    const name = Buffer.from(normalBytes(longName ?? header.name))
    const link = longLink ?? header.link
    // Links, devices and folders have no bytes, whatever their size says.
    const size = "123456".includes(type) ? 0 : (longSize ?? header.size)
    longName = longLink = longSize = undefined
    if ("SMN".includes(type)) throw fail("unsupported", `an entry of type ${type}`, name)
    if (body + size > fileBytes) {
      throw fail("truncated", `the file ends at byte ${fileBytes}, the entry at ${body + size}`, name)
    }
    const isLink = type === "1" || type === "2"
    const linked = type === "1" ? index.get(normalBytes(link)) : undefined
    const place = linked ?? { file: number, offset: isLink ? index.link(linkTarget(name, link, type)) : body, size }
    const isFile = type === "0" || type === "7" || isLink
    if (isFile && name[name.length - 1] !== 0x2f && isSafeName(name.toString()) && !index.add(name, place)) {
      throw fail("duplicate", "another entry has that name", name)
    }
    at = body + padded(size)
  }
  if (fileBytes - at > MAX_TAIL || !isZero(window.read(at, fileBytes - at))) {
    throw fail("damaged", `the archive ends at byte ${at}, and more than zeros follow; are two joined together?`)
  }
}

/** The files that a path means: itself, or the tar files of a folder, all or some, in name order. */
const filesOf = async (path: string, some?: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  if (!(await stat(path)).isDirectory()) return [path]
  const names = (await readdir(path)).filter((name) => isTarName(name) && some?.includes(name) !== false).sort()
  if (names.length === 0) throw tarError(path, "", "no-tars", "the folder holds no tar files")
  return names.map((name) => join(path, name))
}

/** Whether a file is a tar by its name, compressed or not; `._a.tar`, which macOS puts beside a.tar, is none. */
export const isTarName = (name: string): boolean =>
  /(^|[\\/])[^.\\/][^\\/]*\.(tar|tgz|tbz2?|txz|tar\.[a-z0-9]+)$/i.test(name)

const build = async (paths: ReadonlyArray<string>): Promise<TarIndex> => {
  const index = new TarIndex()
  for (const [number, path] of paths.entries()) {
    const file = await open(path, "r")
    try {
      await scan(path, file, number, index)
    } finally {
      await file.close()
    }
  }
  return index
}

const known = new Map<string, Promise<TarIndex>>()

/** The index of these files, of an earlier opening when none of them has changed since. */
const indexOf = async (paths: ReadonlyArray<string>): Promise<TarIndex> => {
  const states = await Promise.all(paths.map((path) => stat(path, { bigint: true })))
  const key = states.map(({ dev, ino, mtimeNs, size }, i) => `${paths[i]} ${dev} ${ino} ${size} ${mtimeNs}`).join("\n")
  const found = known.get(key)
  if (found !== undefined) return await found
  const made = build(paths)
  known.set(key, made)
  made.catch(() => known.delete(key)) // the caller hears of the failure below
  for (const oldest of known.keys()) {
    if (known.size <= MAX_KNOWN) break
    known.delete(oldest)
  }
  return await made
}

interface Opened {
  readonly file: Promise<FileHandle>
  reading: number
}

class OpenTar implements Tar {
  readonly path: string
  readonly size: number
  readonly #paths: ReadonlyArray<string>
  readonly #index: TarIndex
  readonly #maxEntryBytes: number
  /** By file number, the one used last at the end. */
  readonly #open = new Map<number, Opened>()

  constructor(path: string, paths: ReadonlyArray<string>, index: TarIndex, maxEntryBytes: number) {
    this.path = path
    this.size = index.size
    this.#paths = paths
    this.#index = index
    this.#maxEntryBytes = maxEntryBytes
  }

  has = (name: string): boolean => typeof this.#index.find(normalName(name)) === "object"

  names = (): Iterable<string> => this.#index.names()

  read = (name: string): Effect.Effect<Uint8Array, TarError> =>
    Effect.tryPromise({
      try: () => this.#read(name),
      catch: (cause) =>
        cause instanceof TarError ? cause : tarError(this.path, name, "unreadable", String(cause), { cause })
    })

  async close(): Promise<void> {
    const files = await Promise.allSettled([...this.#open.values()].map(({ file }) => file))
    this.#open.clear()
    for (const one of files) if (one.status === "fulfilled") await one.value.close()
  }

  async #read(asked: string): Promise<Uint8Array> {
    if (!isSafeName(asked)) throw tarError(this.path, asked, "unsafe-name", "the name leaves the archive")
    const name = normalName(asked)
    const place = this.#index.find(name)
    if (place === undefined) throw tarError(this.path, name, "not-found", "no such entry")
    if (typeof place === "string") throw tarError(this.path, name, "link", `is a link to ${place}, which is not in it`)
    if (place.size > this.#maxEntryBytes) {
      throw tarError(this.path, name, "too-large", `${place.size} bytes > ${this.#maxEntryBytes}`)
    }
    const opened = this.#take(place.file)
    opened.reading++
    try {
      return await this.#bytes(await opened.file, name, place)
    } finally {
      opened.reading--
      await this.#trim()
    }
  }

  async #bytes(file: FileHandle, name: string, { offset, size, file: number }: TarPlace): Promise<Uint8Array> {
    const bytes = new Uint8Array(size)
    for (let done = 0; done < size; ) {
      const { bytesRead } = await file.read(bytes, done, size - done, offset + done)
      if (bytesRead === 0) {
        throw tarError(this.#paths[number]!, name, "truncated", `the file ends before byte ${offset + size}`)
      }
      done += bytesRead
    }
    return bytes
  }

  #take(number: number): Opened {
    const opened = this.#open.get(number) ?? { file: open(this.#paths[number]!, "r"), reading: 0 }
    opened.file.catch(() => this.#open.delete(number)) // the reader hears of the failure; the next one tries again
    this.#open.delete(number)
    this.#open.set(number, opened)
    return opened
  }

  /** Closes files that nobody reads, the least recently used first, until few enough are open. */
  async #trim(): Promise<void> {
    for (const [number, { file, reading }] of this.#open) {
      if (this.#open.size <= MAX_OPEN) return
      if (reading > 0) continue
      this.#open.delete(number)
      await (await file).close()
    }
  }
}

/**
 * Opens a tar, or all tar files of a folder, for random reads; closed with the scope.
 *
 * Fails with `TarError` when a file is no whole, plain tar, or when two entries have one name.
 *
 * @example
 * ```ts
 * const tar = yield* openTar("cc12m/") // 00000.tar, 00001.tar, ...
 * const bytes = yield* tar.read("000000017.jpg")
 * ```
 */
export const openTar = (path: string, options: TarOptions = {}): Effect.Effect<Tar, TarError, Scope.Scope> => {
  const maxEntryBytes = options.maxEntryBytes ?? 64 * 1024 * 1024
  return Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        const paths = await filesOf(path, options.files)
        return new OpenTar(path, paths, await indexOf(paths), maxEntryBytes)
      },
      catch: (cause) => (cause instanceof TarError ? cause : tarError(path, "", "unreadable", String(cause), { cause }))
    }),
    (tar) => Effect.promise(() => tar.close())
  )
}
