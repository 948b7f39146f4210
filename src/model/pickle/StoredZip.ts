/**
 * Where the records of a zip lie whose entries are stored, as torch writes them: name to place, zip and zip64.
 *
 * Not a zip reader (`src/data/Zip.ts` is one): nothing is inflated, a packed entry is refused. Checksums are not compared,
 * as torch can be told to write none. Source: PKWARE APPNOTE 6.3.10. Units: bytes.
 */
import { torchError } from "./TorchFileError.ts"

/** Reads exactly so many bytes; throws `TorchFileError`. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>

/** An entry: where its local header begins, and how long its bytes are. */
interface Entry {
  readonly header: number
  readonly size: number
}

export interface StoredZip {
  readonly names: () => Iterable<string>
  /** Where an entry's bytes begin and how many they are, its local header checked; undefined when there is none. */
  readonly find: (name: string) => Promise<{ readonly offset: number; readonly size: number } | undefined>
}

const END = 22
const LOCATOR = 20
const END64 = 56
const CENTRAL = 46
const LOCAL = 30
const MAX16 = 0xffff
const MAX32 = 0xffffffff
/** A directory of a hundred thousand tensors has some 10 MB. */
const MAX_DIRECTORY = 64 << 20

const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Finds and reads the directory of a file of `size` bytes. */
export const openStoredZip = async (path: string, size: number, readAt: ReadAt): Promise<StoredZip> => {
  const bad = (message: string) => torchError(path, "damaged", message)
  const number = (bytes: Buffer, at: number): number => {
    const value = bytes.readBigUInt64LE(at)
    if (value > BigInt(size)) throw bad(`the zip names byte ${value} of ${size}`)
    return Number(value)
  }
  const start = Math.max(0, size - END - MAX16 - LOCATOR)
  const tail = buffer(await readAt(start, size - start))
  // The last end record: zeros or a cut comment may lie behind it, as torch itself takes it.
  let end = tail.length - END
  while (end >= 0 && tail.readUInt32LE(end) !== 0x06054b50) end--
  if (end < 0) throw torchError(path, "cut", "begins as a zip and has no zip directory at its end")
  let [count, length, at] = [tail.readUInt16LE(end + 10), tail.readUInt32LE(end + 12), tail.readUInt32LE(end + 16)]
  if (count === MAX16 || length === MAX32 || at === MAX32) {
    if (end < LOCATOR || tail.readUInt32LE(end - LOCATOR) !== 0x07064b50) throw bad("the zip64 locator is missing")
    const record = number(tail, end - LOCATOR + 8)
    if (record + END64 > size) throw bad("the zip64 end record is missing")
    const found = buffer(await readAt(record, END64))
    if (found.readUInt32LE(0) !== 0x06064b50) throw bad("the zip64 end record is missing")
    ;[count, length, at] = [number(found, 32), number(found, 40), number(found, 48)]
  }
  if (length > MAX_DIRECTORY) throw torchError(path, "too-large", `a zip directory of ${length} bytes`)
  if (at + length > size || count * CENTRAL > length) throw bad(`${count} entries do not fit the zip's directory`)
  const directory = buffer(await readAt(at, length))
  const entries = new Map<string, Entry>()
  for (let i = 0, place = 0; i < count; i++) {
    if (place + CENTRAL > length || directory.readUInt32LE(place) !== 0x02014b50)
      throw bad(`record ${i} of the zip's directory is damaged`)
    const nameEnd = place + CENTRAL + directory.readUInt16LE(place + 28)
    const extraEnd = nameEnd + directory.readUInt16LE(place + 30)
    const next = extraEnd + directory.readUInt16LE(place + 32)
    if (next > length) throw bad(`record ${i} leaves the zip's directory`)
    const name = directory.toString("utf8", place + CENTRAL, nameEnd)
    let [packed, bytes, header] = [20, 24, 42].map((field) => directory.readUInt32LE(place + field)) as [
      number,
      number,
      number
    ]
    for (let extra = nameEnd; extra + 4 <= extraEnd; ) {
      const stop = extra + 4 + directory.readUInt16LE(extra + 2)
      if (stop > extraEnd) break
      if (directory.readUInt16LE(extra) === 0x0001) {
        let field = extra + 4
        const wide = (): number => {
          if (field + 8 > stop) throw bad(`${name} lacks its zip64 numbers`)
          field += 8
          return number(directory, field - 8)
        }
        if (bytes === MAX32) bytes = wide()
        if (packed === MAX32) packed = wide()
        if (header === MAX32) header = wide()
      }
      extra = stop
    }
    if (directory.readUInt16LE(place + 10) !== 0 || packed !== bytes || (directory.readUInt16LE(place + 8) & 1) !== 0)
      throw torchError(path, "not-torch", `${name} is packed or encrypted, which torch never writes`)
    if (entries.has(name)) throw bad(`${name} is in the zip twice`)
    if (header + LOCAL + bytes > at) throw torchError(path, "cut", `${name} ends behind the zip's data`)
    entries.set(name, { header, size: bytes })
    place = next
  }
  return {
    names: () => entries.keys(),
    find: async (name) => {
      const entry = entries.get(name)
      if (entry === undefined) return undefined
      const local = buffer(await readAt(entry.header, LOCAL))
      if (local.readUInt32LE(0) !== 0x04034b50) throw bad(`${name} has no local header`)
      const offset = entry.header + LOCAL + local.readUInt16LE(26) + local.readUInt16LE(28)
      if (offset + entry.size > at) throw torchError(path, "cut", `${name} ends behind the zip's data`)
      return { offset, size: entry.size }
    }
  }
}
