/**
 * The addon for tests: built over the libtorch that is found (`$LIBTORCH`, `python3 -c "import torch"`, Debian's),
 * about half a minute the first time, and kept under node_modules/.cache until its sources change.
 *
 * Where there is no libtorch or no compiler, tests are skipped and `missing` says why, for their names.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { Effect, Result } from "effect"
import { findLibtorch } from "../../../src/tensor/torch/Libtorch.ts"

export const root = join(import.meta.dirname, "../../..")
export const tsx = join(root, "node_modules/.bin/tsx")
const found = await Effect.runPromise(Effect.result(findLibtorch()))
const compiler = process.env["CXX"] ?? "c++"
const why = Result.isFailure(found)
  ? found.failure.message
  : spawnSync(compiler, ["--version"]).status === 0
    ? undefined
    : `there is no C++ compiler called ${compiler}`

/** For the name of a group of tests: empty where the addon is built, else why it is not. */
export const missing = why === undefined ? "" : ` (skipped: ${why})`

const build = (torch: string, version: string): string => {
  const script = join(root, "scripts/build-torch.ts")
  const sources = join(root, "native/torch")
  const digest = createHash("sha256")
    .update(JSON.stringify([torch, version, compiler]))
    .update(readFileSync(script))
  for (const name of readdirSync(sources, { recursive: true, encoding: "utf8" }).toSorted())
    if (/(\.(cc|h|hpp)|\/target)$/.test(name)) digest.update(name).update(readFileSync(join(sources, name)))
  const cache = join(root, "node_modules/.cache/millrace-torch")
  const folder = join(cache, digest.digest("hex").slice(0, 16))
  const addon = join(folder, "millrace-torch.node")
  if (existsSync(addon)) return addon
  mkdirSync(cache, { recursive: true })
  // Built aside and moved as a whole: another test file may be building the same.
  const aside = `${folder}.${process.pid}`
  execFileSync(tsx, [script, "--torch", torch, "--out", aside], { stdio: "pipe" })
  try {
    renameSync(aside, folder)
  } catch (cause) {
    if (!existsSync(addon)) throw cause
    rmSync(aside, { recursive: true, force: true })
  }
  return addon
}

if (Result.isSuccess(found) && why === undefined)
  process.env["MILLRACE_TORCH_ADDON"] = build(found.success.root, found.success.version)
