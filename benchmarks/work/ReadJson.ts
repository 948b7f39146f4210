/** Reads a JSON array to its end, holding no row, and prints the process's peak of memory in bytes. */
import { Effect, Stream } from "effect"
import { readJson } from "../../src/data/JsonArray.ts"

const rows = await Effect.runPromise(
  Stream.runFold(
    readJson(process.argv[2]!),
    () => 0,
    (count, batch) => count + batch.rows.length
  )
)
process.stdout.write(JSON.stringify({ rows, peak: process.resourceUsage().maxRSS * 1024 }))
