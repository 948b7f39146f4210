/**
 * The lifecycle of an entry, as `Store.ts` states it: begun, invisible until it is committed, then immutable and
 * shared.
 */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { keyOf } from "../../src/dag/Key.ts"
import { Store } from "../../src/store/Store.ts"
import {
  codeOf,
  finish,
  makeEntry,
  partsOf,
  Report,
  shardOf,
  storeAt,
  temporaryFolder,
  Words,
  wordsOf
} from "./Support.ts"

const parts = partsOf("node")
const key = keyOf(parts)
const code = codeOf("code")
const begin = Effect.gen(function* () {
  return yield* (yield* Store).begin({ key, code, allowStaleCode: false, fresh: false })
})
const find = Effect.gen(function* () {
  return yield* (yield* Store).find(key, code.digest)
})

describe("Store", () => {
  it.live("an entry is invisible while it is made, and visible once it is committed", () =>
    Effect.gen(function* () {
      const store = yield* Store
      yield* Effect.scoped(
        Effect.gen(function* () {
          const work = yield* begin
          yield* shardOf(work.folder, 0)
          assert.deepStrictEqual(yield* find, [])
          assert.isFalse((yield* store.keys).has(key))
          yield* finish(work, parts)
        })
      )
      assert.strictEqual((yield* find).length, 1)
      assert.isTrue((yield* store.keys).has(key))
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("work that was left is resumed: finished shards are not made again", () =>
    Effect.gen(function* () {
      const { folder, shards } = yield* Effect.scoped(
        Effect.gen(function* () {
          const work = yield* begin
          yield* shardOf(work.folder, 0)
          return work
        })
      )
      assert.strictEqual(shards.size, 0)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const work = yield* begin
          assert.strictEqual(work.folder, folder)
          assert.deepStrictEqual([...work.shards.keys()], [0])
          assert.deepStrictEqual((yield* finish(work, parts)).made, [1])
        })
      )
      assert.isFalse(existsSync(folder))
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("what is committed stays: a second begin finds it and leaves nothing to do", () =>
    Effect.gen(function* () {
      const { found } = yield* makeEntry("node")
      const existing = yield* Effect.scoped(Effect.map(begin, (work) => work.existing))
      assert.strictEqual(existing?.folder, found.folder)
      assert.deepStrictEqual(existing?.manifest, found.manifest)
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("an entry is under its key and code: another code's is found beside it, and is not taken for it", () =>
    Effect.gen(function* () {
      const own = (yield* makeEntry("node")).found
      const other = (yield* makeEntry("node", { code: codeOf("other code") })).found
      const found = yield* find
      assert.deepStrictEqual(
        found.map(({ folder }) => folder),
        [own.folder, other.folder]
      )
      assert.deepStrictEqual(
        found.map(({ aliased }) => aliased),
        [false, false]
      )
      yield* (yield* Store).alias(other, code)
      assert.deepStrictEqual(
        (yield* find).map(({ aliased }) => aliased),
        [false, true]
      )
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("an entry is read as it was written: rows, a value, and why rows were refused", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const { found } = yield* makeEntry("node")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const rows = yield* store.open(found, "rows", Words)
          assert.deepStrictEqual(yield* rows.get([0, 5]), [wordsOf(0)[0]!, wordsOf(1)[2]!])
          assert.deepStrictEqual(yield* store.open(found, "report", Report), { seen: 9 })
        })
      )
      const refused = yield* Stream.runCollect(store.refused(found))
      assert.deepStrictEqual(
        [...refused].map(({ refused: { reason, row }, shard }) => [shard, row, reason]),
        [[1, 3, "Bad"]]
      )
      assert.deepStrictEqual(yield* store.verify(found), [])
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("after a commit no work and no lock is left", () => {
    const root = temporaryFolder()
    return Effect.gen(function* () {
      yield* makeEntry("node")
      assert.deepStrictEqual(readdirSync(join(root, "work")), [])
    }).pipe(Effect.provide(storeAt(root)))
  })
})
