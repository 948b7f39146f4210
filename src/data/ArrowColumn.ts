/**
 * The columns that an Arrow shard can have: how values become Arrow data, and how bytes become values again.
 *
 * Not a shard and no I/O. No column is nullable: what may be absent goes into a `json` column.
 *
 * Layout: Arrow columnar format 1.5. `data`, `offsets` are indices into the column's own buffers, validity first.
 */
import { isUtf8 } from "node:buffer"
import type { Data as ColumnData, DataType, Float32 as Float32Type, Int32 as Int32Type } from "apache-arrow"
import { missing } from "../dag/Missing.ts"

const { Bool, BufferType, Data, Field, FixedSizeBinary, FixedSizeList, Float32, Float64, Int32, List, makeData, Utf8 } =
  await import("apache-arrow").catch(missing("apache-arrow"))

/** A value that its column cannot hold, or bytes that are no such value. */
export class ColumnError extends Error {
  override readonly name = "ColumnError"
}

/** Where a column's values lie: so many bytes each, one bit each, or between offsets in units of so many bytes. */
export type ColumnLayout =
  | { readonly kind: "fixed"; readonly data: number; readonly width: number }
  | { readonly kind: "bits"; readonly data: number }
  | { readonly kind: "spans"; readonly offsets: number; readonly data: number; readonly unit: number }

/** One column type. `T` is what a row holds. */
export interface Column<T> {
  /** Canonical name, as read back from a file's schema. */
  readonly name: string
  readonly type: DataType
  readonly layout: ColumnLayout
  /** Arrow buffers and field nodes of the column, children included. */
  readonly buffers: number
  readonly nodes: number
  /** All values of a batch; wide ones as `RowsApart`. Throws `ColumnError` naming the row. */
  readonly encode: (values: ReadonlyArray<T>) => ColumnData
  /** One value from its bytes (for `bits`: one byte, 0 or 1), which may be aliased. Throws `ColumnError`. */
  readonly decode: (bytes: Uint8Array) => T
}

/** Bytes of one buffer at most: offsets are int32, and a record batch past 2 GiB is refused by readers. */
export const MAX_BATCH_BYTES = 2 ** 30

const bounded = (bytes: number): number => {
  if (bytes <= MAX_BATCH_BYTES) return bytes
  throw new ColumnError(`${bytes} bytes in one batch are more than ${MAX_BATCH_BYTES}; append smaller batches`)
}

const fail = (row: number, expected: string, value: unknown): never => {
  const shown = typeof value === "string" ? JSON.stringify(value.slice(0, 40)) : String(value).slice(0, 40)
  throw new ColumnError(`row ${row} of the batch: expected ${expected}, got ${typeof value} ${shown}`)
}

/** A view on whole 4-byte values, aliased where aligned. */
const words = (bytes: Uint8Array): Uint8Array => (bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes))

const text = (bytes: Uint8Array): string => {
  if (!isUtf8(bytes)) throw new ColumnError("bytes are not UTF-8")
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8")
}

const encodeTexts = (values: ReadonlyArray<string>): ColumnData => {
  const valueOffsets = new Int32Array(values.length + 1)
  let total = 0
  for (let row = 0; row < values.length; row++) {
    const value = values[row]
    if (typeof value !== "string") fail(row, "a string", value)
    total = bounded(total + Buffer.byteLength(value!, "utf8"))
    valueOffsets[row + 1] = total
  }
  const data = Buffer.allocUnsafeSlow(total)
  for (let row = 0; row < values.length; row++) data.write(values[row]!, valueOffsets[row]!, "utf8")
  return makeData({ type: new Utf8(), length: values.length, nullCount: 0, valueOffsets, data })
}

/** UTF-8 text. A lone surrogate is written as U+FFFD, as every UTF-8 encoder does. */
export const utf8: Column<string> = {
  name: "utf8",
  type: new Utf8(),
  layout: { kind: "spans", offsets: 1, data: 2, unit: 1 },
  buffers: 3,
  nodes: 1,
  encode: encodeTexts,
  decode: text
}

