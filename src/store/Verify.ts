/**
 * Checks every byte of an entry against its manifest.
 *
 * Not repair: `Work.reopen` turns what is found here back into unfinished work, so that only those shards are made
 * again. Reads everything once, four files at a time.
 */
import { statSync } from "node:fs"
import { join } from "node:path"
import { Effect, type FileSystem } from "effect"
import { valueDigest } from "./Digests.ts"
import { hashFile, type Written } from "./Durable.ts"
import { manifestFile, portFolder, refusedFolder } from "./Layout.ts"
import type { Found, StoreError } from "./Store.ts"

/**
 * A file that is missing, cut off or changed; `file` is relative to the port's folder, "" for a value. Files of the
 * quarantine have the port `refused`; a shard is made again with its refused rows, so a port of that name does no harm.
 */
export interface Damaged {
  readonly port: string
  readonly file: string
}

const timeOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.mtimeMs

/** When an entry was made, and when its damaged files were last written (undefined: gone). By the file system's clock, ms. */
export interface Damage {
  readonly made: number | undefined
  readonly written: ReadonlyArray<number | undefined>
}

/** The times of a damaged entry; asked for before it is reopened. */
export const damageOf = (found: Found, damaged: ReadonlyArray<Damaged>): Damage => ({
  made: timeOf(manifestFile(found.folder)),
  written: damaged.map(({ file, port }) =>
    timeOf(port === "refused" ? join(refusedFolder(found.folder), file) : join(portFolder(found.folder, port), file))
  )
})

/**
 * Whether another entry was made from those damaged bytes: `yes` where they were written before it was made, `no` where
 * after; `maybe` where no time tells, as of a disk's fault.
 */
export const madeFrom = ({ made, written }: Damage, other: Found): "yes" | "maybe" | "no" => {
  const at = timeOf(manifestFile(other.folder))
  if (made === undefined || at === undefined) return "maybe"
  const changed = written.map((time) => (time === undefined || time <= made ? "maybe" : time <= at ? "yes" : "no"))
  return changed.includes("yes") ? "yes" : changed.includes("maybe") ? "maybe" : "no"
}

/** Every file of an entry, as if all were damaged: it is made again whole. */
export const everyFile = (found: Found): ReadonlyArray<Damaged> =>
  Object.entries(found.manifest.outputs).flatMap(([port, output]) =>
    output.kind === "rows"
      ? output.shards.map((shard) => ({ port, file: shard.file }))
      : output.kind === "tree"
        ? output.files.map((file) => ({ port, file: file.path }))
        : [{ port, file: "" }]
  )

/**
 * All damaged files of an entry, in the manifest's order. Fails only for what is no damage (permissions, say).
 *
 * @example
 * const damaged = yield* verify(found)
 * if (damaged.length > 0) yield* store.reopen(found, damaged)
 */
export const verify = (found: Found): Effect.Effect<ReadonlyArray<Damaged>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const wanted: Array<Damaged & Written & { readonly path: string }> = []
    const bad: Array<Damaged> = []
    for (const [port, output] of Object.entries(found.manifest.outputs)) {
      const want = (file: string, { bytes, sha256 }: Written) =>
        wanted.push({ port, file, bytes, sha256, path: join(portFolder(found.folder, port), file) })
      if (output.kind === "rows") {
        for (const shard of output.shards) if (shard.file !== "") want(shard.file, shard)
      } else if (output.kind === "tree") for (const file of output.files) want(file.path, file)
      else if (valueDigest(output.tag, output.value) !== output.digest) bad.push({ port, file: "" })
    }
    for (const { bytes, path, sha256 } of found.manifest.refusedFiles)
      wanted.push({ port: "refused", file: path, bytes, sha256, path: join(refusedFolder(found.folder), path) })
    const checked = yield* Effect.forEach(
      wanted,
      ({ port, file, bytes, sha256, path }) =>
        Effect.map(
          Effect.catchIf(
            hashFile(path),
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
