/**
 * The digest of the code behind a definition: what a result depends on beside inputs and parameters.
 *
 * Covered: the module and all local modules that it imports (bundled and minified by esbuild, so that comments, blanks
 * and local names do not count, nor does what is never used), versions of the packages they import, declared assets,
 * imported files that are no code (wasm, text), files under a `vendor` folder (as bytes: they are large and never
 * edited by hand), and the code of those packages as installed, with that of all packages that they depend on (see
 * `code/Installed.ts`). Not covered: the framework itself (`dag`, `store`, `run`, `cli`: how a node runs is no part of
 * what it computes), Node's own modules, types, and native binaries. Where this package is installed in another
 * project, its own entries are read through (`millrace/dag` is framework, `millrace/nodes/...` is code like any other),
 * and the installed JavaScript has the digest of the TypeScript it was made from.
 *
 * Paths reach no digest: moving a project changes nothing. A digest is remembered in the store with size, times and
 * inode of every file it was made from; checking that uses `node:fs` synchronously, because a plan of 20 definitions
 * looks at hundreds of files and must not be felt (5 us a file instead of 80 through the `FileSystem` service).
 */
import { createHash } from "node:crypto"
import { statSync } from "node:fs"
import { dirname, extname, isAbsolute, relative, resolve, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, FileSystem, Schema, Semaphore } from "effect"
import { digestOf, sha256 } from "../dag/Canonical.ts"
import type { SourcePosition } from "../dag/SourceLocation.ts"
import { checksummed, readVouched } from "./Checksum.ts"
import { type Bundled, bundle, codeExtensions, isVendored, ownFrames, self } from "./code/Bundle.ts"
import { type Direct, Installed, Tree } from "./code/Installed.ts"
import { reading, statLine, upwards, versionOf } from "./code/Packages.ts"
import { writeAtomic } from "./Durable.ts"
import type { Layout } from "./Layout.ts"
import { Code, type CodeFile } from "./Manifest.ts"
import { StoreError } from "./Store.ts"
import { orWithout } from "./Without.ts"

/** Version of this algorithm; raising it makes all code look new. */
const ALGORITHM = 3

const Input = Schema.Struct({ path: Schema.String, stat: Schema.String })
const Imported = Schema.Struct({ name: Schema.String, from: Schema.String })
const CachedDigest = Schema.Struct({ inputs: Schema.Array(Input), imports: Schema.Array(Imported), code: Code })
const Cache = Schema.Struct({
  algorithm: Schema.Number,
  entries: Schema.Record(Schema.String, CachedDigest),
  installed: Schema.Record(Schema.String, Tree)
})
type CachedDigest = typeof CachedDigest.Type

/**
 * What was defined where no file is (a notebook cell): says so, and never equals anything else by accident of content.
 */
export const weak: Code = { digest: sha256(`millrace weak code ${ALGORITHM}`), weak: true, files: [], packages: {} }

/** Changed after `sinceMs`, give or take the grain of file times: its digest must not be remembered. */
const changedSince = (path: string, sinceMs: number): boolean =>
  (statSync(path, { throwIfNoEntry: false })?.ctimeMs ?? Number.POSITIVE_INFINITY) >= sinceMs - 20

const textOfFile = { text: "", open: [], placed: false, marks: [], services: new Set<string>() } as const

const absent = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() !== true

/** What a digest is taken of; see `Store.codeOf`. */
export interface Definition {
  readonly file: string
  readonly assets: ReadonlyArray<string>
  /** The call that made the definition, and its callers. Without it the whole module counts. */
  readonly chain?: ReadonlyArray<SourcePosition>
  /** The call that made the recipe whose services the node runs with, and its callers. */
  readonly services?: ReadonlyArray<SourcePosition>
}

const compute = async (
  { assets, chain = [], file, services = [] }: Definition,
  packagesAt: Installed
): Promise<CachedDigest> => {
  const read = reading()
  const isCode = codeExtensions.has(extname(file)) && !isVendored(file)
  const own: Bundled | undefined = isCode ? await bundle({ file, chain }) : undefined
  const raw = new Set(own === undefined ? [file] : own.collected.raw)
  const packagesFrom = new Map([...(own?.collected.packages ?? [])].map(([name, from]) => [name, new Set(from)]))
  const files = new Set(own?.files)
  const note = (stats: ReadonlyMap<string, string>) => {
    for (const [path, stat] of stats) if (!read.inputs.has(path)) read.inputs.set(path, stat)
  }
  note(own?.stats ?? new Map())
  const { marks, open, placed, services: used, text } = own ?? textOfFile

  // A service of the project's own: what the recipe provides for it is code of the node.
  let provided: string | undefined
  const recipe = ownFrames(services)[0]
  if (used.size > 0 && recipe !== undefined && !absent(recipe.file)) {
    const layers = await bundle({ file: recipe.file, chain: services, property: "services" })
    note(layers.stats)
    if ([...used].some((statement) => layers.reached.has(statement))) {
      provided = sha256(layers.text)
      for (const path of layers.files) files.add(path)
      for (const path of layers.collected.raw) raw.add(path)
      for (const [name, from] of layers.collected.packages)
        packagesFrom.set(name, new Set([...(packagesFrom.get(name) ?? []), ...from]))
    }
  }
  const base = dirname(upwards(dirname(file), "package.json") ?? file)
  const shown = (path: string): string => relative(base, path).split(sep).join("/")
  const hashed = (path: string): string => createHash("sha256").update(read.bytes(path)).digest("hex")

  const shownFiles: Array<CodeFile> = [...new Set([...files, ...raw, ...assets])]
    .map((path) => ({ path: shown(path), sha256: hashed(path) }))
    .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  const packages: Record<string, string> = {}
  const imports: Array<Direct> = []
  for (const [name, from] of [...packagesFrom].sort(([a], [b]) => (a < b ? -1 : 1))) {
    packages[name] = [...new Set([...from].map((one) => versionOf(name, one, read)))].sort().join(", ")
    for (const one of from) imports.push({ name, from: one })
  }
  const installed = packagesAt.digests(imports, self, read)
  const digest = digestOf({
    algorithm: ALGORITHM,
    text: sha256(text),
    ...(marks.length === 0 ? {} : { marks }),
    ...(provided === undefined ? {} : { provided }),
    packages,
    installed,
    raw: [...raw].map(hashed).sort(),
    assets: assets.map(hashed).sort()
  })
  return {
    inputs: [...read.inputs].map(([path, stat]) => ({ path, stat })),
    imports,
    code: {
      digest,
      weak: false,
      files: shownFiles,
      packages,
      installed,
      file: shown(file),
      ...(open.length === 0 ? {} : { closesOver: open }),
      ...(placed ? {} : { unplaced: true })
    }
  }
}