/** Any JSON value, as UTF-8 text. `undefined`, functions and cycles are errors; a lone surrogate survives. */
export const json: Column<unknown> = {
  ...utf8,
  encode: (values) =>
    encodeTexts(
      values.map((value, row) => {
        try {
          return JSON.stringify(value) ?? fail(row, "a JSON value", value)
        } catch (cause) {
          throw cause instanceof ColumnError ? cause : new ColumnError(`row ${row} of the batch: ${String(cause)}`)
        }
      })
    ),
  decode: (bytes) => {
    try {
      return JSON.parse(text(bytes))
    } catch (cause) {
      throw cause instanceof ColumnError ? cause : new ColumnError(`bytes are not JSON: ${String(cause)}`)
    }
  }
}

const dataView = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const isInt32 = (value: unknown): value is number => typeof value === "number" && (value | 0) === value

const isNumber = (value: unknown): value is number => typeof value === "number"

const numbers = <V extends Int32Array | Float32Array | Float64Array>(
  values: ReadonlyArray<number>,
  into: V,
  expected: string,
  accepts: (value: unknown) => boolean
): V => {
  for (let row = 0; row < values.length; row++) {
    const value = values[row]!
    if (!accepts(value)) fail(row, expected, value)
    into[row] = value
  }
  return into
}

/** A 32-bit signed integer. */
export const int32: Column<number> = {
  name: "int32",
  type: new Int32(),
  layout: { kind: "fixed", data: 1, width: 4 },
  buffers: 2,
  nodes: 1,
  encode: (values) =>
    makeData({
      type: new Int32(),
      length: values.length,
      nullCount: 0,
      data: numbers(values, new Int32Array(values.length), "a 32-bit integer", isInt32)
    }),
  decode: (bytes) => dataView(bytes).getInt32(0, true)
}

/** A 32-bit float: what is stored is `Math.fround(value)`. */
export const float32: Column<number> = {
  name: "float32",
  type: new Float32(),
  layout: { kind: "fixed", data: 1, width: 4 },
  buffers: 2,
  nodes: 1,
  encode: (values) =>
    makeData({
      type: new Float32(),
      length: values.length,
      nullCount: 0,
      data: numbers(values, new Float32Array(values.length), "a number", isNumber)
    }),
  decode: (bytes) => dataView(bytes).getFloat32(0, true)
}

/** A 64-bit float: any JavaScript number. */
export const float64: Column<number> = {
  name: "float64",
  type: new Float64(),
  layout: { kind: "fixed", data: 1, width: 8 },
  buffers: 2,
  nodes: 1,
  encode: (values) =>
    makeData({
      type: new Float64(),
      length: values.length,
      nullCount: 0,
      data: numbers(values, new Float64Array(values.length), "a number", isNumber)
    }),
  decode: (bytes) => dataView(bytes).getFloat64(0, true)
}

/** True or false, a bit each. */
export const bool: Column<boolean> = {
  name: "bool",
  type: new Bool(),
  layout: { kind: "bits", data: 1 },
  buffers: 2,
  nodes: 1,
  encode: (values) => {
    const data = new Uint8Array((values.length + 7) >> 3)
    for (let row = 0; row < values.length; row++) {
      const value = values[row]
      if (typeof value !== "boolean") fail(row, "true or false", value)
      if (value === true) data[row >> 3]! |= 1 << (row & 7)
    }
    return makeData({ type: new Bool(), length: values.length, nullCount: 0, data })
  },
  decode: (bytes) => bytes[0] === 1
}

const checkWidth = (bytes: number, what: string): void => {
  if (Number.isInteger(bytes) && bytes >= 1 && bytes <= MAX_BATCH_BYTES) return
  throw new ColumnError(`${what} must be an integer of 1 or more whose bytes fit into ${MAX_BATCH_BYTES}`)
}

/**
 * Wide values of one batch, which are written from where they lie: to copy 21 MB of pixels costs more than to write
 * them, and memory of that size makes V8 collect its heap. Stands where apache-arrow has a typed array; its writer asks
 * for the length and a `subarray`, and passes it on.
 */
export class RowsApart {
  readonly rows: ReadonlyArray<Uint8Array>
  readonly byteLength: number

  constructor(rows: ReadonlyArray<Uint8Array>, byteLength: number) {
    this.rows = rows
    this.byteLength = byteLength
  }

  subarray(): this {
    return this
  }

  /** Column data of so many values. */
  as<T extends DataType>(type: T, length: number): ColumnData<T> {
    return new Data(type, 0, length, 0, { [BufferType.DATA]: this as never })
  }
}

