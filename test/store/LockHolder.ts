/** A process that takes a lock: prints "taken", holds it for some ms (or for ever), counts in a file, releases. */
import { readFileSync, writeFileSync } from "node:fs"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect } from "effect"
import { lock } from "../../src/store/Lock.ts"

const [path = "", counter = "", rounds = "1", holdMs = "0"] = process.argv.slice(2)

const program = Effect.gen(function* () {
  for (let i = 0; i < Number(rounds); i++)
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* lock(path)
        process.stdout.write("taken\n")
        if (holdMs === "forever") {
          setInterval(() => undefined, 1000) // a fiber that waits for ever does not keep a process alive
          return yield* Effect.never
        }
        // Without exclusion two processes read the same number and one addition is lost.
        const before = Number(readFileSync(counter, "utf8"))
        yield* Effect.sleep(Number(holdMs))
        writeFileSync(counter, String(before + 1))
      })
    )
})

await Effect.runPromise(Effect.provide(program, NodeFileSystem.layer))
