/**
 * The numbers of the ZIP format that reader and writer share, and their error.
 *
 * Source: PKWARE APPNOTE 6.3.10. All numbers are little-endian; offsets and sizes are bytes.
 */
import { Schema } from "effect"

/** A zip file, or one entry of it, that cannot be used. */
export class ZipError extends Schema.TaggedError<ZipError>()("ZipError", {
  path: Schema.String,
  /** The entry's name, or empty for the file as a whole. */
  entry: Schema.String,
  reason: Schema.Literals([
    "unreadable",
    "not-a-zip",
    "truncated",
    "damaged",
    "overlap",
    "not-found",
    "unsafe-name",
    "encrypted",
    "link",
    "unsupported-method",
    "too-large",
    "size-mismatch",
    "crc-mismatch",
    "duplicate"
  ]),
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

const hints: Record<ZipError["reason"], string> = {
  unreadable: "Check that the file exists and may be read.",
  "not-a-zip": "The file has no zip directory; is it a zip file, and was it downloaded to its end?",
  truncated: "The file is cut; download it again.",
  damaged: "The zip's directory is damaged; download it again and compare its digest.",
  overlap: "Entries share bytes, as in a decompression bomb; do not trust this file.",
  "not-found":
    "Check the name against the archive's list (`unzip -l`); names are case-sensitive and use forward slashes.",
  "unsafe-name": "Names must be relative, without `..`, backslashes or control characters.",
  encrypted: "Decrypt the archive first (`unzip` asks for the password).",
  link: "Pack the archive again with the files themselves in it (`zip -r` follows links).",
  "unsupported-method": "Repack with stored or deflate (for example `zip -0`).",
  "too-large": "Raise maxEntryBytes if the entry is to be trusted.",
  "size-mismatch": "The entry is damaged; download the archive again.",
  "crc-mismatch": "The entry is damaged; download the archive again.",
  duplicate: "Give each entry its own name."
}

/** A `ZipError` with the hint of its reason. */
export const zipError = (
  path: string,
  entry: string,
  reason: ZipError["reason"],
  detail: string,
  cause?: unknown,
  hint: string = hints[reason]
): ZipError =>
  new ZipError({
    path,
    entry,
    reason,
    message: `${path}${entry === "" ? "" : `!${entry}`}: ${detail}`,
    hint,
    cause
  })

export const LOCAL_HEADER = 0x04034b50
export const CENTRAL_HEADER = 0x02014b50
export const END_RECORD = 0x06054b50
export const ZIP64_END_RECORD = 0x06064b50
export const ZIP64_LOCATOR = 0x07064b50

export const LOCAL_BYTES = 30
export const CENTRAL_BYTES = 46
export const END_BYTES = 22
export const ZIP64_END_BYTES = 56
export const ZIP64_LOCATOR_BYTES = 20

export const ZIP64_EXTRA = 0x0001
export const MAX16 = 0xffff
export const MAX32 = 0xffffffff

export const STORED = 0
export const DEFLATED = 8
export const FLAG_ENCRYPTED = 0x0001
export const FLAG_UTF8 = 0x0800

/**
 * A name as a file system takes it: `./a//b` and `a/./b` are `a/b`. Both the names of an archive and those asked of it
 * go through this, so that zip, tar and folder agree.
 */
export const normalName = (name: string): string =>
  isIrregular(Buffer.from(name, "latin1"))
    ? name
        .split("/")
        .filter((part) => part !== "" && part !== ".")
        .join("/")
    : name

const SLASH = 0x2f
const DOT = 0x2e

/** Whether a name has an empty part or a part `.` in front of its last slash. */
export const isIrregular = (name: Uint8Array, start = 0, end = name.length): boolean => {
  for (let at = start; at < end; at++) {
    if (name[at] !== SLASH) continue
    const before = at === start ? SLASH : name[at - 1]
    if (at > start && before === SLASH) return true
    if (before === DOT && (at - 1 === start || name[at - 2] === SLASH)) return true
  }
  return false
}

/** The bytes of an archive's name without its empty parts and parts `.`; a slash at its front and its end stays. */
export const normalBytes = (name: Uint8Array): Uint8Array => {
  if (!isIrregular(name)) return name
  const kept: Array<number> = []
  for (let at = 0; at < name.length; at++) {
    const begins = kept.length === 0 || kept[kept.length - 1] === SLASH
    if (begins && at > 0 && name[at] === SLASH) continue
    if (begins && name[at] === DOT && name[at + 1] === SLASH) {
      at++
      continue
    }
    kept.push(name[at]!)
  }
  return Uint8Array.from(kept)
}

/** Whether a name stays inside of the place where it is looked up. */
export const isSafeName = (name: string): boolean =>
  name.length > 0 &&
  !/[\0-\x1f\\]/.test(name) &&
  !name.startsWith("/") &&
  !/^[A-Za-z]:/.test(name) &&
  !name.split("/").includes("..")
