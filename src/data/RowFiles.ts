/**
 * Rows of a dataset as it lies on the disk: one file or a folder of parts, JSON, Parquet or Arrow, as one numbered
 * stream.
 *
 * Not a decoder: a row is unknown data until a node decodes it. Whole numbers beyond 2^53 are bigints. Which files of a
 * folder are read is `RowFolder.ts`'s matter; row numbers count on from part to part. The packages for Parquet and
 * Arrow are loaded when there is such a file, and not before.
 */
import { open } from "node:fs/promises"
import { basename, relative } from "node:path"
import { Effect, Stream } from "effect"
import type { ArrowFileError } from "./ArrowRows.ts"
import { type BadJsonRow, type JsonError, type JsonOptions, readJson } from "./JsonArray.ts"
import type { ParquetOptions } from "./Parquet.ts"
import type { BadParquetRow, ParquetError } from "./ParquetError.ts"
import { kindOf, type NoRowFiles, type RowFileKind, rowFilesOf } from "./RowFolder.ts"

export { NoRowFiles } from "./RowFolder.ts"

export type RowFileError = NoRowFiles | JsonError | ParquetError | ArrowFileError

/** A row that is not even data. */
export type BadFileRow = BadJsonRow | BadParquetRow

/** A row and its number among all rows of all parts, from 0. */
export interface NumberedRow {
  readonly index: number
  readonly value: unknown
}

/** Rows in order, and those between them that are not even data. */
export interface RowFileBatch {
  /** The file that the rows are in, relative to the folder given, and the number of its first row. */
  readonly part: string
  readonly before: number
  readonly rows: ReadonlyArray<NumberedRow>
  readonly refused: ReadonlyArray<{ readonly index: number; readonly error: BadFileRow }>
}

/**
 * By its name; by its first bytes where the name says nothing, as that of a download often does not (`.../get?id=5`).
 */
const kindOfFile = (path: string): Effect.Effect<RowFileKind> => {
  const named = kindOf(basename(path)) ?? (/\.parquet$/i.test(path) ? "Parquet" : undefined)
  if (named !== undefined) return Effect.succeed(named)
  // Its reader reports what cannot be read.
  return Effect.promise(() => headOf(path).catch(() => "")).pipe(
    Effect.map((head) =>
      head === "PAR1" ? "Parquet" : head === "ARRO" || head === "\xff\xff\xff\xff" ? "Arrow" : "JSON"
    )
  )
}

const headOf = async (path: string): Promise<string> => {
  const file = await open(path, "r")
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0)
    return buffer.toString("latin1", 0, bytesRead)
  } finally {
    await file.close()
  }
}

/** Rows of all parts up to a batch's end, refused ones counted. */
export const rowsUpTo = ({ refused, rows }: PartBatch): number =>
  1 + Math.max(rows.at(-1)?.index ?? -1, refused.at(-1)?.index ?? -1)

/** Loaded here alone: who has no Parquet files needs no packages for them. Without them it is `PackageMissing`. */
const parquetModule = Effect.promise(() => import("./Parquet.ts"))
const arrowModule = Effect.promise(() => import("./ArrowRows.ts"))

/**
 * What to read. `layout` is of JSON files: `lines` where rows stand one a line though the name ends in `.json`. `split`
 * chooses among those of a folder.
 */
export interface RowFileOptions
  extends Pick<ParquetOptions, "columns" | "others" | "without">,
    Pick<JsonOptions, "layout"> {
  readonly split?: string | undefined
}

type PartBatch = Pick<RowFileBatch, "rows" | "refused">

/** Rows of one file with numbers of its own. */
const readPart = (path: string, wanted: RowFileOptions): Stream.Stream<PartBatch, RowFileError> =>
  Stream.unwrap(
    Effect.map(kindOfFile(path), (kind) =>
      kind === "JSON"
        ? jsonRows(path, wanted)
        : kind === "Parquet"
          ? parquetRows(path, wanted)
          : arrowRows(path, wanted)
    )
  )

const numbered = ({
  first,
  refused = [],
  rows
}: {
  readonly first: number
  readonly rows: ReadonlyArray<unknown>
  readonly refused?: ReadonlyArray<BadParquetRow>
}): PartBatch => ({
  rows: rows.map((value, i) => ({ index: first + i, value })),
  refused: refused.map((error) => ({ index: error.row, error }))
})

const parquetRows = (path: string, wanted: RowFileOptions): Stream.Stream<PartBatch, RowFileError> => {
  const { layout: _, split: __, ...columns } = wanted
  return Stream.unwrap(
    Effect.map(parquetModule, ({ readParquet }) =>
      Stream.map(readParquet(path, { ...columns, absent: "skip", int64: "exact", badRows: "refuse" }), numbered)
    )
  )
}

const arrowRows = (path: string, wanted: RowFileOptions): Stream.Stream<PartBatch, RowFileError> =>
  Stream.unwrap(Effect.map(arrowModule, ({ readArrowRows }) => Stream.map(readArrowRows(path, wanted), numbered)))

const jsonRows = (path: string, { layout }: RowFileOptions): Stream.Stream<PartBatch, RowFileError> =>
  Stream.map(readJson(path, layout === undefined ? {} : { layout }), ({ refused, rows }) => ({
    rows,
    refused: refused.map((error) => ({ index: error.row, error }))
  }))

/**
 * Streams the rows of a file or of a folder's parts. Of Parquet and Arrow files only `columns` are read, as far as they
 * are there (all with `others`), and of those nothing under `without`; JSON rows come whole.
 *
 * @example
 * ```ts
 * const rows = readRowFiles("llava/data", { columns: ["id", "image", "conversations"], without: ["image.bytes"] })
 * ```
 */
export const readRowFiles = (path: string, wanted: RowFileOptions = {}): Stream.Stream<RowFileBatch, RowFileError> =>
  Stream.unwrap(
    Effect.map(rowFilesOf(path, wanted.split), (parts) =>
      Stream.suspend(() => {
        let before = 0
        return Stream.flatMap(Stream.fromIterable(parts), (part) =>
          Stream.suspend(() => {
            const first = before
            return Stream.map(readPart(part, wanted), (batch) => {
              before += batch.rows.length + batch.refused.length
              const of = { part: part === path ? basename(path) : relative(path, part), before: first }
              if (first === 0) return { ...of, ...batch }
              return {
                ...of,
                rows: batch.rows.map(({ index, value }) => ({ index: first + index, value })),
                refused: batch.refused.map(({ error, index }) => ({ index: first + index, error }))
              }
            })
          })
        )
      })
    )
  )