/** Nothing that a digest was made of is another: no file of the project, and no package as installed. */
const isCurrent = ({ code, imports, inputs }: CachedDigest, installed: Installed): boolean =>
  inputs.every((input) => statLine(input.path) === input.stat) &&
  digestOf(installed.digests(imports, self, reading())) === digestOf(code.installed ?? {})

export interface CodeDigests {
  /** See `Store.codeOf`. Assets may be paths or `file:` URLs. */
  readonly digest: (definition: Definition) => Effect.Effect<Code, StoreError>
}

/**
 * Code digests with the store's memory; `readOnly` remembers in this process only. Longer than a screen: loading,
 * saving and computing share one memory.
 */
export const make = (
  layout: Layout,
  options: { readonly readOnly: boolean }
): Effect.Effect<CodeDigests, never, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const known = new Map<string, CachedDigest>()
    const installed = new Installed()
    const loading = yield* Semaphore.make(1)
    const saving = yield* Semaphore.make(1)
    let loaded = false
    let unsaved = false

    const read = Effect.gen(function* () {
      const cache = yield* readVouched(layout.code, Cache)
      if (cache?.algorithm !== ALGORITHM) return
      for (const [name, entry] of Object.entries(cache.entries)) if (!known.has(name)) known.set(name, entry)
      installed.add(cache.installed)
    })
    const load = loading.withPermits(1)(
      Effect.suspend(() =>
        loaded
          ? Effect.void
          : Effect.andThen(
              read,
              Effect.sync(() => {
                loaded = true
              })
            )
      )
    )
    // Definitions that were digested while one save ran are written together by the next.
    const save = saving.withPermits(1)(
      Effect.gen(function* () {
        if (!unsaved) return
        unsaved = false
        installed.changed = false
        yield* read
        const entries = Object.fromEntries(known)
        const cache = { algorithm: ALGORITHM, entries, installed: installed.remembered() }
        yield* orWithout(layout.root, writeAtomic(layout.code, checksummed(cache)))
      }).pipe(Effect.catch((error) => Effect.logWarning(`code digests are not remembered: ${error.message}`)))
    )

    const failed = (file: string) => (cause: unknown) =>
      new StoreError({
        reason: "io",
        path: file,
        message: `the code of ${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
        hint: "Every local import and declared asset must exist; the first lines above name the one that does not.",
        cause
      })

    const digest = Effect.fnUntraced(function* (definition: Definition) {
      const { file } = definition
      if (!isAbsolute(file) || statSync(file, { throwIfNoEntry: false })?.isFile() !== true) return weak
      const assets = definition.assets.map((asset) =>
        asset.startsWith("file:") ? fileURLToPath(asset) : resolve(dirname(file), asset)
      )
      yield* load
      const spots = (chain: ReadonlyArray<SourcePosition> = []) =>
        ownFrames(chain).map((spot) => `${spot.file}:${spot.line}:${spot.column}`)
      const services = definition.services === undefined ? [] : ["services", ...spots(definition.services)]
      const name = [file, ...assets, ...spots(definition.chain), ...services].join("\n")
      const remembered = known.get(name)
      if (remembered !== undefined && isCurrent(remembered, installed)) {
        if (installed.changed && !options.readOnly) {
          unsaved = true
          yield* save
        }
        return remembered.code
      }
      const startMs = Date.now()
      const entry = yield* Effect.tryPromise({
        try: () => compute({ ...definition, assets }, installed),
        catch: failed(file)
      })
      if (entry.inputs.some((input) => changedSince(input.path, startMs))) return entry.code
      known.set(name, entry)
      unsaved = true
      if (!options.readOnly) yield* save
      return entry.code
    })
    return { digest: (definition) => Effect.provideService(digest(definition), FileSystem.FileSystem, fs) }
  })
