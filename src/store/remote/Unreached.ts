/**
 * Downloads that nothing reaches any more, for `gc`. Looks only; `Gc.ts` shows and removes.
 *
 * Reached: what a source of a pipeline was last (`uses/`), and what an entry that is kept was made from. A folder that
 * stores share (MILLRACE_DOWNLOADS) is not looked at: what another store reaches cannot be seen from here.
 */
import { join } from "node:path"
import { Effect, type FileSystem, Schema } from "effect"
import { readChecked, readCheckedIfGood } from "../Checksum.ts"
import { listDir, readJsonIfGood } from "../Durable.ts"
import { decodeName, type Layout } from "../Layout.ts"
import { isHeld } from "../Lock.ts"
import { StoreError } from "../Store.ts"
import { AddressRecord, layoutIn, UseRecord } from "./Downloads.ts"

const About = Schema.Struct({ address: Schema.String })

/** Something under the folder of downloads that could go. */
export interface Unreached {
  readonly kind: "download" | "leftover"
  readonly path: string
  readonly what: string
  /** It can be gone on with. */
  readonly resumable: boolean
  /** Held while it is removed. */
  readonly lock?: string
}

/** What sources of these pipelines (all that are known when undefined) were last. */
export const used = (
  layout: Layout,
  pipelines: ReadonlyArray<string> | undefined
): Effect.Effect<ReadonlyArray<typeof UseRecord.Type>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const out: Array<typeof UseRecord.Type> = []
    for (const folder of yield* listDir(layout.uses)) {
      if (folder.startsWith(".") || (pipelines !== undefined && !pipelines.includes(decodeName(folder)))) continue
      for (const name of yield* listDir(join(layout.uses, folder))) {
        if (name.startsWith(".") || !name.endsWith(".json")) continue
        const path = join(layout.uses, folder, name)
        const record = yield* Effect.mapError(
          readChecked(path, UseRecord, {
            pipeline: decodeName(folder),
            instance: decodeName(name.slice(0, -5))
          }),
          (error) =>
            new StoreError({
              reason: "damaged",
              path,
              message: `${error.message}; what it keeps is unknown, so nothing is collected`,
              hint: "Run that pipeline once (it writes the file anew), or delete the file if the pipeline is gone."
            })
        )
        if (record !== undefined) out.push(record)
      }
    }
    return out
  })

/** What is in the store's own folder of downloads and not in `keep`. */
export const unreached = (
  layout: Layout,
  keep: ReadonlySet<string>
): Effect.Effect<ReadonlyArray<Unreached>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const at = layoutIn(layout.downloads)
    const out: Array<Unreached> = []
    const addresses = new Map<string, string>()
    for (const name of yield* listDir(at.addresses)) {
      if (name.startsWith(".") || !name.endsWith(".json")) continue
      const record = yield* readCheckedIfGood(join(at.addresses, name), AddressRecord, { id: name.slice(0, -5) })
      if (record !== undefined) addresses.set(record.digest, record.address)
    }
    for (const name of yield* listDir(at.root)) {
      const path = at.content(name)
      if (name.startsWith(".gone-")) out.push({ kind: "leftover", path, what: "half removed", resumable: false })
      else if (/^[0-9a-f]{64}$/.test(name) && !keep.has(name))
        out.push({ kind: "download", path, what: addresses.get(name) ?? "a fetched source", resumable: false })
    }
    for (const id of yield* listDir(at.parts)) {
      const path = at.part(id)
      if (id.startsWith(".gone-")) {
        out.push({ kind: "leftover", path, what: "half removed", resumable: false })
        continue
      }
      const lock = at.lock(id)
      if (yield* isHeld(lock)) continue
      const about = yield* readJsonIfGood(join(path, "about.json"), About)
      const what = `unfinished: ${about?.address ?? "a download"}`
      out.push({ kind: "download", path, what, resumable: true, lock })
    }
    return out
  })

/** Folders of links to a source's files, and lists of their digests, that no source was last. */
export const unreachedViews = (
  layout: Layout,
  uses: ReadonlyArray<typeof UseRecord.Type>
): Effect.Effect<
  ReadonlyArray<{ readonly kind: "links" | "digests"; readonly path: string; readonly what: string }>,
  StoreError,
  FileSystem.FileSystem
> =>
  Effect.gen(function* () {
    const keep = new Set(uses.flatMap(({ list, view }) => [list, view].filter((name) => name !== undefined)))
    const views = (yield* listDir(layout.views)).filter((name) => !keep.has(name))
    const lists = (yield* listDir(layout.sourceLists)).filter((name) => !keep.has(name))
    return [
      ...views.map((name) => ({
        kind: "links" as const,
        path: join(layout.views, name),
        what: /^[0-9a-f]{32}$/.test(name) ? "links to files of a source" : "half made or half removed"
      })),
      ...lists.map((name) => ({
        kind: "digests" as const,
        path: join(layout.sourceLists, name),
        what: name.endsWith(".json") && !name.startsWith(".") ? "digests of a source's files" : "half written"
      }))
    ]
  })
