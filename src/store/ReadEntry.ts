/**
 * Reading one entry: what is checked each time.
 *
 * The manifest's checksum, that it is the manifest of this folder, that its paths stay inside, and the sizes of all its
 * files. Whatever fails that is reported and counts as absent; `begin` (`PendingEntry.ts`) reuses its good shards.
 * Bytes of files are not read (`Verify.ts`).
 *
 * Reading uses `node:fs` synchronously for a plan's sake (5 us a file instead of 80 through the `FileSystem` service;
 * ten thousand nodes are planned in a second). Whatever goes wrong there is done again through the service, which tells
 * why.
 */
import { lstatSync, readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { Effect, type FileSystem } from "effect"
import { type Opened, readOpened } from "./Checksum.ts"
import { misplaced, strayPath, underived } from "./Derive.ts"
import { errnoName } from "./Errno.ts"
import { manifestFile, portFolder, refusedFolder } from "./Layout.ts"
import { type Manifest, openManifest } from "./Manifest.ts"
import { StoreError } from "./Store.ts"

/** What `now` gives, or when it throws, what `slowly` says. */
export const quickly = <A, R>(now: () => A, slowly: Effect.Effect<A, StoreError, R>): Effect.Effect<A, StoreError, R> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(now())
    } catch {
      return slowly // finds the same again, and reports it
    }
  })

/**
 * A manifest as it is asked for on every read: its checksum, its place, its paths; without a checksum, also its sums.
 */
export const openIn =
  (folder: string) =>
  (bytes: Buffer): Opened<Manifest> => {
    const opened = openManifest(bytes)
    const { checked, value } = opened
    const wrong = misplaced(folder, value) ?? strayPath(value) ?? (checked ? undefined : underived(value))
    if (wrong !== undefined) throw new Error(wrong)
    return opened
  }

const orNothing = { throwIfNoEntry: false } as const

/** Why a file is not what was written, by its looks alone; undefined where nothing tells. Links are not followed. */
export const wrongFile = (path: string, bytes: number): string | undefined => {
  const info = lstatSync(path, orNothing)
  if (info === undefined) return "is missing"
  if (info.isSymbolicLink()) return "is a link"
  if (!info.isFile()) return "is no file"
  return info.size === bytes ? undefined : "is cut off or longer"
}

/** A file that a manifest lists and that is not as it says; paths relative to the port's folder. */
export interface WrongFile {
  readonly port: string
  readonly file: string
  readonly why: string
}

/**
 * Files of an entry that are missing, have another size than the manifest says, or are reached through a symbolic link.
 * One look at each file, and one at each folder between it and the entry.
 */
export const wrongFiles = (folder: string, manifest: Manifest): ReadonlyArray<WrongFile> => {
  const wrong: Array<WrongFile> = []
  const folders = new Map<string, boolean>([[folder, true]])
  const isOwn = (path: string): boolean => {
    let own = folders.get(path)
    if (own === undefined) {
      own = isOwn(dirname(path)) && lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() !== true
      folders.set(path, own)
    }
    return own
  }
  const look = (port: string, base: string, file: string, bytes: number): void => {
    const slash = file.lastIndexOf("/")
    const own = isOwn(slash < 0 ? base : join(base, file.slice(0, slash)))
    const why = own ? wrongFile(`${base}/${file}`, bytes) : "is in a folder that is a link"
    if (why !== undefined) wrong.push({ port, file, why })
  }
  for (const [port, output] of Object.entries(manifest.outputs)) {
    const base = portFolder(folder, port)
    if (output.kind === "rows") {
      for (const shard of output.shards) if (shard.file !== "") look(port, base, shard.file, shard.bytes)
    } else if (output.kind === "tree") for (const file of output.files) look(port, base, file.path, file.bytes)
  }
  for (const { bytes, path } of manifest.refusedFiles) look("refused", refusedFolder(folder), path, bytes)
  return wrong
}

interface Unlisted {
  readonly port: string
  readonly file: string
  readonly path: string
}

/**
 * Files that lie in an entry's ports and quarantine and that its manifest does not list: a consumer of a tree would see
 * them. Names on their way in or out do not count.
 */
export const unlisted = (folder: string, manifest: Manifest): ReadonlyArray<Unlisted> => {
  const out: Array<Unlisted> = []
  const look = (port: string, at: string, listed: ReadonlyArray<string>): void => {
    const known = new Set(listed)
    for (const { name, parentPath } of filesUnder(at)) {
      const file = join(parentPath, name).slice(at.length + 1)
      if (!known.has(file) && !name.startsWith(".") && !name.endsWith(".tmp"))
        out.push({ port, file, path: join(at, file) })
    }
  }
  for (const [port, output] of Object.entries(manifest.outputs)) {
    const files = output.kind === "rows" ? output.shards.map(({ file }) => file) : []
    const paths = output.kind === "tree" ? output.files.map(({ path }) => path) : files
    look(port, portFolder(folder, port), output.kind === "value" ? ["value.json"] : paths)
  }
  look(
    "refused",
    refusedFolder(folder),
    manifest.refusedFiles.map(({ path }) => path)
  )
  return out
}

