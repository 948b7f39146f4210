/**
 * The refused rows of a shard on disk, any number of them: written while the shard is made, read as a stream.
 *
 * Not the collector (`dag/Refusals.ts`), and no decision whether too many were refused. One JSON line a row, ordered by
 * row.
 *
 * Lifecycle: rows wait in the collector; every `SPILL` of them go to a part file, and to another one when they would
 * break the order. `finish` renames the part to `NNNNN.jsonl`, or merges several. Its bytes are durable when `finish`
 * returns, its name with those of the shard; visible with the shard's record or the node's manifest. Parts have names
 * of their attempt; what a killed one leaves goes when the node is begun again, under its lock.
 */
import { basename, join } from "node:path"
import { Cause, Effect, type FileSystem, Pull, Schema, Scope, Semaphore, Stream } from "effect"
import { type Refusals, Refused } from "../dag/Refusals.ts"
import { fromPlatform, listDir, makeFolder, openWriter, removeFile, type Writer, withFs } from "./Durable.ts"
import * as Layout from "./Layout.ts"
import type { FileEntry } from "./Manifest.ts"
import { StoreError } from "./Store.ts"

/** Rows that wait before they are written to a part file: some 4 MB of text. */
const SPILL = 16_384
/** Bytes read of a file at a time. */
const CHUNK = 1 << 18

/** What a shard refused: counts by reason, and its file if there is anything in it. */
export interface Quarantined {
  readonly refused: Readonly<Record<string, number>>
  readonly refusedFile?: FileEntry
}

/** The quarantine of one shard on its way. */
export interface Quarantine {
  /** To be called between batches: writes what waits once it is much. */
  readonly spill: Effect.Effect<void, StoreError, FileSystem.FileSystem>
  /** Writes the file; none removes what an earlier attempt left. */
  readonly finish: Effect.Effect<Quarantined, StoreError, FileSystem.FileSystem>
}

/** Lines of a file of refused rows, with the row of each. */
const linesOf = (path: string): Stream.Stream<Refused, StoreError, FileSystem.FileSystem> =>
  Stream.unwrap(
    Effect.map(
      withFs(path, (fs) => Effect.succeed(fs.stream(path, { chunkSize: CHUNK }))),
      Stream.mapError(fromPlatform(path))
    )
  ).pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.filter((line) => line !== ""),
    Stream.mapArrayEffect((lines) =>
      Effect.try({
        try: () => decodeLines(lines),
        catch: (cause) =>
          new StoreError({
            reason: "damaged",
            path,
            message: `${path} does not hold refused rows: ${cause instanceof Error ? cause.message : String(cause)}`,
            hint: "Run again with --verify: the shard and its quarantine are made anew.",
            cause
          })
      })
    )
  )

const isRefused = Schema.decodeUnknownSync(Refused)
const decodeLines = <Lines extends ReadonlyArray<string>>(lines: Lines) =>
  lines.map((line) => isRefused(JSON.parse(line))) as { [K in keyof Lines]: Refused }
const encodeLines = (rows: ReadonlyArray<Refused>): Uint8Array =>
  new TextEncoder().encode(rows.map((one) => `${JSON.stringify(one)}\n`).join(""))

/**
 * Begins the quarantine of a shard; parts go with the scope.
 *
 * @example
 * const quarantine = yield* openQuarantine(work.folder, 3, refusals)
 * yield* quarantine.spill // after each batch
 * const { refused, refusedFile } = yield* quarantine.finish
 */
