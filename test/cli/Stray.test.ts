/** A stray error, timer or `process.exit` is reported with its node, and the run never ends as a success. */
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { folder, start } from "./process.ts"

const failing = fileURLToPath(new URL("../run/fixtures/failing.ts", import.meta.url))

const runs = async (preset: string, workers = "0") => {
  const store = folder()
  try {
    return await start([failing, "--preset", preset, "--store", store.path, "--workers", workers]).ended
  } finally {
    store.remove()
  }
}

describe("a node that", { timeout: 60_000 }, () => {
  it.each(["exits", "exitsLater"])("calls process.exit(0) fails, and the exit code is not 0 (%s)", async (preset) => {
    const { code, stderr } = await runs(preset)
    expect(code).toBe(1)
    expect(stderr).toContain("error: NodeFailed in exits")
    expect(stderr).toContain("it called process.exit(0)")
    expect(stderr).toContain("hint: A node must not end the process")
  })

  it("left a promise that rejects after its end is named, not the node that runs by then", async () => {
    const { code, stderr } = await runs("rejectsLate")
    expect(code).toBe(1)
    expect(stderr).toContain("error: NodeFailed in rejects")
    expect(stderr).toContain("outside of its effect: Error: nobody waits for this")
  })

  it("throws in a timer is named, not the one beside it", async () => {
    const { code, stderr } = await runs("throwsInTimer")
    expect(code).toBe(1)
    expect(stderr).toContain("error: NodeFailed in throws")
    expect(stderr).toContain("thrown in a timer")
  })

  it("does so in a worker thread is named with what was thrown", async () => {
    const { code, stderr } = await runs("rejectsInThread", "1")
    expect(code).toBe(1)
    expect(stderr).toContain("error: NodeFailed in rejects")
    expect(stderr).toContain("outside of its effect: Error: nobody waits for this")
  })
})
