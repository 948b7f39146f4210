/**
 * The folder of downloads: which remote sources are here, and how they come here.
 *
 * Not a cache with an age: what is here stays until `gc` finds that nothing reaches it. Known by content, so the same
 * file under another address is here already, and no address reaches a key.
 *
 * | path under the folder   | what                                                                                  |
 * |-------------------------|---------------------------------------------------------------------------------------|
 * | `<digest>/<name>`       | a file, or the files of a folder; `digest` is the content's. Renamed here when whole  |
 * | `addresses/<id>.json`   | what an address gave: its digest. `id` is the digest of the address and its `files`   |
 * | `parts/<id>/`           | under way: parts, their records, and files that are done (`Download.ts`)              |
 * | `locks/<id>.lock`       | held by the process that fetches it; others wait and take its result                  |
 * | `locks/<digest>.lock`   | held while content gets its name, which it may get from two addresses                 |
 *
 * An address is asked once. Later runs take what it gave then, without a request, as they take a file on disk; removing
 * `<digest>/` makes the next run that needs it ask again. The folder is `downloads` in the store, or
 * MILLRACE_DOWNLOADS, which several stores may share and which `gc` leaves alone.
 */
import { join, resolve } from "node:path"
import { Context, Effect, FileSystem, Layer, type Option, Schema, type Scope, Semaphore } from "effect"
import { HttpClient } from "effect/http"
import { digestOf, sha256 } from "../../dag/Canonical.ts"
import { environment } from "../../dag/Environment.ts"
import { checksummed, readCheckedIfGood } from "../Checksum.ts"
import { treeDigest } from "../Digests.ts"
import { listDir, makeFolder, removeFile, removeWhole, syncFolder, withFs, writeAtomic } from "../Durable.ts"
import { lock } from "../Lock.ts"
import type { Sources } from "../Sources.ts"
import { SourceError, type SourceHere, type SourceLook, type SourceSpec, StoreError } from "../Store.ts"
import { type Address, identity, isPinned, parse, resolveUrl, show } from "./Address.ts"
import * as Client from "./Client.ts"
import { download, pause, type Watch } from "./Download.ts"
import { DownloadError } from "./DownloadError.ts"
import type { Asking } from "./Http.ts"
import { faultOf, listing, type Wanted } from "./Listing.ts"
import { candidates, fromEnvironment, mayHaveToken, type Settings } from "./Settings.ts"

/** Downloads under way at the same time. */
const AT_ONCE = 4

export const AddressRecord = Schema.Struct({
  format: Schema.Literal(1),
  /** For people, without its query. */
  address: Schema.String,
  digest: Schema.String,
  bytes: Schema.Number,
  /** That of its file's name. Missing in records of earlier versions. */
  id: Schema.optionalKey(Schema.String)
})

/** Which content a source of a pipeline was last: the store's `uses/<pipeline>/<instance>.json`. */
export const UseRecord = Schema.Struct({
  digest: Schema.String,
  /** Whose record it is. Missing in records of earlier versions. */
  pipeline: Schema.optionalKey(Schema.String),
  instance: Schema.optionalKey(Schema.String),
  /** Of a folder on this disk: its folder of links, and the list of its files' digests. */
  view: Schema.optional(Schema.String),
  list: Schema.optional(Schema.String)
})

/** Names under a folder of downloads. */
export const layoutIn = (root: string) => ({
  root,
  content: (digest: string) => join(root, digest),
  addresses: join(root, "addresses"),
  address: (id: string) => join(root, "addresses", `${id}.json`),
  parts: join(root, "parts"),
  part: (id: string) => join(root, "parts", id),
  locks: join(root, "locks"),
  lock: (id: string) => join(root, "locks", `${id.slice(0, 32)}.lock`)
})

export interface Downloads {
  /** Looks without a request. */
  readonly look: (spec: SourceSpec) => Effect.Effect<SourceLook, SourceError | StoreError, FileSystem.FileSystem>
  /** Fetches what is not here. */
  readonly fetch: (
    spec: SourceSpec,
    watch: Watch
  ) => Effect.Effect<SourceHere, SourceError | StoreError, FileSystem.FileSystem>
}

interface Target {
  readonly spec: SourceSpec
  readonly address: Address
  readonly id: string
}

/** As the error of a source; its path is the address as the recipe has it, whichever URL failed. */
const asSourceError =
  (node: string, address?: string) =>
  (error: DownloadError | SourceError | StoreError): SourceError | StoreError =>
    error instanceof DownloadError
      ? new SourceError({
          node,
          path: error.reason === "setting" ? error.address : (address ?? error.address),
          message: error.message,
          hint: error.hint,
          cause: error
        })
      : error

/**
 * The downloads of a store. `folder` is the store's own; `given` goes before the environment, `client` before undici.
 * Longer than a screen: its operations share settings, locks and the client.
 */
