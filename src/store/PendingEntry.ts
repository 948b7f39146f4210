/**
 * Unfinished nodes: taking the lock, resuming what an earlier process left, and the commit.
 *
 * Lifecycle: `begin` (lock; work folder made, resumed or taken over) -> shards and checkpoints become durable one by
 * one
 * -> `commit` (tree files fsynced and hashed, manifest written last, folder renamed to its entry). Killed at any point,
 * either the old state or the whole new entry is visible. Killed between manifest and rename, the next `begin` finishes
 * the rename, once it has hashed every file. An entry that exists already is kept; one that is damaged
 * or suspect (`Suspects.ts`) makes way.
 *
 * Order for power cuts (a name is durable once its folder was fsynced): what the manifest speaks of, with all names,
 * before the manifest; the manifest before the entry's name; the entry's name before `commit` returns. A manifest that
 * must not count any more is removed durably before its folder gets another name.
 *
 * A tree is made in a folder of the attempt's own (`ports/.<port>.<token>.tmp`, the lock's token) and gets its port's
 * name at the commit: of a holder that lost its lock and still writes, nothing comes into another's tree.
 */
import { readdirSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { Effect, FileSystem, Schema, type Scope, Semaphore } from "effect"
import type { Artifact } from "../dag/Artifact.ts"
import { canonical, NotCanonical } from "../dag/Canonical.ts"
import { type KeyParts, keyOf } from "../dag/Key.ts"
import * as Checkpoints from "./Checkpoints.ts"
import { checksummed, readCheckedIfGood } from "./Checksum.ts"
import { hashTree, rowsDigest, treeDigest, valueDigest } from "./Digests.ts"
import {
  isLeftover,
  listDir,
  makeFolder,
  removeFile,
  removeWhole,
  sweepFolder,
  syncFolder,
  withFs,
  writeAtomic
} from "./Durable.ts"
import {
  begunFile,
  checkpointsFolder,
  forcedFile,
  type Layout,
  manifestFile,
  portFolder,
  recordFile,
  recordsFolder,
  refusedFolder,
  shardFile,
  valueFile
} from "./Layout.ts"
import { lockFenced, stillHeld, tryLock } from "./Lock.ts"
import { type Code, type Manifest, type OutputEntry, type ShardRecord, valueText } from "./Manifest.ts"
import { originsOf, writeOrigins } from "./Origins.ts"
import { readEntry, readManifest, unlisted, wrongFiles } from "./ReadEntry.ts"
import { dropUnsound, isForeign, readShardRecords } from "./Records.ts"
import { type Fence, type PendingEntry, type PendingFolder, type StoredEntry, StoreError } from "./Store.ts"
import { anyDamaged, recordDamage, suspicions } from "./Suspects.ts"
import { type Damaged, sayDamaged, verify } from "./Verify.ts"

/** What `PendingEntry.commit` is given. */
export type CommitInput = Parameters<PendingEntry["commit"]>[0]

const bytesOf = (files: ReadonlyArray<{ readonly bytes: number }>): number =>
  files.reduce((sum, file) => sum + file.bytes, 0)

const outputOf = (
  folder: string,
  port: string,
  artifact: Artifact,
  shards: ReadonlyArray<ShardRecord>,
  values: Readonly<Record<string, Schema.Json>>
): Effect.Effect<OutputEntry, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const path = portFolder(folder, port)
    switch (artifact.kind) {
      case "rows": {
        const having = shards.filter((record) => record.ports[port] !== undefined)
        for (let i = 0; i < having.length; i++)
          if (having[i]!.index !== i)
            return yield* new StoreError({
              reason: "missing",
              path,
              message: `shard ${i} of port ${port} has no record`,
              hint: "All shards must be written before the commit; this is a bug in the runner."
            })
        const entries = having.map((record) => record.ports[port]!)
        const { tag, transient } = artifact
        const format = artifact.format.id
        return {
          kind: "rows",
          tag,
          format,
          transient,
          digest: rowsDigest(tag, format, entries),
          rows: entries.reduce((sum, entry) => sum + entry.rows, 0),
          bytes: bytesOf(entries),
          shards: entries
        }
      }
      case "tree": {
        yield* makeFolder(path)
        const files = yield* hashTree(path)
        return { kind: "tree", tag: artifact.tag, digest: treeDigest(files), bytes: bytesOf(files), files }
      }
      case "value": {
        const value = values[port]
        if (value === undefined)
          return yield* new StoreError({
            reason: "missing",
            path,
            message: `no value was given for port ${port}`,
            hint: "Every value port needs its encoded JSON at the commit; this is a bug in the runner."
          })
        const entry = yield* Effect.try({
          try: (): OutputEntry => ({
            kind: "value",
            tag: artifact.tag,
            digest: valueDigest(artifact.tag, value),
            bytes: Buffer.byteLength(canonical(value)),
            value
          }),
          catch: (cause) =>
            new StoreError({
              reason: "io",
              path,
              message: `the value of port ${port} has no JSON form: ${cause instanceof Error ? cause.message : String(cause)}`,
              hint: cause instanceof NotCanonical ? cause.hint : "Encode it with the artifact's schema first.",
              cause
            })
        })
        yield* makeFolder(path)
        yield* writeAtomic(valueFile(path), valueText(value))
        return entry
      }
    }
  })

