/**
 * The pages of one column chunk, one after the other: levels and decoded values.
 *
 * Not an assembler of rows. Memory: one page, its compressed bytes, the chunk's dictionary, and a read buffer of 1 MiB.
 * Data pages of versions 1 and 2, in every encoding that the format has.
 */
import { crc32 } from "node:zlib"
import type { ColumnMetaData, DecodedArray, PageHeader } from "hyparquet"
import { missing } from "../dag/Missing.ts"
import { type Tally, ThriftEnds, thriftEnd } from "./ParquetBounds.ts"
import { decompress } from "./ParquetCodec.ts"
import { CellFault, damaged, ParquetFault } from "./ParquetError.ts"
import type { OpenFile } from "./ParquetFile.ts"
import { readHybrid, readLevels } from "./ParquetLevels.ts"
import type { Leaf } from "./ParquetShape.ts"
import { type Decode, isText, textOf } from "./ParquetValue.ts"

const { parquetHeader } = await import("hyparquet/src/column.js").catch(missing("hyparquet"))
const { readPlain } = await import("hyparquet/src/plain.js").catch(missing("hyparquet"))
const { byteStreamSplit } = await import("hyparquet/src/encoding.js").catch(missing("hyparquet"))
const { readVarInt } = await import("hyparquet/src/thrift.js").catch(missing("hyparquet"))
const { deltaBinaryUnpack, deltaByteArray, deltaLengthByteArray } = await import("hyparquet/src/delta.js").catch(
  missing("hyparquet")
)

/**
 * Levels of a page (left out where they are all 0, or where the column can neither be null nor repeat) and its values.
 */
export interface Page {
  readonly levels: number
  readonly reps: Uint8Array | undefined
  readonly defs: Uint8Array | undefined
  /** Those that are there: nulls have a level and no value. */
  readonly values: ReadonlyArray<unknown>
  /** There may be a `BadCell` among them. */
  readonly bad: boolean
  /** Bytes of the page as it lies in memory. */
  readonly bytes: number
  /** Bytes that the tally holds for it. */
  readonly held: number
}

/** Stands in place of a value that its bytes do not stand for. */
export class BadCell {
  readonly fault: CellFault

  constructor(fault: CellFault) {
    this.fault = fault
  }
}

const READ = 1 << 20
/** What a value that is there takes at least, in an array of values and beside it; and two levels. */
const VALUE_BYTES = 16
const LEVEL_BYTES = 2
/** A header holds two bounds of the page, which may be long texts. */
const MAX_HEADER = 1 << 24
/** Values of one page at most. */
const MAX_VALUES = 1 << 26

export class ColumnPages {
  readonly #file: OpenFile
  readonly #leaf: Leaf
  readonly #meta: ColumnMetaData
  readonly #decode: Decode
  readonly #end: number
  #at: number
  #window: Buffer = Buffer.alloc(0)
  #windowAt = 0
  #dictionary: ReadonlyArray<unknown> | undefined
  #badDictionary = false
  #bad = false
  /** What the tally holds for the dictionary. */
  #held = 0
  readonly #tally: Tally