export const make = (
  folder: string,
  sources: Sources,
  options: {
    readonly readOnly: boolean
    readonly given: Partial<Settings>
    readonly client: Option.Option<HttpClient.HttpClient>
  }
): Downloads => {
  const few = Semaphore.makeUnsafe(AT_ONCE)
  // Read when they are needed: a run of local files does not fail over a variable that it has no use for.
  const settled = Effect.suspend(() =>
    Effect.map(
      Effect.fromResult(fromEnvironment(environment())),
      (settings): Settings => ({ ...settings, ...options.given })
    )
  )
  const placed = Effect.map(settled, (settings) => ({
    settings,
    layout: layoutIn(settings.folder === undefined ? folder : resolve(settings.folder))
  }))

  const target = (spec: SourceSpec): Effect.Effect<Target, DownloadError> =>
    Effect.gen(function* () {
      const address = yield* Effect.fromResult(parse(spec.location))
      const fault = faultOf(address, spec.files)
      if (fault._tag === "Some") return yield* fault.value
      if (spec.sha256 !== undefined && !/^[0-9a-f]{64}$/.test(spec.sha256))
        return yield* new DownloadError({
          reason: "address",
          address: show(address),
          message: `the sha256 of ${show(address)} is not one: no file could ever have it`,
          hint: "Write 64 hexadecimal digits in small letters, as sha256sum prints them, or leave it out."
        })
      return { spec, address, id: digestOf({ address: identity(address), files: spec.files ?? null }) }
    })

  /** The content `digest` if it is here and is that; damaged content counts as absent. */
  const here = Effect.fnUntraced(function* (
    layout: ReturnType<typeof layoutIn>,
    { address, spec }: Target,
    digest: string
  ) {
    const root = layout.content(digest)
    const names = yield* listDir(root)
    const path = address.folder ? root : names.length === 1 ? join(root, names[0]!) : undefined
    if (names.length === 0 || path === undefined) return undefined
    const found = yield* sources.digest(spec.node, path, ["**"])
    if (found.digest === digest) return { here: true, path, digest, bytes: found.bytes } satisfies SourceHere
    yield* Effect.logWarning(`${path} is not what was fetched from ${show(address)} any more; it is fetched again`)
    return undefined
  })

  const look = Effect.fnUntraced(function* (
    one: Target
  ): Effect.fn.Return<SourceLook, DownloadError | SourceError | StoreError, FileSystem.FileSystem> {
    const { layout } = yield* placed
    const { address, id, spec } = one
    const record = yield* readCheckedIfGood(layout.address(id), AddressRecord, { id })
    const digest = spec.sha256 ?? record?.digest
    if (digest !== undefined) {
      const found = yield* here(layout, one, digest)
      if (found !== undefined) return found
    }
    // What a changing address will give next is not known, whatever it gave before.
    const known = spec.sha256 ?? (isPinned(address) ? record?.digest : undefined)
    const bytes = spec.bytes ?? record?.bytes
    return {
      here: false,
      address: show(address),
      ...(known === undefined ? {} : { digest: known }),
      ...(bytes === undefined ? {} : { bytes })
    }
  })

  /**
   * Fetches all files of one target; the caller holds its lock. Longer than a screen: a sequence of steps that each
   * need the results of those before.
   */
  const bring = Effect.fnUntraced(function* (
    one: Target,
    watch: Watch
  ): Effect.fn.Return<void, DownloadError | SourceError | StoreError, FileSystem.FileSystem | HttpClient.HttpClient> {
    const { address, id, spec } = one
    const { layout, settings } = yield* placed
    if (settings.offline)
      return yield* new DownloadError({
        reason: "offline",
        address: show(address),
        message: `${show(address)} is not here, and HF_HUB_OFFLINE is set`,
        hint: "Unset HF_HUB_OFFLINE, or give the path of a copy."
      })
    const asking: Asking = {
      token: settings.token,
      tokenFor: (url) => mayHaveToken(url, settings.endpoint),
      stallMs: settings.stallMs
    }
    const part = layout.part(id)
    yield* makeFolder(part)
    yield* writeAtomic(join(part, "about.json"), `${JSON.stringify({ address: show(address) })}\n`)
    const wanted = yield* persistently(listing(address, spec.files, settings, asking), settings, watch)
    const all = allBytes(wanted, spec)
    let before = 0
    const files: Array<{ path: string; bytes: number; sha256: string }> = []
    for (const file of wanted) {
      const name = sha256(file.path).slice(0, 16)
      const url = file.address.kind === "hub" ? resolveUrl(file.address, settings.endpoint) : file.address.url
      const expected = { ...file, ...(address.folder ? {} : spec) }
      const got = yield* download(
        {
          address: show(file.address),
          urls: candidates(url, settings.mirrors),
          part: join(part, `${name}.part`),
          record: join(part, `${name}.json`),
          to: join(part, "files", file.path),
          onBytes: (here, total) => watch.onBytes?.(before + here, all ?? (wanted.length === 1 ? total : undefined)),
          onNotice: watch.onNotice,
          ...(expected.sha256 === undefined ? {} : { sha256: expected.sha256 }),
          ...(expected.bytes === undefined ? {} : { bytes: expected.bytes })
        },
        asking,
        settings
      )
      before += got.bytes
      files.push({ path: file.path, ...got })
    }
    const digest = address.folder ? treeDigest(files) : files[0]!.sha256
    const wrong =
      spec.sha256 !== undefined && digest !== spec.sha256
        ? `the digest ${digest}, not ${spec.sha256}`
        : spec.bytes !== undefined && before !== spec.bytes
          ? `${before} bytes, not ${spec.bytes}`
          : undefined
    if (wrong !== undefined) {
      yield* removeWhole(part)
      return yield* new DownloadError({
        reason: "corrupt",
        address: show(address),
        message: `${show(address)} came whole but has ${wrong}`,
        hint: "It is another folder than the recipe describes: correct the address, or the description."
      })
    }
    yield* sweep(join(part, "files"), files)
    // First the record, then the name: killed in between, the next attempt finds all files done and asks for nothing.
    const record = { format: 1, address: show(address), digest, bytes: before, id }
    yield* makeFolder(layout.addresses)
    yield* writeAtomic(layout.address(id), checksummed(record))
    yield* Effect.scoped(
      Effect.gen(function* () {
        // The same content may be under way from another address: one at a time gives it its name.
        yield* lock(layout.lock(digest))
        // It may be here from there, and somebody may be reading it: then that stays.
        if ((yield* here(layout, one, digest)) !== undefined) return
        const to = layout.content(digest)
        yield* removeWhole(to)
        yield* withFs(to, (fs) => fs.rename(join(part, "files"), to))
        yield* syncFolder(layout.root)
        yield* sources.learn(files.map(({ bytes, path, sha256 }) => ({ path: join(to, path), bytes, digest: sha256 })))
      })
    )
    yield* removeWhole(part)
  })

  const fetch = Effect.fnUntraced(function* (
    one: Target,
    watch: Watch
  ): Effect.fn.Return<SourceHere, DownloadError | SourceError | StoreError, FileSystem.FileSystem | Scope.Scope> {
    const { layout } = yield* placed
    if (options.readOnly)
      return yield* new StoreError({
        reason: "read-only",
        path: layout.root,
        message: `${show(one.address)} is not here, and the store was opened read-only`,
        hint: "Run the recipe once; it fetches the file."
      })
    const client =
      options.client._tag === "Some"
        ? Context.make(HttpClient.HttpClient, options.client.value)
        : yield* Layer.build(Client.layer)
    yield* lock(layout.lock(one.id))
    const meanwhile = yield* look(one)
    if (meanwhile.here) return meanwhile
    yield* Effect.provideContext(bring(one, watch), client)
    const now = yield* look(one)
    if (now.here) return now
    return yield* new StoreError({
      reason: "missing",
      path: layout.root,
      message: `${show(one.address)} was fetched and is gone again`,
      hint: "Something removes files from the folder of downloads while runs use it."
    })
  })

  const told =
    <A, R>(use: (one: Target) => Effect.Effect<A, DownloadError | SourceError | StoreError, R>) =>
    (spec: SourceSpec) =>
      Effect.flatMap(Effect.mapError(target(spec), asSourceError(spec.node)), (one) =>
        Effect.mapError(use(one), asSourceError(spec.node, show(one.address)))
      )
  return {
    look: told(look),
    fetch: (spec, watch) => few.withPermits(1)(told((one) => Effect.scoped(fetch(one, watch)))(spec))
  }
}

