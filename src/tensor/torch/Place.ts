/**
 * Where the addon over libtorch lies and how it is built: the same in the repository and in the installed package.
 *
 * Not the build. The addon lies beside its sources where that folder can be written to; else, as where a package was
 * installed for everybody, in the user's cache, under a digest of the sources, so that no other version finds it.
 */
import { createHash } from "node:crypto"
import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { read, variables } from "../../dag/Environment.ts"

/** The folder of the C++ sources. */
export const addonSources = join(import.meta.dirname, "../../../native/torch")

/** What a person types to build it: the package holds JavaScript, the repository TypeScript. */
export const buildCommand = import.meta.filename.endsWith(".js") ? "npx millrace-build-torch" : "npm run build:torch"

const FILE = "millrace-torch.node"
const beside = join(addonSources, "build")

let digest: string | undefined

/** All sources by name and text. */
const sourcesDigest = (): string => {
  if (digest !== undefined) return digest
  const hash = createHash("sha256")
  const names = readdirSync(addonSources, { recursive: true, encoding: "utf8" })
  for (const name of names.filter((one) => /\.(cc|h|hpp)$/.test(one)).toSorted())
    hash.update(name).update(readFileSync(join(addonSources, name)))
  digest = hash.digest("hex").slice(0, 12)
  return digest
}

/** The folder in the user's cache that belongs to these sources. */
export const cacheFolder = (): string =>
  join(read(variables.cache) ?? join(homedir(), ".cache"), "millrace", `torch-${sourcesDigest()}`)

const canWrite = (folder: string): boolean => {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Where the addon is built unless a folder is named. */
export const buildFolder = (): string => (canWrite(existsSync(beside) ? beside : addonSources) ? beside : cacheFolder())

/** The addon's file: the one that `MILLRACE_TORCH_ADDON` names, or the built one; it may not be there. */
export const addonPath = (): string => {
  const named = read(variables.torchAddon)
  if (named !== undefined) return named
  const own = join(beside, FILE)
  if (existsSync(own) || !existsSync(addonSources)) return own
  const other = join(cacheFolder(), FILE)
  return existsSync(other) ? other : own
}
