/** Ending a thread is the matter of that thread alone. */
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { expect, test } from "vitest"

test("a thread that starts can be ended, and the process lives", () => {
  const script = join(import.meta.dirname, "fixtures", "endWhileStarting.ts")
  const { status, stderr, stdout } = spawnSync(process.execPath, [script], { encoding: "utf8", timeout: 60_000 })
  expect({ status, stderr, stdout }).toEqual({ status: 0, stderr: "", stdout: "the process lives\n" })
})
