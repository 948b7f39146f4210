/**
 * Durable files: temporary name, write, fsync, rename, fsync of the folder; and what the file system says as
 * `StoreError`.
 *
 * Not about entries: this file knows bytes and folders only. Everything goes through the `FileSystem` service, so that
 * tests can make any single operation fail. Crash rule: whoever sees the final name sees all bytes.
 *
 * What a power cut may undo: an fsynced file keeps its bytes; a name (created, renamed, removed) is durable once its
 * folder was fsynced, and until then may be there or not, whatever became of other names. A file is fsynced before it
 * gets its name. `names: "now"` fsyncs the folder at once. `names: "soon"` is for many small files whose names need no
 * order: the folder is fsynced if that was last done more than `SOON_MS` ago, and the caller fsyncs it once at the end;
 * a name that replaces another is made durable at once all the same, so that new bytes are never taken for old ones.
 *
 * Files over 2 GiB are written, read and hashed in slices: Node refuses larger single calls.
 */
import { createHash, randomBytes } from "node:crypto"
import { basename, dirname, join } from "node:path"
import { Clock, Effect, Exit, FileSystem, type PlatformError, Schema, Scope } from "effect"
import { fromPlatform } from "./Errno.ts"
import { StoreError } from "./Store.ts"
import { makeSums } from "./Sums.ts"

export { errnoOf, fromPlatform } from "./Errno.ts"

/** Bytes of one read or write call. */
export const SLICE = 4 << 20
/** Smaller pieces than this are gathered before they are written. */
const STAGE = 1 << 20

/** Runs a file system operation on `path`, its error as `StoreError`. */
export const withFs = <A, R>(
  path: string,
  use: (fs: FileSystem.FileSystem) => Effect.Effect<A, PlatformError.PlatformError, R>
): Effect.Effect<A, StoreError, R | FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => Effect.mapError(use(fs), fromPlatform(path)))

/** `value` instead of the errors named; other errors stay. */
export const recover = <A, B, R>(
  effect: Effect.Effect<A, PlatformError.PlatformError, R>,
  named: ReadonlyArray<PlatformError.SystemErrorTag>,
  value: B
): Effect.Effect<A | B, PlatformError.PlatformError, R> =>
  Effect.catch(effect, (error) =>
    (named as ReadonlyArray<string>).includes(error.reason._tag) ? Effect.succeed(value) : Effect.fail(error)
  )

/** Makes names created or removed in a folder durable. */
export const syncFolder = (folder: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  withFs(folder, (fs) => Effect.scoped(Effect.flatMap(fs.open(folder, { flag: "r" }), (file) => file.sync)))

/** How long names given `soon` may wait for the fsync of their folder while others follow, ms. */
export const SOON_MS = 1000
/** When this process or thread last fsynced a folder for such names, ns. Losing it costs one fsync. */
const syncedAt = new Map<string, bigint>()
const REMEMBERED = 4096

/** Makes the names in a folder durable, unless that was done within `SOON_MS`: then whoever ends the work does it. */
export const syncSoon = (folder: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const now = yield* Clock.monotonicTimeNanos
    const last = syncedAt.get(folder)
    if (last !== undefined && now >= last && now - last < BigInt(SOON_MS) * 1_000_000n) return
    if (syncedAt.size >= REMEMBERED) syncedAt.clear()
    yield* syncFolder(folder)
    syncedAt.set(folder, now)
  })

/** Makes a folder and its missing parents, each durable in its parent. */
export const makeFolder = (folder: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    if (yield* withFs(folder, (fs) => fs.exists(folder))) return
    yield* makeFolder(dirname(folder))
    yield* withFs(folder, (fs) => recover(fs.makeDirectory(folder), ["AlreadyExists"], undefined))
    yield* syncFolder(dirname(folder))
  })

/** Names in a folder, sorted; none if there is no folder. */
export const listDir = (folder: string): Effect.Effect<ReadonlyArray<string>, StoreError, FileSystem.FileSystem> =>
  withFs(folder, (fs) =>
    recover(
      Effect.map(fs.readDirectory(folder), (names) => names.sort()),
      ["NotFound", "BadResource"],
      []
    )
  )

/** A name that no other process or thread uses. Not from the Random service: a seeded one would repeat. */
export const token = (): string => randomBytes(8).toString("hex")

/**
 * Removes files or whole folders of one folder so that nobody ever sees half of one, not after a power cut either:
 * renamed out of sight, one fsync for all, then deleted. What is not there is fine. Killed in between, `.gone-` names
 * are left.
 */
