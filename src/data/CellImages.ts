/**
 * Images that lie in the cells of Parquet or Arrow files, as the hub has them: `image` or `images`, `{ bytes, path }`.
 *
 * Not a reader of rows: rows name an image by the path beside its bytes, or, where there is none, by file and row
 * (`train-00000-of-00001.parquet#17`, counted from 0 in that file). A path that stands in several cells names none of
 * them: the readers' `images: "cell"` has rows name their own cell.
 *
 * Files are read forwards, a few rows at a time, and a Parquet file from the row group asked for: rows in order, as
 * nodes ask for them, are read once. Memory: some 64 cells a file in use, and the paths where an image is asked for by
 * path.
 */
import { readdir, stat } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { Effect, type Scope, Semaphore, Stream } from "effect"
import { ArrowFileError } from "./ArrowRows.ts"
import { ImageMissing, type ImageSource, ImageSourceError, ImageUnreadable } from "./ImageSource.ts"
import { ParquetError } from "./ParquetError.ts"
import { kindOf, walk } from "./RowFolder.ts"

const CELL = /^(.*)#(\d+)$/s

/**
 * The name of the image in a cell.
 *
 * @example
 * cellName("data/train-00000-of-00001.parquet", 17) // "data/train-00000-of-00001.parquet#17"
 */
export const cellName = (part: string, row: number): string => `${part}#${row}`

const isCells = (name: string): boolean => {
  const kind = kindOf(basename(name))
  return kind === "Parquet" || kind === "Arrow"
}

/** Folders with more entries are images. */
const FEW = 64

/**
 * Whether a path is a Parquet or Arrow file, or a folder with such a file in it or in a folder of it.
 *
 * @example
 * await holdsCells("llava-instruct-mix/data")
 */
export const holdsCells = async (path: string): Promise<boolean> => {
  if (!(await stat(path)).isDirectory()) return isCells(path)
  const names = await readdir(path)
  if (names.some(isCells)) return true
  if (names.length > FEW) return false
  for (const name of names) {
    const below = name.startsWith(".") ? [] : await readdir(join(path, name)).catch((): Array<string> => [])
    if (below.some(isCells) || name === "snapshots") return true
  }
  return false
}

interface Batch {
  readonly first: number
  readonly rows: ReadonlyArray<Readonly<Record<string, unknown>>>
  /** Rows behind them that cannot be given: they have no image. */
  readonly refused?: ReadonlyArray<unknown>
}

/** Batches of one file from a row on, of these columns. */
const batchesFrom = (path: string, columns: ReadonlyArray<string>, from: number) =>
  kindOf(basename(path)) === "Parquet"
    ? Stream.unwrap(
        Effect.map(
          Effect.promise(() => import("./Parquet.ts")),
          ({ readParquet }): Stream.Stream<Batch, ParquetError> =>
            readParquet(path, { columns, absent: "skip", batchRows: 32, from, badRows: "refuse" })
        )
      )
    : Stream.unwrap(
        Effect.map(
          Effect.promise(() => import("./ArrowRows.ts")),
          ({ readArrowRows }): Stream.Stream<Batch, ArrowFileError> =>
            readArrowRows(path, { columns: columns.map((column) => column.replace(/\..*/, "")) })
        )
      )

/** What is there of a row's images. */
const cellsOf = (
  row: Readonly<Record<string, unknown>>
): ReadonlyArray<{ readonly bytes?: unknown; readonly path?: unknown }> =>
  [row["image"], row["images"]].flat().filter((cell) => typeof cell === "object" && cell !== null)

/** A gap that is not read through. */
const FAR = 2048

/** One file, read forwards. */
class Part {
  readonly #path: string
  #rows: AsyncIterator<Batch> | undefined
  #kept: Array<Batch> = []
  #next = 0

  constructor(path: string) {
    this.#path = path
  }

  /** The row's image; undefined where it has none, or the file no such row. */
  async bytes(row: number): Promise<Uint8Array | "several" | undefined> {
    let found = this.#find(row)
    if (found === undefined) {
      if (this.#rows === undefined || row < this.#next || row > this.#next + FAR) await this.#start(row)
      while (found === undefined && this.#next <= row) {
        const { done, value } = await this.#rows!.next()
        if (done === true) break
        this.#kept = [...this.#kept.slice(-1), value]
        this.#next = value.first + value.rows.length + (value.refused?.length ?? 0)
        found = this.#find(row)
      }
    }
    const cells = found === undefined ? [] : cellsOf(found).filter(({ bytes }) => bytes instanceof Uint8Array)
    return cells.length > 1 ? "several" : (cells[0]?.bytes as Uint8Array | undefined)
  }

  #find(row: number): Batch["rows"][number] | undefined {
    const batch = this.#kept.find(({ first, rows }) => row >= first && row < first + rows.length)
    return batch?.rows[row - batch.first]
  }

