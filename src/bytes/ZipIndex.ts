/**
 * The directory of a zip as it was read, with a hash table over it: no object and no string per entry.
 *
 * Not a file reader: `Zip.ts` finds and reads the directory. Memory: the directory's own bytes (for CC-595K's 595,375
 * entries some 60 MB) and about 30 bytes an entry. Every record is checked when the index is made.
 *
 * Folders (names that end in `/`) are no entries. Of equal names the last counts, as with other readers. Names are
 * `normalName`s: `./a.jpg` in the archive is `a.jpg` here.
 */
import { isUtf8 } from "node:buffer"
import {
  CENTRAL_BYTES,
  CENTRAL_HEADER,
  FLAG_ENCRYPTED,
  FLAG_UTF8,
  isIrregular,
  LOCAL_BYTES,
  MAX16,
  MAX32,
  normalBytes,
  ZIP64_EXTRA,
  type ZipError
} from "./ZipFormat.ts"

/** What the directory says of one entry. Bytes. */
export interface ZipEntryInfo {
  readonly method: number
  readonly flags: number
  readonly crc: number
  readonly compressedSize: number
  readonly size: number
  /** Of the local header, from the start of the archive. */
  readonly offset: number
  /** Whether it is a symbolic link, whose bytes are the name of another file. */
  readonly link: boolean
}

/** Makes the error for a record; the index knows no path. */
export type Fault = (entry: string, reason: ZipError["reason"], detail: string) => ZipError

/** Characters 128 to 255 of code page 437, which names are in when their UTF-8 flag is not set. */
const CP437 =
  "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"

const fromCp437 = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => (byte < 128 ? String.fromCharCode(byte) : CP437[byte - 128]!)).join("")

const toCp437 = (name: string): Buffer | undefined => {
  const codes = Array.from(name, (char) => {
    const code = char.charCodeAt(0)
    return char.length === 1 && code < 128 ? code : CP437.indexOf(char) < 0 ? -1 : CP437.indexOf(char) + 128
  })
  return codes.includes(-1) ? undefined : Buffer.from(codes)
}

/** FNV-1a with a final mix. */
export const hash = (bytes: Uint8Array, start: number, end: number): number => {
  let h = 0x811c9dc5
  for (let at = start; at < end; at++) h = Math.imul(h ^ bytes[at]!, 0x01000193)
  h ^= h >>> 15
  return Math.imul(h, 0x2c1b3c6d) >>> 0
}

/** A directory of at most 2 GiB, indexed by name. */
export class ZipIndex {
  /** Distinct files. */
  readonly size: number
  /** Whether every file is encrypted; false where there is none. */
  readonly encrypted: boolean
  readonly #directory: Buffer
  /** Where each record begins, in directory order, later duplicates removed. */
  readonly #records: Uint32Array
  /** Open addressing: record number + 1, or 0. */
  readonly #table: Uint32Array
  readonly #mask: number

  /**
   * Checks and indexes `count` records. `dataEnd` is where the entries' bytes end, in bytes from the archive's start.
   * Throws what `fault` makes.
   */
  constructor(directory: Buffer, count: number, dataEnd: number, fault: Fault) {
    this.#directory = directory
    if (count * CENTRAL_BYTES > directory.length) {
      throw fault("", "damaged", `${count} entries do not fit into a directory of ${directory.length} bytes`)
    }
    const bits = Math.max(4, Math.ceil(Math.log2(Math.max(1, count) * 1.5)))
    this.#mask = 2 ** bits - 1
    this.#table = new Uint32Array(2 ** bits)
    this.#records = new Uint32Array(count)
    const starts = new Float64Array(count)
    const ends = new Float64Array(count)
    let files = 0
    let readable = 0
    let all = 0
    let rising = true
    let at = 0
    for (let i = 0; i < count; i++) {
      if (at + CENTRAL_BYTES > directory.length || directory.readUInt32LE(at) !== CENTRAL_HEADER) {
        throw fault("", "damaged", `record ${i} of the directory is damaged`)
      }
      const nameBytes = directory.readUInt16LE(at + 28)
      const next = at + CENTRAL_BYTES + nameBytes + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32)
      if (next > directory.length) throw fault("", "damaged", `record ${i} of the directory leaves it`)
      const info = this.#info(at, fault)
      const end = info.offset + LOCAL_BYTES + nameBytes + info.compressedSize
      if (end > dataEnd) {
        throw fault(this.#name(at), "truncated", `its bytes end at ${end}, the archive's at ${dataEnd}`)
      }
      if (all > 0 && info.offset < ends[all - 1]!) rising = false
      starts[all] = info.offset
      ends[all++] = end
      const isFolder = nameBytes > 0 && directory[at + CENTRAL_BYTES + nameBytes - 1] === 0x2f
      if (!isFolder && (info.flags & FLAG_ENCRYPTED) === 0) readable++
      if (!isFolder && this.#insert(at, this.#normalise(at, nameBytes), files)) files++
      at = next
    }
    if (at + 4 <= directory.length && directory.readUInt32LE(at) === CENTRAL_HEADER) {
      throw fault("", "damaged", `the directory holds more than the ${count} entries that it declares`)
    }
    if (!rising) this.#checkOverlap(starts, ends, fault)
    this.size = files
    this.encrypted = files > 0 && readable === 0
  }

  has(name: string): boolean {
    return this.#find(name) !== undefined
  }

  /** What the directory says of `name`, or `undefined`. Throws what `fault` makes for a damaged record. */
  get(name: string, fault: Fault): ZipEntryInfo | undefined {
    const at = this.#find(name)
    return at === undefined ? undefined : this.#info(at, fault)
  }

  /** Whether `bytes` are the name of that entry as stored. */
  isNamed(name: string, bytes: Uint8Array): boolean {
    const at = this.#find(name)
    if (at === undefined) return false
    const nameBytes = this.#directory.readUInt16LE(at + 28)
    const normal = normalBytes(bytes)
    return this.#directory.compare(normal, 0, normal.length, at + CENTRAL_BYTES, at + CENTRAL_BYTES + nameBytes) === 0
  }

  /** Names in directory order, made as they are asked for. */
  *names(): Generator<string> {
    for (let i = 0; i < this.size; i++) yield this.#name(this.#records[i]!)
  }

  /** Makes the name of the record at `at` normal, in place: what it gets shorter is comment. Gives its length. */
  #normalise(at: number, nameBytes: number): number {
    const directory = this.#directory
    const start = at + CENTRAL_BYTES
    if (!isIrregular(directory, start, start + nameBytes)) return nameBytes
    const name = normalBytes(directory.subarray(start, start + nameBytes))
    const comment = directory.readUInt16LE(at + 32) + nameBytes - name.length
    if (comment > MAX16) return nameBytes
    directory.copyWithin(start + name.length, start + nameBytes, start + nameBytes + directory.readUInt16LE(at + 30))
    directory.set(name, start)
    directory.writeUInt16LE(name.length, at + 28)
    directory.writeUInt16LE(comment, at + 32)
    return name.length
  }

