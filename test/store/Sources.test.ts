/** An unchanged source is hashed once, by any process; one that may still change within its time stamp is not trusted. */
import { utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { layoutOf } from "../../src/store/Layout.ts"
import * as Sources from "../../src/store/Sources.ts"
import { temporaryFolder } from "./Support.ts"

/** Node's file system that lists the files opened for reading below a folder. */
const watched = (folder: string) => {
  const opened: Array<string> = []
  const layer = Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (real) =>
      FileSystem.FileSystem.of({
        ...real,
        open: (path, options) => {
          if (path.startsWith(folder)) opened.push(path.slice(folder.length + 1))
          return real.open(path, options)
        }
      })
    )
  ).pipe(Layer.provide(NodeFileSystem.layer))
  return { opened, layer }
}

const old = (path: string, text: string, second: number) => {
  writeFileSync(path, text)
  utimesSync(path, second, second)
}

describe("Sources", () => {
  it.live("files and folders that did not change are not read again, also by the next process", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const store = temporaryFolder()
      for (const name of ["a", "b", "c"]) old(join(folder, name), name, 1000)
      const look = Effect.gen(function* () {
        const { opened, layer } = watched(folder)
        const found = yield* Effect.gen(function* () {
          const sources = yield* Sources.make(layoutOf(store), { readOnly: false })
          return [yield* sources.digest("n", folder), yield* sources.digest("n", join(folder, "a"))] as const
        }).pipe(Effect.provide(layer))
        return { found, opened: opened.sort() }
      })
      const first = yield* look
      assert.deepStrictEqual(first.opened, ["a", "b", "c"])
      const second = yield* look
      assert.deepStrictEqual(second.opened, [])
      assert.deepStrictEqual(second.found, first.found)
      old(join(folder, "b"), "B", 2000)
      const third = yield* look
      assert.deepStrictEqual(third.opened, ["b"])
      assert.notStrictEqual(third.found[0].digest, first.found[0].digest)
      writeFileSync(join(store, "sources.json"), "{")
      const fourth = yield* look
      assert.deepStrictEqual(fourth.opened, ["a", "b", "c"])
      assert.deepStrictEqual(fourth.found, third.found)
    })
  )

  it.live("a file written just now is read every time: a second write could hide in its time stamp", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const path = join(folder, "fresh")
      writeFileSync(path, "one")
      const { opened, layer } = watched(folder)
      yield* Effect.gen(function* () {
        const sources = yield* Sources.make(layoutOf(temporaryFolder()), { readOnly: false })
        const one = yield* sources.digest("n", path)
        writeFileSync(path, "two")
        const two = yield* sources.digest("n", path)
        assert.notStrictEqual(two.digest, one.digest)
      }).pipe(Effect.provide(layer))
      assert.lengthOf(opened, 2)
    })
  )
})
