/**
 * What the store knows of one finished node: its manifest.
 *
 * A manifest is written last, so an entry that has one is whole. Digests speak of contents only; the memory figure
 * stands beside them and reaches no digest. Times, hosts and run ids live in the run's record, never here.
 *
 * The file carries a checksum of itself (`Checksum.ts`), and so does that of a shard's record. What a manifest says
 * that follows from what it lists is derived again by `Derive.ts`.
 */
import { Schema } from "effect"
import { canonical } from "../dag/Canonical.ts"
import { KeyParts } from "../dag/Key.ts"
import { type Decode, decoder, type Opened, openerBy } from "./Checksum.ts"

/** One file of an output. `path` is relative to the port's folder. */
export const FileEntry = Schema.Struct({
  path: Schema.String,
  bytes: Schema.Number,
  sha256: Schema.String
})
export type FileEntry = typeof FileEntry.Type

/** One shard of a rows output; a transient shard has no file and keeps `file: ""`. */
export const ShardEntry = Schema.Struct({
  file: Schema.String,
  rows: Schema.Number,
  bytes: Schema.Number,
  sha256: Schema.String,
  /** CRC-32 of each block of the file (`Sums.ts`), for readers; of older entries and transient shards unknown. */
  sums: Schema.optional(Schema.String)
})
export type ShardEntry = typeof ShardEntry.Type

/** One output port. `digest` is what consumers' keys are made of. */
export const OutputEntry = Schema.Union([
  Schema.Struct({
    kind: Schema.Literal("rows"),
    tag: Schema.String,
    format: Schema.String,
    transient: Schema.Boolean,
    digest: Schema.String,
    rows: Schema.Number,
    bytes: Schema.Number,
    shards: Schema.Array(ShardEntry)
  }),
  Schema.Struct({
    kind: Schema.Literal("tree"),
    tag: Schema.String,
    digest: Schema.String,
    bytes: Schema.Number,
    files: Schema.Array(FileEntry)
  }),
  Schema.Struct({
    kind: Schema.Literal("value"),
    tag: Schema.String,
    digest: Schema.String,
    bytes: Schema.Number,
    value: Schema.Json
  })
])
export type OutputEntry = typeof OutputEntry.Type

/** A local file or package that the code digest covers. `path` is relative to the project's root. */
export const CodeFile = Schema.Struct({ path: Schema.String, sha256: Schema.String })
export type CodeFile = typeof CodeFile.Type

/** The digest of a definition's code, and what it is made of. `weak`: no file could be found (a notebook cell). */
export const Code = Schema.Struct({
  digest: Schema.String,
  weak: Schema.Boolean,
  files: Schema.Array(CodeFile),
  packages: Schema.Record(Schema.String, Schema.String),
  /**
   * Digests of these packages' code as installed and of all that they depend on, by `name@version`; of older entries
   * unknown.
   */
  installed: Schema.optional(Schema.Record(Schema.String, Schema.String)),
  /** The file of the definition itself; of older entries unknown. */
  file: Schema.optional(Schema.String),
  /** What the definition closes over that nothing tells: such a node is not run, so no entry has it. */
  closesOver: Schema.optional(Schema.Array(Schema.String)),
  /** The definition was not found in its file, so all of the file counts, and what it closes over is not known. */
  unplaced: Schema.optional(Schema.Boolean)
})
export type Code = typeof Code.Type

/** One finished shard of a node under way: written after its files, so that what has a record is whole. */
export const ShardRecord = Schema.Struct({
  /**
   * Key of the node; of older records, and of shards outside a store, unknown. A record elsewhere vouches for nothing.
   */
  key: Schema.optional(Schema.String),
  index: Schema.Number,
  rowsIn: Schema.Number,
  ports: Schema.Record(Schema.String, ShardEntry),
  /** Refused rows of this shard, by reason, and the file in the `refused` folder that holds them; none for none. */
  refused: Schema.Record(Schema.String, Schema.Number),
  refusedFile: Schema.optional(FileEntry),
  peakMemory: Schema.Number
})
export type ShardRecord = typeof ShardRecord.Type