const sum = (records: ReadonlyArray<Readonly<Record<string, number>>>): Record<string, number> => {
  const out: Record<string, number> = {}
  for (const record of records) for (const [name, count] of Object.entries(record)) out[name] = (out[name] ?? 0) + count
  return out
}

/** Folders of a work folder that hold what the store itself writes; files of a tree are the node's. */
const ownFolders = (
  folder: string,
  ports: ReadonlyArray<string> // folders
): Effect.Effect<ReadonlyArray<string>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const all = [folder, dirname(portFolder(folder, "any")), recordsFolder(folder), refusedFolder(folder)]
    const out: Array<string> = []
    for (const one of [...all, ...ports]) if (yield* withFs(one, (fs) => fs.exists(one))) out.push(one)
    return out
  })

/**
 * A file that is not what its record says when the node is committed: another process wrote there, or the disk lost it.
 */
const changedFiles = (folder: string, manifest: Manifest): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const wrong = yield* Effect.try({
      try: () => wrongFiles(folder, manifest),
      catch: (cause) =>
        new StoreError({
          reason: "io",
          path: folder,
          message: `${folder}: ${cause instanceof Error ? cause.message : String(cause)}`,
          hint: "The shards' files cannot be looked at: check the folder's permissions and the disk.",
          cause
        })
    })
    const first = wrong[0]
    if (first === undefined) return
    const more = wrong.length > 1 ? ` and ${wrong.length - 1} more` : ""
    return yield* new StoreError({
      reason: "damaged",
      path: folder,
      message: `${first.port}/${first.file}${more} of ${folder} is missing or has another size than its record says`,
      hint: "Nothing was stored. Run the same command again: only these files are made anew. If it stays so, check the disk."
    })
  })

/**
 * Removes what lies in the ports and the quarantine and is not the manifest's: of a damaged entry that this work goes
 * on from, or put there by somebody. A tree's files are all in the manifest.
 */
const sweepUnlisted = (folder: string, manifest: Manifest): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const drop = (path: string) => withFs(path, (fs) => fs.remove(path, { recursive: true, force: true }))
    const ports = dirname(portFolder(folder, "any"))
    const own = new Set(Object.keys(manifest.outputs).map((port) => portFolder(folder, port)))
    for (const name of yield* listDir(ports)) if (!own.has(join(ports, name))) yield* drop(join(ports, name))
    for (const { path } of unlisted(folder, manifest)) yield* drop(path)
  })

/** Ports whose contents two manifests of one key disagree on. */
const differences = (made: Manifest, stored: Manifest): ReadonlyArray<string> =>
  Object.entries(made.outputs)
    .filter(([port, { digest }]) => stored.outputs[port]?.digest !== digest)
    .map(
      ([port, { digest }]) =>
        `${port}: made ${digest.slice(0, 12)}, stored ${stored.outputs[port]?.digest.slice(0, 12) ?? "none"}`
    )

