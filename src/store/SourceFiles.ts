/**
 * Which files of a local folder are a source's, and the folder that a node is shown where some are not.
 *
 * Left out: what file managers, editors and archivers leave behind (`.DS_Store`, `Thumbs.db`, `._*`, `__MACOSX`, `a~`)
 * and all that is hidden; with `files`, what no name or pattern selects (`**` alone selects all, hidden or not). Where
 * something is left out, a node is given a folder of links to the rest, so that it cannot read what the digest does not
 * cover.
 */
import { existsSync, readdirSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { Effect, type FileSystem } from "effect"
import { digestOf } from "../dag/Canonical.ts"
import { makeFolder, syncFolder, token, withFs } from "./Durable.ts"
import { isInside, isPattern, selects } from "./remote/Address.ts"
import { StoreError } from "./Store.ts"

const LEFT_BEHIND = new Set(["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"])

/** Whether a file or folder of this name is left behind by a program, or hidden. */
export const isIncidental = (name: string): boolean =>
  name.startsWith(".") || name.endsWith("~") || LEFT_BEHIND.has(name.toLowerCase())

/** A file of a source: `path` relative to its folder, with `/`, and a line that another content cannot have. */
export interface SourceFile {
  readonly path: string
  readonly bytes: number
  /** Size, times and inode. */
  readonly stat: string
  /** When it last changed in any way (`ctime`), ms. */
  readonly changedMs: number
  /** Grain of its time stamps, ms: a second change within it goes unseen. */
  readonly grainMs: number
}

export interface Selected {
  readonly files: ReadonlyArray<SourceFile>
  /** Some files of the folder are not the source's. */
  readonly partly: boolean
}

/** A file's size, times and inode; `undefined` where nothing is. */
export const statOf = (path: string, name: string): SourceFile | undefined => {
  const info = statSync(path, { throwIfNoEntry: false, bigint: true })
  if (info === undefined) return undefined
  return {
    path: name,
    bytes: Number(info.size),
    stat: `${info.size} ${info.mtimeNs} ${info.ctimeNs} ${info.dev}:${info.ino}`,
    changedMs: Number(info.ctimeNs / 1_000_000n),
    // A file system that keeps whole seconds, or two of them.
    grainMs: info.ctimeNs % 1_000_000_000n === 0n ? 2_000 : 20
  }
}

const wrong = (path: string, message: string, hint: string, cause?: unknown) =>
  new StoreError({ reason: "io", path, message, hint, ...(cause === undefined ? {} : { cause }) })

const walkNow = (root: string, patterns: ReadonlyArray<string> | undefined): Selected => {
  const files: Array<SourceFile> = []
  let partly = false
  const literal = new Set((patterns ?? []).filter((name) => !isPattern(name)))
  const selected = selects(patterns)
  const all = patterns?.includes("**") === true
  const isKept = (path: string) =>
    all ||
    literal.has(path) ||
    [...literal].some((name) => name.startsWith(`${path}/`)) ||
    !isIncidental(path.slice(path.lastIndexOf("/") + 1))
  const visit = (folder: string, prefix: string, above: ReadonlyArray<string>): void => {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name)
      const relative = prefix + name
      if (!isKept(relative)) {
        partly = true
        continue
      }
      const info = statSync(path, { bigint: true })
      if (info.isDirectory()) {
        const inode = `${info.dev}:${info.ino}`
        if (above.includes(inode))
          throw wrong(
            path,
            `${path} links to a folder that contains it`,
            "Remove the link, or give the folder below it as the source."
          )
        visit(path, `${relative}/`, [...above, inode])
      } else if (!selected(relative)) partly = true
      else if (info.isFile()) files.push(statOf(path, relative)!)
      else
        throw wrong(
          path,
          `${path} is neither a file nor a folder`,
          "Sockets, pipes and devices have no content digest; remove it from the folder."
        )
    }
  }
  visit(root, "", [])
  files.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  const missing = (patterns ?? []).filter((name) => !files.some(({ path }) => selects([name])(path)))
  if (missing.length > 0)
    throw wrong(
      root,
      `${root} has no ${missing.join(", ")}`,
      "Check `files` where the source is defined: names below the folder, `*` for any letters but a slash."
    )
  return { files, partly }
}

/** The files of a folder that are the source's, sorted by path. Links are followed. */
export const filesOf = (
  root: string,
  patterns: ReadonlyArray<string> | undefined
): Effect.Effect<Selected, StoreError> =>
  Effect.try({
    try: () => {
      const outside = (patterns ?? []).find((name) => !isInside(name))
      if (outside !== undefined)
        throw wrong(
          root,
          `${JSON.stringify(outside)} is no name below a folder`,
          "Give names below the source's folder in `files`."
        )
      return walkNow(root, patterns)
    },
    catch: (cause) =>
      cause instanceof StoreError
        ? cause
        : wrong(
            (cause as NodeJS.ErrnoException).path ?? root,
            `${root} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
            "Check the folder, the links in it and their permissions.",
            cause
          )
  })

/**
 * A folder of links to the files of a source, made once for a list of files. Durable before it has its name: after a
 * power cut it is whole or not there, and is never looked into again.
 */
export const linked = (
  views: string,
  root: string,
  files: ReadonlyArray<SourceFile>
): Effect.Effect<string, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const folder = join(views, digestOf({ root, files: files.map(({ path }) => path) }).slice(0, 32))
    if (existsSync(folder)) return folder
    yield* makeFolder(views)
    const made = `${folder}.${token()}.tmp`
    const folders = new Set([made])
    for (const { path } of files)
      for (let at = dirname(join(made, path)); !folders.has(at); at = dirname(at)) folders.add(at)
    yield* Effect.forEach(folders, (at) => withFs(at, (fs) => fs.makeDirectory(at, { recursive: true })))
    yield* Effect.forEach(files, ({ path }) => withFs(path, (fs) => fs.symlink(join(root, path), join(made, path))), {
      concurrency: 16,
      discard: true
    })
    yield* Effect.forEach(folders, syncFolder, { discard: true })
    const named = yield* Effect.result(withFs(folder, (fs) => fs.rename(made, folder)))
    if (named._tag === "Failure") {
      if (!existsSync(folder)) return yield* Effect.fail(named.failure)
      yield* withFs(made, (fs) => fs.remove(made, { recursive: true, force: true })) // another process made it meanwhile
    }
    yield* syncFolder(views)
    return folder
  }).pipe(
    Effect.mapError(
      (error) =>
        new StoreError({
          reason: error.reason,
          path: views,
          message: `the folder of links for ${root} cannot be made: ${error.message}`,
          hint: "Remove what does not belong to the source from its folder, or give the store a place where links can be made (`--store`).",
          cause: error
        })
    )
  )
