/**
 * An unchanged source is hashed once, by any process; one that may still change within its time stamp is not trusted.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Schema } from "effect"
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

/** Longer than the grain within which a change is not trusted. */
const settle = Effect.sleep(60)

const digestOf = (path: string, files?: ReadonlyArray<string>, store = temporaryFolder()) =>
  Effect.flatMap(Sources.make(layoutOf(store), { readOnly: false }), (sources) =>
    sources.digest("n", path, files)
  ).pipe(Effect.provide(NodeFileSystem.layer))

describe("Sources", () => {
  it.live("files and folders that did not change are not read again, also by the next process", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const store = temporaryFolder()
      for (const name of ["a", "b", "c"]) old(join(folder, name), name, 1000)
      yield* settle
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
      yield* settle
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

  it.live("other bytes of equal size and time are seen: no program sets `ctime` back", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const store = temporaryFolder()
      const path = join(folder, "a")
      old(path, "one", 1000)
      yield* settle
      const one = yield* digestOf(folder, undefined, store)
      const file = yield* digestOf(path, undefined, store)
      yield* settle
      old(path, "two", 1000)
      yield* settle
      assert.strictEqual(statSync(path).mtimeMs, 1_000_000)
      assert.notStrictEqual((yield* digestOf(folder, undefined, store)).digest, one.digest)
      assert.notStrictEqual((yield* digestOf(path, undefined, store)).digest, file.digest)
    })
  )

  it.effect.prop(
    "what a program leaves behind, or is hidden, is no part of a source, wherever it lies",
    {
      names: Schema.Array(
        Schema.Literals([
          ".DS_Store",
          "._a.txt",
          ".hidden/a.txt",
          "Thumbs.db",
          "desktop.ini",
          "__MACOSX/a.txt",
          "a.txt~",
          "deep/.DS_Store",
          "deep/THUMBS.DB",
          ".git/config"
        ])
      )
    },
    ({ names }) =>
      Effect.gen(function* () {
        const folder = temporaryFolder()
        const write = (name: string) => {
          mkdirSync(join(folder, name, ".."), { recursive: true })
          writeFileSync(join(folder, name), name)
        }
        write("a.txt")
        write("deep/b.txt")
        const plain = yield* digestOf(folder)
        assert.isFalse(plain.partly)
        names.forEach(write)
        const store = temporaryFolder()
        const sources = yield* Sources.make(layoutOf(store), { readOnly: false })
        const now = yield* sources.digest("n", folder)
        assert.strictEqual(now.digest, plain.digest)
        assert.strictEqual(now.partly, names.length > 0)
        const shown = yield* sources.shown(folder)
        const seen = readdirSync(shown, { recursive: true, encoding: "utf8" }).sort()
        assert.deepStrictEqual(seen, ["a.txt", "deep", join("deep", "b.txt")])
        assert.strictEqual(readFileSync(join(shown, "deep/b.txt"), "utf8"), "deep/b.txt")
      }).pipe(Effect.provide(NodeFileSystem.layer)),
    { arbitrary: { runs: 20 } }
  )

  it.live("`files` selects of a folder here as of one at an address, and says what it does not find", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      for (const name of ["a.json", "b.json", "c.txt", ".d.json"]) writeFileSync(join(folder, name), name)
      const json = yield* digestOf(folder, ["*.json"])
      assert.isTrue(json.partly)
      rmSync(join(folder, "c.txt"))
      assert.strictEqual((yield* digestOf(folder, ["*.json"])).digest, json.digest)
      assert.notStrictEqual((yield* digestOf(folder, ["*.json", ".d.json"])).digest, json.digest)
      const missing = yield* Effect.flip(digestOf(folder, ["*.parquet"]))
      assert.include(missing.message, "has no *.parquet")
      const outside = yield* Effect.flip(digestOf(folder, ["../a.json"]))
      assert.include(outside.message, "no name below")
      const file = yield* Effect.flip(digestOf(join(folder, "a.json"), ["*.json"]))
      assert.include(file.message, "is one file")
    })
  )

  it.live("of a folder of more than 4,096 files, one that changed is read again, alone", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const store = temporaryFolder()
      for (let i = 0; i < 4_100; i++) writeFileSync(join(folder, `${i}`), `${i}`)
      yield* settle
      const first = yield* digestOf(folder, undefined, store)
      writeFileSync(join(folder, "7"), "seven")
      yield* settle
      const { layer, opened } = watched(folder)
      const second = yield* Effect.flatMap(Sources.make(layoutOf(store), { readOnly: false }), (sources) =>
        sources.digest("n", folder)
      ).pipe(Effect.provide(layer))
      assert.deepStrictEqual(opened, ["7"])
      assert.notStrictEqual(second.digest, first.digest)
    })
  )
})
