/**
 * What a Parquet file may cost, by the bytes that it really has: its own counts and sizes are claims.
 *
 * Not a limit of a disk or a cache. A run of a million equal values takes 20 bytes, so some ratio must be allowed; a
 * real file comes nowhere near these. What passes a bound is a typed error; a single row that does is refused, and read
 * past.
 */
import { damaged, ParquetFault } from "./ParquetError.ts"

export interface ParquetBounds {
  /** Values (nulls among them) that all columns together may have for each byte of the file; 4 million are free. */
  readonly valuesPerByte: number
  /** Decompressed bytes for each byte of the file; 64 MiB are free. */
  readonly unpackedPerByte: number
  /** Bytes of pages that all columns together may hold in memory at once. */
  readonly heldBytes: number
  /** Values of one column in one row; a row with more is refused. */
  readonly rowValues: number
}

/**
 * pyarrow's column of a million equal values: 4,200 values a byte, and nothing else is in the file. gzip unpacks 1,032
 * bytes from one at most; of zstd's and brotli's pages only what is made of one byte goes further.
 */
export const defaultBounds: ParquetBounds = {
  valuesPerByte: 8192,
  unpackedPerByte: 1024,
  heldBytes: 2 ** 31,
  rowValues: 2 ** 20
}

const FREE_VALUES = 2 ** 22
const FREE_BYTES = 2 ** 26
/** Held at once: 14 columns of a million short values. */
const FREE_HELD = 2 ** 28

const hint =
  "No writer makes such a file of real data. If yours does, read fewer columns, or write it again with smaller pages."

/** What was taken so far of what a file may cost. One a file and reading. */
export class Tally {
  readonly bounds: ParquetBounds
  readonly #size: number
  #values = 0
  #unpacked = 0
  #held = 0

  constructor(size: number, bounds: Partial<ParquetBounds> = {}) {
    this.#size = size
    this.bounds = { ...defaultBounds, ...bounds }
  }

  #check(what: string, sum: number, most: number): void {
    if (sum <= most) return
    const [found, allowed, size] = [sum, most, this.#size].map((n) => Math.floor(n).toLocaleString("en"))
    throw new ParquetFault("too-large", `${what} ${found}, more than the ${allowed} for ${size} bytes`, { hint })
  }

  /** Before a page is decoded: so many values, nulls among them. */
  values(count: number): void {
    this.#values += count
    this.#check("the values of its pages are", this.#values, FREE_VALUES + this.#size * this.bounds.valuesPerByte)
  }

  /** Before a page is decompressed, or grows in another way: so many bytes. */
  unpacks(bytes: number): void {
    this.#unpacked += bytes
    this.#check("the bytes of its pages are", this.#unpacked, FREE_BYTES + this.#size * this.bounds.unpackedPerByte)
  }

  /** Before room is made: so many bytes of memory, until they are released. */
  holds(bytes: number): void {
    this.#held += bytes
    const most = Math.min(this.bounds.heldBytes, FREE_HELD + this.#size * this.bounds.unpackedPerByte)
    this.#check("the bytes of its columns in memory are", this.#held, most)
  }

  release(bytes: number): void {
    this.#held -= bytes
  }
}

/** Structs within structs; a footer has five. */
const DEEPEST = 24
/** Bytes of a 64-bit number at most. */
const VARINT = 10

const [STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, , , STRUCT] = Array.from(
  { length: 13 },
  (_, i) => i
)

/** The bytes end inside of the struct: it may go on behind them. */
export class ThriftEnds extends Error {
  override readonly name = "ThriftEnds"
}

/**
 * Walks a struct of Thrift's compact protocol without making anything, and gives the byte behind it. The library that
 * makes objects of it believes lengths: a list of five bytes claims two billion items, and is given room for them.
 */
export const thriftEnd = (bytes: Uint8Array, from: number): number => {
  let at = from
  const next = (): number => {
    if (at >= bytes.length) throw new ThriftEnds("ends inside of a struct")
    return bytes[at++]!
  }
  const varint = (): number => {
    let value = 0
    for (let i = 0; i < VARINT; i++) {
      const byte = next()
      value += (byte & 127) * 128 ** i
      if (byte < 128) return value
    }
    throw damaged("a number of more than 64 bits")
  }
  const skip = (length: number): void => {
    if (length > bytes.length - at) throw new ThriftEnds(`a length of ${length}`)
    at += length
  }
  const element = (type: number, depth: number): void => {
    if (type === BYTE) skip(1)
    else if (type === I16 || type === I32 || type === I64) varint()
    else if (type === DOUBLE) skip(8)
    else if (type === BINARY) skip(varint())
    else if (type === STRUCT) struct(depth + 1)
    else if (type === LIST) {
      if (depth > DEEPEST) throw damaged(`its structs are nested deeper than ${DEEPEST} levels`)
      const head = next()
      const item = head & 15
      const count = head >> 4 === 15 ? varint() : head >> 4
      // Every item takes a byte.
      if (count > bytes.length - at) throw new ThriftEnds(`a list of ${count}`)
      for (let i = 0; i < count; i++) element(item === TRUE || item === FALSE ? BYTE! : item, depth + 1)
    } else if (type !== TRUE && type !== FALSE) throw damaged(`a field of type ${type}`)
  }
  const struct = (depth: number): void => {
    if (depth > DEEPEST) throw damaged(`its structs are nested deeper than ${DEEPEST} levels`)
    for (;;) {
      const head = next()
      if ((head & 15) === STOP) return
      if (head >> 4 === 0) varint()
      element(head & 15, depth)
    }
  }
  struct(0)
  return at
}
