/**
 * Checks the files of a stored tree before its path is given to a node: nodes read them by path, so nothing can be
 * checked while they are read. Files of refused rows are checked here too.
 *
 * Every file of a tree is read and hashed once a process and file: one that has the path, size, times and inode of a
 * file that was checked is taken as checked. Four files at a time. No byte that a disk loses after the check is
 * noticed; `--verify` reads again.
 */
import { statSync } from "node:fs"
import { join } from "node:path"
import { Effect, type FileSystem } from "effect"
import { damagedFile, reportDamage } from "./Damage.ts"
import { hashFile } from "./Durable.ts"
import { portFolder, refusedFolder } from "./Layout.ts"
import type { FileEntry } from "./Manifest.ts"
import type { StoreError } from "./Store.ts"

/** Identity of each file whose bytes were found right, with the digest they had, by path. */
const checked = new Map<string, string>()

const identityOf = (path: string, sha256: string): string | undefined => {
  const info = statSync(path, { throwIfNoEntry: false })
  return info?.isFile() === true
    ? [info.dev, info.ino, info.size, info.mtimeMs, info.ctimeMs, sha256].join(":")
    : undefined
}

/**
 * Whether a file is there, whole and as it was written; with `again` it is read also where it was before. What is no
 * damage (permissions, say) fails.
 */
const isRight = (path: string, { bytes, sha256 }: FileEntry, again: boolean) =>
  Effect.gen(function* () {
    const identity = identityOf(path, sha256)
    if (identity === undefined) return false
    if (!again && checked.get(path) === identity) return true
    const got = yield* Effect.catchIf(
      hashFile(path),
      (error) => error.reason === "missing" || error.reason === "io", // EIO: the disk lost it
      () => Effect.undefined
    )
    if (got?.bytes !== bytes || got.sha256 !== sha256) return false
    checked.set(path, identity)
    return true
  })

const checkFiles = (folder: string, port: string, at: string, files: ReadonlyArray<FileEntry>, again: boolean) =>
  Effect.gen(function* () {
    const right = yield* Effect.forEach(files, (file) => isRight(join(at, file.path), file, again), { concurrency: 4 })
    const wrong = files.filter((_, i) => right[i] === false)
    for (const file of wrong) reportDamage({ folder, port, file: file.path })
    if (wrong[0] === undefined) return
    const more = wrong.length === 1 ? "" : `, and ${wrong.length - 1} more files`
    return yield* damagedFile(join(at, wrong[0].path), `it is not the file that was written${more}`)
  })

/** Fails with `damaged` where a file of a tree is not what its manifest says; every such file is reported. */
export const checkTree = (
  folder: string,
  port: string,
  files: ReadonlyArray<FileEntry>
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  checkFiles(folder, port, portFolder(folder, port), files, false)

/** The same for the files of refused rows of an entry, each time before they are shown: they are small. */
export const checkRefused = (
  folder: string,
  files: ReadonlyArray<FileEntry>
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  checkFiles(folder, "refused", refusedFolder(folder), files, true)