export const Manifest = Schema.Struct({
  /** 1: without a checksum, of an earlier version. 2: with one. */
  format: Schema.Literals([1, 2]),
  key: Schema.String,
  code: Code,
  /** Definition id and everything else that the key is made of. */
  parts: KeyParts,
  /** Keys of the entries that the inputs came from ("" for sources), by port: the lineage. */
  parents: Schema.Record(Schema.String, Schema.String),
  outputs: Schema.Record(Schema.String, OutputEntry),
  rowsIn: Schema.Number,
  refused: Schema.Record(Schema.String, Schema.Number),
  /** Files of the refused rows; `path` is relative to the entry's `refused` folder. */
  refusedFiles: Schema.Array(FileEntry),
  /** Everything that it was made of was read by readers that check it; of entries of older software not known. */
  readsChecked: Schema.optional(Schema.Boolean),
  /** Digests of other codes whose unfinished work this went on from, accepted by whoever ran it. */
  begunBy: Schema.Array(Schema.String),
  /** Most resident memory of the process while the node ran, bytes; `Memory.ts` says how it is known. */
  peakMemory: Schema.Number
})
export type Manifest = typeof Manifest.Type

/**
 * Whether a value is a list of shards with the fields of `ShardEntry` and no others. One in doubt is left to the
 * Schema.
 */
const isShardList = (value: unknown): value is ReadonlyArray<ShardEntry> =>
  Array.isArray(value) &&
  value.every((one: unknown) => {
    if (typeof one !== "object" || one === null) return false
    const { bytes, file, rows, sha256, sums } = one as Partial<Record<string, unknown>>
    return (
      typeof file === "string" &&
      typeof rows === "number" &&
      typeof bytes === "number" &&
      typeof sha256 === "string" &&
      (sums === undefined || typeof sums === "string") &&
      Object.keys(one).length === (sums === undefined ? 4 : 5)
    )
  })

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** What the Schema is not asked about: lists that are right, by port. */
const shardLists = (value: unknown): ReadonlyMap<string, ReadonlyArray<ShardEntry>> => {
  const out = new Map<string, ReadonlyArray<ShardEntry>>()
  if (!isRecord(value) || !isRecord(value["outputs"])) return out
  for (const [port, output] of Object.entries(value["outputs"]))
    if (port !== "__proto__" && isRecord(output) && output["kind"] === "rows" && isShardList(output["shards"]))
      out.set(port, output["shards"])
  return out
}

const bySchema = decoder(Manifest)

/**
 * Decodes a manifest: what `Manifest` gives, and refuses what it refuses. Lists of shards are looked at here, ten times
 * faster, and go to the Schema only where something about them is not as expected; the rest always does.
 *
 * @internal
 */
export const decodeManifest: Decode<Manifest> = (value, exact) => {
  const lists = shardLists(value)
  if (lists.size === 0) return bySchema(value, exact)
  const { outputs } = value as { readonly outputs: Readonly<Record<string, object>> }
  const without = Object.entries(outputs).map(
    ([port, output]) => [port, lists.has(port) ? { ...output, shards: [] } : output] as const
  )
  const manifest = bySchema({ ...(value as object), outputs: Object.fromEntries(without) }, exact)
  const whole = Object.entries(manifest.outputs).map(([port, output]) => {
    const shards = lists.get(port)
    return [port, output.kind === "rows" && shards !== undefined ? { ...output, shards } : output] as const
  })
  return { ...manifest, outputs: Object.fromEntries(whole) }
}

const openAny = openerBy(decodeManifest)

/** Reads a manifest's bytes. Throws if the checksum is wrong, or gone from one that was written with it. */
export const openManifest = (bytes: Buffer): Opened<Manifest> => {
  const opened = openAny(bytes)
  if ((opened.value.format === 2) === opened.checked) return opened
  throw new Error(opened.checked ? "it has a checksum, which its format does not" : "it has lost its checksum")
}

/**
 * The text of `value.json`, its keys in the order of the manifest's copy: a file that is written again from there has
 * the same bytes.
 */
export const valueText = (value: Schema.Json): string => `${JSON.stringify(JSON.parse(canonical(value)), null, 2)}\n`

/** Rows of all rows outputs together. */
export const rowsOut = (manifest: Manifest): number =>
  Object.values(manifest.outputs).reduce((sum, output) => sum + (output.kind === "rows" ? output.rows : 0), 0)

/** Rows of each rows output. */
export const rowsByPort = (manifest: Manifest): Record<string, number> =>
  Object.fromEntries(
    Object.entries(manifest.outputs).flatMap(([port, output]) => (output.kind === "rows" ? [[port, output.rows]] : []))
  )

/** Rows refused, all reasons together. */
export const rowsRefused = (manifest: Manifest): number =>
  Object.values(manifest.refused).reduce((sum, count) => sum + count, 0)
