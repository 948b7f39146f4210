/**
 * Reads Parquet files from the local disk as batches of plain rows, in bounded memory.
 *
 * Not a table: no filters, no sorting; columns can be left out. A row is unknown data until a node decodes it with a
 * Schema; what values become is said in `ParquetValue.ts`. `hyparquet` reads the footer and the rarer encodings; pages
 * are read one by one and rows are put together here, because the library does both a row group at a time, and files
 * of pyarrow have a million rows in one.
 *
 * Memory: for each column read, a page, its dictionary and a read buffer of 1 MiB; one batch of rows.
 */
import { Effect, Stream } from "effect"
import { type ParquetBounds, Tally } from "./ParquetBounds.ts"
import { BadParquetRow, errorOf, type ParquetError, ParquetFault } from "./ParquetError.ts"
import { type OpenFile, openFile } from "./ParquetFile.ts"
import { ColumnPages } from "./ParquetPages.ts"
import { type BadRow, type ParquetRow, rowsOfGroup } from "./ParquetRows.ts"
import { type Leaf, leavesOf, project, type Shape, shapesOf, twiceNamed, without } from "./ParquetShape.ts"
import { type Decode, decodeOf, type Int64 } from "./ParquetValue.ts"

export type { ParquetBounds } from "./ParquetBounds.ts"
export { BadParquetRow, ParquetError } from "./ParquetError.ts"
export type { ParquetRow } from "./ParquetRows.ts"

/** What to read. Every field has a default. */
export interface ParquetOptions {
  /** Columns by name, what lies inside of one with dots (`image.path`). Default: all. */
  readonly columns?: ReadonlyArray<string>
  /** Also read the columns that `columns` does not name; at least one of the named ones must be there. */
  readonly others?: boolean
  /** Columns to leave out, named in the same way: images that lie in the file, of which the path is enough. */
  readonly without?: ReadonlyArray<string>
  /** A named column that the file does not have is an error (`fail`, default), or is left out (`skip`). */
  readonly absent?: "fail" | "skip"
  /** Leaves out row groups that end before this row. Default 0. */
  readonly from?: number
  /** Rows a batch at most. Default 1,024; a batch also ends with each row group. */
  readonly batchRows?: number
  /**
   * 64-bit integers as numbers (default; one beyond 2^53 is an error), as bigints, or (`exact`) as bigints beyond 2^53
   * alone.
   */
  readonly int64?: Int64
  /** Values of JSON columns parsed (default), or as their text. */
  readonly json?: "parsed" | "text"
  /**
   * A row with a value that stands for nothing (text that is not UTF-8, a day of 30 hours) or with too many values ends
   * the file with an error (`fail`, default), or is left out and reported (`refuse`).
   */
  readonly badRows?: "fail" | "refuse"
  /** What the file may cost by its real bytes; more is an error. */
  readonly bounds?: Partial<ParquetBounds>
}

/**
 * Rows in file order; `first` is the first one's number in the file, from 0. `refused`: rows behind them that were left
 * out, with numbers of their own (`badRows: "refuse"`).
 */
export interface ParquetBatch {
  readonly first: number
  readonly rows: ReadonlyArray<ParquetRow>
  readonly refused: ReadonlyArray<BadParquetRow>
}

/** What a file says of itself. */
export interface ParquetInfo {
  readonly rows: number
  readonly rowGroups: number
  /** Names of the columns, those inside of others with dots. */
  readonly columns: ReadonlyArray<string>
  /** The program that wrote it, in its own words. */
  readonly writer: string | undefined
}

