/**
 * Rows of a dataset as it lies on the disk: one file or a folder of parts, JSON or Parquet, as one numbered stream.
 *
 * Not a decoder: a row is unknown data until a node decodes it. Whole numbers beyond 2^53 are bigints. In a folder the parts are read in name order, and row
 * numbers count on from part to part. Parquet's packages are loaded when there is a Parquet file, and not before.
 */
import type { Dirent } from "node:fs"
import { open, readdir } from "node:fs/promises"
import { basename, join } from "node:path"
import { Effect, Schema, Stream } from "effect"
import { type BadJsonRow, type JsonError, type JsonOptions, readJson } from "./JsonArray.ts"
import type { ParquetOptions } from "./Parquet.ts"
import type { ParquetError } from "./ParquetError.ts"

/** A folder that does not say what its rows are, or holds rows that would be passed over. */
export class NoRowFiles extends Schema.TaggedError<NoRowFiles>()("NoRowFiles", {
  path: Schema.String,
  reason: Schema.Literals(["no-files", "mixed", "unread"]),
  message: Schema.String,
  hint: Schema.String
}) {}

export type RowFileError = NoRowFiles | JsonError | ParquetError

/** A row and its number among all rows of all parts, from 0. */
export interface NumberedRow {
  readonly index: number
  readonly value: unknown
}

/** Rows in order, and those between them that are not even data. */
export interface RowFileBatch {
  readonly rows: ReadonlyArray<NumberedRow>
  readonly refused: ReadonlyArray<{ readonly index: number; readonly error: BadJsonRow }>
}

// Hidden files are no parts: macOS puts `._a.json` beside a.json, which is no JSON.
const JSON_PART = /^[^.].*\.(json|jsonl|ndjson)(\.gz|\.zst)?$/i
const PARQUET_PART = /^[^._].*\.parquet$/i
/** With `isPart` false: rows that no reader here opens, such as `a.jsonl.xz`. */
const LIKE_A_PART = /^[^._].*\.(json|jsonl|ndjson|parquet)(\.(gz|gzip|zst|zstd|bz2|xz|lzma|lz4|br|zip|7z))?$/i