  /** Adds the record at `at` as number `files`; false when it replaced one of the same name. */
  #insert(at: number, nameBytes: number, files: number): boolean {
    const start = at + CENTRAL_BYTES
    let slot = hash(this.#directory, start, start + nameBytes) & this.#mask
    for (;;) {
      const number = this.#table[slot]!
      if (number === 0) {
        this.#table[slot] = files + 1
        this.#records[files] = at
        return true
      }
      if (this.#sameName(this.#records[number - 1]!, this.#directory, start, nameBytes)) {
        this.#records[number - 1] = at
        return false
      }
      slot = (slot + 1) & this.#mask
    }
  }

  #find(name: string): number | undefined {
    const utf8 = Buffer.from(name)
    const found = this.#findBytes(utf8)
    if (found !== undefined || utf8.length === name.length) return found
    const old = toCp437(name)
    return old === undefined ? undefined : this.#findBytes(old)
  }

  #findBytes(bytes: Buffer): number | undefined {
    let slot = hash(bytes, 0, bytes.length) & this.#mask
    for (;;) {
      const number = this.#table[slot]!
      if (number === 0) return undefined
      const at = this.#records[number - 1]!
      if (this.#sameName(at, bytes, 0, bytes.length)) return at
      slot = (slot + 1) & this.#mask
    }
  }

  #sameName(at: number, bytes: Buffer, start: number, length: number): boolean {
    if (this.#directory.readUInt16LE(at + 28) !== length) return false
    const from = at + CENTRAL_BYTES
    for (let i = 0; i < length; i++) if (this.#directory[from + i] !== bytes[start + i]) return false
    return true
  }

  #name(at: number): string {
    const from = at + CENTRAL_BYTES
    const bytes = this.#directory.subarray(from, from + this.#directory.readUInt16LE(at + 28))
    const flagged = (this.#directory.readUInt16LE(at + 8) & FLAG_UTF8) !== 0
    return flagged || isUtf8(bytes) ? bytes.toString("utf8") : fromCp437(bytes)
  }

  /** Reads a record, with its zip64 numbers where the 32-bit ones are full. */
  #info(at: number, fault: Fault): ZipEntryInfo {
    const directory = this.#directory
    let compressedSize = directory.readUInt32LE(at + 20)
    let size = directory.readUInt32LE(at + 24)
    let offset = directory.readUInt32LE(at + 42)
    if (compressedSize === MAX32 || size === MAX32 || offset === MAX32 || directory.readUInt16LE(at + 34) === MAX16) {
      const start = at + CENTRAL_BYTES + directory.readUInt16LE(at + 28)
      const end = start + directory.readUInt16LE(at + 30)
      for (let extra = start; extra + 4 <= end; ) {
        const stop = extra + 4 + directory.readUInt16LE(extra + 2)
        if (stop > end) break
        if (directory.readUInt16LE(extra) === ZIP64_EXTRA) {
          let field = extra + 4
          const next = (): number => {
            if (field + 8 > stop) throw fault(this.#name(at), "damaged", "its zip64 numbers are missing")
            const value = directory.readBigUInt64LE(field)
            field += 8
            if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw fault(this.#name(at), "damaged", `${value} is no size`)
            return Number(value)
          }
          if (size === MAX32) size = next()
          if (compressedSize === MAX32) compressedSize = next()
          if (offset === MAX32) offset = next()
          break
        }
        extra = stop
      }
    }
    // The mode is Unix's where the archive was made there, or on macOS.
    const unix = directory[at + 5] === 3 || directory[at + 5] === 19
    return {
      link: unix && directory.readUInt16LE(at + 40) >>> 12 === 0o12,
      flags: directory.readUInt16LE(at + 8),
      method: directory.readUInt16LE(at + 10),
      crc: directory.readUInt32LE(at + 16),
      compressedSize,
      size,
      offset
    }
  }

  /** The slow way, for directories that are not in file order. */
  #checkOverlap(starts: Float64Array, ends: Float64Array, fault: Fault): void {
    const order = Uint32Array.from(starts, (_, i) => i).sort((a, b) => starts[a]! - starts[b]!)
    for (let i = 1; i < order.length; i++) {
      if (starts[order[i]!]! < ends[order[i - 1]!]!) {
        throw fault("", "overlap", `two entries share bytes at ${starts[order[i]!]}`)
      }
    }
  }
}
