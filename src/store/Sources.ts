/**
 * Content digests of sources, remembered so that an unchanged file is hashed once.
 *
 * Not keyed by place: the digest of a file is the sha256 of its bytes, of a folder that of its list of files. What is
 * remembered is (path, size, times, inode) -> digest; `ctime` among the times, which no program sets back. Losing it
 * costs time only, so a cache that cannot be written is reported and no error, and one that no checksum vouches for is
 * not believed. A file that changed just now is not remembered: a second write within its time stamp's grain would go
 * unseen.
 */
import { basename, join, resolve } from "node:path"
import { Clock, Effect, FileSystem, Schema, Semaphore } from "effect"
import { digestOf } from "../dag/Canonical.ts"
import { checksummed, readVouched } from "./Checksum.ts"
import { treeDigest } from "./Digests.ts"
import { hashFile, makeFolder, recover, writeAtomic } from "./Durable.ts"
import type { Layout } from "./Layout.ts"
import type { FileEntry } from "./Manifest.ts"
import { filesOf, linked, type SourceFile, statOf } from "./SourceFiles.ts"
import { SourceError, StoreError } from "./Store.ts"
import { orWithout } from "./Without.ts"

const Remembered = Schema.Struct({ stat: Schema.String, digest: Schema.String, bytes: Schema.Number })
const SourceCache = Schema.Struct({
  format: Schema.Literal(2),
  files: Schema.Record(Schema.String, Remembered)
})
type Remembered = typeof Remembered.Type

/** Files of a folder of more than this are remembered in a list of its own, read only when one of them changed. */
const TOGETHER_AT_MOST = 4_096

export interface Digested {
  readonly digest: string
  readonly bytes: number
  /** Some files of the folder are not the source's. */
  readonly partly: boolean
  /** Name of the list that remembers its files, where it has one of its own. */
  readonly list?: string
}

export interface Sources {
  readonly digest: (
    node: string,
    path: string,
    files?: ReadonlyArray<string>
  ) => Effect.Effect<Digested, SourceError | StoreError>
  /** The folder that a node is shown: the source's own, or where it is `partly` the source, one of links. */
  readonly shown: (path: string, files?: ReadonlyArray<string>) => Effect.Effect<string, StoreError>
  /** Digests that are known without reading: of files that were hashed while they came. */
  readonly learn: (
    files: ReadonlyArray<{ readonly path: string; readonly digest: string; readonly bytes: number }>
  ) => Effect.Effect<void>
}

/**
 * Digests with the store's memory; `readOnly` remembers in this process only. Longer than a screen: its operations
 * share one memory and its locks.
 */