export const openQuarantine = (
  folder: string,
  index: number,
  refusals: Pick<Refusals, "take" | "waiting">,
  options: { readonly spillRows?: number } = {}
): Effect.Effect<Quarantine, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const path = Layout.refusedFile(folder, index)
    const spillRows = options.spillRows ?? SPILL
    const one = yield* Semaphore.make(1)
    const scope = yield* Effect.scope
    const parts: Array<Writer> = []
    let open: { readonly writer: Writer; lastRow: number } | undefined
    const counts: Record<string, number> = {}

    /** What waits goes to the open part, or to the next one where it would break the order. */
    const append = Effect.gen(function* () {
      const rows = refusals.take()
      if (rows.length === 0) return
      for (const { reason } of rows) counts[reason] = (counts[reason] ?? 0) + 1
      if (open !== undefined && rows[0]!.row < open.lastRow) {
        yield* open.writer.seal
        open = undefined
      }
      if (open === undefined) {
        yield* makeFolder(Layout.refusedFolder(folder))
        const writer = yield* Scope.provide(openWriter(path, { names: "soon" }), scope)
        parts.push(writer)
        open = { writer, lastRow: 0 }
      }
      yield* open.writer.write([encodeLines(rows)])
      open.lastRow = rows.at(-1)!.row
    })
    const merge = Effect.scoped(
      Effect.gen(function* () {
        yield* parts.at(-1)!.seal
        const writer = yield* openWriter(path, { names: "soon" })
        const sorted = merged(parts.map(({ temporary }) => linesOf(temporary)))
        yield* Stream.runForEachArray(sorted, (rows) => writer.write([encodeLines(rows)]))
        return yield* writer.finish
      })
    )
    return {
      spill: Effect.suspend(() => (refusals.waiting() < spillRows ? Effect.void : one.withPermits(1)(append))),
      finish: Effect.gen(function* () {
        yield* append
        if (parts.length === 0) {
          yield* removeFile(path)
          return { refused: counts }
        }
        const written = yield* parts.length > 1 ? merge : parts[0]!.finish
        return { refused: counts, refusedFile: { path: basename(path), ...written } }
      })
    }
  })

/** Rows of a sorted stream that were read and not yet given away. */
interface Head {
  readonly pull: Effect.Effect<ReadonlyArray<Refused>, StoreError, FileSystem.FileSystem>
  rows: ReadonlyArray<Refused>
  at: number
}

/** Sorted streams as one, by row; of equal rows those of the earlier stream come first. */
const merged = (
  streams: ReadonlyArray<Stream.Stream<Refused, StoreError, FileSystem.FileSystem>>
): Stream.Stream<Refused, StoreError, FileSystem.FileSystem> =>
  Stream.scoped(
    Stream.fromPull(
      Effect.gen(function* () {
        const heads: Array<Head> = []
        const fill = Effect.fnUntraced(function* (head: Head) {
          head.rows = yield* head.pull
          head.at = 0
          return head.rows.length > 0
        })
        for (const stream of streams) {
          const pull = Pull.catchDone(yield* Stream.toPull(stream), () => Effect.succeed([]))
          const head: Head = { pull, rows: [], at: 0 }
          if (yield* fill(head)) heads.push(head)
        }
        const rowOf = (head: Head): number => head.rows[head.at]!.row
        return Effect.gen(function* () {
          let first = heads[0]
          if (first === undefined) return yield* Cause.done()
          for (const head of heads) if (rowOf(head) < rowOf(first)) first = head
          // All of its rows that no other stream has to go before.
          const before = heads.indexOf(first)
          let end = first.rows.length
          for (const [i, head] of heads.entries()) {
            if (head === first) continue
            const bound = rowOf(head)
            const stop = first.rows.findIndex(
              ({ row }, at) => at > first.at && (row > bound || (row === bound && i < before))
            )
            if (stop >= 0) end = Math.min(end, stop)
          }
          const out = first.rows.slice(first.at, end)
          first.at = end
          if (end === first.rows.length && !(yield* fill(first))) heads.splice(before, 1)
          return out as [Refused, ...Array<Refused>]
        })
      })
    )
  )

/**
 * The refused rows of all shards of an entry or work folder, by shard, then row. `files` are those that a manifest
 * lists; of work under way, all that are there.
 */
export const readRefused = (
  folder: string,
  files?: ReadonlyArray<string>
): Stream.Stream<{ readonly shard: number; readonly refused: Refused }, StoreError, FileSystem.FileSystem> =>
  Stream.unwrap(
    Effect.map(files === undefined ? listDir(Layout.refusedFolder(folder)) : Effect.succeed(files), (names) =>
      Stream.flatMap(
        Stream.fromIterable(
          names
            .filter((name) => /^\d{5,}\.jsonl$/.test(name))
            .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
        ),
        (name) =>
          Stream.map(linesOf(join(Layout.refusedFolder(folder), name)), (refused) => ({
            shard: Number.parseInt(name, 10),
            refused
          }))
      )
    )
  )