  constructor(file: OpenFile, leaf: Leaf, meta: ColumnMetaData, decode: Decode, tally: Tally) {
    this.#tally = tally
    const first = Number(meta.data_page_offset)
    const dictionary = meta.dictionary_page_offset === undefined ? 0 : Number(meta.dictionary_page_offset)
    this.#file = file
    this.#leaf = leaf
    this.#meta = meta
    this.#decode = decode
    this.#at = dictionary > 0 && dictionary < first ? dictionary : first
    this.#end = this.#at + Number(meta.total_compressed_size)
    if (!(this.#at >= 4 && this.#end <= file.size))
      throw damaged(`its bytes ${this.#at} to ${this.#end} are not there`, leaf.path)
  }

  /** The next data page, or undefined after the last one; whoever lets it go says so to the tally. */
  async next(): Promise<Page | undefined> {
    while (this.#at < this.#end) {
      const header = await this.#header()
      const size = header.compressed_page_size
      if (!(size >= 0 && this.#at + size <= this.#end)) throw damaged(`a page of ${size} bytes leaves its chunk`)
      const bytes = await this.#take(size)
      this.#at += size
      if (header.crc !== undefined && crc32(bytes) !== header.crc >>> 0) throw damaged("a page fails its checksum")
      if (header.type === "DICTIONARY_PAGE") this.#dictionary = this.#readDictionary(header, bytes)
      else if (header.type === "DATA_PAGE") return this.#readV1(header, bytes)
      else if (header.type === "DATA_PAGE_V2") return this.#readV2(header, bytes)
      // Index pages hold nothing that rows need.
    }
    return undefined
  }

  /** The chunk is read: its dictionary is let go. */
  close(): void {
    this.#tally.release(this.#held)
    this.#held = 0
    this.#dictionary = undefined
  }

  async #take(length: number): Promise<Buffer> {
    const from = this.#at - this.#windowAt
    if (from >= 0 && from + length <= this.#window.byteLength) return this.#window.subarray(from, from + length)
    this.#window = await this.#file.read(this.#at, Math.min(Math.max(length, READ), this.#end - this.#at))
    this.#windowAt = this.#at
    return this.#window.subarray(0, length)
  }

  async #header(): Promise<PageHeader> {
    const left = Math.min(this.#end - this.#at, MAX_HEADER)
    for (let want = Math.min(left, 1 << 12); ; want = Math.min(left, want * 16)) {
      const bytes = await this.#take(want)
      try {
        thriftEnd(bytes, 0)
      } catch (cause) {
        if (cause instanceof ThriftEnds && want < left) continue
        throw cause
      }
      const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 }
      const header = parquetHeader(reader)
      this.#at += reader.offset
      return header
    }
  }

  #readDictionary(header: PageHeader, compressed: Buffer): ReadonlyArray<unknown> {
    const of = header.dictionary_page_header
    if (of === undefined) throw damaged("a dictionary page without its header")
    const size = checkedSize(header.uncompressed_page_size)
    const count = checkedCount(of.num_values)
    if (this.#dictionary !== undefined) throw damaged("a second dictionary")
    this.#tally.unpacks(size)
    this.#tally.values(count)
    this.#held = size + count * VALUE_BYTES
    this.#tally.holds(this.#held)
    const values = this.#plain(decompress(this.#meta.codec, compressed, size), 0, count)
    this.#badDictionary = this.#bad
    return values
  }

  #readV1(header: PageHeader, compressed: Buffer): Page {
    const of = header.data_page_header
    if (of === undefined) throw damaged("a data page without its header")
    const { def, rep } = this.#leaf
    const levels = checkedCount(of.num_values)
    const size = checkedSize(header.uncompressed_page_size)
    this.#claim(size, levels)
    const bytes = decompress(this.#meta.codec, compressed, size)
    let at = 0
    const lengthed = (max: number, encoding: string): Uint8Array | undefined => {
      if (max === 0) return undefined
      if (encoding !== "RLE") throw new ParquetFault("unsupported", `levels in encoding ${encoding} are not read`)
      if (at + 4 > bytes.byteLength) throw damaged("a page ends inside of its levels")
      const end = at + 4 + bytes.readUInt32LE(at)
      const read = readLevels(bytes, at + 4, end, max, levels)
      at = end
      return read
    }
    const reps = lengthed(rep, of.repetition_level_encoding)
    const defs = lengthed(def, of.definition_level_encoding)
    return this.#page(levels, reps, defs, bytes, at, of.encoding)
  }

  #readV2(header: PageHeader, whole: Buffer): Page {
    const of = header.data_page_header_v2
    if (of === undefined) throw damaged("a data page without its header")
    const levels = checkedCount(of.num_values)
    const repBytes = of.repetition_levels_byte_length
    const valuesAt = repBytes + of.definition_levels_byte_length
    if (!(repBytes >= 0 && valuesAt >= repBytes && valuesAt <= whole.byteLength)) throw damaged("levels leave a page")
    const size = checkedSize(header.uncompressed_page_size - valuesAt)
    this.#claim(size, levels)
    const { def, rep } = this.#leaf
    const reps = rep === 0 ? undefined : readLevels(whole, 0, repBytes, rep, levels)
    const defs = def === 0 ? undefined : readLevels(whole, repBytes, valuesAt, def, levels)
    const codec = of.is_compressed === false ? "UNCOMPRESSED" : this.#meta.codec
    const bytes = decompress(codec, whole.subarray(valuesAt), size)
    return this.#page(levels, reps, defs, bytes, 0, of.encoding)
  }

  #claim(size: number, levels: number): void {
    this.#tally.unpacks(size)
    this.#tally.values(levels)
    this.#tally.holds(size + LEVEL_BYTES * levels)
  }

  #page(
    levels: number,
    reps: Uint8Array | undefined,
    defs: Uint8Array | undefined,
    bytes: Buffer,
    at: number,
    encoding: string
  ): Page {
    let count = levels
    if (defs !== undefined) {
      const { def } = this.#leaf
      count = 0
      for (let i = 0; i < levels; i++) if (defs[i] === def) count++
    }
    this.#bad = false
    this.#tally.holds(count * VALUE_BYTES)
    const held = bytes.byteLength + LEVEL_BYTES * levels + count * VALUE_BYTES
    const values = this.#values(bytes, at, count, encoding)
    return { levels, reps, defs, values, bad: this.#bad, bytes: bytes.byteLength, held }
  }

  #values(bytes: Buffer, at: number, count: number, encoding: string): ReadonlyArray<unknown> {
    if (count === 0) return []
    const { element } = this.#leaf
    const { type, type_length } = element
    const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: at }
    switch (encoding) {
      case "PLAIN":
        return this.#plain(bytes, at, count)
      case "PLAIN_DICTIONARY":
      case "RLE_DICTIONARY":
        return this.#looked(bytes, at, count)
      case "RLE": {
        if (type !== "BOOLEAN" || at + 4 > bytes.byteLength) throw damaged(`a page of ${type} in encoding RLE`)
        const end = at + 4 + bytes.readUInt32LE(at)
        return Array.from(readLevels(bytes, at + 4, end, 1, count), (bit) => bit === 1)
      }
      case "BYTE_STREAM_SPLIT":
        this.#mustHold(bytes, at, count)
        return this.#decoded(byteStreamSplit(reader, count, type!, type_length))
      case "DELTA_BINARY_PACKED": {
        checkDelta(bytes, at)
        const out = type === "INT32" ? new Int32Array(count) : new BigInt64Array(count)
        deltaBinaryUnpack(reader, count, out)
        return this.#decoded(out)
      }
      case "DELTA_LENGTH_BYTE_ARRAY":
      case "DELTA_BYTE_ARRAY": {
        checkDelta(bytes, at)
        const out: Array<Uint8Array> = new Array(count)
        if (encoding === "DELTA_BYTE_ARRAY") this.#tally.unpacks(prefixBytes(bytes, at, count))
        if (encoding === "DELTA_BYTE_ARRAY") deltaByteArray(reader, count, out)
        else deltaLengthByteArray(reader, count, out)
        if (reader.offset > bytes.byteLength) throw damaged("values leave their page")
        return this.#decoded(out)
      }
      default:
        throw new ParquetFault("unsupported", `encoding ${encoding} is not read`)
    }
  }

  #plain(bytes: Buffer, at: number, count: number): ReadonlyArray<unknown> {
    if (count === 0) return []
    if (this.#meta.type === "BYTE_ARRAY") return this.#plainSpans(bytes, at, count)
    this.#mustHold(bytes, at, count)
    const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: at }
    const stored = readPlain(reader, this.#meta.type, count, this.#leaf.element.type_length)
    if (reader.offset > bytes.byteLength) throw damaged("values leave their page")
    return this.#decoded(stored)
  }

  /** Values of their own lengths; texts are made from the page itself, which is most of the time a reader spends. */
  #plainSpans(bytes: Buffer, from: number, count: number): ReadonlyArray<unknown> {
    if (count > (bytes.byteLength - from) / 4) throw damaged("values leave their page")
    const text = isText(this.#leaf)
    const decode = this.#decode as (stored: Uint8Array) => unknown
    let at = from
    return this.#each(count, () => {
      if (at + 4 > bytes.byteLength) throw damaged("values leave their page")
      const start = at + 4
      at = start + bytes.readUInt32LE(at)
      if (at > bytes.byteLength) throw damaged("values leave their page")
      return text ? textOf(bytes, start, at) : decode(bytes.subarray(start, at))
    })
  }

  #looked(bytes: Buffer, at: number, count: number): ReadonlyArray<unknown> {
    const dictionary = this.#dictionary
    if (dictionary === undefined) throw damaged("a page refers to a dictionary that is not there")
    if (at >= bytes.byteLength) throw damaged("values leave their page")
    const width = bytes[at]!
    this.#bad = this.#badDictionary
    const out: Array<unknown> = new Array(count)
    const indices = new Int32Array(count)
    if (width > 0) readHybrid(bytes, at + 1, bytes.byteLength, width, indices)
    for (let i = 0; i < count; i++) {
      const index = indices[i]!
      if (index >= dictionary.length) throw damaged(`entry ${index} of a dictionary of ${dictionary.length}`)
      out[i] = dictionary[index]
    }
    return out
  }

  #decoded(stored: DecodedArray): ReadonlyArray<unknown> {
    const decode = this.#decode as (value: unknown) => unknown
    return this.#each(stored.length, (i) => decode(stored[i]))
  }

  /** Makes values one by one; what stands for none is a `BadCell`, and the others are made. */
  #each(count: number, make: (i: number) => unknown): ReadonlyArray<unknown> {
    const out: Array<unknown> = new Array(count)
    for (let i = 0; ; ) {
      try {
        for (; i < count; i++) out[i] = make(i)
        return out
      } catch (cause) {
        if (!(cause instanceof CellFault)) throw cause
        out[i++] = new BadCell(cause)
        this.#bad = true
      }
    }
  }

  /** Values of a fixed size must be there before room is made for them. */
  #mustHold(bytes: Buffer, at: number, count: number): void {
    const bits = BITS[this.#meta.type] ?? 8 * (this.#leaf.element.type_length ?? 0)
    if (bits < 1 || (count * bits) / 8 > bytes.byteLength - at) throw damaged("values leave their page")
  }
}