/**
 * Exactly `width` bytes a row, for example 336 * 336 * 3 pixels. Rows are not copied: leave them alone until they are
 * written.
 */
export const fixedBytes = (width: number): Column<Uint8Array> => {
  checkWidth(width, "the width of fixedBytes")
  const type = new FixedSizeBinary(width)
  return {
    name: `fixedBytes(${width})`,
    type,
    layout: { kind: "fixed", data: 1, width },
    buffers: 2,
    nodes: 1,
    encode: (values) => {
      const size = bounded(values.length * width)
      for (let row = 0; row < values.length; row++) {
        const value = values[row]
        if (!(value instanceof Uint8Array)) fail(row, `${width} bytes`, value)
        if (value!.length !== width) fail(row, `${width} bytes`, `${value!.length} bytes`)
      }
      return new RowsApart(values, size).as(type, values.length)
    },
    decode: (bytes) => bytes
  }
}

/** Exactly `count` 32-bit floats a row, for example an image's features. Not copied, as with `fixedBytes`. */
export const fixedFloats = (count: number): Column<Float32Array> => {
  const width = count * 4
  checkWidth(width, "the count of fixedFloats")
  const type = new FixedSizeList(count, new Field("item", new Float32(), false))
  return {
    name: `fixedFloats(${count})`,
    type,
    layout: { kind: "fixed", data: 2, width },
    buffers: 3,
    nodes: 2,
    encode: (values) => {
      const size = bounded(values.length * width)
      const rows = values.map((value, row) => {
        if (!(value instanceof Float32Array)) fail(row, `${count} floats`, value)
        if (value.length !== count) fail(row, `${count} floats`, `${value.length} floats`)
        return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
      })
      const child = new RowsApart(rows, size).as(new Float32(), values.length * count)
      return makeData({ type, length: values.length, nullCount: 0, child })
    },
    decode: (bytes) => {
      const aligned = words(bytes)
      return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 2)
    }
  }
}

const listColumn = <A extends Int32Type | Float32Type, T extends Int32Array | Float32Array>(
  item: A,
  itemName: "int32" | "float32",
  make: (length: number) => T,
  childOf: (data: T) => ColumnData<A>,
  view: (buffer: ArrayBufferLike, at: number, length: number) => T,
  isList: (value: unknown) => boolean
): Column<T> => {
  const type = new List(new Field("item", item, false))
  return {
    name: `list(${itemName})`,
    type,
    layout: { kind: "spans", offsets: 1, data: 3, unit: 4 },
    buffers: 4,
    nodes: 2,
    encode: (values) => {
      const valueOffsets = new Int32Array(values.length + 1)
      for (let row = 0; row < values.length; row++) {
        const value = values[row]
        if (!isList(value)) fail(row, itemName === "int32" ? "an Int32Array" : "a Float32Array", value)
        valueOffsets[row + 1] = bounded((valueOffsets[row]! + value!.length) * 4) >> 2
      }
      const data = make(valueOffsets[values.length]!)
      for (let row = 0; row < values.length; row++) data.set(values[row]!, valueOffsets[row]!)
      return makeData({ type, length: values.length, nullCount: 0, valueOffsets, child: childOf(data) })
    },
    decode: (bytes) => {
      const aligned = words(bytes)
      return view(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 2)
    }
  }
}

/** A list of any length, as a typed array. */
export function list(item: "int32"): Column<Int32Array>
export function list(item: "float32"): Column<Float32Array>
export function list(item: "int32" | "float32"): Column<Int32Array> | Column<Float32Array> {
  return item === "int32"
    ? listColumn<Int32Type, Int32Array>(
        new Int32(),
        item,
        (length) => new Int32Array(length),
        (data) => makeData({ type: new Int32(), length: data.length, nullCount: 0, data }),
        (buffer, at, length) => new Int32Array(buffer, at, length),
        (value) => value instanceof Int32Array
      )
    : listColumn<Float32Type, Float32Array>(
        new Float32(),
        item,
        (length) => new Float32Array(length),
        (data) => makeData({ type: new Float32(), length: data.length, nullCount: 0, data }),
        (buffer, at, length) => new Float32Array(buffer, at, length),
        (value) => value instanceof Float32Array
      )
}