async function* batchesOf(path: string, options: ParquetOptions): AsyncGenerator<ParquetBatch> {
  const file = await openFile(path)
  const tally = new Tally(file.size, options.bounds)
  let first = 0
  let at: { readonly row?: number; readonly rowGroup?: number } = {}
  try {
    const { shapes, decodes } = planOf(file, options)
    for (const [rowGroup, group] of file.metadata.row_groups.entries()) {
      at = { rowGroup, row: first }
      const rows = Number(group.num_rows)
      // Its chunks lie nowhere: pyarrow writes a table without rows as one such group, with offsets of 0.
      if (rows === 0) continue
      if (first + rows <= (options.from ?? 0)) {
        first += rows
        continue
      }
      const pagesOf = (leaf: Leaf): ColumnPages => {
        const chunk = group.columns[leaf.index]
        if (chunk?.meta_data === undefined)
          throw new ParquetFault("damaged", "is not in every row group", { column: leaf.path })
        if (chunk.file_path !== undefined)
          throw new ParquetFault("unsupported", "lies in another file", { column: leaf.path })
        return new ColumnPages(file, leaf, chunk.meta_data, decodes.get(leaf)!, tally)
      }
      for await (const { bad, rows: batch } of rowsOfGroup(shapes, pagesOf, rows, options.batchRows ?? 1024, tally)) {
        const row = first + batch.length
        if (bad !== undefined && options.badRows !== "refuse") {
          if (batch.length > 0) yield { first, rows: batch, refused: [] }
          at = { rowGroup, row }
          throw new ParquetFault(bad.reason === "value" ? "damaged" : "too-large", bad.message, { column: bad.column })
        }
        yield { first, rows: batch, refused: bad === undefined ? [] : [refusal(path, row, bad)] }
        first = bad === undefined ? row : row + 1
        at = { rowGroup, row: first }
      }
    }
    at = {}
    if (first !== Number(file.metadata.num_rows))
      throw new ParquetFault("damaged", `has ${first} rows, and its footer says ${file.metadata.num_rows}`)
  } catch (cause) {
    const isIo = cause instanceof Error && "syscall" in cause
    throw errorOf(path, cause, { ...at, ...(isIo ? { reason: "unreadable" } : {}) })
  } finally {
    await file.close()
  }
}

const refusal = (path: string, row: number, { column, message, reason }: BadRow): BadParquetRow =>
  new BadParquetRow({
    path,
    row,
    column,
    reason,
    message: `column ${column}: ${message}`,
    hint: "Fix the row where the file is made, or leave the column out with `ignore`; the other rows are not affected."
  })

interface Plan {
  readonly shapes: ReadonlyArray<Shape>
  readonly decodes: ReadonlyMap<Leaf, Decode>
}

const planOf = ({ metadata }: OpenFile, options: ParquetOptions): Plan => {
  const { absent = "fail", columns, int64 = "number", json = "parsed" } = options
  const all = shapesOf(metadata)
  const named = columns === undefined ? all : project(all, columns, absent)
  const shapes = without(options.others === true ? all : named, options.without ?? [])
  if (named.length === 0 || shapes.length === 0) {
    throw new ParquetFault("no-column", "none of the columns asked for is there", {
      hint: `The file has ${all.map(({ name }) => name).join(", ")}; asked for was ${columns?.join(", ") ?? "all"}.`
    })
  }
  const twice = twiceNamed(shapes)
  if (twice !== undefined) throw new ParquetFault("unsupported", "the name stands twice", { column: twice.path })
  return { shapes, decodes: new Map(shapes.flatMap(leavesOf).map((leaf) => [leaf, decodeOf(leaf, int64, json)])) }
}

/**
 * Streams a file's rows. Fails with `ParquetError`; rows before the damage have been delivered.
 *
 * @example
 * ```ts
 * const rows = readParquet("train-00000-of-00004.parquet", { columns: ["id", "conversations"] })
 * const count = rows.pipe(Stream.runFold(() => 0, (n, batch) => n + batch.rows.length))
 * ```
 */
export const readParquet = (path: string, options: ParquetOptions = {}): Stream.Stream<ParquetBatch, ParquetError> =>
  Stream.suspend(() => Stream.fromAsyncIterable(batchesOf(path, options), (cause) => errorOf(path, cause)))

/** Reads a file's footer, and no row. */
export const describeParquet = (path: string): Effect.Effect<ParquetInfo, ParquetError> =>
  Effect.tryPromise({
    try: async () => {
      const file = await openFile(path)
      await file.close()
      const { created_by, num_rows, row_groups } = file.metadata
      return {
        rows: Number(num_rows),
        rowGroups: row_groups.length,
        columns: shapesOf(file.metadata)
          .flatMap(leavesOf)
          .map((leaf) => leaf.path),
        writer: created_by
      }
    },
    catch: (cause) => errorOf(path, cause)
  })
