/**
 * What lies in `node_modules`: the code of packages as they are installed, and of all that they depend on.
 *
 * A package edited in place (patch-package, a debugging line) has the version it had, so its files are digested: the
 * JavaScript, JSON and WebAssembly of its folder, and TypeScript where it is published as that. Not counted: native
 * binaries and packages for one platform (`os`, `cpu`), so that machines agree; declarations, source maps and hidden
 * files. A digest is remembered with size, times and inode of every file; a second look costs a stat a file.
 */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs"
import { basename, dirname, extname, join } from "node:path"
import { Option, Schema } from "effect"
import { locked, type Reading, statLine } from "./Packages.ts"

/** One package's folder. `paths` and `stats` are lines, one a file or folder, in one order. */
export const Tree = Schema.Struct({
  name: Schema.String,
  version: Schema.String,
  /** For one platform, or types alone: does not count. */
  aside: Schema.Boolean,
  digest: Schema.String,
  depends: Schema.Array(Schema.String),
  paths: Schema.String,
  stats: Schema.String
})
export type Tree = typeof Tree.Type

/** Packages that some code names: a name, and a folder that it is looked up from. */
export interface Direct {
  readonly name: string
  readonly from: string
}

const Names = Schema.optional(Schema.Record(Schema.String, Schema.Unknown))
const PackageJson = Schema.Struct({
  version: Schema.optional(Schema.String),
  dependencies: Names,
  optionalDependencies: Names,
  peerDependencies: Names,
  peerDependenciesMeta: Schema.optional(
    Schema.Record(Schema.String, Schema.Struct({ optional: Schema.optional(Schema.Boolean) }))
  ),
  os: Schema.optional(Schema.Unknown),
  cpu: Schema.optional(Schema.Unknown),
  main: Schema.optional(Schema.Unknown),
  module: Schema.optional(Schema.Unknown),
  exports: Schema.optional(Schema.Unknown)
})
const decode = Schema.decodeUnknownOption(Schema.fromJsonString(PackageJson))

const code = new Set([".js", ".mjs", ".cjs", ".jsx", ".json", ".wasm"])
const typescript = /(?<!\.d)\.[cm]?tsx?$/
/** A check holds for the definitions of one plan, which are looked at in one go. */
const FRESH_MS = 200

/** The folder that Node finds a package in, links followed; nothing where it is not installed. */
const folderOf = ({ from, name }: Direct): string | undefined => {
  for (let at = from; ; at = dirname(at)) {
    if (basename(at) !== "node_modules") {
      const folder = join(at, "node_modules", name)
      if (statSync(join(folder, "package.json"), { throwIfNoEntry: false })?.isFile() === true)
        return realpathSync(folder)
    }
    if (dirname(at) === at) return undefined
  }
}

/** Reads a package's folder. Packages inside of it (`node_modules`) are their own. */
const readTree = (folder: string, name: string): Tree => {
  const manifest = Option.getOrElse(
    decode(readFileSync(join(folder, "package.json"), "utf8")),
    (): typeof PackageJson.Type => ({})
  )
  const aside = manifest.os !== undefined || manifest.cpu !== undefined || name.startsWith("@types/")
  const entries = JSON.stringify([manifest.main ?? "", manifest.module ?? "", manifest.exports ?? ""])
  const asTypeScript = entries.split('"').some((one) => typescript.test(one))
  const [paths, stats, hash] = [[] as Array<string>, [] as Array<string>, createHash("sha256")]
  const look = (path: string) => {
    paths.push(path)
    stats.push(statLine(join(folder, path))) // before the read: a change in between is seen next time
  }
  const visit = (at: string) => {
    look(at)
    const found = readdirSync(join(folder, at), { withFileTypes: true })
    for (const entry of found.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (entry.name.startsWith(".")) continue
      const path = at === "" ? entry.name : `${at}/${entry.name}`
      if (entry.isDirectory() && entry.name === "node_modules") look(path)
      else if (entry.isDirectory()) visit(path)
      else if (code.has(extname(entry.name)) || (asTypeScript && typescript.test(entry.name))) {
        const info = statSync(join(folder, path), { throwIfNoEntry: false }) // a link that leads to a file is one
        if (info?.isFile() !== true) continue
        look(path)
        hash.update(`${path}\n${info.size}\n`).update(readFileSync(join(folder, path)))
      }
    }
  }
  if (aside) look("")
  else visit("")
  // An optional peer is there or not by what else a project does (a compiler, types): it would tell machines apart.
  const peers = Object.keys(manifest.peerDependencies ?? {}).filter(
    (peer) => manifest.peerDependenciesMeta?.[peer]?.optional !== true
  )
  const depends = [
    ...new Set([...Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }), ...peers])
  ]
  return {
    name,
    version: manifest.version ?? "unknown",
    aside,
    digest: hash.digest("hex"),
    depends: aside ? [] : depends.sort(),
    paths: paths.join("\n"),
    stats: stats.join("\n")
  }
}

