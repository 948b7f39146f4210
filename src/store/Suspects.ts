/**
 * Suspects: results that may have been made from damaged bytes.
 *
 * A result is suspect while its manifest does not say `readsChecked` (software that checked nothing made it) and an
 * entry that it read is on record as found damaged. What was made from checked bytes never is, nor is what read a
 * suspect's files: if the suspect comes out equal, those bytes were right, and if not, its digest is another and so are
 * the keys that follow.
 *
 * Lifecycle: the record `damaged/<key>.json` is durable before the damaged entry is taken out for repair, is merged
 * with what it said before, and stays until `gc` finds no suspect left; so every later run, of any preset or pipeline,
 * knows. A suspect stays until its node is made again: `Work.publish` then replaces it by a result that says
 * `readsChecked`, which proves or corrects it.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname } from "node:path"
import { Effect, type FileSystem, Schema } from "effect"
import { checksummed, type Opened, opener, openerOf, readCheckedIfGood } from "./Checksum.ts"
import { makeFolder, writeAtomic } from "./Durable.ts"
import { type Layout, manifestFile } from "./Layout.ts"
import { type Manifest, openManifest } from "./Manifest.ts"
import type { StoredEntry, StoreError, Suspicion } from "./Store.ts"
import type { Damaged } from "./Verify.ts"

/** "Files of this key were found damaged": the contents that were wrong, by digest of their port. */
export const DamageRecord = Schema.Struct({
  format: Schema.Literal(1),
  key: Schema.String,
  definition: Schema.String,
  digests: Schema.Array(Schema.String)
})
export type DamageRecord = typeof DamageRecord.Type

/** Damage that was found and is not on record, by key: for whoever only looks. */
export type FoundDamage = ReadonlyMap<string, Pick<DamageRecord, "definition" | "digests">>

/** Digests of an entry's ports that damage may have altered for whoever read it. Refused rows: nothing reads them. */
export const damagedDigests = ({ manifest }: StoredEntry, damaged: ReadonlyArray<Damaged>): ReadonlyArray<string> => {
  // A manifest or a shard's record that does not hold may have led readers to any of its files.
  const all = damaged.some(
    ({ port }) => (port === "manifest" || port === "shards") && manifest.outputs[port] === undefined
  )
  const ports = all ? Object.keys(manifest.outputs) : damaged.map(({ port }) => port)
  return ports.flatMap((port) => manifest.outputs[port]?.digest ?? [])
}

/** Records durably that files of an entry were found damaged. The same again changes nothing. */
export const recordDamage = (
  layout: Layout,
  found: StoredEntry,
  damaged: ReadonlyArray<Damaged>
): Effect.Effect<void, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const { manifest } = found
    const now = damagedDigests(found, damaged)
    if (now.length === 0) return
    const path = layout.damage(manifest.key)
    const before = yield* readCheckedIfGood(path, DamageRecord, { key: manifest.key })
    const digests = [...new Set([...(before?.digests ?? []), ...now])].sort()
    if (before?.digests.length === digests.length) return
    const record: DamageRecord = { format: 1, key: manifest.key, definition: manifest.parts.definition, digests }
    yield* makeFolder(dirname(path))
    yield* writeAtomic(path, checksummed(record))
  })

const openRecord = opener(DamageRecord)

/** What a small file holds, or undefined where there is none or it does not decode. */
const readNow = <A>(path: string, open: (bytes: Buffer) => Opened<A>): A | undefined => {
  try {
    return existsSync(path) ? open(readFileSync(path)).value : undefined
  } catch {
    return undefined
  }
}

/** The record of a key; one that cannot be read says that all of it was damaged. */
const recordOf = (layout: Layout, key: string): Omit<DamageRecord, "digests"> & { digests?: DamageRecord["digests"] } =>
  readNow(layout.damage(key), openerOf(openRecord, { key })) ?? {
    format: 1,
    key,
    definition: `the entry ${key.slice(0, 12)}`
  }

/** Whether any of these keys is on record. */
export const anyDamaged = (layout: Layout, keys: ReadonlyArray<string>): boolean =>
  keys.some((key) => key !== "" && existsSync(layout.damage(key)))

/** Manifests under a key that have a transient output of this content: reading it means reading what they read. */
const streamed = (layout: Layout, key: string, digest: string | undefined): ReadonlyArray<Manifest> => {
  const folder = layout.keyFolder(key)
  const codes = existsSync(folder) ? readdirSync(folder) : []
  return codes
    .map((code) => readNow(manifestFile(layout.entry(key, code)), openManifest))
    .filter((manifest) => manifest !== undefined)
    .filter(({ outputs }) =>
      Object.values(outputs).some((output) => output.kind === "rows" && output.transient && output.digest === digest)
    )
}

/** The inputs of an entry that were read from what is known as damaged, through transient ports too. */
const damagedInputs = (layout: Layout, manifest: Manifest, found: FoundDamage): ReadonlyArray<Suspicion> =>
  Object.entries(manifest.parents).flatMap(([port, parent]): ReadonlyArray<Suspicion> => {
    if (parent === "") return []
    const digest = manifest.parts.inputs[port]
    const here = found.get(parent)
    if (here !== undefined && digest !== undefined && here.digests.includes(digest))
      return [{ port, from: here.definition }]
    if (existsSync(layout.damage(parent))) {
      const { definition, digests } = recordOf(layout, parent)
      if (digests === undefined || digest === undefined || digests.includes(digest)) return [{ port, from: definition }]
    }
    return streamed(layout, parent, digest).flatMap((one) =>
      damagedInputs(layout, one, found).map(({ from }) => ({ port, from }))
    )
  })

const nothing: FoundDamage = new Map()

/** Why an entry is suspect; empty where it is not. Costs one look at the disk while nothing is known to be damaged. */
export const suspicions = (layout: Layout, manifest: Manifest, found = nothing): ReadonlyArray<Suspicion> =>
  manifest.readsChecked === true || (found.size === 0 && !existsSync(layout.damages))
    ? []
    : damagedInputs(layout, manifest, found)
