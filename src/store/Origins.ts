/**
 * `origins.json`: other codes whose unfinished work a folder's work went on from, accepted by whoever ran it.
 *
 * It stays with the entry, should that ever be made again in part; the manifest says the same (`begunBy`).
 */
import { Effect, type FileSystem, Schema } from "effect"
import { checksummed, readChecked } from "./Checksum.ts"
import { withFs, writeAtomic } from "./Durable.ts"
import { originsFile } from "./Layout.ts"
import type { StoreError } from "./Store.ts"

/** An earlier version wrote the list alone. */
const Origins = Schema.Union([Schema.Struct({ codes: Schema.Array(Schema.String) }), Schema.Array(Schema.String)])

/** Code digests, none if there is no file. Fails with `damaged`. */
export const originsOf = (folder: string): Effect.Effect<ReadonlyArray<string>, StoreError, FileSystem.FileSystem> =>
  Effect.map(readChecked(originsFile(folder), Origins), (origins) =>
    origins === undefined ? [] : "codes" in origins ? origins.codes : origins
  )

/** Writes the list, or removes the file of an empty one. */
export const writeOrigins = (
  folder: string,
  codes: ReadonlyArray<string>
): Effect.Effect<void, StoreError, FileSystem.FileSystem> => {
  const path = originsFile(folder)
  return codes.length === 0
    ? withFs(path, (fs) => fs.remove(path, { force: true }))
    : writeAtomic(path, checksummed({ codes }))
}