/** By its name; by its first bytes where the name says nothing, as that of a download often does not (`.../get?id=5`). */
const isParquet = (path: string): Effect.Effect<boolean> => {
  if (/\.parquet$/i.test(path)) return Effect.succeed(true)
  if (JSON_PART.test(basename(path))) return Effect.succeed(false)
  // What cannot be read is its reader's to tell.
  return Effect.promise(() => headOf(path).catch(() => "")).pipe(Effect.map((head) => head === "PAR1"))
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
export const rowsUpTo = ({ refused, rows }: RowFileBatch): number =>
  1 + Math.max(rows.at(-1)?.index ?? -1, refused.at(-1)?.index ?? -1)

const isPart = (name: string): boolean => JSON_PART.test(name) || PARQUET_PART.test(name)

/** The first file of a folder that seems to hold rows and is no part: named like one, or a part in a folder below. */
const unreadIn = async (path: string, entries: ReadonlyArray<Dirent>): Promise<string | undefined> => {
  for (const entry of entries) {
    if (!entry.isDirectory() && LIKE_A_PART.test(entry.name) && !isPart(entry.name)) return entry.name
    if (!entry.isDirectory() || entry.name.startsWith(".")) continue
    const below = (await readdir(join(path, entry.name)).catch(() => [])).find(isPart)
    if (below !== undefined) return join(entry.name, below)
  }
  return undefined
}

/** The parts of a folder in name order; anything else is one file, which its reader opens or refuses. */
const partsOf = Effect.fnUntraced(function* (path: string) {
  const entries = yield* Effect.promise(() => readdir(path, { withFileTypes: true }).catch(() => undefined))
  if (entries === undefined) return [path]
  const names = entries.map(({ name }) => name)
  const json = names.filter((name) => JSON_PART.test(name))
  const parquet = names.filter((name) => PARQUET_PART.test(name))
  if (json.length > 0 && parquet.length > 0) {
    return yield* new NoRowFiles({
      path,
      reason: "mixed",
      message: `${path} holds JSON files (${json[0]}, ...) and Parquet files (${parquet[0]}, ...)`,
      hint: "Give one of them, or a folder that holds one kind: both may be the same rows twice."
    })
  }
  if (json.length + parquet.length > 0) {
    const unread = yield* Effect.promise(() => unreadIn(path, entries))
    if (unread === undefined) return [...json, ...parquet].sort().map((name) => join(path, name))
    return yield* new NoRowFiles({
      path,
      reason: "unread",
      message: `${path} holds ${unread} beside ${json[0] ?? parquet[0]}, and it would not be read`,
      hint: "Parts end in .json, .jsonl, .ndjson (.gz or .zst behind it) or .parquet, and lie in the folder itself: rename it, or move it away."
    })
  }
  return yield* new NoRowFiles({
    path,
    reason: "no-files",
    message: `${path} holds no JSON file and no Parquet file`,
    hint: "Give a JSON or Parquet file, or a folder that holds such files (not one that holds such folders)."
  })
})

/** Loaded here alone: who has no Parquet files needs no packages for them. Without them it is `PackageMissing`. */
const parquetModule = Effect.promise(() => import("./Parquet.ts"))

/** What to read. `layout` is of JSON files: `lines` where rows stand one a line though the name ends in `.json`. */
export type RowFileOptions = Pick<ParquetOptions, "columns" | "others" | "without"> & Pick<JsonOptions, "layout">

/** Rows of one file with numbers of its own. */
const readPart = (path: string, wanted: RowFileOptions): Stream.Stream<RowFileBatch, RowFileError> =>
  Stream.unwrap(Effect.map(isParquet(path), (found) => (found ? parquetRows(path, wanted) : jsonRows(path, wanted))))

const parquetRows = (
  path: string,
  { layout: _, ...wanted }: RowFileOptions
): Stream.Stream<RowFileBatch, RowFileError> =>
  Stream.unwrap(
    Effect.map(parquetModule, ({ readParquet }) =>
      Stream.map(readParquet(path, { ...wanted, absent: "skip", int64: "exact" }), ({ first, rows }) => ({
        rows: rows.map((value, i) => ({ index: first + i, value })),
        refused: []
      }))
    )
  )

const jsonRows = (path: string, { layout }: RowFileOptions): Stream.Stream<RowFileBatch, RowFileError> =>
  Stream.map(readJson(path, layout === undefined ? {} : { layout }), ({ refused, rows }) => ({
    rows,
    refused: refused.map((error) => ({ index: error.row, error }))
  }))

/**
 * Streams the rows of a file or of a folder's parts. Of Parquet files only `columns` are read, as far as they are there (all
 * with `others`), and of those nothing under `without`; JSON rows come whole.
 *
 * @example
 * ```ts
 * const rows = readRowFiles("llava/data", { columns: ["id", "image", "conversations"], without: ["image.bytes"] })
 * ```
 */
export const readRowFiles = (path: string, wanted: RowFileOptions = {}): Stream.Stream<RowFileBatch, RowFileError> =>
  Stream.unwrap(
    Effect.map(partsOf(path), (parts) =>
      Stream.suspend(() => {
        let before = 0
        return Stream.flatMap(Stream.fromIterable(parts), (part) =>
          Stream.suspend(() => {
            const first = before
            return Stream.map(readPart(part, wanted), (batch) => {
              before += batch.rows.length + batch.refused.length
              if (first === 0) return batch
              return {
                rows: batch.rows.map(({ index, value }) => ({ index: first + index, value })),
                refused: batch.refused.map(({ error, index }) => ({ index: first + index, error }))
              }
            })
          })
        )
      })
    )
  )
