/**
 * Checks every byte of an entry against its manifest.
 *
 * Not repair: `Work.reopen` turns what is found here back into unfinished work, so that only those shards are made
 * again. Reads everything once, four files at a time.
 */
import { join } from "node:path"
import { Effect, type FileSystem } from "effect"
import { valueDigest } from "./Digests.ts"
import { hashFile, type Written } from "./Durable.ts"
import { portFolder } from "./Layout.ts"
import type { Found, StoreError } from "./Store.ts"

/** A file that is missing, cut off or changed; `file` is relative to the port's folder, "" for a value. */
export interface Damaged {
  readonly port: string
  readonly file: string
}

/**
 * All damaged files of an entry, in the manifest's order. Fails only for what is no damage (permissions, say).
 *
 * @example
 * const damaged = yield* verify(found)
 * if (damaged.length > 0) yield* store.reopen(found, damaged)
 */
export const verify = (found: Found): Effect.Effect<ReadonlyArray<Damaged>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const wanted: Array<Damaged & Written> = []
    const bad: Array<Damaged> = []
    for (const [port, output] of Object.entries(found.manifest.outputs)) {
      if (output.kind === "rows") {
        for (const { file, bytes, sha256 } of output.shards) if (file !== "") wanted.push({ port, file, bytes, sha256 })
      } else if (output.kind === "tree")
        for (const { path, bytes, sha256 } of output.files) wanted.push({ port, file: path, bytes, sha256 })
      else if (valueDigest(output.tag, output.value) !== output.digest) bad.push({ port, file: "" })
    }
    const checked = yield* Effect.forEach(
      wanted,
      ({ port, file, bytes, sha256 }) =>
        Effect.map(
          Effect.catchIf(
            hashFile(join(portFolder(found.folder, port), file)),
            (error) => error.reason === "missing" || error.reason === "io", // EIO: the disk lost it
            () => Effect.succeed({ bytes: -1, sha256: "" })
          ),
          (got) => (got.bytes === bytes && got.sha256 === sha256 ? undefined : { port, file })
        ),
      { concurrency: 4 }
    )
    for (const one of checked) if (one !== undefined) bad.push(one)
    return bad
  })
