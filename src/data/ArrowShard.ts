/**
 * Rows as Arrow IPC files: a `ShardFormat` of declared, typed columns, with rows that are read by number.
 *
 * Not a table: one record batch per appended batch, uncompressed, no dictionaries, no nulls; other Arrow readers open
 * it. Equal rows in equal batches give equal bytes. apache-arrow lays out what is written; reading is our own, because
 * its reader loads whole batches and trusts lengths.
 *
 * Memory: the encoder holds one batch; the reader keeps offsets and narrow columns of the batches it has visited, at
 * most 64 MiB, and reads everything else by range. Rows may alias the bytes read: copy before mutating.
 */
import type { Schema as ArrowSchema } from "apache-arrow"
import { Effect, Stream } from "effect"
import {
  type RandomAccess,
  type ShardEncoder,
  type ShardFormat,
  ShardFormatError,
  type ShardReader
} from "../dag/Format.ts"
import { missing } from "../dag/Missing.ts"
import { bool, type Column, float32, float64, int32, json, MAX_BATCH_BYTES, RowsApart, utf8 } from "./ArrowColumn.ts"
import { type AnyColumn, type BatchPlace, damaged, guarded, openArrowFile } from "./ArrowFile.ts"

const { Data, Field, Message, RecordBatch, RecordBatchFileWriter, Schema, Struct } = await import("apache-arrow").catch(
  missing("apache-arrow")
)

export { type Column, fixedBytes, fixedFloats, list } from "./ArrowColumn.ts"

const scalars = { utf8, json, int32, float32, float64, bool } as const

/** A column as it is declared: a scalar's name, or what `fixedBytes`, `fixedFloats`, `list` give. */
export type ColumnSpec = keyof typeof scalars | AnyColumn

type ColumnOf<S> = S extends keyof typeof scalars ? (typeof scalars)[S] : S

/** The row that a declaration describes. */
export type RowOf<C> = {
  readonly [K in keyof C]: ColumnOf<C[K]> extends Column<infer T> ? T : never
}

const resolve = (spec: ColumnSpec): AnyColumn => (typeof spec === "string" ? scalars[spec] : spec)

/** Rows as they lie in memory, joined where one follows the other, as a batch that was made in one place. */
const runsOf = (rows: ReadonlyArray<Uint8Array>): ReadonlyArray<Uint8Array> => {
  const runs: Array<Uint8Array> = []
  for (const row of rows) {
    const last = runs.at(-1)
    if (last !== undefined && last.buffer === row.buffer && last.byteOffset + last.byteLength === row.byteOffset) {
      runs[runs.length - 1] = new Uint8Array(row.buffer, last.byteOffset, last.byteLength + row.byteLength)
    } else runs.push(row)
  }
  return runs
}

/** Collects what the file writer writes, small pieces joined, instead of queueing it. */
class TakingWriter extends RecordBatchFileWriter {
  #pieces: Array<Uint8Array> = []
  #small: Array<Uint8Array> = []

  /**
   * The schema's message behind the magic number, which apache-arrow leaves out of files: readers that go by the footer
   * do without it, those that take a file for a stream (DuckDB) do not.
   */
  protected override _writeSchema(schema: ArrowSchema): this {
    return super._writeSchema(schema)._writeMessage(Message.from(schema))
  }

  protected override _write(chunk: unknown): this {
    if (!this._started) return this
    if (!(ArrayBuffer.isView(chunk) || chunk instanceof RowsApart)) throw new TypeError("expected a view of bytes")
    if (chunk.byteLength === 0) return this
    this._position += chunk.byteLength
    if (chunk instanceof RowsApart) for (const run of runsOf(chunk.rows)) this.#put(run)
    else this.#put(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    return this
  }

  #put(bytes: Uint8Array): void {
    if (bytes.byteLength < 1 << 16) this.#small.push(bytes)
    else {
      this.#join()
      this.#pieces.push(bytes)
    }
  }

  take(): ReadonlyArray<Uint8Array> {
    this.#join()
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }

  #join(): void {
    if (this.#small.length > 0) this.#pieces.push(new Uint8Array(Buffer.concat(this.#small)))
    this.#small = []
  }
}

const refuse = (message: string, hint: string, cause?: unknown): ShardFormatError =>
  new ShardFormatError({ format: "arrow/2", message, hint, cause })

