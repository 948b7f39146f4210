/**
 * The text of a definition's code: what it reaches, bundled and minified by esbuild.
 *
 * Comments, blanks and local names do not count, nor does what is never used. Followed: local files, and packages that
 * lie outside of every `node_modules` (linked workspaces, paths of a tsconfig). Not followed: packages, the framework,
 * files under a `vendor` folder, and what is no code; those are told by `Collected`.
 */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { isBuiltin } from "node:module"
import { basename, dirname, extname, isAbsolute, join, relative, resolve, sep } from "node:path"
import { fileURLToPath } from "node:url"
import type { OnResolveResult, Plugin, PluginBuild } from "esbuild"
import { sha256 } from "../../dag/Canonical.ts"
import type { SourcePosition } from "../../dag/SourceLocation.ts"
import { type Closure, closureOf } from "./Closure.ts"
import { exportOfRoot, type Graph, type Loaded, type Reached, type Root, reach, type Target, textOf } from "./Graph.ts"
import { type Module, parseModule, walk } from "./Module.ts"
import { statLine, upwards } from "./Packages.ts"

/** Folders whose code is the framework. */
const framework = ["../../dag/", "../", "../../run/", "../../cli/"].map((folder) =>
  fileURLToPath(new URL(folder, import.meta.url))
)
/** Folder of the tensors' service: what it computes is told by its numerics fingerprint, which is in the key. */
const tensors = fileURLToPath(new URL("../../tensor/", import.meta.url))
/** This package's own name, under which others import it. */
export const self = "millrace"
export const codeExtensions = new Set([".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx", ".json"])
/** A computed name counts all code below a folder; a folder of more files is refused. */
const COMPUTED_AT_MOST = 5_000

const packageName = (specifier: string): string => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/")

/** A framework file by its source's name, whether it is read as TypeScript or as installed. */
const asSource = (name: string): string => name.replace(/\.js$/, ".ts")

/** What bundling found beside the text. */
export interface Collected {
  /** Names of packages, and the folders that import each: two may find two versions. */
  readonly packages: Map<string, Set<string>>
  /** Absolute paths of files that are hashed as bytes. */
  readonly raw: Set<string>
}

const addPackage = ({ packages }: Collected, name: string, from: string): void =>
  void packages.set(name, (packages.get(name) ?? new Set()).add(from))

/** A module the project did not write, by its place in the project; where the project itself lies says nothing. */
export const isVendored = (path: string): boolean => {
  const base = dirname(upwards(dirname(path), "package.json") ?? path)
  return relative(base, path).split(sep).slice(0, -1).includes("vendor")
}
export const inFramework = (path: string): boolean => framework.some((folder) => path.startsWith(folder))

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

/** The package that a file of a `node_modules` folder belongs to, and the folder that holds that one. */
const installedIn = (path: string): { readonly name: string; readonly from: string } | undefined => {
  const parts = path.split(sep)
  const at = parts.lastIndexOf("node_modules")
  if (at < 0) return undefined
  return { name: packageName(parts.slice(at + 1).join("/")), from: parts.slice(0, at).join(sep) }
}

/** Where a specifier leads, and what esbuild is told. */
interface Resolved {
  readonly target: Target
  readonly path: string
  readonly external: boolean
}

/** Bare specifiers by importing folder: what is installed does not move while a process runs. */
const bareKnown = new Map<string, Resolved>()

const isRelative = (specifier: string): boolean =>
  /^\.{1,2}(\/|$)/.test(specifier) || isAbsolute(specifier) || specifier.startsWith("file:")

