/**
 * Files as they are now, to be compared later: names, sizes, times. Whoever wrote to one shows, also with its time put
 * back.
 *
 * Not digests: nothing is read. The change time (ctime) says that something happened to a file, not that its bytes
 * differ. A folder is listed whole, one call of the system a file.
 */
import { lstatSync, readdirSync } from "node:fs"
import { join } from "node:path"

/** What is known of each file, by path. */
export type FilesState = ReadonlyMap<string, string>

/** The state of a file, or of all files in a folder; empty where there is nothing. */
export const stateOf = (root: string): FilesState => {
  const out = new Map<string, string>()
  const visit = (path: string): void => {
    const info = lstatSync(path, { throwIfNoEntry: false, bigint: true })
    if (info === undefined) return
    if (info.isDirectory()) for (const name of readdirSync(path)) visit(join(path, name))
    else out.set(path, `${info.size} ${info.mtimeNs} ${info.ctimeNs} ${info.ino}`)
  }
  visit(root)
  return out
}

export interface Change {
  readonly path: string
  readonly how: "changed" | "removed" | "added"
}

/** What happened between two states of one place. */
export const changesOf = (before: FilesState, after: FilesState): ReadonlyArray<Change> => {
  const out: Array<Change> = []
  for (const [path, state] of before) {
    const now = after.get(path)
    if (now !== state) out.push({ path, how: now === undefined ? "removed" : "changed" })
  }
  for (const path of after.keys()) if (!before.has(path)) out.push({ path, how: "added" })
  return out
}
