/** A command builds its pipeline once and computes a node's key once: for the plan, the run and the page alike. */
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"
import { folder, start } from "./process.ts"

const counted = fileURLToPath(new URL("./fixtures/counted.ts", import.meta.url))

it("a plan, a run and a second run that takes all from the store", { timeout: 60_000 }, async () => {
  const store = folder()
  try {
    for (const flags of [["--plan"], [], []]) {
      const { code, stderr } = await start([counted, ...flags, "--store", store.path]).ended
      expect(code, stderr).toBe(0)
      expect(stderr).toContain("built 1, encoded 1\n")
    }
  } finally {
    store.remove()
  }
})