/** Resolves as Node and esbuild do, and says what is followed. `entry` is the module whose digest is taken. */
const resolver = (entry: string) => {
  const own = installedIn(entry)?.name
  const local = (path: string): Resolved => {
    const installed = installedIn(path)
    if (installed !== undefined && installed.name !== self && installed.name !== own)
      return {
        target: { kind: "other", package: installed.name, from: installed.from },
        path: installed.name,
        external: true
      }
    if (inFramework(path) && !inFramework(entry))
      return {
        target: { kind: "framework" },
        path: `millrace:${basename(dirname(path))}/${asSource(basename(path))}`,
        external: true
      }
    if (isVendored(path) || !codeExtensions.has(extname(path)))
      return { target: { kind: "other", package: undefined }, path, external: true }
    return { target: { kind: "module", path }, path, external: false }
  }
  const ask = async (
    build: PluginBuild,
    specifier: string,
    folder: string,
    kind: "import-statement" | "require-call"
  ) => build.resolve(specifier, { resolveDir: folder, kind, pluginData: "millrace" })

  return async (
    build: PluginBuild,
    specifier: string,
    folder: string,
    kind: "import-statement" | "require-call" = "import-statement"
  ): Promise<Resolved | { readonly errors: OnResolveResult["errors"] }> => {
    const other = (name: string | undefined): Resolved => ({
      target: { kind: "other", package: name },
      path: specifier,
      external: true
    })
    if (isBuiltin(specifier)) return other(undefined)
    if (isRelative(specifier)) {
      const wanted = specifier.startsWith("file:") ? fileURLToPath(specifier) : resolve(folder, specifier)
      if (extname(wanted) !== "" && statSync(wanted, { throwIfNoEntry: false })?.isFile() === true) return local(wanted)
      const found = await ask(build, specifier, folder, kind)
      return found.errors.length > 0 ? { errors: found.errors } : local(found.path)
    }
    const memory = `${folder}\n${kind}\n${specifier}`
    const known = bareKnown.get(memory)
    if (known !== undefined && (known.external || statSync(known.path, { throwIfNoEntry: false }) !== undefined))
      return known
    const name = specifier.startsWith("#") ? undefined : packageName(specifier)
    const found = await ask(build, specifier, folder, kind)
    const isPackage =
      found.errors.length > 0 ||
      found.external ||
      !isAbsolute(found.path) ||
      (found.path.split(sep).includes("node_modules") && name !== self && name !== undefined)
    const resolved = isPackage ? other(name) : local(found.path)
    bareKnown.set(memory, resolved)
    return resolved
  }
}

/** Parsed modules by path, as long as the file is the same one. */
const parsed = new Map<string, { readonly stat: string; readonly module: Module | undefined }>()

const parse = (path: string): { readonly stat: string; readonly module: Module | undefined } => {
  const stat = statLine(path) // before the read: a change in between is seen next time
  const known = parsed.get(path)
  if (known?.stat === stat) return known
  const module =
    extname(path) === ".json" || stat === "absent" ? undefined : parseModule(path, readFileSync(path, "utf8"))
  const made = { stat, module }
  parsed.set(path, made)
  return made
}

/** What loading a declaration may change, by module; all of it is forgotten when a module is another one. */
let memory: Parameters<typeof reach>[2] = new WeakMap()
const loadedModules = new Map<string, Loaded>()

/** All local modules that some modules load. */
const graphOf = async (
  build: PluginBuild,
  paths: Iterable<string>,
  resolveFrom: ReturnType<typeof resolver>,
  stats: Map<string, string>
): Promise<Graph> => {
  const graph = new Map<string, Loaded>()
  const waiting = [...paths]
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (graph.has(path)) continue
    const { module, stat } = parse(path)
    stats.set(path, stat)
    if (module === undefined) continue
    let loaded = loadedModules.get(path)
    const specifiers = new Set([...module.loads.keys(), ...module.statements.flatMap(({ dynamic }) => dynamic)])
    const targets = new Map<string, Target>()
    for (const specifier of specifiers) {
      const found = await resolveFrom(build, specifier, dirname(path))
      if ("errors" in found) continue // esbuild tells, should it matter
      targets.set(specifier, found.target)
    }
    const same =
      loaded?.module === module &&
      [...targets].every(
        ([specifier, target]) => JSON.stringify(loaded!.targets.get(specifier)) === JSON.stringify(target)
      )
    if (!same || loaded === undefined) {
      if (loaded !== undefined) memory = new WeakMap()
      loaded = { module, targets }
      loadedModules.set(path, loaded)
    }
    graph.set(path, loaded)
    for (const target of loaded.targets.values()) if (target.kind === "module") waiting.push(target.path)
  }
  return graph
}