export const removeNames = (
  folder: string,
  names: ReadonlyArray<string>
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const gone: Array<string> = []
    for (const name of names) {
      const [from, to] = [join(folder, name), join(folder, `.gone-${token()}`)]
      const moved = yield* withFs(from, (fs) => recover(Effect.as(fs.rename(from, to), true), ["NotFound"], false))
      if (moved) gone.push(to)
    }
    if (gone.length > 0) yield* syncFolder(folder)
    for (const path of gone) yield* withFs(path, (fs) => fs.remove(path, { recursive: true, force: true }))
  })

/** `removeNames` of one. */
export const removeWhole = (path: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  removeNames(dirname(path), [basename(path)])

/** The name of one attempt at a file, beside it: no two writers share one, whatever they write. */
export const temporaryName = (path: string): string => join(dirname(path), `.${basename(path)}.${token()}.tmp`)

/** What attempts that are over leave; of earlier versions too, which had one temporary name a file. */
const LEFT =
  /^\..+\.[0-9a-f]{16}(\.tmp)?$|^\.gone-|^\.tmp-|^\d{5,}\.\w+(\.part\d+)?\.tmp$|^\d{5,}\.jsonl\.part\d+$|^[a-z]+(\.json)?\.tmp$/

/** Whether a name in a folder of the store is that of a file or folder on its way in or out. */
export const isLeftover = (name: string): boolean => LEFT.test(name)

/**
 * Removes what dead attempts left in a folder. Only for who knows that nobody writes there: the holder of its lock.
 * Not durable: a leftover that comes back after a power cut is removed the next time.
 */
export const sweepFolder = (folder: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    for (const name of yield* listDir(folder))
      if (isLeftover(name))
        yield* withFs(join(folder, name), (fs) => fs.remove(join(folder, name), { recursive: true, force: true }))
  })

/** Removes a file durably, or a folder that stands in its place; nothing there is fine, and costs no fsync. */
export const removeFile = (path: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const had = yield* withFs(path, (fs) =>
      recover(Effect.as(fs.remove(path, { recursive: true }), true), ["NotFound"], false)
    )
    if (had) yield* syncFolder(dirname(path))
  })

/** Digest and length of what a writer wrote. */
export interface Written {
  readonly bytes: number
  readonly sha256: string
  /** Sums of its blocks (`Sums.ts`), where they were asked for. */
  readonly sums?: string | undefined
}

/** Writes one file in pieces and hashes on the way. Spent after `finish`. */
export interface Writer {
  readonly write: (chunks: ReadonlyArray<Uint8Array>) => Effect.Effect<void, StoreError>
  /** Flushes, fsyncs, gives the file its name and makes the name durable. */
  readonly finish: Effect.Effect<Written, StoreError>
  /** Ends writing without a name: all bytes can be read at `temporary` until the scope closes, which removes them. */
  readonly seal: Effect.Effect<void, StoreError>
  readonly temporary: string
}

/** When a name becomes durable: see the head of this file. */
export type Names = "now" | "soon"

const sliced = (bytes: Uint8Array): ReadonlyArray<Uint8Array> => {
  if (bytes.byteLength <= SLICE) return [bytes]
  const out: Array<Uint8Array> = []
  for (let at = 0; at < bytes.byteLength; at += SLICE) out.push(bytes.subarray(at, at + SLICE))
  return out
}

/**
 * Opens a writer of `path`; until `finish` the bytes lie under a name of this attempt alone, so of two writers each
 * finishes a whole file and the last one's stays. A scope that closes early removes them; what a killed attempt leaves,
 * `sweepFolder` removes. `hashOnly` writes nothing, `readOnly` leaves a file that nobody may write to,
 * `sums` takes sums of its blocks too.
 *
 * Pieces are copied or written before `write` returns, so an encoder may reuse its buffers. Longer than a screen: its
 * operations share one staging buffer.
 */