export const make = (
  layout: Layout,
  options: { readonly readOnly: boolean }
): Effect.Effect<Sources, never, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const one = yield* Semaphore.make(1)
    const known = new Map<string, Remembered>()
    let loaded = false

    const load = Effect.gen(function* () {
      const cache = yield* readVouched(layout.sources, SourceCache)
      for (const [path, entry] of Object.entries(cache?.files ?? {})) if (!known.has(path)) known.set(path, entry)
      loaded = true
    })
    const save = Effect.gen(function* () {
      yield* load // what other processes learnt meanwhile
      const text = checksummed({ format: 2, files: Object.fromEntries(known) })
      yield* orWithout(layout.root, writeAtomic(layout.sources, text))
    }).pipe(Effect.catch((error) => Effect.logWarning(`source digests are not remembered: ${error.message}`)))

    const isSettled = (file: SourceFile, nowMs: number) => nowMs - file.changedMs >= file.grainMs

    const digestFile = (path: string, file: SourceFile, memory: Map<string, Remembered>, nowMs: number) =>
      Effect.gen(function* () {
        const entry = memory.get(path)
        if (entry?.stat === file.stat) return { ...entry, learnt: false }
        const { bytes, sha256 } = yield* hashFile(path)
        const learnt = isSettled(file, nowMs)
        if (learnt) memory.set(path, { stat: file.stat, digest: sha256, bytes })
        return { digest: sha256, bytes, learnt }
      })

    /** What is remembered of the files of a large folder. */
    const listOf = (path: string) => join(layout.sourceLists, `${digestOf(path).slice(0, 32)}.json`)
    const readList = Effect.fnUntraced(function* (path: string) {
      const cache = yield* readVouched(listOf(path), SourceCache)
      return new Map(Object.entries(cache?.files ?? {}))
    })
    const writeList = (path: string, memory: ReadonlyMap<string, Remembered>) =>
      Effect.gen(function* () {
        const write = writeAtomic(listOf(path), checksummed({ format: 2, files: Object.fromEntries(memory) }))
        yield* orWithout(layout.root, Effect.andThen(makeFolder(layout.sourceLists), write))
      }).pipe(Effect.catch((error) => Effect.logWarning(`source digests are not remembered: ${error.message}`)))

    const digestFolder = (
      path: string,
      patterns: ReadonlyArray<string> | undefined,
      nowMs: number
    ): Effect.Effect<Digested & { readonly learnt: boolean }, StoreError, FileSystem.FileSystem> =>
      Effect.gen(function* () {
        const { files, partly } = yield* filesOf(path, patterns)
        const stat = digestOf(files.map((file) => [file.path, file.stat]))
        const name = patterns === undefined ? path : `${path}\n${patterns.join("\n")}`
        const entry = known.get(name)
        const isLarge = files.length > TOGETHER_AT_MOST
        const list: { readonly list?: string } = isLarge ? { list: basename(listOf(path)) } : {}
        if (entry?.stat === stat) return { digest: entry.digest, bytes: entry.bytes, ...list, partly, learnt: false }
        const memory = isLarge ? yield* readList(path) : known
        const hashed = yield* Effect.forEach(
          files,
          (file) =>
            Effect.map(
              digestFile(join(path, file.path), file, memory, nowMs),
              ({ bytes, digest }) => ({ path: file.path, bytes, sha256: digest }) satisfies FileEntry
            ),
          { concurrency: 4 }
        )
        const digest = treeDigest(hashed)
        const bytes = hashed.reduce((sum, file) => sum + file.bytes, 0)
        const learnt = files.every((file) => isSettled(file, nowMs))
        if (learnt) known.set(name, { stat, digest, bytes })
        if (isLarge && !options.readOnly) yield* writeList(path, memory)
        return { digest, bytes, partly, learnt, ...list }
      })

    const digest = (node: string, given: string, patterns?: ReadonlyArray<string>) =>
      Effect.gen(function* () {
        const path = resolve(given)
        const sourceError = (message: string, hint: string, cause?: unknown) =>
          new SourceError({ node, path, message, hint, ...(cause === undefined ? {} : { cause }) })
        const info = yield* Effect.mapError(recover(fs.stat(path), ["NotFound"], undefined), (cause) =>
          sourceError(`${path} cannot be read: ${cause.message}`, "Check the path and its permissions.", cause)
        )
        if (info === undefined)
          return yield* sourceError(
            `${path} does not exist`,
            `Download ${basename(path)} to that place, or read it from elsewhere with \`--source ${node}=PATH\`.`
          )
        if (patterns !== undefined && !patterns.includes("**") && info.type !== "Directory")
          return yield* sourceError(
            `${path} is one file, and \`files\` names some below it`,
            "Leave `files` out, or give the folder as the source."
          )
        const nowMs = yield* Clock.currentTimeMillis
        if (!loaded) yield* load
        const found = yield* Effect.catchIf(
          info.type === "Directory"
            ? digestFolder(path, patterns, nowMs)
            : Effect.map(
                digestFile(path, statOf(path, "")!, known, nowMs),
                ({ bytes, digest, learnt }): Digested & { readonly learnt: boolean } => ({
                  digest,
                  bytes,
                  learnt,
                  partly: false
                })
              ),
          (error: StoreError) => error instanceof StoreError,
          (error) => Effect.fail(sourceError(error.message, error.hint, error))
        )
        if (found.learnt && !options.readOnly) yield* save
        const { bytes, digest, list, partly } = found
        return { digest, bytes, partly, ...(list === undefined ? {} : { list }) }
      })

    const learnAll: Sources["learn"] = (files) =>
      Effect.gen(function* () {
        const nowMs = yield* Clock.currentTimeMillis
        if (!loaded) yield* load
        for (const { bytes, digest, path } of files) {
          const file = statOf(path, "")
          if (file !== undefined && isSettled(file, nowMs)) known.set(resolve(path), { stat: file.stat, digest, bytes })
        }
        if (!options.readOnly) yield* save
      }).pipe(
        Effect.catch((error) => Effect.logWarning(`source digests are not remembered: ${error.message}`)),
        Effect.provideService(FileSystem.FileSystem, fs),
        one.withPermits(1)
      )

    return {
      learn: learnAll,
      digest: (node, path, files) =>
        one.withPermits(1)(Effect.provideService(digest(node, path, files), FileSystem.FileSystem, fs)),
      shown: (given, patterns) =>
        Effect.gen(function* () {
          const path = resolve(given)
          const { files } = yield* filesOf(path, patterns)
          return yield* linked(layout.views, path, files)
        }).pipe(Effect.provideService(FileSystem.FileSystem, fs))
    }
  })