/** Renames a work folder that has its manifest to its entry. What exists, is whole and not suspect, stays. */
const publish = (
  layout: Layout,
  folder: string,
  manifest: Manifest
): Effect.Effect<StoredEntry, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const entry = layout.entry(manifest.key, manifest.code.digest)
    const parent = layout.keyFolder(manifest.key)
    let replaced: ReadonlyArray<string> | undefined
    for (let round = 0; ; round++) {
      yield* makeFolder(parent)
      if (yield* withFs(entry, (fs) => fs.exists(entry))) {
        const existing = yield* readEntry(entry)
        if (existing !== undefined) {
          const differing = differences(manifest, existing)
          if (suspicions(layout, existing).length === 0) {
            yield* removeWhole(folder)
            return { manifest: existing, folder: entry, aliased: false, aliases: [], differing }
          }
          replaced = differing
        }
        yield* removeWhole(entry)
      }
      const moved = yield* Effect.result(withFs(entry, (fs) => fs.rename(folder, entry)))
      if (moved._tag === "Success") break
      const still = yield* withFs(folder, (fs) => fs.exists(folder))
      const lost = (yield* withFs(entry, (fs) => fs.exists(entry))) || moved.failure.reason === "missing"
      if (!still || !lost || round === 3) return yield* Effect.fail(moved.failure)
    }
    yield* syncFolder(parent)
    yield* syncFolder(layout.works)
    const found = { manifest, folder: entry, aliased: false, aliases: [] }
    return replaced === undefined ? found : { ...found, differing: replaced, replaced: true }
  })

/** `readsChecked`: nothing lies in the work folder that was made from bytes that nobody checked. */
const Begun = Schema.Struct({ file: Schema.optional(Schema.String), readsChecked: Schema.optional(Schema.Boolean) })

const begunOf = (folder: string) => readCheckedIfGood(begunFile(folder), Begun)
const writeBegun = (folder: string, file: string | undefined, readsChecked: boolean) =>
  writeAtomic(begunFile(folder), checksummed({ ...(file === undefined ? {} : { file }), readsChecked }))

/** Throws away unfinished work of which nobody can say any more which codes made it. */
const dropUntold = (folder: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.catchIf(
    Effect.asVoid(originsOf(folder)),
    (error) => error.reason === "damaged",
    (error) =>
      Effect.andThen(
        Effect.logWarning(`${error.message}; the unfinished work beside it is thrown away`),
        removeWhole(folder)
      )
  )

/**
 * Where an attempt makes the tree of a port; without a lock (a test, a node that runs alone) in the port's own folder.
 */
const treePath = (folder: string, port: string, fence: Fence | undefined): string => {
  const path = portFolder(folder, port)
  return fence === undefined ? path : join(dirname(path), `.${basename(path)}.${fence.token}.tmp`)
}

/** Gives the tree of this attempt its port's name. */
const nameTree = (folder: string, port: string, fence: Fence): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const [made, path] = [treePath(folder, port, fence), portFolder(folder, port)]
    if (!(yield* withFs(made, (fs) => fs.exists(made)))) return
    yield* removeWhole(path)
    yield* withFs(path, (fs) => fs.rename(made, path))
  })