const BITS: Readonly<Record<string, number | undefined>> = {
  BOOLEAN: 1,
  INT32: 32,
  FLOAT: 32,
  INT64: 64,
  DOUBLE: 64,
  INT96: 96
}

/**
 * Blocks and miniblocks of the DELTA encodings: the library asks for room for as many as are claimed, in every block.
 */
const checkDelta = (bytes: Buffer, at: number): void => {
  const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: at }
  const block = readVarInt(reader)
  const minis = readVarInt(reader)
  if (!(block > 0 && block <= 1 << 20 && minis > 0 && minis <= 1 << 10 && block % minis === 0))
    throw damaged(`blocks of ${block} values in ${minis} parts`)
}

/**
 * Bytes that the values of a page repeat of the ones before them: a page of some bytes may unfold to any size by it.
 */
const prefixBytes = (bytes: Buffer, at: number, count: number): number => {
  const lengths = new Int32Array(count)
  deltaBinaryUnpack(
    { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: at },
    count,
    lengths
  )
  let sum = 0
  for (const length of lengths) {
    if (length < 0) throw damaged("a prefix of fewer bytes than none")
    sum += length
  }
  return sum
}

/** A page larger than this is not read: writers cut at 1 MiB, and one value may be larger. */
const MAX_PAGE = 1 << 30

const checkedSize = (bytes: number): number => {
  if (!(bytes >= 0 && bytes <= MAX_PAGE)) throw damaged(`a page of ${bytes} bytes cannot be`)
  return bytes
}

const checkedCount = (count: number): number => {
  if (!(count >= 0 && count <= MAX_VALUES)) throw damaged(`a page of ${count} values cannot be`)
  return count
}
