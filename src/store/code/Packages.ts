/**
 * What a digest reads from the disk, and versions of packages.
 *
 * Every file looked at becomes an input of the remembered digest, with its size, times and inode.
 */
import { readFileSync, statSync } from "node:fs"
import { dirname, join, relative, sep } from "node:path"
import { Schema } from "effect"

/** Size, times and inode of a file in one line: what is equal was not written in between. */
export const statLine = (path: string): string => {
  const info = statSync(path, { throwIfNoEntry: false, bigint: true })
  return info === undefined ? "absent" : `${info.size} ${info.mtimeNs} ${info.ctimeNs} ${info.ino}`
}

/** The nearest file of that name in a folder or above it. */
export const upwards = (from: string, name: string): string | undefined => {
  for (let folder = from; ; folder = dirname(folder)) {
    const path = join(folder, name)
    if (statSync(path, { throwIfNoEntry: false })?.isFile() === true) return path
    if (dirname(folder) === folder) return undefined
  }
}

/** Reads that belong to one digest: every file looked at becomes an input of the remembered entry. */
export interface Reading {
  readonly inputs: Map<string, string>
  readonly bytes: (path: string) => Buffer
}

export const reading = (): Reading => {
  const inputs = new Map<string, string>()
  return {
    inputs,
    bytes: (path) => {
      if (!inputs.has(path)) inputs.set(path, statLine(path)) // before the read: a change in between is seen next time
      return readFileSync(path)
    }
  }
}

const LockFile = Schema.Struct({
  packages: Schema.optional(
    Schema.Record(
      Schema.String,
      Schema.Struct({
        version: Schema.optional(Schema.String),
        resolved: Schema.optional(Schema.String),
        link: Schema.optional(Schema.Boolean),
        dependencies: Schema.optional(Schema.Record(Schema.String, Schema.Unknown)),
        os: Schema.optional(Schema.Unknown),
        cpu: Schema.optional(Schema.Unknown)
      })
    )
  )
})
const decodeLock = Schema.decodeUnknownSync(LockFile)
const decodePackage = Schema.decodeUnknownSync(Schema.Struct({ version: Schema.optional(Schema.String) }))

/** Parsed lock files by path and stat: a project's lock is parsed once a process. */
const locks = new Map<string, { readonly stat: string; readonly lock: typeof LockFile.Type }>()

const readLock = (path: string, read: Reading): typeof LockFile.Type => {
  const stat = statLine(path)
  const known = locks.get(path)
  if (known?.stat === stat) {
    read.inputs.set(path, stat)
    return known.lock
  }
  const lock = decodeLock(JSON.parse(read.bytes(path).toString("utf8")))
  locks.set(path, { stat, lock })
  return lock
}

/** What the nearest lock file above `from` says of a package. */
export const locked = (
  name: string,
  from: string,
  read: Reading
):
  | {
      readonly version: string
      /** The folder that it is to be installed in. */
      readonly folder: string
      readonly depends: ReadonlyArray<string>
      /** For one platform: does not count. */
      readonly aside: boolean
    }
  | undefined => {
  const lockPath = upwards(from, "package-lock.json")
  if (lockPath === undefined) return undefined
  const root = dirname(lockPath)
  const packages = readLock(lockPath, read).packages ?? {}
  const nested = relative(root, from)
    .split(sep)
    .filter((part) => part !== "")
  for (let depth = nested.length; depth >= 0; depth--) {
    const place = [...nested.slice(0, depth), "node_modules", name].join("/")
    const found = packages[place]
    if (found === undefined) continue
    const target = found.link === true ? packages[found.resolved ?? ""] : found
    if (target?.version === undefined) continue
    return {
      version: target.version,
      folder: join(root, found.link === true ? (found.resolved ?? "") : place),
      depends: Object.keys(target.dependencies ?? {}).sort(),
      aside: target.os !== undefined || target.cpu !== undefined
    }
  }
  return undefined
}

/** A package's version, from the nearest lock file above `from`, else from the package itself, else "unknown". */
export const versionOf = (name: string, from: string, read: Reading): string => {
  const found = locked(name, from, read)
  if (found !== undefined) return found.version
  const manifest = upwards(from, join("node_modules", name, "package.json"))
  if (manifest === undefined) return "unknown"
  return decodePackage(JSON.parse(read.bytes(manifest).toString("utf8"))).version ?? "unknown"
}
