/**
 * No small record is believed that is not what was written where it lies: remembered digests with an altered bit are
 * taken anew, and a record that lies in another's place is noticed.
 */
import { mkdirSync, readFileSync, renameSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as CodeDigest from "../../src/store/CodeDigest.ts"
import * as Gc from "../../src/store/Gc.ts"
import { layoutOf } from "../../src/store/Layout.ts"
import * as Sources from "../../src/store/Sources.ts"
import { Store, type StoredEntry } from "../../src/store/Store.ts"
import { makeEntry, said, storeAt, temporaryFolder } from "./Support.ts"

/** Longer than the grain within which a change of a file is not trusted. */
const settle = Effect.sleep(60)

/** A digest in a file as another one: a digit of it with one bit flipped. */
const alter = (path: string, digest: string): void => {
  const text = readFileSync(path, "utf8")
  assert.include(text, digest)
  const other = digest.replace(/^./, (digit) => String.fromCharCode(digit.charCodeAt(0) ^ 1))
  writeFileSync(path, text.replaceAll(digest, other))
}

/** The same without a checksum: as an earlier version wrote it, or with a flipped bit in the word. */
const uncheck = (path: string): void => {
  const { checksum: _, ...rest } = JSON.parse(readFileSync(path, "utf8"))
  writeFileSync(path, JSON.stringify(rest))
}

const swap = (a: string, b: string): void => {
  renameSync(a, `${a}.aside`)
  renameSync(b, a)
  renameSync(`${a}.aside`, b)
}

const sourceDigest = (store: string, path: string) =>
  Effect.flatMap(Sources.make(layoutOf(store), { readOnly: false }), (sources) => sources.digest("n", path)).pipe(
    Effect.map(({ digest }) => digest),
    Effect.provide(NodeFileSystem.layer)
  )

const codeDigest = (store: string, file: string) =>
  Effect.flatMap(CodeDigest.make(layoutOf(store), { readOnly: false }), (codes) =>
    codes.digest({ file, assets: [] })
  ).pipe(
    Effect.map(({ digest }) => digest),
    Effect.provide(NodeFileSystem.layer)
  )

const remember = (pipeline: string, instance: string, { manifest }: StoredEntry) =>
  Effect.flatMap(Store, (store) =>
    store.remember(pipeline, instance, { key: manifest.key, code: manifest.code.digest, parts: manifest.parts })
  )

describe("A remembered digest that was altered", () => {
  it.live("of a source is taken anew, whether a checksum tells or none is there", () =>
    Effect.gen(function* () {
      const store = temporaryFolder()
      const path = join(temporaryFolder(), "rows.json")
      writeFileSync(path, "[]")
      utimesSync(path, 1000, 1000)
      yield* settle
      const digest = yield* sourceDigest(store, path)
      alter(join(store, "sources.json"), digest)
      assert.strictEqual(yield* sourceDigest(store, path), digest)
      alter(join(store, "sources.json"), digest)
      uncheck(join(store, "sources.json"))
      assert.strictEqual(yield* sourceDigest(store, path), digest)
    })
  )

  it.live("of code is taken anew, whether a checksum tells or none is there", () =>
    Effect.gen(function* () {
      const store = temporaryFolder()
      const folder = temporaryFolder()
      const file = join(folder, "node.ts")
      writeFileSync(join(folder, "package.json"), '{ "name": "recipe", "type": "module" }')
      writeFileSync(file, "export const one = 1\n")
      yield* settle
      const digest = yield* codeDigest(store, file)
      alter(join(store, "code.json"), digest)
      assert.strictEqual(yield* codeDigest(store, file), digest)
      alter(join(store, "code.json"), digest)
      uncheck(join(store, "code.json"))
      assert.strictEqual(yield* codeDigest(store, file), digest)
    })
  )
})

describe("A record in another's place", () => {
  it.live("of an instance is none, a plan is told so, and nothing is collected until it is written anew", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const { found: a } = yield* makeEntry("a")
      const { found: b } = yield* makeEntry("b")
      yield* remember("p", "a", a)
      yield* remember("p", "b", b)
      assert.strictEqual((yield* store.last("p", "a"))?.key, a.manifest.key)
      swap(join(store.root, "instances/p/a.json"), join(store.root, "instances/p/b.json"))
      said.length = 0
      assert.isUndefined(yield* store.last("p", "a"))
      assert.isUndefined(yield* store.last("p", "b"))
      assert.match(said.join("\n"), /a\.json .*it is the record of instance b, in the place of a/)
      const error = yield* Effect.flip(Gc.plan(store.root))
      assert.strictEqual(error.reason, "damaged")
      assert.include(error.message, "nothing is collected")
      yield* remember("p", "a", a)
      yield* remember("p", "b", b)
      assert.strictEqual((yield* Gc.plan(store.root)).garbage.length, 0)
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("of an earlier version names nobody: it is read, and names its instance from the next run on", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const { found } = yield* makeEntry("a")
      yield* remember("p", "a", found)
      const path = join(store.root, "instances/p/a.json")
      const { checksum: _, instance: __, pipeline: ___, ...before } = JSON.parse(readFileSync(path, "utf8"))
      writeFileSync(path, JSON.stringify(before))
      assert.strictEqual((yield* store.last("p", "a"))?.key, found.manifest.key)
      yield* remember("p", "a", found)
      assert.include(readFileSync(path, "utf8"), '"instance":"a"')
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("of a pin is none, and nothing is collected", () =>
    Effect.gen(function* () {
      const { root } = yield* Store
      for (const name of ["a", "b"]) yield* Gc.pin(root, name, (yield* makeEntry(name)).found)
      assert.lengthOf(yield* Gc.pins(root), 2)
      swap(join(root, "pins/a.json"), join(root, "pins/b.json"))
      assert.deepStrictEqual(yield* Gc.pins(root), [])
      writeFileSync(join(root, "pins/%zz.json"), "{}")
      assert.deepStrictEqual(yield* Gc.pins(root), [])
      assert.strictEqual((yield* Effect.flip(Gc.plan(root))).reason, "damaged")
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("of what a source was last is none, and nothing is collected; so is one with an altered bit", () =>
    Effect.gen(function* () {
      const { root } = yield* Store
      const folder = join(root, "uses", "p")
      mkdirSync(folder, { recursive: true })
      const digest = "a".repeat(64)
      writeFileSync(join(folder, "x.json"), JSON.stringify({ digest, pipeline: "p", instance: "y" }))
      assert.match((yield* Effect.flip(Gc.plan(root))).message, /record of instance y, in the place of x/)
      writeFileSync(join(folder, "x.json"), JSON.stringify({ digest, pipeline: "p", instance: "x" }))
      assert.deepStrictEqual((yield* Gc.plan(root)).garbage, [])
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )
})
