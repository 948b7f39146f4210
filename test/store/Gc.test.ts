/**
 * Garbage is listed first; entries that a pipeline, a pin, a live process or resumable work needs are never removed.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { keyOf } from "../../src/dag/Key.ts"
import * as Gc from "../../src/store/Gc.ts"
import { layoutOf } from "../../src/store/Layout.ts"
import { lock } from "../../src/store/Lock.ts"
import * as Process from "../../src/store/Process.ts"
import * as RunLog from "../../src/store/RunLog.ts"
import { Store, type StoredEntry } from "../../src/store/Store.ts"
import { codeOf, makeEntry, partsOf, pathsUnder, shardOf, storeAt, temporaryFolder } from "./Support.ts"

const digestOf = (found: StoredEntry) => found.manifest.outputs["rows"]!.digest

/** An entry made from others: its key and parents are those a runner would give. */
const from = (name: string, inputs: Record<string, StoredEntry>, code = "code") =>
  Effect.map(
    makeEntry(name, {
      code: codeOf(code),
      inputs: Object.fromEntries(Object.entries(inputs).map(([port, found]) => [port, digestOf(found)])),
      parents: Object.fromEntries(Object.entries(inputs).map(([port, found]) => [port, found.manifest.key]))
    }),
    ({ found }) => found
  )

const remember = (pipeline: string, instance: string, found: StoredEntry) =>
  Effect.flatMap(Store, (store) =>
    store.remember(pipeline, instance, {
      key: found.manifest.key,
      code: found.manifest.code.digest,
      parts: found.manifest.parts
    })
  )

/** Makes an entry's manifest one of software that did not check what it read. */
const unchecked = ({ folder }: StoredEntry): void => {
  const path = join(folder, "manifest.json")
  const { checksum: _, readsChecked: __, ...manifest } = JSON.parse(readFileSync(path, "utf8"))
  const outputs = Object.entries<Record<string, unknown>>(manifest.outputs).map(([port, { shards, ...output }]) => [
    port,
    Array.isArray(shards) ? { ...output, shards: shards.map(({ sums: ___, ...shard }) => shard) } : output
  ])
  writeFileSync(path, JSON.stringify({ ...manifest, format: 1, outputs: Object.fromEntries(outputs) }))
}

