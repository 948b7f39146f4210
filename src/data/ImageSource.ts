/**
 * Where a dataset's image files are: one interface over a zip, tar files, a folder, or several of them under
 * prefixes.
 *
 * Not a decoder: bytes only. A missing or damaged file is an error of its row; a source that fails as a whole (a disk
 * that went away) is an `ImageSourceError`, which no node should refuse rows for.
 */
import { constants, lstatSync } from "node:fs"
import { open, realpath, stat } from "node:fs/promises"
import { basename, sep } from "node:path"
import { Effect, Schema } from "effect"
import type { Zip, ZipError } from "../bytes/Zip.ts"
import { isSafeName, normalName } from "../bytes/ZipFormat.ts"
import type { Tar, TarError } from "./Tar.ts"

/** The source has no file of this name. */
export class ImageMissing extends Schema.TaggedError<ImageMissing>()("ImageMissing", {
  source: Schema.String,
  name: Schema.String,
  message: Schema.String,
  hint: Schema.String
}) {}

/** The source has the file, but its bytes cannot be had or trusted. */
export class ImageUnreadable extends Schema.TaggedError<ImageUnreadable>()("ImageUnreadable", {
  source: Schema.String,
  name: Schema.String,
  reason: Schema.Literals([
    "unsafe-name",
    "too-large",
    "damaged",
    "not-a-file",
    "link",
    "encrypted",
    "unsupported-method",
    "ambiguous"
  ]),
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** The source as a whole cannot be read. */
export class ImageSourceError extends Schema.TaggedError<ImageSourceError>()("ImageSourceError", {
  source: Schema.String,
  name: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** Image files by name. Names are relative, with forward slashes. */
export interface ImageSource {
  /** For messages: a path. */
  readonly source: string
  readonly read: (name: string) => Effect.Effect<Uint8Array, ImageMissing | ImageUnreadable | ImageSourceError>
}

/** What to accept. */
export interface FolderOptions {
  /** Bytes of one file at most. Default 64 MiB. */
  readonly maxFileBytes?: number
}

/** Refused rows are kept beside artifacts, which hold no path of one machine: they name the source by its last part. */
const missing = (source: string, name: string): ImageMissing =>
  new ImageMissing({
    source: basename(source),
    name,
    message: `${basename(source)}: has no ${name}`,
    hint: "Check that the download is whole, how the name is spelled (upper and lower case count), and whether the source expects a folder before the name."
  })

const unreadableHints: Record<ImageUnreadable["reason"], string> = {
  "unsafe-name": "Names must stay inside of the source: relative, without `..`, no links that lead out.",
  "too-large": "Raise `maxFileBytes` if the file is to be trusted.",
  damaged: "Download the file again.",
  "not-a-file": "Give a regular file of that name.",
  link: "Put the file itself in the link's place.",
  encrypted: "Decrypt the archive first (`unzip` asks for the password).",
  ambiguous: "Give each image a name of its own.",
  "unsupported-method": "Repack the archive with stored or deflate (for example `zip -0`)."
}

const unreadable = (
  source: string,
  name: string,
  reason: ImageUnreadable["reason"],
  detail: string,
  cause?: unknown,
  hint: string = unreadableHints[reason]
): ImageUnreadable =>
  new ImageUnreadable({
    source: basename(source),
    name,
    reason,
    message: `${basename(source)}: ${name}: ${detail.replaceAll(source, basename(source))}`,
    hint,
    cause
  })

const failed = (source: string, name: string, cause: unknown): ImageSourceError =>
  new ImageSourceError({
    source,
    name,
    message: `${source}: ${name}: ${cause instanceof Error ? cause.message : String(cause)}`,
    hint: "Check the disk and the permissions, then run again: finished shards are kept.",
    cause
  })

const fromArchiveError = (
  source: string,
  name: string,
  error: ZipError | TarError
): ImageMissing | ImageUnreadable | ImageSourceError => {
  switch (error.reason) {
    case "not-found":
      return missing(source, name)
    case "unsafe-name":
    case "too-large":
      return unreadable(source, name, error.reason, error.message)
    case "link":
    case "encrypted":
    case "unsupported-method":
      return unreadable(source, name, error.reason, error.message, undefined, error.hint)
    case "unreadable":
      return failed(source, name, error)
    default:
      return unreadable(source, name, "damaged", error.message)
  }
}

/**
 * The files of an open zip.
 *
 * @example
 * ```ts
 * const images = fromZip(yield* openZip("images.zip"))
 * ```
 */
export const fromZip = (zip: Zip): ImageSource => ({
  source: zip.path,
  read: (name) => Effect.mapError(zip.read(name), (error) => fromArchiveError(zip.path, name, error))
})

/**
 * The files of an open tar, or of a folder of them.
 *
 * @example
 * ```ts
 * const images = fromTar(yield* openTar("00000.tar"))
 * ```
 */
export const fromTar = (tar: Tar): ImageSource => ({
  source: tar.path,
  read: (name) => Effect.mapError(tar.read(name), (error) => fromArchiveError(tar.path, name, error))
})

const codeOf = (cause: unknown): unknown =>
  typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined

const ABSENT: ReadonlySet<unknown> = new Set(["ENOENT", "ENOTDIR", "ENAMETOOLONG"])

/** Whether a name is a link, which without its target reads as a file that is not there. */
const isDangling = (root: string, name: string): boolean => {
  try {
    return lstatSync(`${root}${sep}${name}`).isSymbolicLink()
  } catch {
    return false // not there at all, or not below a folder
  }
}

const readInside = async (root: string, name: string, maxFileBytes: number): Promise<Uint8Array> => {
  const path = await realpath(`${root}${sep}${name}`)
  if (!path.startsWith(root.endsWith(sep) ? root : root + sep)) {
    throw unreadable(root, name, "unsafe-name", "a link leads out of the folder")
  }
  // Looked at before it is opened: opening a named pipe would wait for a writer.
  if (!(await stat(path)).isFile()) throw unreadable(root, name, "not-a-file", "is no regular file")
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const { size } = await file.stat()
    if (size > maxFileBytes) throw unreadable(root, name, "too-large", `${size} bytes are more than ${maxFileBytes}`)
    return await file.readFile()
  } finally {
    await file.close()
  }
}

/**
 * The files below a folder. Links are followed as long as they stay inside of it.
 *
 * Fails with `ImageSourceError` when the folder itself cannot be resolved.
 *
 * @example
 * ```ts
 * const images = yield* openFolder("coco/train2017")
 * ```
 */
export const openFolder = (path: string, options: FolderOptions = {}): Effect.Effect<ImageSource, ImageSourceError> => {
  const maxFileBytes = options.maxFileBytes ?? 64 * 1024 * 1024
  return Effect.map(
    Effect.tryPromise({ try: () => realpath(path), catch: (cause) => failed(path, "", cause) }),
    (root): ImageSource => ({
      source: root,
      read: (name) =>
        isSafeName(name)
          ? Effect.tryPromise({
              try: () => readInside(root, name, maxFileBytes),
              catch: (cause) =>
                cause instanceof ImageUnreadable
                  ? cause
                  : ABSENT.has(codeOf(cause))
                    ? isDangling(root, name)
                      ? unreadable(root, name, "link", "is a link whose target is not there", cause)
                      : missing(root, name)
                    : codeOf(cause) === "ELOOP"
                      ? unreadable(root, name, "unsafe-name", "links lead in a circle", cause)
                      : failed(root, name, cause)
            })
          : Effect.fail(unreadable(root, name, "unsafe-name", "the name leaves the folder"))
    })
  )
}

/**
 * Several sources under prefixes, as in LLaVA's mix665k: `coco/train2017/1.jpg` is `1.jpg` of the source at
 * `coco/train2017`.
 *
 * The longest prefix that fits is asked, and it alone; a name under no prefix is missing.
 *
 * @example
 * ```ts
 * const images = mounted({ "coco/train2017": fromZip(coco), gqa: yield* openFolder("gqa") })
 * ```
 */
export const mounted = (sources: Readonly<Record<string, ImageSource>>): ImageSource => {
  const prefixes = Object.entries(sources)
    .map(([prefix, source]) => [`${normalName(prefix).replace(/\/+$/, "")}/`, source] as const)
    .sort(([a], [b]) => b.length - a.length)
  const source = `{ ${prefixes.map(([prefix, { source }]) => `${prefix}: ${source}`).join(", ")} }`
  return {
    source,
    read: (asked) => {
      const name = normalName(asked)
      const found = prefixes.find(([prefix]) => name.startsWith(prefix))
      return found === undefined ? Effect.fail(missing(source, name)) : found[1].read(name.slice(found[0].length))
    }
  }
}
