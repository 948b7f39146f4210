/**
 * Writes typed rows as a Parquet file: columns from the rows' Schema, zstd, row groups of a stated size.
 *
 * Not an appender: a file is written once, under a temporary name, and has its own name when all of it is on disk.
 * Equal rows give equal bytes with one version of Node, whose zstd it is; no time or place is written.
 *
 * Memory: the rows of one row group and their encoded columns. A group ends at `groupRows` rows or `groupBytes` bytes
 * of values, whichever comes first.
 */
import { open, rename, rm } from "node:fs/promises"
import { dirname } from "node:path"
import { Effect, type Schema, type Scope, Stream } from "effect"
import type { SchemaElement } from "hyparquet"
import { missing } from "../dag/Missing.ts"
import { readParquet } from "./Parquet.ts"
import { compressZstd } from "./ParquetCodec.ts"
import { errorOf, type ParquetError } from "./ParquetError.ts"
import { type Column, formOf } from "./ParquetForm.ts"

const { ByteWriter, ParquetWriter } = await import("hyparquet-writer").catch(missing("hyparquet-writer"))

/** How to cut a file. Every field has a default. */
export interface ParquetWriteOptions {
  /** Rows of a row group at most. Default 10,000. */
  readonly groupRows?: number
  /** Bytes of a row group's values at most, before compression; a group has at least one row. Default 64 MiB. */
  readonly groupBytes?: number
}

/** What was written. */
export interface ParquetWritten {
  readonly rows: number
  readonly rowGroups: number
  /** Bytes of the file. */
  readonly bytes: number
}

/** Rows to bytes, a row group at a time. Throws `ParquetFault`s and the library's errors. */
class Encoder {
  readonly #bytes = new ByteWriter()
  readonly #writer: InstanceType<typeof ParquetWriter>
  readonly #form: Column
  readonly #schema: Array<SchemaElement>
  readonly #columns: ReadonlyArray<{ readonly name: string; readonly encoding?: "PLAIN" }>
  readonly #options: Required<ParquetWriteOptions>
  #group: Array<Readonly<Record<string, unknown>>> = []
  readonly #size = { bytes: 0 }
  rows = 0
  rowGroups = 0

  constructor(form: Column, { groupBytes = 1 << 26, groupRows = 10_000 }: ParquetWriteOptions) {
    const schema = form.elements.map((element) => ({ ...element }))
    this.#form = form
    this.#schema = schema
    this.#options = { groupBytes, groupRows }
    this.#columns = columnsOf(schema)
    this.#writer = new ParquetWriter({
      writer: this.#bytes,
      schema,
      codec: "ZSTD",
      compressors: { ZSTD: compressZstd },
      createdBy: "millrace"
    })
  }

  /** Takes a row; gives bytes when it ended a row group. */
  add(row: unknown): Uint8Array | undefined {
    const before = this.#size.bytes
    try {
      this.#group.push(this.#form.write(row, this.#size) as Readonly<Record<string, unknown>>)
    } catch (cause) {
      this.#size.bytes = before
      throw cause
    }
    this.rows++
    const { groupBytes, groupRows } = this.#options
    return this.#group.length >= groupRows || this.#size.bytes >= groupBytes ? this.#end() : undefined
  }

  finish(): Uint8Array {
    const last = this.#group.length === 0 ? undefined : this.#end()
    // The older mark of JSON, which DuckDB goes by; set while values are written, it would have them encoded once more.
    for (const element of this.#schema) if (element.logical_type?.type === "JSON") element.converted_type = "JSON"
    this.#writer.finish()
    const footer = this.#taken()
    return last === undefined ? footer : Buffer.concat([last, footer])
  }

  #end(): Uint8Array {
    const group = this.#group
    const columnData = this.#columns.map((column) => ({ ...column, data: group.map((row) => row[column.name]) }))
    this.#writer.write({ columnData, rowGroupSize: group.length })
    this.#group = []
    this.#size.bytes = 0
    this.rowGroups++
    return this.#taken()
  }

  #taken(): Uint8Array {
    const bytes = new Uint8Array(this.#bytes.getBytes())
    this.#bytes.index = 0
    return bytes
  }
}

/** The top columns of a schema. One with floats gets no dictionary, in which the library takes -0 for 0. */
const columnsOf = (
  elements: Column["elements"]
): ReadonlyArray<{ readonly name: string; readonly encoding?: "PLAIN" }> => {
  const columns: Array<{ readonly name: string; readonly encoding?: "PLAIN" }> = []
  for (let at = 1; at < elements.length; ) {
    const { name } = elements[at]!
    const from = at
    for (let left = 1; left > 0; left--) left += elements[at++]!.num_children ?? 0
    const hasFloats = elements.slice(from, at).some(({ type }) => type === "FLOAT" || type === "DOUBLE")
    columns.push({ name, ...(hasFloats ? { encoding: "PLAIN" as const } : {}) })
  }
  return columns
}