const commit = (
  layout: Layout,
  folder: string,
  code: Code,
  fence: Fence,
  done: CommitInput
): Effect.Effect<StoredEntry, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const shards = [...done.shards].sort((a, b) => a.index - b.index)
    yield* stillHeld(fence)
    for (const [port, { kind }] of Object.entries(done.outputs))
      if (kind === "tree") yield* nameTree(folder, port, fence)
    const inside = Object.entries(done.outputs).flatMap(([port, { kind }]) =>
      kind === "tree" ? [] : [portFolder(folder, port)]
    )
    yield* Effect.forEach(yield* ownFolders(folder, inside), sweepFolder, { discard: true })
    const outputs: Record<string, OutputEntry> = {}
    for (const [port, artifact] of Object.entries(done.outputs))
      outputs[port] = yield* outputOf(folder, port, artifact, shards, done.values)
    const manifest: Manifest = {
      format: 2,
      key: keyOf(done.parts),
      code,
      parts: done.parts as KeyParts,
      parents: done.parents,
      outputs,
      rowsIn: shards.reduce((total, record) => total + record.rowsIn, 0),
      refused: sum(shards.map((record) => record.refused)),
      refusedFiles: shards.flatMap(({ refusedFile }) => (refusedFile === undefined ? [] : [refusedFile])),
      begunBy: yield* originsOf(folder),
      ...((yield* begunOf(folder))?.readsChecked === true ? { readsChecked: true } : {}),
      peakMemory: shards.reduce((peak, record) => Math.max(peak, record.peakMemory), done.peakMemory)
    }
    yield* sweepUnlisted(folder, manifest)
    yield* changedFiles(folder, manifest)
    yield* stillHeld(fence)
    for (const one of [forcedFile(folder), begunFile(folder)])
      yield* withFs(folder, (fs) => fs.remove(one, { force: true }))
    // The manifest makes its own folder's names durable; those below it come first.
    const below = (yield* ownFolders(folder, inside)).filter((one) => one !== folder)
    yield* Effect.forEach(below, syncFolder, { discard: true })
    yield* writeAtomic(manifestFile(folder), checksummed(manifest))
    return yield* publish(layout, folder, manifest)
  })

/** What `Store.begin` is asked for. */
interface BeginRequest {
  readonly key: string
  readonly code: Code
  readonly allowStaleCode: boolean
  readonly fresh: boolean
  readonly reads?: ReadonlyArray<string>
}

/** Whether a work folder has a shard or a checkpoint to go on from. */
const holdsWork = (folder: string): Effect.Effect<boolean, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const held = [...(yield* listDir(recordsFolder(folder))), ...(yield* listDir(checkpointsFolder(folder)))]
    return held.length > 0
  })

/** Unfinished work of other code digests of the same definition under the same key, most recent first. */
const others = (
  layout: Layout,
  key: string,
  own: Code
): Effect.Effect<ReadonlyArray<string>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const names = (yield* listDir(layout.works)).filter(
      (name) => name.startsWith(`${key}.`) && name !== `${key}.${own.digest}`
    )
    const dated: Array<{ readonly name: string; readonly at: number }> = []
    for (const name of names) {
      const path = join(layout.works, name)
      if (!(yield* holdsWork(path))) continue
      if ((yield* begunOf(path))?.file !== own.file) continue
      const info = yield* withFs(path, (fs) => fs.stat(path))
      dated.push({ name, at: info.mtime._tag === "Some" ? info.mtime.value.getTime() : 0 })
    }
    return dated.sort((a, b) => b.at - a.at).map(({ name }) => name.slice(key.length + 1))
  })

/** Moves a folder to where work is resumed, without its manifest. */
const takeOver = (
  layout: Layout,
  from: string,
  folder: string
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    yield* removeWhole(folder) // begun and never got anywhere
    yield* removeFile(manifestFile(from)) // durably: a folder in `work` that has a manifest is a commit to be finished
    yield* withFs(folder, (fs) => fs.rename(from, folder))
    yield* syncFolder(layout.works)
    if (dirname(from) !== layout.works) yield* syncFolder(dirname(from))
  })

/** Removes the records of damaged shards durably, so that these are made again. */
const dropRecords = (
  folder: string,
  damaged: ReadonlyArray<Damaged>
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    let dropped = false
    for (const record of (yield* readShardRecords(folder)).values()) {
      const hit = damaged.some(
        ({ port, file }) =>
          file !== "" &&
          (record.ports[port]?.file === file ||
            (port === "refused" && record.refusedFile?.path === file) ||
            (port === "shards" && shardFile(record.index, "json") === file))
      )
      if (!hit) continue
      const path = recordFile(folder, record.index)
      yield* withFs(path, (fs) => fs.remove(path, { force: true }))
      dropped = true
    }
    if (dropped) yield* syncFolder(recordsFolder(folder))
  })

/**
 * Ends a commit that was killed before its rename, if every byte is what the manifest says; else what is good is gone
 * on from.
 */