const withExtension = (path: string): string | undefined =>
  ["", ".ts", ".js", ".cjs", ".mjs", ".json", ".node", "/index.ts", "/index.js", "/index.cjs"]
    .map((ending) => path + ending)
    .find((one) => statSync(one, { throwIfNoEntry: false })?.isFile() === true)

/** All code below a folder, packages and hidden folders aside. */
const codeBelow = (folder: string): ReadonlyArray<string> => {
  const out: Array<string> = []
  const visit = (at: string) => {
    for (const entry of readdirSync(at, { withFileTypes: true })) {
      if (entry.name.startsWith(".") || entry.name === "node_modules") continue
      const path = join(at, entry.name)
      if (entry.isDirectory()) visit(path)
      else if (entry.isFile() && codeExtensions.has(extname(path))) out.push(path)
      if (out.length > COMPUTED_AT_MOST)
        throw new Error(
          `a name that is computed when the code runs may be any of more than ${COMPUTED_AT_MOST} files below ${folder}: begin the name with a folder (\`./plugins/\${name}.ts\`)`
        )
    }
  }
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true) visit(folder)
  return out
}

/** Files that reached statements name without importing them, and what those files import in turn. */
const namedFiles = (graph: Graph, reached: Reached, collected: Collected): void => {
  const done = new Set<string>()
  const add = (path: string): void => {
    if (done.has(path) || inFramework(path)) return
    done.add(path)
    collected.raw.add(path)
    if (!codeExtensions.has(extname(path)) || isVendored(path)) return
    const { module } = parse(path)
    if (module === undefined) return
    for (const specifier of [...module.loads.keys(), ...module.statements.flatMap(({ dynamic }) => dynamic)])
      name(path, { kind: "file", specifier })
    for (const required of requiredBy(module)) name(path, { kind: "file", specifier: required })
    for (const statement of module.statements) for (const one of statement.named) name(path, one)
  }
  const name = (from: string, named: Module["statements"][number]["named"][number]): void => {
    const folder = dirname(from)
    if (named.kind === "computed") {
      const start = named.prefix.startsWith(".") ? resolve(folder, named.prefix) : folder
      for (const path of codeBelow(
        named.prefix.startsWith(".") && !named.prefix.endsWith("/") ? dirname(start) : start
      ))
        add(path)
      return
    }
    if (isRelative(named.specifier)) {
      const path = withExtension(
        named.specifier.startsWith("file:") ? fileURLToPath(named.specifier) : resolve(folder, named.specifier)
      )
      if (path !== undefined) add(path)
    } else if (!isBuiltin(named.specifier) && /^[@a-z]/i.test(named.specifier) && !named.specifier.includes(":"))
      addPackage(collected, packageName(named.specifier), folder)
  }
  for (const [path, indices] of reached.statements) {
    const { module } = graph.get(path)!
    for (const index of indices) for (const one of module.statements[index]!.named) name(path, one)
  }
}

/** Literals of plain `require` calls. */
const requiredBy = (module: Module): ReadonlyArray<string> =>
  [...module.text.matchAll(/\brequire\(\s*["']([^"']+)["']\s*\)/g)].map((match) => match[1]!)

/** What a digest is asked of: a file, or better the chain of calls that made the definition. */
export interface Asked {
  readonly file: string
  readonly chain: ReadonlyArray<SourcePosition>
  /** Look at one property of the call's object (a recipe's `services`) instead of at a definition. */
  readonly property?: string
}