const filesUnder = (folder: string) => {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((one) => !one.isDirectory())
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === "ENOENT" || code === "ENOTDIR") return []
    throw error
  }
}

/** Damage that was told already: a plan and a run look at an entry several times. */
const told = new Set<string>()

const warnOnce = (message: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (told.has(message)) return Effect.void
    told.add(message)
    return Effect.logWarning(message)
  })

/** Manifests from this size on are kept in memory, bytes; and so many bytes of them. */
const LARGE = 1 << 16
const KEPT = 64 << 20
/** Files of such an entry are looked at again once this many times the last look's time has passed. */
const LOOK_AGAIN = 20
/**
 * A file that changed this lately may change again without telling, ms: the grain of a file system's clock, and some.
 */
const SETTLED = 50

/** A large entry that this process has read: its manifest, as of the file that `identity` names. */
interface Kept {
  readonly identity: string
  readonly manifest: Manifest
  readonly bytes: number
  /** When its files' sizes were last found right, and how long the look took, ms. */
  looked?: { readonly at: number; readonly took: number }
}
const kept = new Map<string, Kept>() // by folder, least recently used first

const keep = (folder: string, one: Kept): void => {
  kept.delete(folder)
  kept.set(folder, one)
  let bytes = 0
  for (const { bytes: some } of kept.values()) bytes += some
  for (const [oldest, { bytes: some }] of kept) {
    if (bytes <= KEPT || oldest === folder) return
    kept.delete(oldest)
    bytes -= some
  }
}

/**
 * The manifest of a folder, from memory where its file is still that which was read (device, inode, size, times). Small
 * ones are read again each time: that costs less than the memory. Throws for a damaged one.
 */
export const manifestNow = (folder: string): Manifest | undefined => {
  const path = manifestFile(folder)
  const info = statSync(path, { throwIfNoEntry: false, bigint: true })
  if (info === undefined) return undefined
  const identity = `${info.dev}:${info.ino}:${info.size}:${info.mtimeNs}:${info.ctimeNs}`
  const have = kept.get(folder)
  if (have?.identity === identity) {
    keep(folder, have)
    return have.manifest
  }
  const manifest = openIn(folder)(readFileSync(path)).value
  kept.delete(folder)
  if (info.size >= LARGE && Date.now() - Number(info.ctimeMs) > SETTLED)
    keep(folder, { identity, manifest, bytes: Number(info.size) })
  return manifest
}

/** Like `manifestNow`, and undefined for a damaged one too. Throws what the disk says only. */
export const goodManifestNow = (folder: string): Manifest | undefined => {
  try {
    return manifestNow(folder)
  } catch (error) {
    if (errnoName(error) !== undefined) throw error
    return undefined
  }
}

/** `wrongFiles`, of a large entry not again and again: opening a file looks at its size in any case. */
const wrongNow = (folder: string, manifest: Manifest): ReadonlyArray<WrongFile> => {
  const have = kept.get(folder)
  const looked = have?.manifest === manifest ? have.looked : undefined
  const at = performance.now()
  if (looked !== undefined && at - looked.at < LOOK_AGAIN * looked.took) return []
  const wrong = wrongFiles(folder, manifest)
  if (have?.manifest === manifest) {
    const now = performance.now()
    if (wrong.length === 0) have.looked = { at: now, took: now - at }
    else delete have.looked
  }
  return wrong
}

/**
 * A manifest through the `FileSystem` service: undefined if there is none, `damaged` if it is not as it was written.
 */
export const readManifest = (folder: string): Effect.Effect<Manifest | undefined, StoreError, FileSystem.FileSystem> =>
  Effect.map(readOpened(manifestFile(folder), openIn(folder)), (opened) => opened?.value)

/**
 * Reads one entry: its manifest if its checksum, place and paths are right and all files have their sizes, else
 * undefined and a warning that says why.
 */
export const readEntry = (folder: string): Effect.Effect<Manifest | undefined, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const manifest = yield* quickly(
      () => manifestNow(folder),
      Effect.catchIf(
        readManifest(folder),
        (error) => error.reason === "damaged",
        (error) => Effect.as(warnOnce(`damaged entry, counts as absent: ${error.message}`), undefined)
      )
    )
    if (manifest === undefined) return undefined
    const wrong = yield* Effect.try({
      try: () => wrongNow(folder, manifest),
      catch: (cause) =>
        new StoreError({
          reason: "io",
          path: folder,
          message: `${folder}: ${cause instanceof Error ? cause.message : String(cause)}`,
          hint: "The entry's files cannot be looked at: check the folder's permissions and the disk.",
          cause
        })
    })
    if (wrong.length === 0) return manifest
    const first = wrong[0]!
    yield* warnOnce(
      `damaged entry, counts as absent: of ${folder}, ${first.port}/${first.file} ${first.why}${wrong.length === 1 ? "" : `, and ${wrong.length - 1} more files are not as they were`}`
    )
    return undefined
  })