const finishCommit = (layout: Layout, folder: string): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const manifest = yield* readEntry(folder)
    if (manifest !== undefined) {
      const damaged = yield* verify(layout, { manifest, folder, aliased: false })
      if (damaged.length === 0) return void (yield* publish(layout, folder, manifest))
      yield* Effect.logWarning(
        `${folder}: ${damaged.length} files are not what their manifest says, first ${sayDamaged(damaged[0]!)}; they are made again`
      )
      yield* dropRecords(folder, damaged)
      yield* keepBegun(folder)
    }
    yield* removeFile(manifestFile(folder))
  })

/** What a finished entry's manifest says of what it was made of, kept where its work is resumed. */
const keepBegun = Effect.fnUntraced(function* (entry: string) {
  const manifest = yield* Effect.catchIf(
    readManifest(entry),
    (error) => error.reason === "damaged",
    () => Effect.undefined
  )
  if (manifest !== undefined) yield* writeBegun(entry, manifest.code.file, manifest.readsChecked === true)
})

/** Symbolic links in a folder, at any depth; not followed. */
const linksIn = (folder: string): Effect.Effect<ReadonlyArray<string>, StoreError> =>
  Effect.try({
    try: () =>
      readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((one) => one.isSymbolicLink())
        .map(({ name, parentPath }) => join(parentPath, name)),
    catch: (cause) =>
      new StoreError({
        reason: "io",
        path: folder,
        message: `${folder}: ${cause instanceof Error ? cause.message : String(cause)}`,
        hint: "The unfinished work cannot be listed: check the folder's permissions and the disk.",
        cause
      })
  })

/**
 * Makes the work folder, or finds what can be resumed: own work, a damaged entry's good shards, another code's work.
 */
const prepare = (
  layout: Layout,
  folder: string,
  work: BeginRequest
): Effect.Effect<void, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const has = (path: string) => withFs(path, (fs) => fs.exists(path))
    yield* makeFolder(layout.works)
    const isChecked = Effect.map(begunOf(folder), (begun) => begun?.readsChecked === true)
    if (work.fresh && !((yield* has(forcedFile(folder))) && (yield* isChecked))) yield* removeWhole(folder)
    yield* dropUntold(folder)
    if (yield* has(folder)) yield* work.fresh ? removeFile(manifestFile(folder)) : finishCommit(layout, folder)
    const entry = layout.entry(work.key, work.code.digest)
    if (!work.fresh && !(yield* holdsWork(folder))) {
      if ((yield* has(entry)) && (yield* readEntry(entry)) === undefined) {
        if (yield* isForeign(entry)) yield* removeWhole(entry)
        else {
          yield* keepBegun(entry)
          yield* dropUnsound(entry)
          yield* takeOver(layout, entry, folder)
          yield* dropUntold(folder)
        }
      } else if (work.allowStaleCode)
        for (const code of yield* others(layout, work.key, work.code)) {
          const free = yield* Effect.result(tryLock(layout.lock(work.key, code)))
          if (free._tag === "Failure") {
            if (free.failure.reason === "locked") continue
            return yield* Effect.fail(free.failure)
          }
          const theirs = layout.work(work.key, code)
          yield* dropUntold(theirs)
          if (!(yield* has(theirs))) continue
          const origins = new Set([...(yield* originsOf(theirs)), code])
          yield* writeOrigins(theirs, [...origins])
          yield* takeOver(layout, theirs, folder)
          break
        }
    }
    const resumed = yield* holdsWork(folder)
    // Other software left it, which checked nothing, and what it read was found damaged: wrong shards and steps may be
    // in it.
    const doubtful = resumed && !(yield* isChecked) && anyDamaged(layout, work.reads ?? [])
    if (doubtful) yield* removeWhole(folder)
    yield* makeFolder(folder)
    for (const path of yield* linksIn(folder)) {
      yield* Effect.logWarning(`${path} is a symbolic link and is removed: work is not written through links`)
      yield* withFs(path, (fs) => fs.remove(path))
    }
    // Under the lock nobody else writes here: whatever has a temporary name is of an attempt that is over.
    const base = dirname(portFolder(folder, "any"))
    const ports = (yield* listDir(base)).filter((name) => !isLeftover(name)).map((name) => join(base, name))
    yield* Effect.forEach(yield* ownFolders(folder, ports), sweepFolder, { discard: true })
    const { file } = work.code
    yield* writeBegun(folder, file, !resumed || doubtful || (yield* isChecked))
    if (work.fresh) yield* writeAtomic(forcedFile(folder), "")
  })