/** The list of files, asked for again as patiently as a file is. */
const persistently = Effect.fnUntraced(function* <A, R>(
  ask: Effect.Effect<A, DownloadError, R>,
  settings: Settings,
  watch: Watch
) {
  for (let failures = 1; ; failures++) {
    const tried = yield* Effect.result(ask)
    if (tried._tag === "Success") return tried.success
    const error = tried.failure
    yield* pause(error, failures, settings, (ms) => watch.onNotice?.(`${error.message}; again in ${ms / 1000} s`))
  }
})

const allBytes = (wanted: ReadonlyArray<Wanted>, spec: SourceSpec): number | undefined =>
  spec.bytes ??
  wanted.reduce(
    (sum: number | undefined, { bytes }) => (sum === undefined || bytes === undefined ? undefined : sum + bytes),
    0
  )

/**
 * Removes what an earlier list of files left beside those of this one, durably: the folder's digest is of all in it.
 */
const sweep = Effect.fnUntraced(function* (folder: string, files: ReadonlyArray<{ readonly path: string }>) {
  const fs = yield* FileSystem.FileSystem
  const keep = new Set(files.map(({ path }) => path))
  for (const path of yield* withFs(folder, () => fs.readDirectory(folder, { recursive: true }))) {
    const at = join(folder, path)
    if (keep.has(path.split("\\").join("/"))) continue
    if ((yield* withFs(at, () => fs.stat(at))).type === "File") yield* removeFile(at)
  }
})
