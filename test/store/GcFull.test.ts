/**
 * A collection needs no free byte: on a full disk, at a used-up quota, and where not even an empty file can be made.
 */
import { execFileSync } from "node:child_process"
import { appendFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Gc from "../../src/store/Gc.ts"
import { layoutOf } from "../../src/store/Layout.ts"
import { lock } from "../../src/store/Lock.ts"
import * as RunLog from "../../src/store/RunLog.ts"
import { copyOf, fill, nameOf, options } from "./Garbage.ts"
import { faulty, pathsUnder, storeAt, temporaryFolder } from "./Support.ts"

const collectAll = (root: string) => Effect.flatMap(Gc.plan(root, options), (shown) => Gc.collect(root, shown))
const run = (root: string) =>
  Effect.scoped(Effect.flatMap(RunLog.start(root, { pipeline: "p", settings: {} }), (log) => log.end("done")))

/** What a full disk refuses: new bytes, and on some file systems new names too. */
const refuses: Record<string, ReadonlyArray<string>> = {
  "new bytes": ["write"],
  "new bytes and new files": ["write", "open", "mkdir"],
  "all but renaming and removing": ["write", "open", "mkdir", "link"]
}

/** A file system of its own that is small, where this user may mount one. */
const smallDisk = (() => {
  const folder = temporaryFolder()
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], { stdio: "pipe" })
    return folder
  } catch {
    return undefined // not root, no such command, or a container that may not mount
  }
})()

describe("on a disk that takes", () => {
  for (const how of ["ENOSPC", "EDQUOT"])
    for (const [what, operations] of Object.entries(refuses))
      it.live(`no ${what} (${how}), all garbage goes`, () =>
        Effect.gen(function* () {
          const root = temporaryFolder()
          yield* Effect.provide(fill, storeAt(root))
          const healthy = copyOf(root)
          yield* Effect.provide(collectAll(healthy), NodeFileSystem.layer)
          const full = faulty({ at: 0, how, lasts: true, when: (operation) => operations.includes(operation) })
          const bytes = yield* Effect.provide(collectAll(root), full.layer)
          assert.isAbove(bytes, 1000)
          assert.deepStrictEqual(pathsUnder(root), pathsUnder(healthy))
          assert.deepStrictEqual(readdirSync(join(root, "locks")), [])
          yield* Effect.provide(run(root), NodeFileSystem.layer)
        })
      )

  it.live("nothing at all, says so and removes nothing", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      yield* Effect.provide(fill, storeAt(root))
      const before = pathsUnder(root)
      const error = yield* Effect.flip(
        Effect.provide(collectAll(root), faulty({ at: 0, how: "EROFS", lasts: true }).layer)
      )
      assert.strictEqual(error.reason, "read-only")
      assert.deepStrictEqual(pathsUnder(root), before)
    })
  )
})

describe("the two ways to hold the lock of a collection", () => {
  const full = () => faulty({ at: 0, how: "ENOSPC", lasts: true, when: (operation) => operation === "write" }).layer

  it.live("exclude each other, and a dead holder of either kind hinders nobody", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      yield* Effect.provide(fill, storeAt(root))
      const locks = join(root, "locks")
      const living = join(locks, nameOf())
      writeFileSync(living, "")
      const waiting = yield* Effect.forkDetach(Effect.provide(run(root), NodeFileSystem.layer))
      yield* Effect.sleep("200 millis")
      assert.isTrue(existsSync(join(locks, "gc.lock")))
      assert.isUndefined(waiting.pollUnsafe())
      rmSync(living)
      yield* Fiber.join(waiting)

      const collecting = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* lock(layoutOf(root).gcLock)
          const fiber = yield* Effect.forkDetach(Effect.provide(collectAll(root), full()))
          yield* Effect.sleep("200 millis")
          assert.isUndefined(fiber.pollUnsafe())
          return fiber
        })
      ).pipe(Effect.provide(NodeFileSystem.layer))
      assert.isAbove(yield* Fiber.join(collecting), 0)

      writeFileSync(join(locks, nameOf("1")), "")
      const shown = yield* Effect.provide(Gc.plan(root), NodeFileSystem.layer)
      assert.deepStrictEqual(
        shown.garbage.map(({ what }) => what),
        ["name of a dead process"]
      )
      yield* Effect.provide(collectAll(root), full())
      assert.deepStrictEqual(readdirSync(locks), [])
    })
  )
})

const noDisk = smallDisk === undefined ? " (skipped: no tmpfs can be mounted here)" : ""

describe.skipIf(noDisk !== "")(`on a small file system that is full${noDisk}`, () => {
  it.live("all garbage goes, and a run can be recorded afterwards", () =>
    Effect.gen(function* () {
      const disk = smallDisk!
      const root = join(disk, "store")
      mkdirSync(root)
      yield* Effect.provide(fill, storeAt(root))
      const healthy = copyOf(root)
      yield* Effect.provide(collectAll(healthy), NodeFileSystem.layer)
      let size = 1 << 16
      while (size > 0)
        try {
          appendFileSync(join(disk, "filler"), new Uint8Array(size))
        } catch (error) {
          assert.strictEqual((error as NodeJS.ErrnoException).code, "ENOSPC")
          size >>= 1
        }
      const refused = yield* Effect.flip(Effect.provide(run(root), NodeFileSystem.layer))
      assert.strictEqual(refused.reason, "full")
      yield* Effect.provide(collectAll(root), NodeFileSystem.layer)
      assert.deepStrictEqual(pathsUnder(root), pathsUnder(healthy))
      yield* Effect.provide(run(root), NodeFileSystem.layer)
    }).pipe(Effect.ensuring(Effect.sync(() => execFileSync("umount", ["-l", smallDisk!]))))
  )
})
