/** DuckDB in memory, for tests that want another program's reading or writing of a file. */
import { DuckDBInstance, type JS } from "@duckdb/node-api"
import { Effect } from "effect"

export interface DuckDb {
  /** Runs a statement and gives its rows as plain objects; nested lists and structs are arrays and objects. */
  readonly rows: (sql: string) => Effect.Effect<ReadonlyArray<Readonly<Record<string, JS>>>>
}

/** Open until the scope closes. It loads nothing: what it reads here is built in. */
export const duckDb = Effect.gen(function* () {
  const instance = yield* Effect.promise(() =>
    DuckDBInstance.create(":memory:", { threads: "1", autoinstall_known_extensions: "false" })
  )
  const connection = yield* Effect.acquireRelease(
    Effect.promise(() => instance.connect()),
    (open) =>
      Effect.sync(() => {
        open.closeSync()
        instance.closeSync()
      })
  )
  return {
    rows: (sql) => Effect.promise(async () => (await connection.runAndReadAll(sql)).getRowObjectsJS())
  } satisfies DuckDb
})
