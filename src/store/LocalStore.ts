/**
 * The `Store` service on one local folder. The folder's layout is the table in `Layout.ts`.
 *
 * Not where the work is done: finding is in `Entries.ts`, making in `PendingEntry.ts`, shards in `ShardFiles.ts` and
 * `Readers.ts`, digests of code and sources in `CodeDigest.ts` and `Sources.ts`. Several processes may share a store.
 */
import { basename, dirname, resolve } from "node:path"
import { Effect, FileSystem, Layer, Schema, Stream } from "effect"
import { HttpClient } from "effect/http"
import type { Artifact, Handle, RowsArtifact } from "../dag/Artifact.ts"
import { fromShards } from "../dag/Rows.ts"
import { isRemote } from "../dag/Source.ts"
import { checksummed, readCheckedIfGood } from "./Checksum.ts"
import * as CodeDigest from "./CodeDigest.ts"
import { damagedFile, reportDamage } from "./Damage.ts"
import { valueDigest } from "./Digests.ts"
import { makeFolder, writeAtomic } from "./Durable.ts"
import * as Entries from "./Entries.ts"
import { openFolder } from "./FormatFile.ts"
import { layoutOf, portFolder } from "./Layout.ts"
import type { OutputEntry } from "./Manifest.ts"
import * as Pending from "./PendingEntry.ts"
import { readRefused } from "./Quarantine.ts"
import { lazyReader, makePool } from "./Readers.ts"
import * as Downloads from "./remote/Downloads.ts"
import type { Settings } from "./remote/Settings.ts"
import * as Sources from "./Sources.ts"
import { type SourceHere, type SourceSpec, Store, type StoredEntry, StoreError } from "./Store.ts"
import { checkRefused, checkTree } from "./Trees.ts"
import { verify } from "./Verify.ts"
import { orWithout } from "./Without.ts"

const outputOf = (found: StoredEntry, port: string, artifact: Artifact): Effect.Effect<OutputEntry, StoreError> => {
  const output = found.manifest.outputs[port]
  if (output !== undefined && output.kind === artifact.kind && output.tag === artifact.tag)
    return Effect.succeed(output)
  return Effect.fail(
    new StoreError({
      reason: output === undefined ? "missing" : "damaged",
      path: found.folder,
      message:
        output === undefined
          ? `the entry has no output ${port}`
          : `output ${port} is a ${output.kind} of ${output.tag}, a ${artifact.kind} of ${artifact.tag} was asked for`,
      hint: "The entry was made by another definition of that id: raise the definition's version."
    })
  )
}

const rowsOf = (
  found: StoredEntry,
  port: string,
  artifact: RowsArtifact<string, any>
): Effect.Effect<Extract<OutputEntry, { readonly kind: "rows" }>, StoreError> =>
  Effect.flatMap(outputOf(found, port, artifact), (output) => {
    if (output.kind === "rows" && !output.transient && output.format === artifact.format.id)
      return Effect.succeed(output)
    const transient = output.kind === "rows" && output.transient
    return Effect.fail(
      new StoreError({
        reason: "missing",
        path: found.folder,
        message: transient
          ? `output ${port} is transient: it was streamed and never stored`
          : `output ${port} is not stored as ${artifact.format.id}`,
        hint: transient
          ? "Run its node again and read the stream, or drop `transient` from the port."
          : "Read it with the format that its manifest names."
      })
    )
  })

/** Reports a damaged file of an entry. */
const met = (found: StoredEntry, port: string, file: string) => () => reportDamage({ folder: found.folder, port, file })

