/**
 * Content digests of sources, remembered so that an unchanged file is hashed once.
 *
 * Not keyed by place: the digest of a file is the sha256 of its bytes, of a folder that of its list of files. What is
 * remembered is (path, size, mtime, inode) -> digest; losing it costs time only, so a cache that cannot be written is
 * reported and no error. A file that changed less than two seconds ago is not remembered: a second write within its
 * time stamp's grain would go unseen.
 */
import { basename, join, resolve } from "node:path"
import { Clock, Effect, FileSystem, Schema, Semaphore } from "effect"
import { digestOf } from "../dag/Canonical.ts"
import { treeDigest, type Walked, walk } from "./Digests.ts"
import { hashFile, instead, readJsonIfGood, writeWhole } from "./Durable.ts"
import type { Layout } from "./Layout.ts"
import type { FileEntry } from "./Manifest.ts"
import { SourceError, StoreError } from "./Store.ts"

const Remembered = Schema.Struct({ stat: Schema.String, digest: Schema.String, bytes: Schema.Number })
const SourceCache = Schema.Struct({
  format: Schema.Literal(1),
  files: Schema.Record(Schema.String, Remembered)
})

/** Time stamps younger than this are not trusted, ms. */
const GRAIN_MS = 2_000
/** Folders of more files than this are remembered as one. */
const EACH_AT_MOST = 4_096

export interface Sources {
  readonly digest: (
    node: string,
    path: string
  ) => Effect.Effect<{ readonly digest: string; readonly bytes: number }, SourceError | StoreError>
  /** Digests that are known without reading: of files that were hashed while they came. */
  readonly learn: (
    files: ReadonlyArray<{ readonly path: string; readonly digest: string; readonly bytes: number }>
  ) => Effect.Effect<void>
}

const asWalked = (info: FileSystem.File.Info): Walked => ({
  path: "",
  bytes: Number(info.size),
  mtimeMs: info.mtime._tag === "Some" ? info.mtime.value.getTime() : 0,
  inode: `${info.dev}:${info.ino._tag === "Some" ? info.ino.value : 0n}`
})

const statLine = (file: Walked): string => `${file.bytes} ${file.mtimeMs} ${file.inode}`

/** Digests with the store's memory; `readOnly` remembers in this process only. */
export const make = (
  layout: Layout,
  options: { readonly readOnly: boolean }
): Effect.Effect<Sources, never, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const one = yield* Semaphore.make(1)
    const known = new Map<string, typeof Remembered.Type>()
    let loaded = false

    const load = Effect.gen(function* () {
      const cache = yield* readJsonIfGood(layout.sources, SourceCache)
      for (const [path, entry] of Object.entries(cache?.files ?? {})) if (!known.has(path)) known.set(path, entry)
      loaded = true
    })
    const save = Effect.gen(function* () {
      yield* load // what other processes learnt meanwhile
      const text = JSON.stringify({
        format: 1,
        files: Object.fromEntries([...known].sort(([a], [b]) => (a < b ? -1 : 1)))
      })
      yield* writeWhole(layout.sources, text + "\n", { shared: true })
    }).pipe(Effect.catch((error) => Effect.logWarning(`source digests are not remembered: ${error.message}`)))

    const lookUp = (path: string, stat: string) => {
      const entry = known.get(path)
      return entry?.stat === stat ? entry : undefined
    }
    const learn = (path: string, stat: string, newestMs: number, nowMs: number, digest: string, bytes: number) => {
      if (nowMs - newestMs < GRAIN_MS) return false
      known.set(path, { stat, digest, bytes })
      return true
    }

    const digestFile = (path: string, file: Walked, nowMs: number) =>
      Effect.gen(function* () {
        const stat = statLine(file)
        const entry = lookUp(path, stat)
        if (entry !== undefined) return { ...entry, learnt: false }
        const { bytes, sha256 } = yield* hashFile(path)
        return { digest: sha256, bytes, learnt: learn(path, stat, file.mtimeMs, nowMs, sha256, bytes) }
      })

    const digestFolder = (path: string, nowMs: number) =>
      Effect.gen(function* () {
        const { files } = yield* walk(path, { links: "follow" })
        const stat = digestOf(files.map((file) => [file.path, statLine(file)]))
        const entry = lookUp(path, stat)
        if (entry !== undefined) return { ...entry, learnt: false }
        const hashed = yield* Effect.forEach(
          files,
          (file) =>
            Effect.gen(function* () {
              const at = join(path, file.path)
              const found = files.length <= EACH_AT_MOST ? yield* digestFile(at, file, nowMs) : yield* plain(at)
              return { path: file.path, bytes: found.bytes, sha256: found.digest } satisfies FileEntry
            }),
          { concurrency: 4 }
        )
        const digest = treeDigest(hashed)
        const bytes = hashed.reduce((sum, file) => sum + file.bytes, 0)
        const newestMs = files.reduce((newest, file) => Math.max(newest, file.mtimeMs), 0)
        return { digest, bytes, learnt: learn(path, stat, newestMs, nowMs, digest, bytes) }
      })
    const plain = (path: string) => Effect.map(hashFile(path), ({ bytes, sha256 }) => ({ bytes, digest: sha256 }))

    const digest = (node: string, given: string) =>
      Effect.gen(function* () {
        const path = resolve(given)
        const sourceError = (message: string, hint: string, cause?: unknown) =>
          new SourceError({ node, path, message, hint, ...(cause === undefined ? {} : { cause }) })
        const info = yield* Effect.mapError(instead(fs.stat(path), ["NotFound"], undefined), (cause) =>
          sourceError(`${path} cannot be read: ${cause.message}`, "Check the path and its permissions.", cause)
        )
        if (info === undefined)
          return yield* sourceError(
            `${path} does not exist`,
            `Download ${basename(path)} to that place, or give its real location where "${node}" is defined.`
          )
        const nowMs = yield* Clock.currentTimeMillis
        if (!loaded) yield* load
        const found = yield* Effect.catchIf(
          info.type === "Directory" ? digestFolder(path, nowMs) : digestFile(path, asWalked(info), nowMs),
          (error: StoreError) => error instanceof StoreError,
          (error) => Effect.fail(sourceError(error.message, error.hint, error))
        )
        if (found.learnt && !options.readOnly) yield* save
        return { digest: found.digest, bytes: found.bytes }
      })

    const learnAll: Sources["learn"] = (files) =>
      Effect.gen(function* () {
        const nowMs = yield* Clock.currentTimeMillis
        if (!loaded) yield* load
        for (const { bytes, digest, path } of files) {
          const file = asWalked(yield* fs.stat(path))
          learn(resolve(path), statLine(file), file.mtimeMs, nowMs, digest, bytes)
        }
        if (!options.readOnly) yield* save
      }).pipe(
        Effect.catch((error) => Effect.logWarning(`source digests are not remembered: ${error.message}`)),
        Effect.provideService(FileSystem.FileSystem, fs),
        one.withPermits(1)
      )

    return {
      learn: learnAll,
      digest: (node, path) => one.withPermits(1)(Effect.provideService(digest(node, path), FileSystem.FileSystem, fs))
    }
  })
