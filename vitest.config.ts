import { join } from "node:path"
import { defineConfig } from "vitest/config"

/** Tests mirror the sources: `test/dag/Plan.test.ts` tests `src/dag/Plan.ts`. */
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    /** Processes that tests start keep compiled modules: half of a second's work for each of several hundred. */
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, "node_modules/.cache/compile") },
    /** Tests of damage make the store warn, as they should: shown where a test fails. */
    silent: "passed-only",
    reporters: ["default"]
  }
})
