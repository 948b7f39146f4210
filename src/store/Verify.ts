/**
 * Checks all of an entry: every byte against its manifest, and the manifest against what it lists and what lies beside
 * it.
 *
 * Not repair: `reopen` (`PendingEntry.ts`) turns what is found here back into unfinished work, so that only those
 * shards are made again. Reads everything once, four files at a time; memory does not grow with their number or size.
 *
 * The manifest follows from: the key's parts (key), the folder's names (key, code), the shards, files or value
 * (digests, rows, bytes), the shards' records where there are any (rows read, refused rows, memory), the files of
 * refused rows (counts by reason), `origins.json` (codes that began it), and entries of its parents where they are here
 * (inputs). What follows from nothing, such as the files of the code, only the manifest's checksum vouches for.
 */
import { hash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, type FileSystem, Stream } from "effect"
import { canonical, digestOf } from "../dag/Canonical.ts"
import { recordsOf, underived } from "./Derive.ts"
import { hashFile, listDir, type Written, withFs } from "./Durable.ts"
import { type Layout, placeOf, portFolder, refusedFolder, shardFile, valueFile } from "./Layout.ts"
import { originsOf } from "./Origins.ts"
import { readRefused } from "./Quarantine.ts"
import { quickly, readEntry, readManifest, unlisted, wrongFile } from "./ReadEntry.ts"
import { readRecord, recordNames } from "./Records.ts"
import type { StoredEntry, StoreError } from "./Store.ts"

/**
 * Something that is missing, cut off or changed; `file` is relative to the port's folder, "" for a value. Files of the
 * quarantine have the port `refused`, records of shards `shards`, the manifest `manifest`; what is made again is made
 * with all that belongs to it, so ports of those names do no harm.
 */
export interface Damaged {
  readonly port: string
  readonly file: string
  /** What is wrong, where it is not the bytes. */
  readonly why?: string
}

/** A damaged file in words: `rows/00001.jsonl`. */
export const sayDamaged = ({ file, port, why }: Damaged): string =>
  `${port}/${file}${why === undefined ? "" : ` (${why})`}`

/** How far a check has come. Bytes are those of the files that the manifest lists. */
export interface Checked {
  readonly bytes: number
  readonly bytesTotal: number
}

/** Files of this size and smaller are read at once: a hundred thousand shards of a row each are mostly calls. */
const SMALL = 1 << 16
/** Files that are checked between two looks at the rest of the process. */
const GROUP = 64

interface Wanted extends Damaged, Written {
  readonly path: string
}

function* filesOf({ folder, manifest }: StoredEntry): Generator<Wanted> {
  for (const [port, output] of Object.entries(manifest.outputs)) {
    const base = portFolder(folder, port)
    if (output.kind === "rows") {
      for (const { bytes, file, sha256 } of output.shards)
        if (file !== "") yield { port, file, bytes, sha256, path: join(base, file) }
    } else if (output.kind === "tree")
      for (const { bytes, path, sha256 } of output.files)
        yield { port, file: path, bytes, sha256, path: join(base, path) }
  }
  for (const { bytes, path, sha256 } of manifest.refusedFiles)
    yield { port: "refused", file: path, bytes, sha256, path: join(refusedFolder(folder), path) }
}

const isGood = ({ bytes, path, sha256 }: Wanted): Effect.Effect<boolean, StoreError, FileSystem.FileSystem> => {
  const same = (got: Written) => got.bytes === bytes && got.sha256 === sha256
  return quickly(
    () => {
      if (bytes > SMALL || wrongFile(path, bytes) !== undefined) throw new Error("read it in slices, or say why not")
      return same({ bytes, sha256: hash("sha256", readFileSync(path)) })
    },
    Effect.map(
      Effect.catchIf(
        hashFile(path),
        (error) => error.reason === "missing" || error.reason === "io", // EIO: the disk lost it
        () => Effect.succeed({ bytes: -1, sha256: "" })
      ),
      same
    )
  )
}

/** Every file that the manifest lists, in its order; a few at a time, so that neither bytes nor names pile up. */
const damagedFiles = (found: StoredEntry, onChecked: (checked: Checked) => void) =>
  Effect.gen(function* () {
    const bad: Array<Damaged> = []
    const { outputs, refusedFiles } = found.manifest
    const bytesTotal =
      Object.values(outputs).reduce((sum, output) => sum + (output.kind === "value" ? 0 : output.bytes), 0) +
      refusedFiles.reduce((sum, file) => sum + file.bytes, 0)
    let bytes = 0
    const files = filesOf(found)
    for (;;) {
      const group: Array<Wanted> = []
      for (let next = files.next(); next.done !== true; next = files.next()) {
        group.push(next.value)
        if (group.length === GROUP) break
      }
      if (group.length === 0) return bad
      const good = yield* Effect.forEach(group, isGood, { concurrency: 4 })
      for (const [i, { file, port, bytes: some }] of group.entries()) {
        bytes += some
        if (good[i] === false) bad.push({ port, file })
      }
      onChecked({ bytes, bytesTotal })
      yield* Effect.yieldNow
    }
  })