/** What a work folder is for, once its lock is held; a thread of the holding process may open it too. */
export const openPendingFolder = (
  folder: string,
  fence?: Fence
): Effect.Effect<PendingFolder, never, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const oneSave = yield* Semaphore.make(1)
    const here = <A>(effect: Effect.Effect<A, StoreError, FileSystem.FileSystem>) =>
      Effect.provideService(effect, FileSystem.FileSystem, fs)
    const held = fence === undefined ? Effect.void : stillHeld(fence)
    return {
      folder,
      fence,
      newestCheckpoint: here(Checkpoints.newest(folder)),
      saveCheckpoint: (checkpoint) =>
        oneSave.withPermits(1)(here(Effect.andThen(held, Checkpoints.save(folder, checkpoint)))),
      treeFolder: (port) =>
        here(
          Effect.gen(function* () {
            yield* held
            const path = treePath(folder, port, fence)
            yield* removeWhole(path)
            yield* makeFolder(path)
            return path
          })
        )
    }
  })

/**
 * Takes the lock of (key, code) and opens its work folder; see `Store.begin`. `existing` is set when the entry was
 * finished while this call waited, or when a killed commit has just been finished.
 */
export const begin = (
  layout: Layout,
  work: BeginRequest
): Effect.Effect<PendingEntry, StoreError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const { key, code } = work
    const folder = layout.work(key, code.digest)
    const fence = yield* lockFenced(layout.lock(key, code.digest))
    yield* prepare(layout, folder, work)
    const entry = layout.entry(key, code.digest)
    const manifest = yield* readEntry(entry)
    const shards = yield* readShardRecords(folder)
    const inFolder = yield* openPendingFolder(folder, fence)
    return {
      ...inFolder,
      shards,
      begunBy: yield* originsOf(folder),
      ...(manifest === undefined ? {} : { existing: { manifest, folder: entry, aliased: false, aliases: [] } }),
      commit: (done) => Effect.provideService(commit(layout, folder, code, fence, done), FileSystem.FileSystem, fs)
    }
  })

/** `value.json` again, from the manifest: readers take that one. */
const rewriteValue = ({ folder, manifest }: StoredEntry, port: string) =>
  Effect.gen(function* () {
    const output = manifest.outputs[port]
    if (output?.kind !== "value") return
    const path = valueFile(portFolder(folder, port))
    yield* makeFolder(portFolder(folder, port))
    if ((yield* Effect.result(withFs(path, (fs) => fs.readDirectory(path))))._tag === "Success") yield* removeFile(path)
    yield* writeAtomic(path, valueText(output.value))
  })

/**
 * Turns an entry with damaged files back into unfinished work; only what is damaged is made again.
 *
 * A `value.json` alone is written again, and the entry stays. Else the record of the damage is made first
 * (`Suspects.ts`), then the damaged shards' records go, then the manifest (the entry is invisible from here on), then
 * the folder moves. Killed in between, `begin` finds the folder where it lies and goes on. Fails with `locked` while
 * someone works on it.
 */
export const reopen = (
  layout: Layout,
  found: StoredEntry,
  damaged: ReadonlyArray<Damaged>
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.scoped(
    Effect.gen(function* () {
      const key = found.manifest.key
      const code = found.manifest.code.digest
      const folder = layout.work(key, code)
      const values = found.manifest.outputs
      yield* tryLock(layout.lock(key, code), { watch: true })
      if (damaged.every(({ file, port }) => file === "value.json" && values[port]?.kind === "value")) {
        for (const { port } of damaged) yield* rewriteValue(found, port)
        return
      }
      yield* recordDamage(layout, found, damaged)
      yield* keepBegun(found.folder)
      yield* dropRecords(found.folder, damaged)
      yield* writeOrigins(found.folder, found.manifest.begunBy)
      yield* makeFolder(layout.works)
      yield* takeOver(layout, found.folder, folder)
    })
  )
