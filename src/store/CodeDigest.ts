/**
 * The digest of the code behind a definition: what a result depends on beside inputs and parameters.
 *
 * Covered: the module and all local modules that it imports (bundled and minified by esbuild, so that comments, blanks
 * and local names do not count, nor does what is never used), versions of the packages they import, declared assets,
 * imported files that are no code (wasm, text), and files under a `vendor` folder (as bytes: they are large and never
 * edited by hand). Not covered: the framework itself (`dag`, `store`, `run`, `cli`: how a node runs is no part of what
 * it computes), Node's own modules, types, and packages that packages import. Where this package is installed in another
 * project, its own entries are read through (`millrace/dag` is framework, `millrace/nodes/...` is code like any other),
 * and the installed JavaScript has the digest of the TypeScript it was made from.
 *
 * Paths reach no digest: moving a project changes nothing. A digest is remembered in the store with size, times and
 * inode of every file it was made from; checking that uses `node:fs` synchronously, because a plan of 20 definitions
 * looks at hundreds of files and must not be felt (5 us a file instead of 80 through the `FileSystem` service).
 */
import { createHash } from "node:crypto"
import { readFileSync, statSync } from "node:fs"
import { isBuiltin } from "node:module"
import { basename, dirname, extname, isAbsolute, join, relative, resolve, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, FileSystem, Schema, Semaphore } from "effect"
import type { Metafile, Plugin } from "esbuild"
import { digestOf, sha256 } from "../dag/Canonical.ts"
import { readJsonIfGood, writeWhole } from "./Durable.ts"
import type { Layout } from "./Layout.ts"
import { Code, type CodeFile } from "./Manifest.ts"
import { StoreError } from "./Store.ts"

/** Version of this algorithm; raising it makes all code look new. */
const ALGORITHM = 1

const Input = Schema.Struct({ path: Schema.String, stat: Schema.String })
const Entry = Schema.Struct({ inputs: Schema.Array(Input), code: Code })
const Cache = Schema.Struct({ algorithm: Schema.Number, entries: Schema.Record(Schema.String, Entry) })
type Entry = typeof Entry.Type

/** Folders whose code is the framework: next to this file. */
const framework = ["../dag/", "./", "../run/", "../cli/"].map((folder) =>
  fileURLToPath(new URL(folder, import.meta.url))
)
/** This package's own name, under which others import it. */
const self = "millrace"
const codeExtensions = new Set([".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx", ".json"])

/** What was defined where no file is (a notebook cell): says so, and never equals anything else by accident of content. */
export const weak: Code = { digest: sha256(`millrace weak code ${ALGORITHM}`), weak: true, files: [], packages: {} }

/** Changed after `sinceMs`, give or take the grain of file times: its digest must not be remembered. */
const changedSince = (path: string, sinceMs: number): boolean =>
  (statSync(path, { throwIfNoEntry: false })?.ctimeMs ?? Number.POSITIVE_INFINITY) >= sinceMs - 20

const statLine = (path: string): string => {
  const info = statSync(path, { throwIfNoEntry: false, bigint: true })
  return info === undefined ? "absent" : `${info.size} ${info.mtimeNs} ${info.ctimeNs} ${info.ino}`
}

const upwards = (from: string, name: string): string | undefined => {
  for (let folder = from; ; folder = dirname(folder)) {
    const path = join(folder, name)
    if (statSync(path, { throwIfNoEntry: false })?.isFile() === true) return path
    if (dirname(folder) === folder) return undefined
  }
}

const packageName = (specifier: string): string => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/")

/** Reads that belong to one digest: every file looked at becomes an input of the remembered entry. */
interface Reading {
  readonly inputs: Map<string, string>
  readonly bytes: (path: string) => Buffer
}

const reading = (): Reading => {
  const inputs = new Map<string, string>()
  return {
    inputs,
    bytes: (path) => {
      if (!inputs.has(path)) inputs.set(path, statLine(path)) // before the read: a change in between is seen next time
      return readFileSync(path)
    }
  }
}

const LockFile = Schema.Struct({
  packages: Schema.optional(
    Schema.Record(
      Schema.String,
      Schema.Struct({
        version: Schema.optional(Schema.String),
        resolved: Schema.optional(Schema.String),
        link: Schema.optional(Schema.Boolean)
      })
    )
  )
})
const decodeLock = Schema.decodeUnknownSync(LockFile)
const decodePackage = Schema.decodeUnknownSync(Schema.Struct({ version: Schema.optional(Schema.String) }))

/** Parsed lock files by path and stat: a project's lock is parsed once a process. */
const locks = new Map<string, { readonly stat: string; readonly lock: typeof LockFile.Type }>()

const readLock = (path: string, read: Reading): typeof LockFile.Type => {
  const stat = statLine(path)
  const known = locks.get(path)
  if (known?.stat === stat) {
    read.inputs.set(path, stat)
    return known.lock
  }
  const lock = decodeLock(JSON.parse(read.bytes(path).toString("utf8")))
  locks.set(path, { stat, lock })
  return lock
}