const isCurrent = (folder: string, tree: Tree): boolean => {
  const stats = tree.stats.split("\n")
  return tree.paths.split("\n").every((path, i) => statLine(join(folder, path)) === stats[i])
}

/** Digests of installed packages, remembered by folder. */
export class Installed {
  readonly trees: Map<string, Tree>
  private readonly checked = new Map<string, number>()
  private readonly places = new Map<string, { readonly folder: string | undefined; readonly at: number }>()
  /** Trees that a file changed under while they were read: not to be remembered beyond this process. */
  private readonly unsure = new Set<string>()
  /** Trees were read that no store knows yet. */
  changed = false

  constructor(trees: Iterable<readonly [string, Tree]> = []) {
    this.trees = new Map(trees)
  }

  /** Takes what a store remembers, where nothing newer is known. */
  add(trees: Readonly<Record<string, Tree>>): void {
    for (const [folder, tree] of Object.entries(trees)) if (!this.trees.has(folder)) this.trees.set(folder, tree)
  }

  /** What a store may remember: folders that are still there. */
  remembered(): Readonly<Record<string, Tree>> {
    const kept = [...this.trees].filter(([folder]) => !this.unsure.has(folder) && statLine(folder) !== "absent")
    return Object.fromEntries(kept.sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  private tree(folder: string, name: string): Tree {
    const known = this.trees.get(folder)
    const now = Date.now()
    if (known !== undefined && !this.unsure.has(folder)) {
      if (now - (this.checked.get(folder) ?? 0) < FRESH_MS) return known
      if (isCurrent(folder, known)) {
        this.checked.set(folder, now)
        return known
      }
    }
    const tree = readTree(folder, name)
    // A file that changed just now may change again within the grain of its times.
    const recent = tree.stats.split("\n").some((stat) => Number(stat.split(" ")[2]) / 1e6 >= now - 20)
    if (recent) this.unsure.add(folder)
    else {
      this.unsure.delete(folder)
      this.changed = true
    }
    this.trees.set(folder, tree)
    this.checked.set(folder, now)
    return tree
  }

  private place(direct: Direct): string | undefined {
    const key = `${direct.from}\n${direct.name}`
    const [known, now] = [this.places.get(key), Date.now()]
    if (known !== undefined && now - known.at < FRESH_MS) return known.folder
    const folder = folderOf(direct)
    this.places.set(key, { folder, at: now })
    return folder
  }

  /** `name@version` of the packages and of all that they depend on, with digests of their code. */
  digests(direct: Iterable<Direct>, skip: string, read: Reading): Readonly<Record<string, string>> {
    const found = new Map<string, Set<string>>()
    const note = (name: string, version: string, digest: string) => {
      const key = `${name}@${version}`
      found.set(key, (found.get(key) ?? new Set()).add(digest))
    }
    const done = new Set<string>()
    const waiting = [...direct]
    for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
      const { name } = one
      if (name === skip) continue
      const folder = this.place(one)
      const at = folder ?? `${one.from}\n${name}`
      if (done.has(at)) continue
      done.add(at)
      if (folder !== undefined) {
        const tree = this.tree(folder, name)
        if (!tree.aside) note(name, tree.version, tree.digest)
        for (const depends of tree.depends) waiting.push({ name: depends, from: folder })
        continue
      }
      const entry = locked(name, one.from, read)
      if (entry === undefined || entry.aside) continue
      note(name, entry.version, "not installed")
      for (const depends of entry.depends) waiting.push({ name: depends, from: entry.folder })
    }
    return Object.fromEntries(
      [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, all]) => [key, [...all].sort().join(" ")])
    )
  }
}
