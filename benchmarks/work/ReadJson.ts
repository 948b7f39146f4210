/**
 * Reads a JSON array to its end, holding no row, and prints the process's peak of memory in bytes.
 *
 * On Linux the peak is `VmHWM`: `getrusage` counts what the parent held when it started this process.
 */
import { readFileSync } from "node:fs"
import { Effect, Stream } from "effect"
import { readJson } from "../../src/data/JsonArray.ts"

const peak = (): number => {
  if (process.platform !== "linux") return process.resourceUsage().maxRSS * 1024
  return Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024
}

const rows = await Effect.runPromise(
  Stream.runFold(
    readJson(process.argv[2]!),
    () => 0,
    (count, batch) => count + batch.rows.length
  )
)
process.stdout.write(JSON.stringify({ rows, peak: peak() }))
