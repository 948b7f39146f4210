/**
 * JSON files that carry a checksum of themselves: manifests, records of shards, checkpoints, instances, aliases and
 * pins, and remembered digests.
 *
 *     {"checksum":"<64 hex digits>","key":...}
 *
 * The checksum is the sha256 of the canonical JSON of all other fields, and the rest of the file is that canonical
 * JSON. So it is checked over the file's bytes, before anything is parsed, and no altered byte passes. It is a checksum
 * and no signature: it tells faults of disks, copies and editors, and keeps out nobody who writes a new one.
 *
 * Files without a checksum are of an earlier version. They are read where they hold the fields of their Schema and
 * nothing else: a damaged `checksum` is another field, so it does not make a file one of those.
 */
import { hash } from "node:crypto"
import { Effect, FileSystem, type PlatformError, Schema } from "effect"
import { canonical } from "../dag/Canonical.ts"
import { decodeFile, fromPlatform, recover } from "./Durable.ts"
import { StoreError } from "./Store.ts"

const HEAD = '{"checksum":"'
const DIGITS = 64
/** Bytes before the other fields: the head, the digits and `",`. */
const BODY = HEAD.length + DIGITS + 2

/**
 * The text of a file that says `record` and carries its checksum. `record` has at least one field. Throws
 * `NotCanonical`.
 */
export const checksummed = (record: Readonly<Record<string, unknown>>): string => {
  const text = canonical(record)
  return `${HEAD}${hash("sha256", text)}",${text.slice(1)}\n`
}

/** What a file says, and whether a checksum vouches for it. */
export interface Opened<A> {
  readonly value: A
  readonly checked: boolean
}

/** The JSON of a file of either form. Throws if its checksum is not that of its bytes, or if it is no JSON. */
const parse = (bytes: Buffer): Opened<unknown> => {
  if (bytes.toString("latin1", 0, HEAD.length) !== HEAD) {
    const value: unknown = JSON.parse(bytes.toString("utf8"))
    return { value, checked: false }
  }
  const body = Buffer.from(bytes.subarray(BODY - 1, bytes.length - 1)) // a copy: its first byte becomes `{` again
  body[0] = 0x7b
  const said = bytes.toString("latin1", HEAD.length, HEAD.length + DIGITS)
  const is = hash("sha256", body)
  if (said !== is || bytes.toString("latin1", BODY - 2, BODY) !== '",' || bytes[bytes.length - 1] !== 0x0a)
    throw new Error(
      `its checksum is ${is.slice(0, 12)}, it says ${said.slice(0, 12)}: it was changed after it was written`
    )
  return { value: JSON.parse(body.toString("utf8")), checked: true }
}

/** Decodes what was parsed; `exact` refuses fields that are not known. Throws. */
export type Decode<A> = (value: unknown, exact: boolean) => A

/** Decodes by a Schema. */
export const decoder = <A>(schema: Schema.Codec<A, any>): Decode<A> => {
  const decode = Schema.decodeUnknownSync(schema)
  return (value, exact) => (exact ? decode(value, { onExcessProperty: "error" }) : decode(value))
}

/**
 * Reads the bytes of a file of either form; a field that is not known is an error where no checksum vouches for it.
 * Throws.
 */
export const openerBy =
  <A>(decode: Decode<A>): ((bytes: Buffer) => Opened<A>) =>
  (bytes) => {
    const { checked, value } = parse(bytes)
    return { value: decode(value, !checked), checked }
  }

/** `openerBy` of a Schema. */
export const opener = <A>(schema: Schema.Codec<A, any>): ((bytes: Buffer) => Opened<A>) => openerBy(decoder(schema))

/**
 * `open`, which also throws where a record names another owner than the one whose place it lies in: it was moved or
 * copied there. Records of earlier versions, which name none, pass.
 */
export const openerOf =
  <A extends object>(open: (bytes: Buffer) => Opened<A>, owner: Partial<A>): ((bytes: Buffer) => Opened<A>) =>
  (bytes) => {
    const opened = open(bytes)
    for (const name of Object.keys(owner) as Array<keyof A & string>) {
      const said = opened.value[name]
      if (said !== undefined && said !== owner[name])
        throw new Error(`it is the record of ${name} ${String(said)}, in the place of ${String(owner[name])}`)
    }
    return opened
  }

const bytesAt = (path: string): Effect.Effect<Buffer | undefined, StoreError, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    Effect.mapError(
      recover(
        Effect.map(fs.readFile(path), (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)),
        ["NotFound"],
        undefined
      ),
      (error: PlatformError.PlatformError) =>
        isFolder(error)
          ? new StoreError({
              reason: "damaged",
              path,
              message: `${path} is a folder, not a file`,
              hint: "Something else made a folder of that name: move it away and run again.",
              cause: error
            })
          : fromPlatform(path)(error)
    )
  )

const isFolder = (error: PlatformError.PlatformError): boolean =>
  (error.reason.cause as { readonly code?: unknown } | undefined)?.code === "EISDIR"

/** Reads such a file: undefined if there is none, `damaged` if it does not hold what it should. */
export const readOpened = <A>(
  path: string,
  open: (bytes: Buffer) => Opened<A>
): Effect.Effect<Opened<A> | undefined, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const bytes = yield* bytesAt(path)
    if (bytes === undefined) return undefined
    return yield* decodeFile(path, () => open(bytes))
  })

/** What such a file of `owner` says: undefined if there is none, `damaged` if it does not hold what it should. */
export const readChecked = <A extends object>(
  path: string,
  schema: Schema.Codec<A, any>,
  owner: Partial<A> = {}
): Effect.Effect<A | undefined, StoreError, FileSystem.FileSystem> =>
  Effect.map(readOpened(path, openerOf(opener(schema), owner)), (opened) => opened?.value)

/** A damaged file is reported and counts as absent. */
const ifGood = <A, R>(reading: Effect.Effect<A, StoreError, R>): Effect.Effect<A | undefined, StoreError, R> =>
  Effect.catchIf(
    reading,
    (error) => error.reason === "damaged",
    (error) => Effect.as(Effect.logWarning(error.message), undefined)
  )

/** Like `readChecked`, but a damaged file is reported and counts as absent. */
export const readCheckedIfGood = <A extends object>(
  path: string,
  schema: Schema.Codec<A, any>,
  owner: Partial<A> = {}
): Effect.Effect<A | undefined, StoreError, FileSystem.FileSystem> => ifGood(readChecked(path, schema, owner))

/**
 * For what can be derived again: undefined also where no checksum vouches for the file, which is of an earlier version
 * or has a flipped bit in the checksum's name.
 */
export const readVouched = <A extends object>(
  path: string,
  schema: Schema.Codec<A, any>
): Effect.Effect<A | undefined, StoreError, FileSystem.FileSystem> =>
  Effect.map(ifGood(readOpened(path, opener(schema))), (opened) =>
    opened?.checked === true ? opened.value : undefined
  )