/** A package's version, from the nearest lock file above `from`, else from the package itself, else "unknown". */
const versionOf = (name: string, from: string, read: Reading): string => {
  const lockPath = upwards(from, "package-lock.json")
  if (lockPath !== undefined) {
    const packages = readLock(lockPath, read).packages ?? {}
    const nested = relative(dirname(lockPath), from)
      .split(sep)
      .filter((part) => part !== "")
    for (let depth = nested.length; depth >= 0; depth--) {
      const found = packages[[...nested.slice(0, depth), "node_modules", name].join("/")]
      if (found === undefined) continue
      const target = found.link === true ? packages[found.resolved ?? ""] : found
      if (target?.version !== undefined) return target.version
    }
  }
  const manifest = upwards(from, join("node_modules", name, "package.json"))
  if (manifest === undefined) return "unknown"
  return decodePackage(JSON.parse(read.bytes(manifest).toString("utf8"))).version ?? "unknown"
}

/** A framework file by its source's name, whether it is read as TypeScript or as installed. */
const asSource = (name: string): string => name.replace(/\.js$/, ".ts")

/** What bundling one module found beside its text. */
interface Collected {
  readonly packages: Map<string, string>
  /** Absolute paths of files that are hashed as bytes. */
  readonly raw: Set<string>
}

/** A module the project did not write, by its place in the project; where the project itself lies says nothing. */
const isVendored = (path: string): boolean => {
  const base = dirname(upwards(dirname(path), "package.json") ?? path)
  return relative(base, path).split(sep).slice(0, -1).includes("vendor")
}
const inFramework = (path: string): boolean => framework.some((folder) => path.startsWith(folder))

const boundary = (collected: Collected, entry: string): Plugin => ({
  name: "millrace-code-digest",
  setup: (build) => {
    build.onResolve({ filter: /.*/ }, async (args) => {
      if (args.kind === "entry-point" || args.pluginData === "millrace") return undefined
      if (isBuiltin(args.path)) return { path: args.path, external: true }
      let path: string
      if (/^\.{1,2}(\/|$)/.test(args.path) || isAbsolute(args.path) || args.path.startsWith("file:")) {
        const wanted = args.path.startsWith("file:") ? fileURLToPath(args.path) : resolve(args.resolveDir, args.path)
        if (extname(wanted) !== "" && statSync(wanted, { throwIfNoEntry: false })?.isFile() === true) path = wanted
        else {
          const found = await build.resolve(args.path, {
            resolveDir: args.resolveDir,
            kind: args.kind,
            importer: args.importer,
            pluginData: "millrace"
          })
          if (found.errors.length > 0) return { errors: found.errors }
          path = found.path
        }
      } else if (args.path.startsWith("#")) {
        const found = await build.resolve(args.path, {
          resolveDir: args.resolveDir,
          kind: args.kind,
          importer: args.importer,
          pluginData: "millrace"
        })
        if (found.errors.length > 0 || found.external) return { path: args.path, external: true }
        path = found.path
      } else {
        const found =
          packageName(args.path) === self
            ? await build.resolve(args.path, {
                resolveDir: args.resolveDir,
                kind: args.kind,
                importer: args.importer,
                pluginData: "millrace"
              })
            : undefined
        if (found === undefined || found.errors.length > 0 || found.external) {
          collected.packages.set(packageName(args.path), args.resolveDir)
          return { path: args.path, external: true }
        }
        path = found.path
      }
      if (inFramework(path) && !inFramework(entry))
        return { path: `millrace:${basename(dirname(path))}/${asSource(basename(path))}`, external: true }
      if (isVendored(path) || !codeExtensions.has(extname(path))) {
        collected.raw.add(path)
        return { path: `file:${basename(path)}`, external: true }
      }
      return { path }
    })
  }
})

const bundle = async (
  file: string,
  collected: Collected
): Promise<{ readonly text: string; readonly meta: Metafile }> => {
  const { build } = await import("esbuild") // 30 ms that a warm plan does not pay
  const result = await build({
    entryPoints: [file],
    absWorkingDir: dirname(file),
    bundle: true,
    write: false,
    minify: true,
    metafile: true,
    format: "esm",
    platform: "node",
    target: "esnext",
    legalComments: "none",
    logLevel: "silent",
    plugins: [boundary(collected, file)]
  })
  return { text: result.outputFiles[0]!.text, meta: result.metafile }
}

const alphabet = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ$_0123456789"].map((one) => one.charCodeAt(0))
/** Beyond this many characters of minified text, names are left as they are: a rename may then look like a change. */
const RENAME_AT_MOST = 400_000