export const openWriter = (
  path: string,
  options: {
    readonly hashOnly?: boolean
    readonly readOnly?: boolean
    readonly names?: Names
    readonly sums?: boolean
  } = {}
): Effect.Effect<Writer, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const hash = createHash("sha256")
    const sums = options.sums === true ? makeSums() : undefined
    let bytes = 0
    const count = (chunk: Uint8Array) => {
      hash.update(chunk)
      sums?.update(chunk)
      bytes += chunk.byteLength
    }
    if (options.hashOnly === true)
      return {
        write: (chunks) =>
          Effect.sync(() => {
            for (const chunk of chunks) for (const slice of sliced(chunk)) count(slice)
          }),
        finish: Effect.sync(() => ({ bytes, sha256: hash.digest("hex") })),
        seal: Effect.void,
        temporary: path
      }
    const fs = yield* FileSystem.FileSystem
    const at = <A>(effect: Effect.Effect<A, PlatformError.PlatformError>) => Effect.mapError(effect, fromPlatform(path))
    const temporary = temporaryName(path)
    const folder = dirname(path)
    const outer = yield* Effect.scope
    const own = yield* Scope.fork(outer)
    let named = false
    yield* Scope.addFinalizer(
      outer,
      Effect.suspend(() =>
        named
          ? Effect.void
          : Effect.catch(fs.remove(temporary, { force: true }), (error) =>
              Effect.logWarning(`${temporary} stays behind: ${error.message}`)
            )
      )
    )
    const file = yield* at(
      Scope.provide(fs.open(temporary, { flag: "wx", ...(options.readOnly === true ? { mode: 0o444 } : {}) }), own)
    )
    let stage: Buffer | undefined
    let staged = 0
    const flush = Effect.suspend(() => {
      if (stage === undefined || staged === 0) return Effect.void
      const ready = stage.subarray(0, staged)
      staged = 0
      return at(file.writeAll(ready))
    })
    const write = Effect.fnUntraced(function* (chunks: ReadonlyArray<Uint8Array>) {
      for (const chunk of chunks) {
        for (const slice of sliced(chunk)) {
          count(slice)
          if (slice.byteLength >= STAGE) {
            yield* flush
            yield* at(file.writeAll(slice))
          } else {
            stage ??= Buffer.allocUnsafeSlow(STAGE)
            if (staged + slice.byteLength > STAGE) yield* flush
            stage.set(slice, staged)
            staged += slice.byteLength
          }
        }
      }
    })
    const finish = Effect.gen(function* () {
      yield* flush
      yield* at(file.sync)
      yield* Scope.close(own, Exit.void)
      const later = options.names === "soon" && !(yield* at(fs.exists(path)))
      yield* at(fs.rename(temporary, path))
      named = true
      yield* Effect.provideService(later ? syncSoon(folder) : syncFolder(folder), FileSystem.FileSystem, fs)
      return { bytes, sha256: hash.digest("hex"), ...(sums === undefined ? {} : { sums: sums.text() }) }
    })
    const seal = Effect.andThen(flush, Scope.close(own, Exit.void))
    return { write, finish, seal, temporary }
  })

/** Replaces a file atomically and durably; readers see the old bytes or the new ones, and of two writers one's. */
export const writeAtomic = (
  path: string,
  data: string | Uint8Array,
  options: { readonly names?: Names } = {}
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.scoped(
    Effect.gen(function* () {
      const writer = yield* openWriter(path, options)
      yield* writer.write([typeof data === "string" ? new TextEncoder().encode(data) : data])
      yield* writer.finish
    })
  )

/** sha256 and length of a file, read once in slices. */
export const hashFile = (path: string): Effect.Effect<Written, StoreError, FileSystem.FileSystem> =>
  withFs(path, (fs) =>
    Effect.scoped(
      Effect.gen(function* () {
        const file = yield* fs.open(path, { flag: "r" })
        const hash = createHash("sha256")
        const size = Number((yield* file.stat).size)
        const buffer = Buffer.allocUnsafe(Math.min(SLICE, size + 1)) // one more: the end is seen without a second buffer
        let bytes = 0
        for (;;) {
          const got = yield* file.read(buffer)
          if (got === 0) break
          hash.update(buffer.subarray(0, got))
          bytes += got
        }
        return { bytes, sha256: hash.digest("hex") }
      })
    )
  )

/** fsyncs a file that somebody else wrote. */
export const syncFile = (path: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  withFs(path, (fs) => Effect.scoped(Effect.flatMap(fs.open(path, { flag: "r" }), (file) => file.sync)))

/** What `decode` makes of a file's content; `damaged` if it throws. */
export const decodeFile = <A>(path: string, decode: () => A): Effect.Effect<A, StoreError> =>
  Effect.try({
    try: decode,
    catch: (cause) =>
      new StoreError({
        reason: "damaged",
        path,
        message: `${path} does not hold what it should: ${cause instanceof Error ? cause.message : String(cause)}`,
        hint: "The file was changed or cut off; it is ignored and made again where that is possible.",
        cause
      })
  })

/** Reads JSON of a schema: undefined if there is no file, `damaged` if it does not decode. */
export const readJson = <A>(
  path: string,
  schema: Schema.Codec<A, any>
): Effect.Effect<A | undefined, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const text = yield* withFs(path, (fs) => recover(fs.readFileString(path), ["NotFound"], undefined))
    if (text === undefined) return undefined
    return yield* decodeFile(path, () => Schema.decodeUnknownSync(schema)(JSON.parse(text)))
  })

/** Like `readJson`, but a damaged file is reported and counts as absent. */
export const readJsonIfGood = <A>(
  path: string,
  schema: Schema.Codec<A, any>
): Effect.Effect<A | undefined, StoreError, FileSystem.FileSystem> =>
  Effect.catchIf(
    readJson(path, schema),
    (error) => error.reason === "damaged",
    (error) => Effect.as(Effect.logWarning(error.message), undefined)
  )