/** The manifest as it lies on the disk now, and as it follows from what it lists. */
const wrongManifest = (layout: Layout, found: StoredEntry) =>
  Effect.gen(function* () {
    const { folder, manifest } = found
    const now = yield* Effect.result(readManifest(folder))
    if (now._tag === "Failure" && now.failure.reason === "damaged") return now.failure.message
    if (now._tag === "Success" && now.success === undefined) return "it is gone"
    const wrong = underived(manifest)
    if (wrong !== undefined) return wrong
    const origins = yield* Effect.result(originsOf(folder))
    if (origins._tag === "Failure" && origins.failure.reason !== "damaged") return yield* Effect.fail(origins.failure)
    if (origins._tag === "Failure") return origins.failure.message
    if (digestOf(origins.success) !== digestOf(manifest.begunBy)) return "it names other codes that began it"
    for (const [port, key] of Object.entries(manifest.parents)) {
      if (key === "") continue
      const digests = new Set<string>()
      for (const code of yield* listDir(layout.keyFolder(key))) {
        const parent =
          placeOf(layout.entry(key, code)) === undefined ? undefined : yield* readEntry(layout.entry(key, code))
        for (const output of Object.values(parent?.outputs ?? {})) digests.add(output.digest)
      }
      if (digests.size > 0 && !digests.has(manifest.parts.inputs[port]!))
        return `its input ${port} is no output of its parent ${key.slice(0, 12)}`
    }
    return undefined
  })

/** Records of shards against the manifest, where there are any: a node that is no sharded one has none. */
const wrongRecords = ({ folder, manifest }: StoredEntry) =>
  Effect.gen(function* () {
    const bad: Array<Damaged> = []
    const names = new Set(yield* recordNames(folder))
    const against = recordsOf(manifest)
    const counted = names.size > 0 ? against.shards : 0
    for (let index = 0; index < counted; index++) {
      const name = shardFile(index, "json")
      const record = yield* Effect.result(readRecord(folder, name))
      if (record._tag === "Failure" && record.failure.reason !== "damaged") return yield* Effect.fail(record.failure)
      const wrong = record._tag === "Failure" ? record.failure.message : against.take(record.success)
      if (wrong !== undefined) bad.push({ port: "shards", file: name, why: wrong })
      if (index % GROUP === 0) yield* Effect.yieldNow
    }
    const sums = counted === 0 || bad.length > 0 ? undefined : against.end()
    if (sums === undefined) return bad
    // Each holds by itself, so nothing tells which of them is right: all shards are made again.
    return [
      { ...itsManifest, why: sums },
      ...[...names].sort().map((file): Damaged => ({ port: "shards", file, why: sums }))
    ]
  })

/** Refused rows, counted again by reason. */
const wrongRefused = ({ folder, manifest }: StoredEntry) =>
  Effect.gen(function* () {
    const refused: Record<string, number> = {}
    yield* Stream.runForEach(readRefused(folder), ({ refused: { reason } }) =>
      Effect.sync(() => {
        refused[reason] = (refused[reason] ?? 0) + 1
      })
    )
    return digestOf(refused) === digestOf(manifest.refused) ? undefined : "it counts other refused rows than there are"
  })

const itsManifest: Damaged = { port: "manifest", file: "manifest.json" }

/** The file keeps the order in which the node gave its fields, which is no part of the value. */
const saysValue = (text: string, value: unknown): boolean => {
  try {
    return canonical(JSON.parse(text)) === canonical(value)
  } catch {
    return false // no JSON, or a number that no value has
  }
}

const damagedValues = ({ folder, manifest }: StoredEntry) =>
  Effect.gen(function* () {
    const bad: Array<Damaged> = []
    for (const [port, output] of Object.entries(manifest.outputs)) {
      if (output.kind !== "value") continue
      const path = valueFile(portFolder(folder, port))
      const text = yield* Effect.result(withFs(path, (fs) => fs.readFileString(path)))
      if (text._tag === "Failure" || !saysValue(text.success, output.value))
        bad.push({ port, file: "value.json", why: "it is not the value" })
    }
    return bad
  })

/**
 * All that is damaged in an entry: first the manifest and the records, then files in the manifest's order. Fails only
 * for what is no damage (permissions, say).
 *
 * @example
 * const damaged = yield* verify(layout, found)
 * if (damaged.length > 0) yield* store.reopen(found, damaged)
 */
export const verify = (
  layout: Layout,
  found: StoredEntry,
  onChecked: (checked: Checked) => void = () => undefined
): Effect.Effect<ReadonlyArray<Damaged>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const manifest = yield* wrongManifest(layout, found)
    const bad: Array<Damaged> = [
      ...(manifest === undefined ? [] : [{ ...itsManifest, why: manifest }]),
      ...(yield* wrongRecords(found)),
      ...(yield* damagedValues(found)),
      ...(yield* damagedFiles(found, onChecked))
    ]
    for (const { file, port } of unlisted(found.folder, found.manifest))
      bad.push({ port, file, why: "the manifest does not list it" })
    if (bad.length === 0 && found.manifest.refusedFiles.length > 0) {
      const refused = yield* wrongRefused(found)
      if (refused !== undefined) {
        bad.push({ ...itsManifest, why: refused })
        for (const file of yield* recordNames(found.folder)) bad.push({ port: "shards", file })
      }
    }
    return bad
  })