const encoderOf = <Row extends object>(
  columns: ReadonlyArray<readonly [keyof Row & string, AnyColumn]>
): ShardEncoder<Row> => {
  const schema = new Schema(columns.map(([name, column]) => new Field(name, column.type, false)))
  const struct = new Struct(schema.fields)
  const writer = new TakingWriter()
  let state: "new" | "open" | "spent" = "new"
  const begin = (): void => {
    if (state === "spent") throw refuse("the encoder is spent", "Make a new encoder for each shard.")
    if (state === "new") writer.reset(undefined, schema)
    state = "open"
  }
  return {
    append: (batch) => {
      begin()
      if (batch.length === 0) return writer.take()
      let total = 0
      const children = columns.map(([name, column]) => {
        const values = batch.map((row) => row[name])
        try {
          const data = column.encode(values)
          total += data.byteLength
          return data
        } catch (cause) {
          const detail = cause instanceof Error ? cause.message : String(cause)
          throw refuse(`column ${name}: ${detail}`, `Give ${name} what the declaration says (${column.name}).`, cause)
        }
      })
      if (total > MAX_BATCH_BYTES) {
        throw refuse(`a batch of ${total} bytes is larger than ${MAX_BATCH_BYTES}`, "Append smaller batches.")
      }
      writer.write(new RecordBatch(schema, new Data(struct, 0, batch.length, 0, {}, children)))
      return writer.take()
    },
    finish: () => {
      begin()
      state = "spent"
      writer.close()
      return writer.take()
    }
  }
}

const EMPTY = new Uint8Array(0)
/** Bytes of narrow columns and offsets that a reader keeps. */
const KEPT_BYTES = 1 << 26
/** Columns at most this wide are kept whole, batch by batch. */
const NARROW = 8
/** Bytes of neighbouring rows that are read at once. */
const RUN_BYTES = 1 << 24

/** Runs a decoder over untrusted bytes; gives the error instead of throwing it. */
const attempt = (step: () => void): ShardFormatError | undefined => {
  try {
    step()
    return undefined
  } catch (cause) {
    return damaged(cause instanceof Error ? cause.message : String(cause), cause)
  }
}

/** Offsets of a `spans` column, checked to rise and to stay inside of the data. */
const checkedOffsets = (bytes: Uint8Array, rows: number, limit: number): Int32Array => {
  const copy = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes)
  const offsets = new Int32Array(copy.buffer, copy.byteOffset, rows + 1)
  let last = 0
  for (const offset of offsets) {
    if (offset < last) throw damaged("offsets of a column fall")
    last = offset
  }
  if (last > limit) throw damaged(`offsets of a column reach ${last} of ${limit}`)
  return offsets
}

class Reader<Row> implements ShardReader<Row> {
  readonly rows: number
  readonly #bytes: RandomAccess
  readonly #columns: ReadonlyArray<readonly [string, AnyColumn]>
  readonly #places: ReadonlyArray<BatchPlace>
  /** First row of each batch, and the number of rows at the end. */
  readonly #starts: ReadonlyArray<number>
  #kept = new Map<number, Uint8Array | Int32Array>()
  #keptBytes = 0

  constructor(
    bytes: RandomAccess,
    columns: ReadonlyArray<readonly [string, AnyColumn]>,
    places: ReadonlyArray<BatchPlace>
  ) {
    this.#bytes = bytes
    this.#columns = columns
    this.#places = places
    const starts = [0]
    for (const place of places) starts.push(starts.at(-1)! + place.rows)
    this.#starts = starts
    this.rows = starts.at(-1)!
  }

  get batches(): Stream.Stream<ReadonlyArray<Row>, ShardFormatError> {
    return Stream.range(0, this.#places.length - 1).pipe(
      Stream.rechunk(1),
      Stream.mapEffect((batch) => this.#runEffect(batch, 0, this.#places[batch]!.rows))
    )
  }

  readonly get = Effect.fnUntraced(function* (
    this: Reader<Row>,
    indices: ReadonlyArray<number>
  ): Effect.fn.Return<ReadonlyArray<Row>, ShardFormatError> {
    const out: Array<Row> = []
    for (let i = 0; i < indices.length; ) {
      const index = indices[i]!
      if (!Number.isInteger(index) || index < 0 || index >= this.rows) {
        return yield* refuse(`row ${index} is not one of ${this.rows}`, "Ask for rows from 0 to rows - 1.")
      }
      const batch = this.#batchOf(index)
      const end = this.#starts[batch + 1]!
      let count = 1
      while (i + count < indices.length && indices[i + count] === index + count && index + count < end) count++
      for (const row of yield* this.#run(batch, index - this.#starts[batch]!, count)) out.push(row)
      i += count
    }
    return out
  }).bind(this)

  /** The batch that holds row `index`: binary search for the last start that is not after it. */
  #batchOf(index: number): number {
    let low = 0
    let high = this.#places.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.#starts[middle]! <= index) low = middle
      else high = middle - 1
    }
    return low
  }

