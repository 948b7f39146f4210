/** A collection that is killed at any operation leaves nothing that the next one does not see. */
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Gc from "../../src/store/Gc.ts"
import { copyOf, fill, killHolders, options } from "./Garbage.ts"
import { faulty, pathsUnder, storeAt, temporaryFolder } from "./Support.ts"

const plan = (root: string) => Gc.plan(root, options)
const collectAll = (root: string) => Effect.flatMap(plan(root), (shown) => Gc.collect(root, shown))

/** Empty folders count too: what is left of a removal. */
const foldersUnder = (root: string): ReadonlyArray<string> =>
  readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((one) => one.isDirectory())
    .map((one) => join(one.parentPath, one.name).slice(root.length + 1))
    .sort()

describe("a collection", () => {
  it.live("sees what was left at any depth, and keeps what a manifest lists, whatever its name", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      yield* Effect.provide(fill, storeAt(root))
      yield* Effect.gen(function* () {
        const shown = yield* plan(root)
        const whats = (kind: string) => shown.garbage.filter((one) => one.kind === kind).map((one) => one.what)
        assert.sameMembers(whats("entry"), ["loose", "loose"])
        assert.lengthOf(whats("run"), 2)
        assert.strictEqual(whats("leftover").filter((what) => what.startsWith("half ")).length, 17)
        assert.includeMembers(whats("leftover"), [
          "run that never began",
          "aliases of an entry that is gone",
          "empty folder"
        ])
        yield* Gc.collect(root, shown)
        assert.deepStrictEqual((yield* plan(root)).garbage, [])
        assert.deepStrictEqual(
          pathsUnder(root).filter((path) => /\.gone-|\.tmp/.test(path)),
          []
        )
      }).pipe(Effect.provide(storeAt(root)))
    })
  )

  it.live(
    "killed at each of its operations, leaves a store that the next one makes the same",
    () =>
      Effect.gen(function* () {
        const root = temporaryFolder()
        yield* Effect.provide(fill, storeAt(root))
        const undisturbed = copyOf(root)
        const counting = faulty({ at: Number.POSITIVE_INFINITY, how: "crash" })
        yield* Effect.provide(collectAll(undisturbed), counting.layer)
        const files = pathsUnder(undisturbed)
        const folders = foldersUnder(undisturbed)
        assert.isAbove(counting.count(), 50)
        // Every operation while they are few; evenly spaced ones of more, the first and the last among them.
        const every = Math.max(1, Math.floor(counting.count() / 60))
        for (let at = 0; at < counting.count(); at += every) {
          const store = copyOf(root)
          const killed = faulty({ at, how: "crash" })
          const exit = yield* Effect.exit(Effect.provide(collectAll(store), killed.layer))
          killHolders(store)
          yield* Effect.provide(collectAll(store), faulty({ at: Number.POSITIVE_INFINITY, how: "crash" }).layer)
          assert.deepStrictEqual(pathsUnder(store), files, `killed at ${at}, ${exit._tag}`)
          assert.deepStrictEqual(foldersUnder(store), folders, `killed at ${at}`)
          assert.deepStrictEqual(
            readdirSync(join(store, "locks")).filter((name) => name !== "gc.reserve"),
            [],
            `killed at ${at}`
          )
        }
      }),
    180_000
  )
})
