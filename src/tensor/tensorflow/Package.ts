/**
 * The user's own TensorFlow for Node: which package it is, its version, and whether this Node can load it.
 *
 * Never a dependency of this project: it is looked for from the working directory, the package with GPUs first, or is
 * the one that `MILLRACE_TENSORFLOW` names (a package, or the folder of one). Nothing is loaded here.
 */
import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { isAbsolute, join } from "node:path"
import { Schema } from "effect"
import { read, variables } from "../../dag/Environment.ts"
import { EngineUnavailable } from "../Errors.ts"

export interface TensorflowPackage {
  readonly name: string
  readonly version: string
  readonly folder: string
}

const names = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"]

/** Up to this version the package calls functions of Node that Node 23 no longer has. */
const LAST_FOR_OLD_NODE = [4, 22] as const
const LAST_NODE = 22

const INSTALL =
  "Install one: `npm install @tensorflow/tfjs-node-gpu` (one GPU, CUDA 11.2 and cuDNN 8.1) or `@tensorflow/tfjs-node`, and run with Node 22; or use --engine wasm or torch."

const Manifest = Schema.fromJsonString(Schema.Struct({ name: Schema.String, version: Schema.String }))

/** The folder of an installed package, seen from `from`; undefined where there is none. */
const folderOf = (name: string, from: string): string | undefined =>
  (createRequire(join(from, "package.json")).resolve.paths(name) ?? [])
    .map((place) => join(place, name))
    .find((folder) => existsSync(join(folder, "package.json")))

/** The package that would be loaded; undefined where none is installed. */
export const findPackage = (from: string = process.cwd()): TensorflowPackage | undefined => {
  const asked = read(variables.tensorflow)
  const folder =
    asked !== undefined && (isAbsolute(asked) || asked.startsWith("."))
      ? join(isAbsolute(asked) ? "" : from, asked)
      : (asked === undefined ? names : [asked]).map((name) => folderOf(name, from)).find((found) => found !== undefined)
  const manifest = folder === undefined ? undefined : join(folder, "package.json")
  if (folder === undefined || manifest === undefined || !existsSync(manifest)) return undefined
  return { ...Schema.decodeUnknownSync(Manifest)(readFileSync(manifest, "utf8")), folder }
}

/** `@tensorflow/tfjs-node@4.22.0`, for keys; `absent` where there is none. */
export const packageVersion = (): string => {
  const found = findPackage()
  return found === undefined ? "absent" : `${found.name}@${found.version}`
}

/** The package, if this Node can load it. Throws `EngineUnavailable` before anything of it is loaded. */
export const usablePackage = (from: string = process.cwd()): TensorflowPackage => {
  const found = findPackage(from)
  if (found === undefined)
    throw new EngineUnavailable({
      engine: "tensorflow",
      message: `neither ${names.join(" nor ")} is installed in ${from}`,
      hint: INSTALL
    })
  const [major, minor] = found.version.split(".").map(Number) as [number, number]
  const old = major < LAST_FOR_OLD_NODE[0] || (major === LAST_FOR_OLD_NODE[0] && minor <= LAST_FOR_OLD_NODE[1])
  const node = Number(process.versions.node.split(".")[0])
  if (old && names.includes(found.name) && node > LAST_NODE)
    throw new EngineUnavailable({
      engine: "tensorflow",
      message: `${found.name} ${found.version} does not load in Node ${process.versions.node}: it calls functions that Node 23 removed`,
      hint: "Run with Node 22.19 or a later 22 (`npx -p node@22 node ...`), or use --engine wasm or torch."
    })
  return found
}
