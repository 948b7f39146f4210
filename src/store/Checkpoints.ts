/**
 * Checkpoints of a fold under way: one folder a step, atomic, every file with its digest; the newest valid one wins.
 *
 * Not the state's codec (the node has that) and not weights as an output. Lifecycle: `.tmp-...` folder (files, fsync,
 * `checkpoint.json` last) -> renamed to `step-NNNNNNNNN` (durable) -> dropped once newer ones suffice.
 *
 * Durable when: every file's bytes before `checkpoint.json`, which makes the names in the folder durable; then the
 * folder's own name; only after that do older ones go. One fsync a file and some five more, whatever the number of
 * files.
 *
 * After a save, checkpoints of *later* steps are dropped too: they belong to a future that was given up because it
 * could not be read, and must not displace good ones.
 */
import { createHash } from "node:crypto"
import { join } from "node:path"
import { Effect, type FileSystem, Schema } from "effect"
import type { StateFiles } from "../dag/Fold.ts"
import { checksummed, readChecked } from "./Checksum.ts"
import { isPlain } from "./Derive.ts"
import {
  listDir,
  makeFolder,
  openWriter,
  removeNames,
  removeWhole,
  SLICE,
  syncFolder,
  token,
  withFs,
  writeAtomic
} from "./Durable.ts"
import { checkpointsFolder, placeOf, stepName, stepOf } from "./Layout.ts"
import { FileEntry } from "./Manifest.ts"
import { openFile } from "./ShardFiles.ts"
import { StoreError } from "./Store.ts"

const CheckpointManifest = Schema.Struct({
  format: Schema.Literal(1),
  /** Key of the node; of older checkpoints unknown. */
  key: Schema.optional(Schema.String),
  step: Schema.Number,
  score: Schema.optional(Schema.Number),
  files: Schema.Array(FileEntry)
})
type CheckpointManifest = typeof CheckpointManifest.Type

const manifestName = "checkpoint.json"

const damaged = (path: string, message: string): StoreError =>
  new StoreError({
    reason: "damaged",
    path,
    message: `${path}: ${message}`,
    hint: "An older checkpoint is used; if it keeps happening, check the disk."
  })

/** A whole file into memory, hashed on the way; works beyond 2 GiB. */
const readHashed = (path: string, entry: FileEntry): Effect.Effect<Uint8Array, StoreError, FileSystem.FileSystem> =>
  Effect.scoped(
    Effect.gen(function* () {
      const file = yield* openFile(path)
      if (file.size !== entry.bytes) return yield* damaged(path, `${file.size} bytes instead of ${entry.bytes}`)
      const out = new Uint8Array(entry.bytes)
      const hash = createHash("sha256")
      for (let at = 0; at < entry.bytes; at += SLICE) {
        const part = yield* Effect.mapError(file.read(at, Math.min(SLICE, entry.bytes - at)), (error) =>
          damaged(path, error.message)
        )
        hash.update(part)
        out.set(part, at)
      }
      if (hash.digest("hex") !== entry.sha256) return yield* damaged(path, "its bytes are not those that were saved")
      return out
    })
  )

const stepsIn = (folder: string): Effect.Effect<ReadonlyArray<number>, StoreError, FileSystem.FileSystem> =>
  Effect.map(listDir(checkpointsFolder(folder)), (names) =>
    names
      .map(stepOf)
      .filter((step) => step !== undefined)
      .sort((a, b) => b - a)
  )

const readStep = (folder: string, step: number): Effect.Effect<StateFiles, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const path = join(checkpointsFolder(folder), stepName(step))
    const manifest = yield* readChecked(join(path, manifestName), CheckpointManifest)
    if (manifest === undefined) return yield* damaged(path, "it has no manifest")
    if (manifest.step !== step) return yield* damaged(path, `its manifest is about step ${manifest.step}`)
    if (manifest.key !== undefined && manifest.key !== (placeOf(folder)?.key ?? manifest.key))
      return yield* damaged(path, `it is of another node, ${manifest.key.slice(0, 12)}`)
    const stray = manifest.files.find((entry) => !isPlain(entry.path) || entry.path.includes("/"))
    if (stray !== undefined) return yield* damaged(path, `it lists a file called ${JSON.stringify(stray.path)}`)
    const files = new Map<string, Uint8Array>()
    for (const entry of manifest.files) files.set(entry.path, yield* readHashed(join(path, entry.path), entry))
    return files
  })

