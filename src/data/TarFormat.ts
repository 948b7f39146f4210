/**
 * The numbers of the tar format, what a header block says, and the error of readers.
 *
 * Not a reader of files: `Tar.ts` finds the blocks. Read are v7, ustar, GNU (long names, base-256 numbers) and pax
 * (`path`, `linkpath`, `size`). Source: POSIX.1-2017 `pax`, and GNU tar's manual, "Basic Tar Format".
 *
 * Units: bytes. Everything lies in blocks of 512.
 */
import { Schema } from "effect"

/** A tar file, or one entry of it, that cannot be used. */
export class TarError extends Schema.TaggedError<TarError>()("TarError", {
  path: Schema.String,
  /** The entry's name, or empty for the file as a whole. */
  entry: Schema.String,
  reason: Schema.Literals([
    "unreadable",
    "not-a-tar",
    "no-tars",
    "compressed",
    "truncated",
    "damaged",
    "unsupported",
    "duplicate",
    "not-found",
    "link",
    "unsafe-name",
    "too-large"
  ]),
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

const hints: Record<TarError["reason"], string> = {
  unreadable: "Check that the file exists and may be read.",
  "not-a-tar": "Its first block is no tar header; is it a tar file, and was it downloaded to its end?",
  "no-tars": "Give a tar file, or a folder that holds tar files itself (not one that holds such folders).",
  compressed: "A compressed tar has no random access: unpack it once (`gunzip`, `zstd -d`, `bunzip2`, `unxz`).",
  truncated: "The file is cut; download it again.",
  damaged: "A header is damaged; download the file again and compare its digest.",
  unsupported: "Pack it again with plain files: `tar --format=pax`, without --sparse, --multi-volume and --listed.",
  duplicate: "Give each entry its own name, over all tar files of the folder.",
  "not-found":
    "Check the name against the archive's list (`tar tf`); names are case-sensitive and use forward slashes.",
  link: "Pack the archive again with the files themselves (`tar --dereference --hard-dereference`).",
  "unsafe-name": "Names must be relative, without `..`, backslashes or control characters.",
  "too-large": "Raise maxEntryBytes if the entry is to be trusted."
}

/** A `TarError` with the hint of its reason. */
export const tarError = (
  path: string,
  entry: string,
  reason: TarError["reason"],
  detail: string,
  more: { readonly hint?: string; readonly cause?: unknown } = {}
): TarError =>
  new TarError({
    path,
    entry,
    reason,
    message: `${path}${entry === "" ? "" : `!${entry}`}: ${detail}`,
    hint: more.hint ?? hints[reason],
    cause: more.cause
  })

export const BLOCK = 512

/** Bytes of an entry with its padding. */
export const padded = (size: number): number => Math.ceil(size / BLOCK) * BLOCK

/** One header block. Names are bytes: UTF-8 in every archive of note, not checked here. */
export interface TarHeader {
  readonly name: Buffer
  readonly link: Buffer
  readonly size: number
  /** The type flag as a character; a NUL is "0". */
  readonly type: string
}

/** Up to the first NUL. */
const text = (bytes: Buffer, at: number, length: number): Buffer => {
  const end = bytes.subarray(at, at + length).indexOf(0)
  return bytes.subarray(at, at + (end < 0 ? length : end))
}

/** Octal digits, or GNU's base-256 (first bit set). `undefined`: no number, negative, or past 2^53. */
const numberAt = (bytes: Buffer, at: number, length: number): number | undefined => {
  let value = 0
  if ((bytes[at]! & 0x80) !== 0) {
    if (bytes[at] !== 0x80) return undefined
    for (let i = 1; i < length; i++) {
      value = value * 256 + bytes[at + i]!
      if (value > Number.MAX_SAFE_INTEGER) return undefined
    }
    return value
  }
  let i = 0
  while (i < length && bytes[at + i] === 0x20) i++
  for (; i < length; i++) {
    const digit = bytes[at + i]! - 0x30
    if (digit < 0 || digit > 7) break
    value = value * 8 + digit
  }
  const after = bytes[at + i]
  return i === length || after === 0 || after === 0x20 ? value : undefined
}

/** Whether a block is all zeros, as the two at the end are. */
export const isZero = (block: Buffer): boolean => {
  for (let i = 0; i < block.length; i++) if (block[i] !== 0) return false
  return true
}

/**
 * Whether the checksum of a header block is right: its bytes' sum, that of old tars that added signed bytes, or
 * neither.
 */
const isWhole = (block: Buffer): boolean => {
  const declared = numberAt(block, 148, 8)
  let sum = 8 * 0x20
  let signed = sum
  for (let i = 0; i < BLOCK; i++) {
    if (i === 148) i = 156
    sum += block[i]!
    signed += (block[i]! << 24) >> 24
  }
  return declared === sum || declared === signed
}

/** What a header block says. A string says what is wrong with it. */
export const parseHeader = (block: Buffer): TarHeader | string => {
  if (!isWhole(block)) return "its header's checksum is wrong"
  const size = numberAt(block, 124, 12)
  if (size === undefined) return "its size is no number"
  const flag = block[156]!
  // GNU's magic ends in two spaces, and uses the prefix's bytes for times.
  const posix = block.toString("latin1", 257, 263) === "ustar\0"
  const prefix = posix ? text(block, 345, 155) : Buffer.alloc(0)
  const name = text(block, 0, 100)
  return {
    name: Buffer.concat(prefix.length === 0 ? [name] : [prefix, Buffer.from("/"), name]),
    link: Buffer.from(text(block, 157, 100)),
    size,
    type: flag === 0 ? "0" : String.fromCharCode(flag)
  }
}

/** The records of a pax header by key, or `undefined` where they are damaged. Of equal keys the last counts. */
export const parsePax = (bytes: Buffer): ReadonlyMap<string, Buffer> | undefined => {
  const records = new Map<string, Buffer>()
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at)
    const digits = space < 0 ? "" : bytes.toString("latin1", at, Math.min(space, at + 12))
    const end = at + Number(digits)
    if (!/^[1-9][0-9]*$/.test(digits) || end > bytes.length || bytes[end - 1] !== 0x0a) return undefined
    const equals = bytes.indexOf(0x3d, space)
    if (equals < 0 || equals >= end) return undefined
    records.set(bytes.toString("utf8", space + 1, equals), Buffer.from(bytes.subarray(equals + 1, end - 1)))
    at = end
  }
  return records
}