describe("Gc", () => {
  it.live("keeps a record of damage while something that is kept is suspect by it", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const a = yield* from("a", {})
      const b = yield* from("b", { rows: a })
      yield* remember("one", "b", b)
      const record = join(store.root, "damaged", `${a.manifest.key}.json`)
      yield* store.reopen(a, [{ port: "rows", file: "00001.jsonl" }])
      yield* from("a", {})
      assert.isTrue(existsSync(record))
      const shown = Effect.map(Gc.plan(store.root), ({ garbage }) => garbage.map((one) => one.path))
      assert.deepStrictEqual(yield* shown, [record])
      unchecked(b)
      assert.deepStrictEqual(yield* shown, [])
      assert.lengthOf((yield* store.find(b.manifest.key, b.manifest.code.digest))[0]!.suspect!, 1)
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("keeps what the given pipelines reach, shows the rest with its bytes, then removes exactly that", () =>
    Effect.gen(function* () {
      const { root } = yield* Store
      const a = yield* from("a", {})
      const b = yield* from("b", { rows: a })
      const c = yield* from("c", { rows: b })
      const loose = yield* from("loose", { rows: a })
      const other = yield* from("other", {})
      const pinned = yield* from("pinned", { rows: other })
      yield* remember("one", "c", c)
      yield* remember("two", "loose", loose)
      yield* Gc.pin(root, "paper/table 1", pinned)
      const before = pathsUnder(root)
      const plan = yield* Gc.plan(root, { pipelines: ["one"] })
      assert.deepStrictEqual(pathsUnder(root), before)
      assert.deepStrictEqual(
        plan.garbage.map((one) => [one.kind, one.what, one.path]),
        [["entry", "loose", loose.folder]]
      )
      assert.isAbove(plan.bytes, 300)
      assert.strictEqual(plan.kept, 5)
      assert.strictEqual(yield* Gc.collect(root, plan), plan.bytes)
      assert.isFalse(existsSync(loose.folder))
      assert.isFalse(existsSync(join(loose.folder, "..")))
      for (const kept of [a, b, c, other, pinned]) assert.isTrue(existsSync(join(kept.folder, "manifest.json")))
      assert.deepStrictEqual((yield* Gc.plan(root)).garbage, [])
      assert.deepStrictEqual(
        (yield* Gc.pins(root)).map((pin) => pin.name),
        ["paper/table 1"]
      )
      assert.isTrue(yield* Gc.unpin(root, "paper/table 1"))
      assert.isFalse(yield* Gc.unpin(root, "paper/table 1"))
      assert.deepStrictEqual((yield* Gc.plan(root)).garbage.map((one) => one.what).sort(), ["other", "pinned"])
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.effect.prop(
    "never removes what is reachable, in any graph",
    {
      parents: Schema.Array(Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 7 })))).check(
        Schema.isMinLength(1),
        Schema.isMaxLength(8)
      ),
      roots: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 7 })))
    },
    ({ parents, roots }) =>
      Effect.gen(function* () {
        const { root } = yield* Store
        const made: Array<StoredEntry> = []
        for (const [i, above] of parents.entries()) {
          const inputs = above.filter((one) => one < i).map((one, n) => [`p${n}`, made[one]!] as const)
          made.push(yield* from(`n${i}`, Object.fromEntries(inputs)))
        }
        const reachable = new Set<number>()
        const visit = (i: number) => {
          if (i >= parents.length || reachable.has(i)) return
          reachable.add(i)
          for (const one of parents[i]!) if (one < i) visit(one)
        }
        for (const i of roots) visit(i)
        for (const i of roots) if (i < made.length) yield* remember("p", `i${i}`, made[i]!)
        yield* Gc.collect(root, yield* Gc.plan(root))
        made.forEach((found, i) => {
          assert.strictEqual(existsSync(join(found.folder, "manifest.json")), reachable.has(i), `n${i}`)
        })
      }).pipe(Effect.provide(storeAt(temporaryFolder()))),
    { arbitrary: { runs: 8 } }
  )

  it.live("a blessed entry is kept by the code that uses it; an old code's entry goes once nobody does", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const old = yield* from("a", {}, "old")
      yield* store.alias(old, codeOf("new"))
      const last = { key: old.manifest.key, code: codeOf("new").digest, parts: old.manifest.parts }
      yield* store.remember("p", "a", last)
      assert.deepStrictEqual((yield* Gc.plan(store.root)).garbage, [])
      const fresh = yield* from("a", {}, "new")
      const plan = yield* Gc.plan(store.root)
      assert.deepStrictEqual(
        plan.garbage.map((one) => one.path),
        [old.folder]
      )
      yield* Gc.collect(store.root, plan)
      assert.isTrue(existsSync(fresh.folder))
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("work: locked is left alone, resumable is kept unless given up, empty and leftovers go", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const begin = (name: string) =>
        store.begin({ key: keyOf(partsOf(name)), code: codeOf("code"), allowStaleCode: false, fresh: false })
      yield* Effect.scoped(begin("empty"))
      const half = yield* Effect.scoped(
        Effect.gen(function* () {
          const work = yield* begin("half")
          yield* shardOf(work.folder, 0)
          return work.folder
        })
      )
      mkdirSync(join(store.root, "work", ".gone-1"))
      const record = join(store.root, "instances", "words", ".read%2Frows.json.6ec22b44d13a6af6.tmp")
      mkdirSync(join(store.root, "instances", "words"), { recursive: true })
      writeFileSync(record, "{")
      writeFileSync(join(store.root, "locks", "x.lock"), JSON.stringify({ ...Process.self(), start: "1", token: "t" }))
      const candidate = join(store.root, "locks", "y.lock.642b7068b5e74e39")
      writeFileSync(candidate, "")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const live = yield* begin("live")
          yield* shardOf(live.folder, 0)
          const plan = yield* Gc.plan(store.root)
          assert.deepStrictEqual(plan.garbage.map((one) => one.what).sort(), [
            "empty work",
            "half removed",
            "half written",
            "lock half written",
            "lock of a dead process"
          ])
          assert.deepStrictEqual(
            plan.resumable.map((one) => one.path),
            [half]
          )
          yield* Gc.collect(store.root, plan)
          assert.isFalse(existsSync(record))
          assert.isFalse(existsSync(candidate))
          assert.isTrue(existsSync(half))
          yield* Gc.collect(store.root, yield* Gc.plan(store.root, { unfinished: true }))
          assert.isFalse(existsSync(half))
          assert.isTrue(existsSync(live.folder))
          assert.lengthOf(
            readdirSync(join(store.root, "locks")).filter((name) => name.endsWith(".lock")),
            1
          )
        })
      )
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("checkpoints of finished work go, its entry stays", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const key = keyOf(partsOf("fold"))
      yield* Effect.scoped(
        Effect.gen(function* () {
          const work = yield* store.begin({ key, code: codeOf("code"), allowStaleCode: false, fresh: false })
          yield* work.saveCheckpoint({ step: 1, files: new Map([["w", new Uint8Array(1000)]]), keepLast: 1 })
        })
      )
      const found = yield* from("fold", {})
      yield* remember("p", "fold", found)
      const plan = yield* Gc.plan(store.root)
      assert.deepStrictEqual(
        plan.garbage.map((one) => one.what),
        ["checkpoints of finished fold"]
      )
      yield* Gc.collect(store.root, plan)
      assert.deepStrictEqual(yield* store.verify(found), [])
      assert.isFalse(existsSync(join(found.folder, "checkpoints")))
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("links to a source's files and lists of their digests go when no source is that any more", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const folder = temporaryFolder()
      for (const name of ["a.txt", "b.txt", ".DS_Store"]) writeFileSync(join(folder, name), name)
      const large = temporaryFolder()
      for (let i = 0; i < 4_097; i++) writeFileSync(join(large, `${i}`), "")
      const bring = (node: string, location: string) => store.fetchSource({ node, location }, { pipeline: "p" })
      const inStore = (name: string) => (existsSync(join(store.root, name)) ? readdirSync(join(store.root, name)) : [])
      const first = yield* bring("small", folder)
      yield* store.lookAtSource({ node: "large", location: large }, "p")
      yield* store.lookAtSource({ node: "small", location: folder }, "p")
      assert.deepStrictEqual((yield* Gc.plan(store.root)).garbage, [])
      writeFileSync(join(folder, "c.txt"), "c")
      const second = yield* bring("small", folder)
      mkdirSync(join(store.root, "views", `${"0".repeat(32)}.1.tmp`))
      const plan = yield* Gc.plan(store.root)
      assert.sameDeepMembers(
        plan.garbage.map((one) => [one.kind, one.what, one.bytes]),
        [
          ["links", "links to files of a source", 0],
          ["links", "half made or half removed", 0]
        ]
      )
      yield* Gc.collect(store.root, plan)
      assert.isFalse(existsSync(first.path))
      assert.deepStrictEqual(readdirSync(second.path), ["a.txt", "b.txt", "c.txt"])
      assert.lengthOf(inStore("sources"), 1)
      // Another pipeline's sources are not those of this one; and the source's own files stay whatever goes.
      const other = yield* Gc.plan(store.root, { pipelines: ["q"] })
      assert.sameMembers(
        other.garbage.map((one) => one.what),
        ["links to files of a source", "digests of a source's files"]
      )
      yield* Gc.collect(store.root, other)
      assert.deepStrictEqual([inStore("views"), inStore("sources")], [[], []])
      assert.lengthOf(readdirSync(folder), 4)
      const again = yield* bring("small", folder)
      assert.deepStrictEqual([again.path, again.digest], [second.path, second.digest])
      assert.deepStrictEqual(readdirSync(again.path), ["a.txt", "b.txt", "c.txt"])
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live(
    "nothing goes while a run is alive, or when a root cannot be read; what became reachable meanwhile stays",
    () =>
      Effect.gen(function* () {
        const { root } = yield* Store
        const a = yield* from("a", {})
        const plan = yield* Gc.plan(root)
        assert.lengthOf(plan.garbage, 1)
        const error = yield* Effect.scoped(
          Effect.gen(function* () {
            const log = yield* RunLog.start(root, { pipeline: "p", settings: {} })
            const refused = yield* Effect.flip(Gc.collect(root, plan))
            yield* log.end("done")
            return refused
          })
        )
        assert.strictEqual(error.reason, "locked")
        const run = RunLog.start(root, { pipeline: "p", settings: {} })
        const begun = yield* Effect.scoped(
          Effect.gen(function* () {
            yield* lock(layoutOf(root).gcLock) // as a collection that is removing holds it
            const begun = yield* Effect.forkDetach(Effect.scoped(Effect.flatMap(run, (log) => log.end("done"))))
            yield* Effect.sleep("200 millis")
            assert.lengthOf(yield* RunLog.list(root), 1)
            return begun
          })
        )
        yield* Fiber.join(begun)
        assert.lengthOf(yield* RunLog.list(root), 2)
        yield* remember("p", "a", a)
        assert.strictEqual(yield* Gc.collect(root, plan), 0)
        assert.isTrue(existsSync(a.folder))
        writeFileSync(join(root, "instances/p/b.json"), "{")
        assert.strictEqual((yield* Effect.flip(Gc.plan(root))).reason, "damaged")
      }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("of entries that go together, one that is locked stays, and what became reachable with its parents", () =>
    Effect.gen(function* () {
      const { root } = yield* Store
      const layout = layoutOf(root)
      const a = yield* from("a", {})
      const b = yield* from("b", { rows: a })
      const locked = yield* from("locked", {})
      const goes = [yield* from("c", {}), yield* from("d", {}), yield* from("d", {}, "other")]
      const plan = yield* Gc.plan(root)
      assert.sameMembers(
        plan.garbage.map(({ path }) => path),
        [a, b, locked, ...goes].map(({ folder }) => folder)
      )
      yield* remember("p", "b", b)
      const bytes = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* lock(layout.lock(locked.manifest.key, locked.manifest.code.digest))
          return yield* Gc.collect(root, plan)
        })
      )
      const went = plan.garbage.filter(({ path }) => goes.some(({ folder }) => folder === path))
      assert.strictEqual(
        bytes,
        went.reduce((sum, one) => sum + one.bytes, 0)
      )
      for (const { folder } of [a, b, locked]) assert.isTrue(existsSync(folder))
      for (const { manifest } of goes) assert.isFalse(existsSync(layout.keyFolder(manifest.key)))
      assert.isUndefined(readdirSync(layout.entries).find((name) => name.startsWith(".")))
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )
})