/**
 * Newest checkpoint of a work folder whose every byte is as saved. `skipped` says which newer ones were not, and why.
 * Fails only for what is no damage (permissions, a disk error).
 */
export const newest = (
  folder: string
): Effect.Effect<
  { readonly step: number; readonly files: StateFiles; readonly skipped: ReadonlyArray<string> } | undefined,
  StoreError,
  FileSystem.FileSystem
> =>
  Effect.gen(function* () {
    const skipped: Array<string> = []
    for (const step of yield* stepsIn(folder)) {
      const files = yield* Effect.catchIf(
        readStep(folder, step),
        (error) => error.reason === "damaged" || error.reason === "missing",
        (error) => {
          skipped.push(`${stepName(step)}: ${error.message}`)
          return Effect.as(Effect.logWarning(`skipped ${stepName(step)}: ${error.message}`), undefined)
        }
      )
      if (files !== undefined) return { step, files, skipped }
    }
    return undefined
  })

/** Steps that have a readable manifest, newest first, with their scores. Bytes are not checked. */
const listed = (folder: string): Effect.Effect<ReadonlyArray<CheckpointManifest>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const out: Array<CheckpointManifest> = []
    for (const step of yield* stepsIn(folder)) {
      const found = yield* Effect.catchIf(
        readChecked(join(checkpointsFolder(folder), stepName(step), manifestName), CheckpointManifest),
        (error) => error.reason === "damaged",
        () => Effect.succeed(undefined) // named by `newest`; here it only means "not worth keeping"
      )
      if (found !== undefined) out.push(found)
    }
    return out
  })

/**
 * Makes one checkpoint durable, then drops all but the newest `keepLast` (at least 1) and the one with the smallest
 * score.
 *
 * Saving a step again replaces it. File names must be plain (no folders). Fails with `StoreError`; what was durable
 * before still is.
 */
export const save = (
  folder: string,
  checkpoint: {
    readonly step: number
    readonly files: StateFiles
    readonly keepLast: number
    readonly score?: number
  }
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const { step, files, score } = checkpoint
    const parent = checkpointsFolder(folder)
    const place = placeOf(folder)
    for (const name of files.keys())
      if (name === "" || name === manifestName || name.startsWith(".") || /[/\\\0]/.test(name))
        return yield* new StoreError({
          reason: "io",
          path: parent,
          message: `"${name}" cannot be the name of a checkpoint's file`,
          hint: "`state.encode` must name plain files: no folders, no leading dot, not checkpoint.json."
        })
    yield* makeFolder(parent)
    yield* sweep(parent)
    const temporary = join(parent, `.tmp-${stepName(step)}-${token()}`)
    const target = join(parent, stepName(step))
    yield* withFs(temporary, (fs) => fs.makeDirectory(temporary))
    const entries: Array<FileEntry> = []
    for (const [name, bytes] of files)
      entries.push(
        yield* Effect.scoped(
          Effect.gen(function* () {
            const writer = yield* openWriter(join(temporary, name), { names: "soon" })
            yield* writer.write([bytes])
            return { path: name, ...(yield* writer.finish) }
          })
        )
      )
    const manifest: CheckpointManifest = {
      format: 1,
      ...(place === undefined ? {} : { key: place.key }),
      step,
      ...(score === undefined || !Number.isFinite(score) ? {} : { score }),
      files: entries
    }
    yield* writeAtomic(join(temporary, manifestName), checksummed(manifest))
    yield* removeWhole(target) // one of that step that could not be read, or it had been gone on from
    yield* withFs(target, (fs) => fs.rename(temporary, target))
    yield* syncFolder(parent)
    yield* prune(folder, step, checkpoint.keepLast)
  })

/** Removes what killed saves and removals left. */
const sweep = (parent: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    for (const name of yield* listDir(parent))
      if (name.startsWith("."))
        yield* withFs(join(parent, name), (fs) => fs.remove(join(parent, name), { recursive: true, force: true }))
  })

const prune = (
  folder: string,
  saved: number,
  keepLast: number
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const good = (yield* listed(folder)).filter((one) => one.step <= saved)
    const keep = new Set(good.slice(0, Math.max(1, keepLast)).map((one) => one.step))
    let best: CheckpointManifest | undefined
    for (const one of good) if (one.score !== undefined && (best === undefined || one.score < best.score!)) best = one
    if (best !== undefined) keep.add(best.step)
    const old = (yield* stepsIn(folder)).filter((step) => !keep.has(step))
    yield* removeNames(checkpointsFolder(folder), old.map(stepName))
  })
