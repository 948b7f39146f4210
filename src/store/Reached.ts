/**
 * Which entries of a store are reached: by the last manifests of pipelines and by pins, through their parents.
 *
 * Looks only. A parent is reached by key *and* content: of several entries under a key, those whose outputs the
 * consumer read. A root that cannot be read fails the whole, because what it keeps is unknown.
 */
import { join } from "node:path"
import { Effect, type FileSystem, Schema } from "effect"
import { readChecked } from "./Checksum.ts"
import { listDir } from "./Durable.ts"
import { aliasTarget, LastRecord } from "./Entries.ts"
import { namesNow, now } from "./Errno.ts"
import { decodeName, type Layout } from "./Layout.ts"
import type { Manifest } from "./Manifest.ts"
import { goodManifestNow, quickly, readManifest } from "./ReadEntry.ts"
import { StoreError } from "./Store.ts"

export const PinRecord = Schema.Struct({
  key: Schema.String,
  code: Schema.String,
  /** The pin's name. Missing in records of earlier versions. */
  name: Schema.optionalKey(Schema.String)
})

export const hex = /^[0-9a-f]{64}$/

/** An entry. Its manifest is read once, when it is first asked for; undefined for one that is damaged. */
export interface Node {
  readonly manifest: Effect.Effect<Manifest | undefined, StoreError, FileSystem.FileSystem>
  readonly key: string
  readonly code: string
  readonly folder: string
}

const readOnce = (folder: string): Node["manifest"] => {
  let have: { readonly manifest: Manifest | undefined } | undefined
  const slowly = Effect.catchIf(
    readManifest(folder),
    (error) => error.reason === "damaged",
    () => Effect.succeed(undefined)
  )
  return Effect.suspend(() => {
    if (have !== undefined) return Effect.succeed(have.manifest)
    return Effect.map(
      quickly(() => goodManifestNow(folder), slowly),
      (manifest) => (have = { manifest }).manifest
    )
  })
}

/** All entries by key. Lists their folders only. */
export const readAll = (layout: Layout): Effect.Effect<ReadonlyMap<string, ReadonlyArray<Node>>, StoreError> =>
  now(layout.entries, () => {
    const all = new Map<string, ReadonlyArray<Node>>()
    for (const prefix of namesNow(layout.entries))
      for (const key of namesNow(join(layout.entries, prefix))) {
        if (!hex.test(key)) continue
        const codes = namesNow(layout.keyFolder(key)).filter((code) => hex.test(code))
        const nodes = codes.map((code): Node => {
          const folder = layout.entry(key, code)
          return { manifest: readOnce(folder), key, code, folder }
        })
        if (nodes.length > 0) all.set(key, nodes)
      }
    return all
  })

const roots = (
  layout: Layout,
  pipelines: ReadonlyArray<string> | undefined
): Effect.Effect<ReadonlyArray<{ readonly key: string; readonly code: string }>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const out: Array<{ readonly key: string; readonly code: string }> = []
    const unreadable = (path: string) => (error: StoreError) =>
      new StoreError({
        reason: "damaged",
        path,
        message: `${error.message}; what it keeps is unknown, so nothing is collected`,
        hint: "Run that pipeline once (it writes the file anew), or delete the file if the pipeline is gone."
      })
    for (const folder of yield* listDir(layout.instances)) {
      if (folder.startsWith(".") || (pipelines !== undefined && !pipelines.includes(decodeName(folder)))) continue
      for (const name of yield* listDir(join(layout.instances, folder))) {
        if (name.startsWith(".") || !name.endsWith(".json")) continue
        const path = join(layout.instances, folder, name)
        const record = yield* Effect.mapError(
          readChecked(path, LastRecord, { pipeline: decodeName(folder), instance: decodeName(name.slice(0, -5)) }),
          unreadable(path)
        )
        if (record !== undefined) out.push(record)
      }
    }
    for (const name of yield* listDir(layout.pins)) {
      if (name.startsWith(".") || !name.endsWith(".json")) continue
      const path = join(layout.pins, name)
      const record = yield* Effect.mapError(
        readChecked(path, PinRecord, { name: decodeName(name.slice(0, -5)) }),
        unreadable(path)
      )
      if (record !== undefined) out.push(record)
    }
    return out
  })

const hasOutput = (manifest: Manifest | undefined, digest: string | undefined): boolean =>
  Object.values(manifest?.outputs ?? {}).some((output) => output.digest === digest)

/** Folders of all entries that the roots reach. */
export const reached = (
  layout: Layout,
  all: ReadonlyMap<string, ReadonlyArray<Node>>,
  pipelines: ReadonlyArray<string> | undefined
): Effect.Effect<ReadonlySet<string>, StoreError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const keep = new Set<string>()
    const queue: Array<Node> = []
    const enter = (nodes: ReadonlyArray<Node>) => {
      for (const node of nodes)
        if (!keep.has(node.folder)) {
          keep.add(node.folder)
          queue.push(node)
        }
    }
    for (const { key, code } of yield* roots(layout, pipelines)) {
      const under = all.get(key) ?? []
      const target = under.some((node) => node.code === code) ? code : yield* aliasTarget(layout, key, code)
      const exact = under.filter((node) => node.code === target)
      enter(exact.length > 0 ? exact : under)
    }
    for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
      const manifest = yield* node.manifest
      for (const [port, key] of Object.entries(manifest?.parents ?? {})) {
        if (key === "") continue
        const under = all.get(key) ?? []
        const exact: Array<Node> = []
        for (const one of under) if (hasOutput(yield* one.manifest, manifest?.parts.inputs[port])) exact.push(one)
        enter(exact.length > 0 ? exact : under)
      }
    }
    return keep
  })