  #runEffect(batch: number, first: number, count: number): Effect.Effect<ReadonlyArray<Row>, ShardFormatError> {
    const self = this
    return Effect.gen(function* () {
      return yield* self.#run(batch, first, count)
    })
  }

  /**
   * Rows `first ... first + count` of a batch. Here and below, plain generators that are delegated to: one fiber frame
   * a call of `get` and not one a column of a row.
   */
  *#run(batch: number, first: number, count: number): Effect.fn.Return<ReadonlyArray<Row>, ShardFormatError> {
    const rows: Array<Record<string, unknown>> = Array.from({ length: count }, () => ({}))
    for (let c = 0; c < this.#columns.length; c++) {
      const [name, { layout, decode }] = this.#columns[c]!
      const place = this.#places[batch]!
      const data = place.columns[c]![layout.data]!
      if (layout.kind === "bits") {
        const bits = yield* this.#narrow(batch, c, data.offset, (place.rows + 7) >> 3)
        for (let i = 0; i < count; i++) rows[i]![name] = ((bits[(first + i) >> 3]! >> ((first + i) & 7)) & 1) === 1
      } else if (layout.kind === "fixed") {
        const { width } = layout
        const narrow = width <= NARROW ? yield* this.#narrow(batch, c, data.offset, place.rows * width) : undefined
        const step = narrow === undefined ? Math.max(1, Math.floor(RUN_BYTES / width)) : count
        for (let done = 0; done < count; done += step) {
          const n = Math.min(step, count - done)
          const from = (first + done) * width
          const bytes =
            narrow?.subarray(from, from + n * width) ?? (yield* this.#bytes.read(data.offset + from, n * width))
          const error = attempt(() => {
            for (let i = 0; i < n; i++) rows[done + i]![name] = decode(bytes.subarray(i * width, (i + 1) * width))
          })
          if (error !== undefined) return yield* error
        }
      } else {
        const { unit } = layout
        const offsets = yield* this.#offsets(batch, c, place.columns[c]![layout.offsets]!.offset, data.length, unit)
        for (let done = 0; done < count; ) {
          const start = first + done
          const from = offsets[start]!
          let n = 1
          while (done + n < count && (offsets[start + n + 1]! - from) * unit <= RUN_BYTES) n++
          const length = (offsets[start + n]! - from) * unit
          const bytes = length === 0 ? EMPTY : yield* this.#bytes.read(data.offset + from * unit, length)
          const error = attempt(() => {
            for (let i = 0; i < n; i++) {
              const [at, to] = [offsets[start + i]! - from, offsets[start + i + 1]! - from]
              rows[done + i]![name] = decode(bytes.subarray(at * unit, to * unit))
            }
          })
          if (error !== undefined) return yield* error
          done += n
        }
      }
    }
    // The columns were checked against the declaration that `Row` is computed from.
    return rows as ReadonlyArray<Row>
  }

  /** A narrow column of a batch, whole. */
  *#narrow(batch: number, c: number, offset: number, length: number): Effect.fn.Return<Uint8Array, ShardFormatError> {
    const key = batch * this.#columns.length + c
    const kept = this.#kept.get(key)
    if (kept instanceof Uint8Array) return kept
    return this.#keep(key, new Uint8Array(yield* this.#bytes.read(offset, length)))
  }

  /** The offsets of a `spans` column of a batch, whole and checked. */
  *#offsets(
    batch: number,
    c: number,
    offset: number,
    dataBytes: number,
    unit: number
  ): Effect.fn.Return<Int32Array, ShardFormatError> {
    const key = batch * this.#columns.length + c
    const kept = this.#kept.get(key)
    if (kept instanceof Int32Array) return kept
    const { rows } = this.#places[batch]!
    const bytes = new Uint8Array(yield* this.#bytes.read(offset, (rows + 1) * 4))
    return this.#keep(key, yield* guarded(() => checkedOffsets(bytes, rows, Math.floor(dataBytes / unit))))
  }

  #keep<A extends Uint8Array | Int32Array>(key: number, value: A): A {
    if (this.#keptBytes + value.byteLength > KEPT_BYTES) {
      this.#kept = new Map()
      this.#keptBytes = 0
    }
    this.#kept.set(key, value)
    this.#keptBytes += value.byteLength
    return value
  }
}

/**
 * A shard format of declared columns, named `arrow/2`; the row type follows from the declaration.
 *
 * `append` throws `ShardFormatError` for a value that its column cannot hold, and for a batch over 1 GiB; an empty
 * batch writes no record batch. Reading fails with `ShardFormatError` on damaged bytes or other columns.
 *
 * @example
 * ```ts
 * const format = arrowRows({ id: "utf8", pixels: fixedBytes(336 * 336 * 3), ids: list("int32") })
 * const reader = yield* format.open(bytes)
 * const [row] = yield* reader.get([17])
 * ```
 */
export const arrowRows = <const C extends Readonly<Record<string, ColumnSpec>>>(columns: C): ShardFormat<RowOf<C>> => {
  const entries = Object.entries(columns).map(([name, spec]) => [name, resolve(spec)] as const)
  if (entries.length === 0) throw refuse("no columns are declared", "Declare at least one column.")
  return {
    id: "arrow/2",
    extension: "arrow",
    encoder: () => encoderOf<RowOf<C>>(entries as ReadonlyArray<readonly [keyof C & string, AnyColumn]>),
    open: (bytes) => Effect.map(openArrowFile(bytes, entries), (places) => new Reader<RowOf<C>>(bytes, entries, places))
  }
}
