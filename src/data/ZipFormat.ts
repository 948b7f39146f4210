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
  "not-found": "Check the name against names(); names are case-sensitive and use forward slashes.",
  "unsafe-name": "Names must be relative, without `..`, backslashes or control characters.",
  encrypted: "Decrypt the archive first.",
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
  cause?: unknown
): ZipError =>
  new ZipError({
    path,
    entry,
    reason,
    message: `${path}${entry === "" ? "" : `!${entry}`}: ${detail}`,
    hint: hints[reason],
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

/** Whether a name stays inside of the place where it is looked up. */
export const isSafeName = (name: string): boolean =>
  name.length > 0 &&
  !/[\0-\x1f\\]/.test(name) &&
  !name.startsWith("/") &&
  !/^[A-Za-z]:/.test(name) &&
  !name.split("/").includes("..")
