/**
 * Content digests of outputs, and the walk over a tree's files. These bytes are what consumers' keys are made of.
 *
 * Not about places: no path outside the port, no time and no permission reaches a digest.
 *
 *   rows   sha256 of canonical { tag, format, shards: [{ rows, sha256 }] }, in shard order
 *   tree   sha256 of canonical [{ path, bytes, sha256 }], sorted by path (`/` between names; empty folders do not count)
 *   value  sha256 of canonical { tag, value }
 */
import { createHash } from "node:crypto"
import { join } from "node:path"
import { Effect, type FileSystem } from "effect"
import { canonical, digestOf } from "../dag/Canonical.ts"
import { hashFile, syncFile, syncFolder, withFs } from "./Durable.ts"
import type { FileEntry, ShardEntry } from "./Manifest.ts"
import { StoreError } from "./Store.ts"

/**
 * Digest of a rows port: tag, format, and rows and bytes of every shard. Names of files do not count.
 *
 * The canonical JSON goes into the hash in pieces: an entry may have a hundred thousand shards.
 */
export const rowsDigest = (tag: string, format: string, shards: ReadonlyArray<ShardEntry>): string => {
  const hash = createHash("sha256").update(`{"format":${canonical(format)},"shards":[`)
  for (let at = 0; at < shards.length; at += 1024) {
    const piece = shards.slice(at, at + 1024).map(({ rows, sha256 }) => canonical({ rows, sha256 }))
    hash.update(`${at === 0 ? "" : ","}${piece.join(",")}`)
  }
  return hash.update(`],"tag":${canonical(tag)}}`).digest("hex")
}

const byPath = (a: { readonly path: string }, b: { readonly path: string }): number =>
  a.path < b.path ? -1 : a.path > b.path ? 1 : 0

/** Digest of a file tree, whatever order the files are given in. */
export const treeDigest = (files: ReadonlyArray<FileEntry>): string =>
  digestOf([...files].sort(byPath).map(({ path, bytes, sha256 }) => ({ path, bytes, sha256 })))

/** Digest of a value, given its encoded JSON. Throws `NotCanonical`. */
export const valueDigest = (tag: string, value: unknown): string => digestOf({ tag, value })

/** A file found by `walk`. `path` is relative to the walked folder, with `/`. */
export interface Walked {
  readonly path: string
  readonly bytes: number
  readonly mtimeMs: number
  readonly inode: string
}

/**
 * All files under a folder, sorted by path. `links: "follow"` reads what symbolic links point to (sources, such as a
 * model hub's cache); `"refuse"` fails on them (outputs must hold their own bytes). A link to a parent folder fails.
 */
export const walk = (
  root: string,
  options: { readonly links: "follow" | "refuse" }
): Effect.Effect<
  { readonly files: ReadonlyArray<Walked>; readonly folders: ReadonlyArray<string> },
  StoreError,
  FileSystem.FileSystem
> =>
  Effect.gen(function* () {
    const files: Array<Walked> = []
    const folders: Array<string> = [root]
    const visit = (
      folder: string,
      prefix: string,
      above: ReadonlyArray<string>
    ): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
      Effect.gen(function* () {
        const entries = yield* withFs(folder, (fs) => fs.readDirectoryEntries(folder))
        for (const { name, type } of entries) {
          const path = join(folder, name)
          if (options.links === "refuse" && type === "SymbolicLink")
            return yield* new StoreError({
              reason: "io",
              path,
              message: `${path} is a symbolic link inside an output`,
              hint: "An output must hold its own bytes: let the node copy the file instead of linking it."
            })
          const info = yield* withFs(path, (fs) => fs.stat(path))
          const inode = `${info.dev}:${info.ino._tag === "Some" ? info.ino.value : 0n}`
          if (info.type === "Directory") {
            if (above.includes(inode))
              return yield* new StoreError({
                reason: "io",
                path,
                message: `${path} links to a folder that contains it`,
                hint: "Remove the link, or give the folder below it as the source."
              })
            folders.push(path)
            yield* visit(path, `${prefix}${name}/`, [...above, inode])
          } else if (info.type === "File") {
            files.push({
              path: prefix + name,
              bytes: Number(info.size),
              mtimeMs: info.mtime._tag === "Some" ? info.mtime.value.getTime() : 0,
              inode
            })
          } else
            return yield* new StoreError({
              reason: "io",
              path,
              message: `${path} is neither a file nor a folder (${info.type})`,
              hint: "Sockets, pipes and devices have no content digest; remove it from the folder."
            })
        }
      })
    yield* visit(root, "", [])
    return { files: files.sort(byPath), folders }
  })

/** Every file of a finished tree output, fsynced and hashed; folders are fsynced too. */
export const hashTree = (root: string): Effect.Effect<ReadonlyArray<FileEntry>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const { files, folders } = yield* walk(root, { links: "refuse" })
    const entries = yield* Effect.forEach(
      files,
      ({ path }) =>
        Effect.gen(function* () {
          yield* withFs(join(root, path), (fs) => fs.chmod(join(root, path), 0o444))
          yield* syncFile(join(root, path))
          const { bytes, sha256 } = yield* hashFile(join(root, path))
          return { path, bytes, sha256 }
        }),
      { concurrency: 4 }
    )
    for (const folder of [...folders].reverse()) yield* syncFolder(folder)
    return entries
  })
