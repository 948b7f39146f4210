/**
 * The packed package in projects of its own, without a network: `npm pack`, the tarball unpacked into `node_modules`,
 * and what its manifest asks for linked from the repository. Nothing else of the repository can be seen from there.
 */
import { type ExecFileSyncOptions, execFile, execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Schema } from "effect"

export const root = fileURLToPath(new URL("../../", import.meta.url))

const Versions = Schema.Record(Schema.String, Schema.String)

/** What of package.json is looked at. */
export const Manifest = Schema.Struct({
  name: Schema.String,
  version: Schema.String,
  exports: Schema.Record(
    Schema.String,
    Schema.Union([Schema.String, Schema.Struct({ types: Schema.String, default: Schema.String })])
  ),
  dependencies: Versions,
  peerDependencies: Versions,
  peerDependenciesMeta: Schema.Record(Schema.String, Schema.Struct({ optional: Schema.Boolean })),
  devDependencies: Versions,
  bin: Versions
})
export type Manifest = typeof Manifest.Type

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Manifest))
export const manifestIn = (folder: string): Manifest => decode(readFileSync(join(folder, "package.json"), "utf8"))

/** Names of the packages that only some entries need. */
export const optionalOf = (manifest: Manifest): ReadonlyArray<string> =>
  Object.keys(manifest.peerDependencies).filter((name) => manifest.peerDependenciesMeta[name]?.optional === true)

export interface Packed {
  readonly tarball: string
  /** Paths in the tarball, relative to the package. */
  readonly files: ReadonlyArray<string>
  readonly remove: () => void
}

/** Packs the repository, build included, into a temporary folder. */
export const pack = (): Packed => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-pack-"))
  const quiet: ExecFileSyncOptions = { cwd: root, stdio: "pipe", timeout: 300_000 }
  execFileSync("npm", ["pack", "--silent", "--offline", "--pack-destination", folder], quiet)
  const tarball = join(folder, readdirSync(folder).find((name) => name.endsWith(".tgz"))!)
  const list = execFileSync("tar", ["-tzf", tarball], { encoding: "utf8" }).trim().split("\n")
  return {
    tarball,
    files: list.map((path) => path.replace(/^package\//, "")),
    remove: () => rmSync(folder, { recursive: true, force: true })
  }
}

/** What a process left behind. */
export interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface Project {
  readonly folder: string
  /** Folder of the installed package. */
  readonly installed: string
  readonly write: (path: string, text: string) => void
  /** Runs Node in the project. */
  readonly node: (args: ReadonlyArray<string>) => Promise<Ended>
  /** The compiler's complaints about everything in the project; empty when it compiles. */
  readonly complaints: () => Promise<string>
  readonly remove: () => void
}

const link = (name: string, modules: string): void => {
  mkdirSync(dirname(join(modules, name)), { recursive: true })
  symlinkSync(join(root, "node_modules", name), join(modules, name), "junction")
}

/**
 * An empty project with the package installed: its dependencies, `packages`, and types for the compiler.
 *
 * `packages` stands for what the user installed beside it.
 */
export const project = (packed: Packed, packages: ReadonlyArray<string> = []): Project => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-project-"))
  const modules = join(folder, "node_modules")
  const installed = join(modules, "millrace")
  mkdirSync(installed, { recursive: true })
  execFileSync("tar", ["-xzf", packed.tarball, "--strip-components=1", "-C", installed])
  const manifest = manifestIn(installed)
  const peers = Object.keys(manifest.peerDependencies).filter((name) => !optionalOf(manifest).includes(name))
  for (const name of new Set([...Object.keys(manifest.dependencies), ...peers, "@types/node", ...packages]))
    link(name, modules)
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  write("package.json", JSON.stringify({ name: "elsewhere", private: true, type: "module" }))
  const node = (args: ReadonlyArray<string>): Promise<Ended> =>
    new Promise((resolve) => {
      const { NODE_PATH: _, NODE_OPTIONS: __, ...env } = process.env
      execFile(
        process.execPath,
        args,
        { cwd: folder, timeout: 110_000, maxBuffer: 16 << 20, env: { ...env, NO_COLOR: "1" } },
        (error, out, err) =>
          resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, out, err })
      )
    })
  return {
    folder,
    installed,
    write,
    node,
    complaints: async () => {
      const { code, err, out } = await node([join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "."])
      return code === 0 ? out + err : `exit ${code}\n${out}${err}`
    },
    remove: () => rmSync(folder, { recursive: true, force: true })
  }
}