  async #start(row: number): Promise<void> {
    await this.close()
    this.#kept = []
    this.#next = 0
    const batches: Stream.Stream<Batch, ParquetError | ArrowFileError> = batchesFrom(
      this.#path,
      ["image.bytes", "images.bytes"],
      row
    )
    this.#rows = Stream.toAsyncIterable(batches)[Symbol.asyncIterator]()
  }

  async close(): Promise<void> {
    await this.#rows?.return?.()
    this.#rows = undefined
  }
}

const SEVERAL = 'Set the reader\'s `images` to "cell": rows then name their own cell.'

/**
 * Opens the images of a Parquet or Arrow file, or of a folder of them. Closed with the scope.
 *
 * Long: names of cells are collected and looked up in tables that only this closure sees.
 *
 * @example
 * ```ts
 * const images = yield* openCells("llava-instruct-mix/data")
 * ```
 */
export const openCells = (
  path: string,
  { maxFileBytes = 64 * 1024 * 1024 }: { readonly maxFileBytes?: number } = {}
): Effect.Effect<ImageSource, ImageSourceError, Scope.Scope> =>
  Effect.gen(function* () {
    const source = basename(path)
    const failed = (name: string, cause: unknown) =>
      new ImageSourceError({
        source: path,
        name,
        message: `${path}: ${name}: ${cause instanceof Error ? cause.message : String(cause)}`,
        hint: "Check the disk and the permissions, then run again: finished shards are kept.",
        cause
      })
    const isFolder = yield* Effect.tryPromise({
      try: async () => (await stat(path)).isDirectory(),
      catch: (cause) => failed("", cause)
    })
    const root = isFolder ? path : dirname(path)
    const names = isFolder
      ? (yield* Effect.tryPromise({ try: () => walk(path), catch: (cause) => failed("", cause) })).filter(isCells)
      : [source]
    const parts = new Map(names.map((name) => [name, new Part(join(root, name))]))
    yield* Effect.addFinalizer(() => Effect.promise(() => Promise.all([...parts.values()].map((part) => part.close()))))
    const one = yield* Semaphore.make(1)

    const missing = (name: string) =>
      new ImageMissing({
        source,
        name,
        message: `${source}: has no ${name}`,
        hint: "Check that `images` is connected to the files that the rows are read from."
      })
    const unreadable = (
      name: string,
      reason: ImageUnreadable["reason"],
      detail: string,
      hint: string,
      cause?: unknown
    ) => new ImageUnreadable({ source, name, reason, message: `${source}: ${name}: ${detail}`, hint, cause })
    const faultOf = (name: string) => (cause: unknown) =>
      (cause instanceof ParquetError || cause instanceof ArrowFileError) && cause.reason !== "unreadable"
        ? unreadable(name, "damaged", cause.message.replaceAll(path, source), cause.hint)
        : failed(name, cause)

    /** Where each path is; null where it is in several cells. */
    const paths = yield* Effect.cached(
      Effect.gen(function* () {
        const found = new Map<string, readonly [part: string, row: number] | null>()
        for (const name of names) {
          const batches: Stream.Stream<Batch, ParquetError | ArrowFileError> = batchesFrom(
            join(root, name),
            ["image.path", "images.path"],
            0
          )
          yield* Stream.runForEach(batches, ({ first, rows }) =>
            Effect.sync(() => {
              for (const [i, row] of rows.entries())
                for (const { path } of cellsOf(row))
                  if (typeof path === "string" && path !== "")
                    found.set(path, found.has(path) ? null : [name, first + i])
            })
          )
        }
        return found
      })
    )

    /** The part of that name, or the only one whose last part it is. */
    const partOf = (name: string): Part | undefined => {
      const same = names.filter((one) => one === name)
      const last = same.length > 0 ? same : names.filter((one) => basename(one) === basename(name))
      return last.length === 1 ? parts.get(last[0]!) : undefined
    }

    const placeOf = Effect.fnUntraced(function* (name: string) {
      const cell = CELL.exec(name)
      const named = cell === null ? undefined : partOf(cell[1]!)
      if (named !== undefined) return { part: named, row: Number(cell![2]) }
      const place = (yield* Effect.mapError(paths, faultOf(name))).get(name)
      if (place === null) return yield* unreadable(name, "ambiguous", "several cells have this path", SEVERAL)
      return place === undefined ? yield* missing(name) : { part: parts.get(place[0])!, row: place[1] }
    })

    return {
      source: path,
      read: (name) =>
        one.withPermits(1)(
          Effect.gen(function* () {
            const { part, row } = yield* placeOf(name)
            const bytes = yield* Effect.tryPromise({ try: () => part.bytes(row), catch: faultOf(name) })
            if (bytes === undefined) return yield* missing(name)
            if (bytes === "several")
              return yield* unreadable(
                name,
                "ambiguous",
                "its row has several images",
                "Cut the row into one for each image."
              )
            if (bytes.byteLength > maxFileBytes)
              return yield* unreadable(
                name,
                "too-large",
                `${bytes.byteLength} bytes are more than ${maxFileBytes}`,
                "Raise `maxFileBytes` if the file is to be trusted."
              )
            return bytes
          })
        )
    }
  })
