/**
 * The addon for tests that run processes over it: built over the libtorch that is found, once for all of them.
 *
 * `missing` says why there is none, and is empty where there is one; `MILLRACE_TORCH_ADDON` then names it. What was built for
 * the same libtorch is taken again: a file is compiled when it, a header or the libtorch is another one.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir, userInfo } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { Effect, Result } from "effect"
import { findLibtorch } from "../../../src/tensor/torch/Libtorch.ts"

const root = join(import.meta.dirname, "../../..")
const found = await Effect.runPromise(Effect.result(findLibtorch()))
const compiler = process.env["CXX"] ?? "c++"
const why = Result.isFailure(found)
  ? found.failure.message
  : spawnSync(compiler, ["--version"]).status === 0
    ? undefined
    : `there is no C++ compiler called ${compiler}`

/** Appended to the names of tests that are skipped. */
export const missing = why === undefined ? "" : ` (skipped: ${why})`

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** One process builds at a time; a lock whose process is gone is taken over. */
const alone = async (lock: string, run: () => void): Promise<void> => {
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" })
      break
    } catch {
      const held = Number(readFileSync(lock, { encoding: "utf8", flag: "a+" }))
      if (held > 0 && !alive(held)) rmSync(lock, { force: true })
      await sleep(200)
    }
  }
  try {
    run()
  } finally {
    rmSync(lock, { force: true })
  }
}

if (Result.isSuccess(found) && why === undefined) {
  const libtorch = found.success.root
  const name = createHash("sha256").update(`${root} ${libtorch} ${userInfo().uid}`).digest("hex").slice(0, 12)
  const folder = join(tmpdir(), `millrace-torch-tests-${name}`)
  mkdirSync(folder, { recursive: true })
  const words = [join(root, "scripts/build-torch.ts"), "--torch", libtorch, "--out", folder]
  await alone(join(folder, "lock"), () =>
    execFileSync(join(root, "node_modules/.bin/tsx"), words, { stdio: ["ignore", "ignore", "pipe"] })
  )
  process.env["MILLRACE_TORCH_ADDON"] = join(folder, "millrace-torch.node")
}