/**
 * A store in the folder `root`, made if it does not exist. With `readOnly` nothing is ever written.
 *
 * Remote sources are fetched as the environment says (`remote/Settings.ts`), `downloads` going before it. An
 * `HttpClient` in context is used for them, else Node's network, once it is needed.
 *
 * What is opened is checked: values and the files of trees before they are given, shards block by block as they are
 * read. `treesChecked`: whoever started this thread has checked the trees that it opens.
 *
 * Longer than a screen: one closure holds what all operations of the service share.
 *
 * Fails with `StoreError`: "version" for a store of another version or a folder of other things, "read-only", "full".
 *
 * @example
 * const store = LocalStore.layer({ root: ".millrace" }).pipe(Layer.provide(NodeFileSystem.layer))
 */
export const layer = (options: {
  readonly root: string
  readonly readOnly?: boolean
  readonly treesChecked?: boolean
  readonly downloads?: Partial<Settings>
}): Layer.Layer<Store, StoreError, FileSystem.FileSystem> =>
  Layer.effect(
    Store,
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const readOnly = options.readOnly === true
      const layout = layoutOf(resolve(options.root))
      yield* openFolder(layout, readOnly)
      const sources = yield* Sources.make(layout, { readOnly })
      const codes = yield* CodeDigest.make(layout, { readOnly })
      const downloads = Downloads.make(layout.downloads, sources, {
        readOnly,
        given: options.downloads ?? {},
        client: yield* Effect.serviceOption(HttpClient.HttpClient)
      })
      const local = (spec: SourceSpec) =>
        Effect.map(
          sources.digest(spec.node, spec.location, spec.files),
          (found): SourceHere => ({
            here: true,
            path: resolve(spec.location),
            ...found
          })
        )
      const remember = (spec: SourceSpec, pipeline: string, { digest, list }: SourceHere, view?: string) =>
        Effect.gen(function* () {
          if (readOnly) return
          const path = layout.use(pipeline, spec.node)
          const before = yield* readCheckedIfGood(path, Downloads.UseRecord, { pipeline, instance: spec.node })
          const seen = view ?? (before?.digest === digest ? before.view : undefined)
          const isSaid = before?.digest === digest && before.list === list && before.view === seen
          if (isSaid && before.instance !== undefined) return
          const record = {
            digest,
            pipeline,
            instance: spec.node,
            ...(list === undefined ? {} : { list }),
            ...(seen === undefined ? {} : { view: seen })
          }
          const write = writeAtomic(path, checksummed(record))
          yield* orWithout(layout.root, Effect.andThen(makeFolder(dirname(path)), write))
        })
      const lookHere = (spec: SourceSpec, pipeline: string | undefined) =>
        Effect.tap(local(spec), (found) =>
          found.list === undefined || pipeline === undefined ? Effect.void : here(remember(spec, pipeline, found))
        )
      const here = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(effect, FileSystem.FileSystem, fs)
      /**
       * `here` with a span, for operations that read or write files of a size; `find` of a plan is called too often.
       */
      const traced = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>) => Effect.withSpan(here(effect), name)
      const writable = Effect.suspend(() =>
        readOnly
          ? Effect.fail(
              new StoreError({
                reason: "read-only",
                path: layout.root,
                message: `${layout.root} was opened read-only`,
                hint: "Open the store for writing, or give another --store folder."
              })
            )
          : Effect.void
      )
      const treeOf = Effect.fnUntraced(function* (found: StoredEntry, port: string, artifact: Artifact) {
        const output = yield* outputOf(found, port, artifact)
        if (output.kind === "tree" && options.treesChecked !== true) yield* checkTree(found.folder, port, output.files)
      })
      const open = (found: StoredEntry, port: string, artifact: Artifact) =>
        Effect.gen(function* () {
          const folder = portFolder(found.folder, port)
          switch (artifact.kind) {
            case "rows": {
              const output = yield* rowsOf(found, port, artifact)
              const pool = yield* makePool()
              return fromShards(
                port,
                output.shards.map((shard) => lazyReader(pool, folder, shard, artifact, met(found, port, shard.file)))
              )
            }
            case "tree":
              yield* treeOf(found, port, artifact)
              return { path: folder }
            case "value": {
              const output = yield* outputOf(found, port, artifact)
              const json = output.kind === "value" ? output.value : null
              if (valueDigest(output.tag, json) !== output.digest) {
                met(found, port, "")()
                return yield* damagedFile(found.folder, `the value of ${port} is not the one that was written`)
              }
              return yield* Effect.try({
                try: () => Schema.decodeUnknownSync(Schema.toCodecJson(artifact.schema))(json) as unknown,
                catch: (cause) =>
                  new StoreError({
                    reason: "damaged",
                    path: found.folder,
                    message: `the value of ${port} is not a ${artifact.tag}: ${cause instanceof Error ? cause.message : String(cause)}`,
                    hint: "The schema changed without the definition's version: raise the version.",
                    cause
                  })
              })
            }
          }
        })
      return Store.of({
        root: layout.root,
        digestSource: sources.digest,
        lookAtSource: (spec, pipeline) =>
          isRemote(spec.location) ? here(downloads.look(spec)) : lookHere(spec, pipeline),
        fetchSource: (spec, { pipeline, ...watch }) =>
          isRemote(spec.location)
            ? traced(
                "store.fetchSource",
                Effect.gen(function* () {
                  const found = yield* downloads.look(spec)
                  const fetched = found.here ? found : yield* downloads.fetch(spec, watch)
                  yield* remember(spec, pipeline, fetched)
                  return fetched
                })
              )
            : traced(
                "store.fetchSource",
                Effect.gen(function* () {
                  const found = yield* local(spec)
                  const path = found.partly === true ? yield* sources.shown(spec.location, spec.files) : undefined
                  if (path !== undefined || found.list !== undefined)
                    yield* remember(spec, pipeline, found, path === undefined ? undefined : basename(path))
                  return path === undefined ? found : { ...found, path }
                })
              ),
        codeOf: codes.digest,
        find: (key, code) => here(Entries.find(layout, key, code)),
        keys: Entries.keys(layout),
        settings: Entries.settings(layout),
        alias: (found, code) => Effect.andThen(writable, here(Entries.alias(layout, found, code))),
        begin: (work) => Effect.andThen(writable, traced("store.begin", Pending.begin(layout, work))),
        open: <A extends Artifact>(found: StoredEntry, port: string, artifact: A) =>
          traced("store.open", open(found, port, artifact)) as Effect.Effect<Handle<A>, StoreError, never>,
        openShard: (found, port, artifact, index) =>
          here(
            Effect.gen(function* () {
              const output = yield* rowsOf(found, port, artifact)
              const shard = output.shards[index]
              if (shard === undefined)
                return yield* new StoreError({
                  reason: "missing",
                  path: portFolder(found.folder, port),
                  message: `there is no shard ${index}: ${port} has ${output.shards.length}`,
                  hint: "Shards are numbered from 0; this is a bug in the caller."
                })
              const onDamage = met(found, port, shard.file)
              return lazyReader(yield* makePool(1), portFolder(found.folder, port), shard, artifact, onDamage)
            })
          ),
        verify: (found, onChecked) => traced("store.verify", verify(layout, found, onChecked)),
        reopen: (found, damaged) =>
          Effect.andThen(writable, traced("store.reopen", Pending.reopen(layout, found, damaged))),
        refused: (found) =>
          Stream.provideService(
            Stream.unwrap(
              Effect.suspend(() => {
                const { refusedFiles } = found.manifest
                const names = refusedFiles.map(({ path }) => path)
                return Effect.as(checkRefused(found.folder, refusedFiles), readRefused(found.folder, names))
              })
            ),
            FileSystem.FileSystem,
            fs
          ),
        last: (pipeline, instance) => here(Entries.last(layout, pipeline, instance)),
        remember: (pipeline, instance, record) =>
          Effect.andThen(writable, here(Entries.remember(layout, pipeline, instance, record)))
      })
    })
  )
