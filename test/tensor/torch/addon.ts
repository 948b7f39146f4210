/**
 * The addon for tests: built once a test file over the libtorch that is found (`$LIBTORCH`, `python3 -c "import torch"`,
 * Debian's), about half a minute. Where there is none, or no compiler, `missing` says so and tests are skipped by it.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "@effect/vitest"
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

/** Why there is no addon, to be put behind the name of what is skipped; empty where there is one. */
export const missing = why === undefined ? "" : ` (skipped: ${why})`

/** Folder of this test file; removed behind it. */
export const folder = mkdtempSync(join(tmpdir(), "millrace-torch-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

if (Result.isSuccess(found) && why === undefined) {
  const script = join(root, "scripts/build-torch.ts")
  execFileSync(tsx, [script, "--torch", found.success.root, "--out", folder], { stdio: "pipe" })
  process.env["MILLRACE_TORCH_ADDON"] = join(folder, "millrace-torch.node")
}