/** Frames of the user's code, up to where the framework or a package called it. */
export const ownFrames = (chain: ReadonlyArray<SourcePosition>): ReadonlyArray<SourcePosition> => {
  const first = chain.findIndex(({ file }) => !inFramework(file))
  const rest = first < 0 ? [] : chain.slice(first)
  const end = rest.findIndex(({ file }) => file !== "" && (inFramework(file) || file.startsWith("node:")))
  return end < 0 ? rest : rest.slice(0, end)
}

export interface Bundled {
  readonly text: string
  /** Absolute paths of local code in the text. */
  readonly files: ReadonlySet<string>
  /** Every file whose change could change the text, with its stat line. */
  readonly stats: ReadonlyMap<string, string>
  readonly collected: Collected
  /** What the definition closes over that no text and no key tells. */
  readonly open: ReadonlyArray<string>
  /** The definition's call was found in its file. */
  readonly placed: boolean
  /** Statements that declare services which the code uses: `path`, a blank, its number. */
  readonly services: ReadonlySet<string>
  /** All reached statements, named like that. */
  readonly reached: ReadonlySet<string>
  /** The calls that gave a closure its values, as text. */
  readonly marks: ReadonlyArray<string>
}

const isFile = (path: string): boolean =>
  isAbsolute(path) && statSync(path, { throwIfNoEntry: false })?.isFile() === true

const rootsOf = (asked: Asked, closure: Closure | undefined): ReadonlyArray<Root> => {
  if (closure === undefined) return [{ kind: "module", path: asked.file }]
  // What a recipe's services are made of cannot be told: all code of the modules that had a part in it counts.
  if (asked.property !== undefined && closure.open.length > 0)
    return [...new Set(ownFrames(asked.chain).map(({ file }) => file))]
      .filter(isFile)
      .map((path) => ({ kind: "module", path }))
  return [
    ...closure.statements.map((one): Root => ({ kind: "statement", ...one })),
    ...closure.expressions.map(({ nodes, path }): Root => {
      const uses = new Map<string, Set<string>>()
      const { text } = parse(path).module!
      for (const node of nodes)
        walk(node, {
          name: (name, member) => void uses.set(name, (uses.get(name) ?? new Set()).add(member))
        })
      const parts = nodes.map((node) => text.slice(node.start, node.end))
      return { kind: "expressions", path, text: `[${parts.join(", ")}]`, uses }
    })
  ]
}

/**
 * Bundles what a definition (or a recipe's property) reaches. Fails where esbuild does. Longer than a screen: the hooks
 * of one esbuild run share what they collected.
 */
