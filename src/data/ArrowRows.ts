/**
 * Rows of an Arrow IPC file or stream as plain objects: what `datasets` keeps on the disk (`save_to_disk`, its cache).
 *
 * Not the reader of our own shards (`ArrowShard.ts`), which knows its columns. `apache-arrow` does the decoding, a
 * record batch at a time. Values are those of `ParquetValue.ts` where both have the type: integers of 64 bits are
 * numbers, beyond 2^53 bigints; structs are objects, lists arrays, bytes are bytes. Decimals and times, which are not
 * text here, are an error in a column that is read.
 *
 * Memory: one record batch (`datasets` writes 1,000 rows) and its rows. What a file claims (rows of a batch, items of a
 * list, the length of a text: offsets may lead every row to the same bytes) is held against its size before it is made.
 */
import { createReadStream } from "node:fs"
import { open, stat } from "node:fs/promises"
import type { Field, RecordBatch } from "apache-arrow"
import { Schema, Stream } from "effect"
import { missing } from "../dag/Missing.ts"
import { sniffFile } from "../dag/WrongFile.ts"

const { RecordBatchReader, Type } = await import("apache-arrow").catch(missing("apache-arrow"))

/** An Arrow file that cannot be read, or cannot be read further. */
export class ArrowFileError extends Schema.TaggedError<ArrowFileError>()("ArrowFileError", {
  path: Schema.String,
  reason: Schema.Literals(["wrong-file", "damaged", "truncated", "no-column", "unsupported", "unreadable"]),
  /** Rows that were read before. */
  row: Schema.Number,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** Top columns to look for, at least one of which must be there, and paths (with dots) to leave out. */
export interface ArrowRowsOptions {
  readonly columns?: ReadonlyArray<string>
  /** Also read columns that `columns` does not name. */
  readonly others?: boolean
  readonly without?: ReadonlyArray<string>
}

export interface ArrowRows {
  readonly first: number
  readonly rows: ReadonlyArray<Readonly<Record<string, unknown>>>
}

const hints: Readonly<Record<ArrowFileError["reason"], string>> = {
  "wrong-file": "Give an Arrow file, as `save_to_disk` writes them.",
  damaged: "Save the data set again, or write it as Parquet with `to_parquet`.",
  truncated: "The file is cut short: copy it again and compare its size.",
  "no-column": "Give a data set that has one of them.",
  unsupported: "Write the data set as Parquet with `to_parquet`, or name the column in `ignore`.",
  unreadable: "Check that the file exists and may be read."
}

const failure = (
  path: string,
  reason: ArrowFileError["reason"],
  row: number,
  detail: string,
  cause?: unknown,
  hint = hints[reason]
) =>
  new ArrowFileError({
    path,
    reason,
    row,
    message: `${path}: ${detail}`,
    hint,
    ...(cause === undefined ? {} : { cause })
  })

type Convert = (value: any) => unknown

const integer: Convert = (value: number | bigint | null) =>
  typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value

/** Bytes that a cell of a row or a list counts for; a text and bytes count for their length. */
const CELL = 32
/**
 * Bytes that rows may take for each byte of the file, beside 64 MiB: a dictionary's entry may stand in any number of
 * rows.
 */
const A_BYTE = 1024
const FREE = 2 ** 26

/** Counts what is about to be made; throws where a file of this size cannot hold so much. */
type Spend = (bytes: number) => void

const spending = (size: number): Spend => {
  let spent = 0
  return (bytes) => {
    spent += bytes
    if (spent > FREE + size * A_BYTE)
      throw new Error(
        `its rows take more than ${A_BYTE.toLocaleString("en")} times its ${size.toLocaleString("en")} bytes`
      )
  }
}

/** How values of a field become plain ones. Throws the name of a type that is not read. */
const convertOf = (field: Field, at: string, without: ReadonlyArray<string>, spend: Spend): Convert => {
  const nullable =
    (convert: Convert): Convert =>
    (value) =>
      value === null || value === undefined ? null : convert(value)
  const { type } = field
  switch (type.typeId) {
    case Type.Null:
      return () => null
    case Type.Bool:
    case Type.Float:
      return nullable((value) => value)
    case Type.Utf8:
    case Type.LargeUtf8:
      return nullable((value: string) => {
        spend(value.length)
        return value
      })
    case Type.Int:
      return nullable(integer)
    case Type.Binary:
    case Type.LargeBinary:
    case Type.FixedSizeBinary:
      return nullable((value: Uint8Array) => {
        spend(value.byteLength)
        return new Uint8Array(value)
      })
    case Type.Dictionary:
      return convertOf({ ...field, type: type.dictionary } as Field, at, without, spend)
    case Type.List:
    case Type.FixedSizeList: {
      const item = convertOf(type.children[0] as Field, at, without, spend)
      return nullable((value: Iterable<unknown> & { readonly length: number }) => {
        spend(CELL * value.length)
        return Array.from(value, item)
      })
    }
    case Type.Struct: {
      const fields = (type.children as ReadonlyArray<Field>)
        .map((child) => [child.name, `${at}.${child.name}`, child] as const)
        .filter(([, path]) => !without.includes(path))
        .map(([name, path, child]) => [name, convertOf(child, path, without, spend)] as const)
      return nullable((value: Readonly<Record<string, unknown>>) =>
        Object.fromEntries(fields.map(([name, convert]) => [name, convert(value[name])]))
      )
    }
    default:
      throw new Error(`column ${at} has the type ${String(type)}, which is not read`)
  }
}

const rowsOf = (
  batch: RecordBatch,
  converts: ReadonlyArray<readonly [string, Convert]>,
  spend: Spend
): Array<Record<string, unknown>> => {
  spend(CELL * batch.numRows * (1 + converts.length))
  const columns = converts.map(([name, convert]) => [name, batch.getChild(name)!, convert] as const)
  return Array.from({ length: batch.numRows }, (_, i) =>
    Object.fromEntries(columns.map(([name, column, convert]) => [name, convert(column.get(i))]))
  )
}

/** A stream ends with a mark, a file with its name: without either the end may be missing. */
const isWhole = async (path: string): Promise<boolean> => {
  const file = await open(path, "r")
  try {
    const { size } = await file.stat()
    const length = Math.min(8, size)
    const { buffer } = await file.read(Buffer.alloc(8), 0, length, size - length)
    return buffer.toString("latin1", 2) === "ARROW1" || buffer.equals(Buffer.from([255, 255, 255, 255, 0, 0, 0, 0]))
  } finally {
    await file.close()
  }
}

const wrapped = (path: string, row: number, cause: unknown): ArrowFileError => {
  if (cause instanceof ArrowFileError) return cause
  const message = cause instanceof Error ? cause.message : String(cause)
  const isIo = cause instanceof Error && "syscall" in cause
  return failure(path, isIo ? "unreadable" : "damaged", row, message, cause)
}

async function* batchesOf(path: string, options: ArrowRowsOptions): AsyncGenerator<ArrowRows> {
  let first = 0
  try {
    const wrong = await sniffFile(path, "arrow")
    if (wrong !== undefined) throw failure(path, "wrong-file", 0, wrong.message, undefined, wrong.hint)
    if (!(await isWhole(path))) throw failure(path, "truncated", 0, "it does not end as an Arrow file or stream does")
    const reader = await RecordBatchReader.from(createReadStream(path))
    const spend = spending((await stat(path)).size)
    let converts: ReadonlyArray<readonly [string, Convert]> | undefined
    for await (const batch of reader) {
      converts ??= convertsOf(path, batch.schema.fields, options, spend)
      const rows = rowsOf(batch, converts, spend)
      yield { first, rows }
      first += rows.length
    }
  } catch (cause) {
    throw wrapped(path, first, cause)
  }
}

const convertsOf = (
  path: string,
  fields: ReadonlyArray<Field>,
  { columns, others, without = [] }: ArrowRowsOptions,
  spend: Spend
) => {
  const named = columns === undefined ? fields : fields.filter(({ name }) => columns.includes(name))
  if (fields.length === 0) throw failure(path, "damaged", 0, "it has no columns")
  if (named.length === 0)
    throw failure(
      path,
      "no-column",
      0,
      `it has the columns ${fields.map(({ name }) => name).join(", ")}, and none of ${columns?.join(", ")}`
    )
  try {
    return (others === true ? fields : named)
      .filter(({ name }) => !without.includes(name))
      .map((field) => [field.name, convertOf(field, field.name, without, spend)] as const)
  } catch (cause) {
    throw failure(path, "unsupported", 0, cause instanceof Error ? cause.message : String(cause))
  }
}

/**
 * Streams the rows of one file. Fails with `ArrowFileError`; rows before the damage have been delivered.
 *
 * @example
 * ```ts
 * const rows = readArrowRows("saved/train/data-00000-of-00001.arrow", { columns: ["id", "conversations"] })
 * ```
 */
export const readArrowRows = (path: string, options: ArrowRowsOptions = {}): Stream.Stream<ArrowRows, ArrowFileError> =>
  Stream.suspend(() => Stream.fromAsyncIterable(batchesOf(path, options), (cause) => wrapped(path, 0, cause)))