/**
 * Gives local names that do not depend on how they were called before.
 *
 * esbuild orders the alphabet that short names are made of by how often each character occurs, and that count is not
 * quite free of the old names. So the text is minified once more behind a string (dropped again, it does nothing) in
 * which every character occurs so often that the order is always the same: character number r is counted between
 * `most + r * step - uses` and `most + r * step`, and `uses` is smaller than `step`.
 */
const canonicalNames = async (text: string): Promise<string> => {
  if (text.length > RENAME_AT_MOST) return text
  const { transform } = await import("esbuild")
  const counts = new Array<number>(128).fill(0)
  for (let i = 0; i < text.length; i++) {
    const at = text.charCodeAt(i)
    if (at < 128) counts[at] = counts[at]! + 1
  }
  const most = alphabet.reduce((max, at) => Math.max(max, counts[at]!), 0)
  const step = most + 1
  const weights = alphabet.map((at, i) => String.fromCharCode(at).repeat(most + (64 - i) * step - counts[at]!))
  const result = await transform(`${text}\n;"${weights.join("")}";`, {
    format: "esm",
    minify: true,
    legalComments: "none",
    platform: "node",
    target: "esnext",
    logLevel: "silent"
  })
  return result.code
}

const compute = async (file: string, assets: ReadonlyArray<string>): Promise<Entry> => {
  const read = reading()
  const collected: Collected = { packages: new Map(), raw: new Set() }
  const raw = !codeExtensions.has(extname(file))
  if (raw) collected.raw.add(file)
  const { text: bundled, meta } = raw ? { text: "", meta: { inputs: {}, outputs: {} } } : await bundle(file, collected)
  const text = bundled === "" ? "" : await canonicalNames(bundled)
  const base = dirname(upwards(dirname(file), "package.json") ?? file)
  const shown = (path: string): string => relative(base, path).split(sep).join("/")
  const hashed = (path: string): string => createHash("sha256").update(read.bytes(path)).digest("hex")

  const local = Object.keys(meta.inputs).map((path) => resolve(dirname(file), path))
  const files: Array<CodeFile> = [...new Set([...local, ...collected.raw, ...assets])]
    .map((path) => ({ path: shown(path), sha256: hashed(path) }))
    .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  const packages: Record<string, string> = {}
  for (const [name, from] of [...collected.packages].sort(([a], [b]) => (a < b ? -1 : 1)))
    packages[name] = versionOf(name, from, read)
  const digest = digestOf({
    algorithm: ALGORITHM,
    text: sha256(text),
    packages,
    raw: [...collected.raw].map(hashed).sort(),
    assets: assets.map(hashed).sort()
  })
  return {
    inputs: [...read.inputs].map(([path, stat]) => ({ path, stat })),
    code: { digest, weak: false, files, packages }
  }
}

export interface CodeDigests {
  /** See `Store.codeOf`. Assets may be paths or `file:` URLs. */
  readonly digest: (definition: {
    readonly file: string
    readonly assets: ReadonlyArray<string>
  }) => Effect.Effect<Code, StoreError>
}

/** Code digests with the store's memory; `readOnly` remembers in this process only. */
export const make = (
  layout: Layout,
  options: { readonly readOnly: boolean }
): Effect.Effect<CodeDigests, never, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const known = new Map<string, Entry>()
    const loading = yield* Semaphore.make(1)
    const saving = yield* Semaphore.make(1)
    let loaded = false
    let unsaved = false

    const read = Effect.gen(function* () {
      const cache = yield* readJsonIfGood(layout.code, Cache)
      if (cache?.algorithm !== ALGORITHM) return
      for (const [name, entry] of Object.entries(cache.entries)) if (!known.has(name)) known.set(name, entry)
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
        yield* read
        const entries = Object.fromEntries([...known].sort(([a], [b]) => (a < b ? -1 : 1)))
        yield* writeWhole(layout.code, JSON.stringify({ algorithm: ALGORITHM, entries }) + "\n", { shared: true })
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

    const digest = Effect.fnUntraced(function* (definition: {
      readonly file: string
      readonly assets: ReadonlyArray<string>
    }) {
      const { file } = definition
      if (!isAbsolute(file) || statSync(file, { throwIfNoEntry: false })?.isFile() !== true) return weak
      const assets = definition.assets.map((asset) =>
        asset.startsWith("file:") ? fileURLToPath(asset) : resolve(dirname(file), asset)
      )
      yield* load
      const name = [file, ...assets].join("\n")
      const remembered = known.get(name)
      if (remembered?.inputs.every((input) => statLine(input.path) === input.stat) === true) return remembered.code
      const startMs = Date.now()
      const entry = yield* Effect.tryPromise({ try: () => compute(file, assets), catch: failed(file) })
      if (entry.inputs.some((input) => changedSince(input.path, startMs))) return entry.code
      known.set(name, entry)
      unsaved = true
      if (!options.readOnly) yield* save
      return entry.code
    })
    return { digest: (definition) => Effect.provideService(digest(definition), FileSystem.FileSystem, fs) }
  })