export const bundle = async (asked: Asked): Promise<Bundled> => {
  const { build: esbuild } = await import("esbuild") // 30 ms that a warm plan does not pay
  const collected: Collected = { packages: new Map(), raw: new Set() }
  const stats = new Map<string, string>()
  const resolveFrom = resolver(asked.file)
  const frames = ownFrames(asked.chain).map((spot) => (isFile(spot.file) ? spot : { ...spot, file: "" }))
  const closure =
    frames.length === 0
      ? undefined
      : closureOf(frames, (path) => (path === "" ? undefined : parse(path).module), asked.property)
  const roots = rootsOf(asked, closure)
  let graph: Graph = new Map()
  let reached: Reached = { statements: new Map(), entered: new Set(), asked: new Map() }
  const texts = new Map<string, { readonly extra: Array<string>; readonly uses: Set<string> }>()

  const enter = async (build: PluginBuild): Promise<string> => {
    graph = await graphOf(
      build,
      roots.map(({ path }) => path),
      resolveFrom,
      stats
    )
    reached = reach(graph, roots, memory)
    const lines: Array<string> = []
    roots.forEach((root, i) => {
      const at = JSON.stringify(root.path)
      const loaded = graph.get(root.path)
      lines.push(`import ${at};`)
      if (loaded === undefined || loaded.module.whole || root.kind === "module") {
        lines.push(`export * from ${at};`)
        if (loaded?.module.exports.has("default") === true) lines.push(`export { default } from ${at};`)
        return
      }
      let own = texts.get(root.path)
      if (own === undefined) texts.set(root.path, (own = { extra: [], uses: new Set() }))
      const name = `millrace${i}`
      if (root.kind === "expressions") {
        for (const used of root.uses.keys()) own.uses.add(used)
        own.extra.push(`export const ${name} = ${root.text};`)
        lines.push(`export { ${name} } from ${at};`)
        return
      }
      const { declares } = loaded.module.statements[root.index]!
      own.extra.push(...exportOfRoot(loaded.module, root.index, name))
      declares.forEach((declared, k) => {
        const exported = declared === "*default*" ? "default" : `${name}_${k}`
        lines.push(`export { ${exported} as ${name}_${k} } from ${at};`)
      })
    })
    return lines.join("\n")
  }

  const plugin: Plugin = {
    name: "millrace-code-digest",
    setup: (build) => {
      build.onResolve({ filter: /.*/ }, async (args) => {
        if (args.pluginData === "millrace") return undefined
        if (args.kind === "entry-point") return { path: "entry", namespace: "millrace" }
        const kind = args.kind === "require-call" ? "require-call" : "import-statement"
        const found = await resolveFrom(build, args.path, args.resolveDir, kind)
        if ("errors" in found) return { errors: found.errors ?? [] }
        const { external, path, target } = found
        if (!external) return { path }
        if (target.kind !== "other" || isBuiltin(path)) return { path, external }
        if (target.package !== undefined) {
          addPackage(collected, target.package, target.from ?? args.resolveDir)
          return { path, external }
        }
        if (!isAbsolute(path)) return { path, external }
        collected.raw.add(path)
        return { path: `file:${basename(path)}`, external }
      })
      build.onLoad({ filter: /.*/, namespace: "millrace" }, async () => ({
        contents: await enter(build),
        resolveDir: dirname(asked.file),
        loader: "js"
      }))
      build.onLoad({ filter: /\.[cm]?[jt]sx?$/, namespace: "file" }, (args) => {
        const loaded = graph.get(args.path)
        if (loaded === undefined) return undefined
        const own = texts.get(args.path)
        const language = extname(args.path).slice(1).replace(/^[cm]/, "")
        return {
          contents: textOf(loaded, reached, own?.extra ?? [], own?.uses ?? []),
          loader: language as "ts" | "tsx" | "js" | "jsx"
        }
      })
    }
  }
  const result = await esbuild({
    entryPoints: ["entry"],
    absWorkingDir: dirname(asked.file),
    bundle: true,
    write: false,
    minify: true,
    metafile: true,
    ignoreAnnotations: true,
    format: "esm",
    platform: "node",
    target: "esnext",
    legalComments: "none",
    logLevel: "silent",
    plugins: [plugin]
  })
  namedFiles(graph, reached, collected)
  const files = new Set<string>()
  for (const name of Object.keys(result.metafile.inputs)) {
    if (name.startsWith("millrace:")) continue
    const path = resolve(dirname(asked.file), name)
    if (!stats.has(path)) stats.set(path, statLine(path))
    if (!graph.has(path) || reached.statements.has(path)) files.add(path)
  }
  const all = [...reached.statements].flatMap(([path, indices]) => [...indices].map((index) => ({ path, index })))
  const named = ({ index, path }: { readonly path: string; readonly index: number }) => `${path} ${index}`
  const isService = ({ index, path }: { readonly path: string; readonly index: number }) =>
    !inFramework(path) && !path.startsWith(tensors) && graph.get(path)!.module.statements[index]!.service
  return {
    text: await canonicalNames(result.outputFiles[0]!.text),
    files,
    stats,
    collected,
    open: closure?.open ?? [],
    placed: closure !== undefined,
    services: new Set(all.filter(isService).map(named)),
    reached: new Set(all.map(named)),
    marks: roots.flatMap((root) => (root.kind === "expressions" ? [sha256(root.text)] : []))
  }
}