const syncFolder = async (path: string): Promise<void> => {
  const folder = await open(path, "r")
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Writes one file: rows as they come, then `finish`. */
export interface ParquetSink<in Row> {
  /**
   * Gives the number of rows that were taken: all, or with `refuse` all but those that are not of the Schema, each of
   * which it is told; without it the first of them fails the file.
   */
  readonly write: (
    rows: ReadonlyArray<Row>,
    refuse?: (at: number, error: ParquetError) => void
  ) => Effect.Effect<number, ParquetError>
  /** Writes the footer, fsyncs, gives the file its name and makes the name durable. Once. */
  readonly finish: Effect.Effect<ParquetWritten, ParquetError>
}

/**
 * Opens a file for writing; until `finish` its bytes lie in `path.tmp`, which a scope that closes early removes.
 *
 * Fails with `ParquetError`: `no-form` for a Schema that has none, `bad-value` for a row that is not of it,
 * `unwritable` where the disk refuses.
 */
export const openParquetSink = Effect.fnUntraced(function* <Row>(
  path: string,
  schema: Schema.Codec<Row, any>,
  options: ParquetWriteOptions = {}
): Effect.fn.Return<ParquetSink<Row>, ParquetError, Scope.Scope> {
  const encoder = yield* Effect.try({
    try: () => new Encoder(formOf(schema), options),
    catch: (cause) => errorOf(path, cause)
  })
  const io = <A>(step: () => Promise<A>) =>
    Effect.tryPromise({ try: step, catch: (cause) => errorOf(path, cause, { reason: "unwritable" }) })
  const temporary = `${path}.tmp`
  let finished = false
  const file = yield* Effect.acquireRelease(
    io(() => open(temporary, "w")),
    (file) => (finished ? Effect.void : Effect.promise(() => file.close().then(() => rm(temporary, { force: true }))))
  )
  let bytes = 0
  const put = Effect.fnUntraced(function* (chunk: Uint8Array) {
    bytes += chunk.byteLength
    yield* io(() => file.appendFile(chunk))
  })
  const encode = <A>(step: () => A) =>
    Effect.try({ try: step, catch: (cause) => errorOf(path, cause, { reason: "bad-value", row: encoder.rows }) })
  return {
    write: (rows, refuse) =>
      Effect.gen(function* () {
        const before = encoder.rows
        const chunks = yield* encode(() =>
          rows.flatMap((row, at) => {
            try {
              return encoder.add(row) ?? []
            } catch (cause) {
              const error = errorOf(path, cause, { reason: "bad-value", row: encoder.rows })
              if (refuse === undefined || error.reason !== "bad-value") throw error
              refuse(at, error)
              return []
            }
          })
        )
        yield* Effect.forEach(chunks, put, { discard: true })
        return encoder.rows - before
      }),
    finish: Effect.gen(function* () {
      yield* put(yield* encode(() => encoder.finish()))
      yield* io(async () => {
        await file.sync()
        await file.close()
        await rename(temporary, path)
        finished = true
        await syncFolder(dirname(path))
      })
      return { rows: encoder.rows, rowGroups: encoder.rowGroups, bytes }
    })
  }
})

/**
 * Writes all rows of a stream to `path`. Errors of the stream pass; where anything fails, nothing is left behind.
 *
 * @example
 * ```ts
 * yield* writeParquet("captions.parquet", Captions.schema, Stream.make(rows), { groupRows: 5000 })
 * ```
 */
export const writeParquet = <Row, E, R>(
  path: string,
  schema: Schema.Codec<Row, any>,
  batches: Stream.Stream<ReadonlyArray<Row>, E, R>,
  options: ParquetWriteOptions = {}
): Effect.Effect<ParquetWritten, E | ParquetError, Exclude<R, Scope.Scope>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const sink = yield* openParquetSink(path, schema, options)
      yield* Stream.runForEach(batches, (rows) => sink.write(rows))
      return yield* sink.finish
    })
  )

/**
 * Streams the rows of a file that `writeParquet` wrote with this Schema: equal to those written. A file with other
 * values fails with `ParquetError`, reason `bad-value`; a column too many is left out.
 */
export const readParquetAs = <Row>(
  path: string,
  schema: Schema.Codec<Row, any>
): Stream.Stream<ReadonlyArray<Row>, ParquetError> =>
  Stream.unwrap(
    Effect.map(Effect.try({ try: () => formOf(schema), catch: (cause) => errorOf(path, cause) }), (form) =>
      Stream.mapEffect(
        readParquet(path, { columns: columnsOf(form.elements).map(({ name }) => name), json: "text", int64: "bigint" }),
        ({ first, rows }) =>
          Effect.suspend(() => {
            const out: Array<Row> = []
            try {
              for (const row of rows) out.push(form.read(row) as Row)
              return Effect.succeed(out)
            } catch (cause) {
              return Effect.fail(errorOf(path, cause, { reason: "bad-value", row: first + out.length }))
            }
          })
      )
    )
  )
