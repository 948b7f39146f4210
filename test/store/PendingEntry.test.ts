/**
 * Killed or failing at any change, the commit shows the old state or the whole new entry; what was durable is resumed.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, type FileSystem, Layer, Schedule, Stream } from "effect"
import { keyOf } from "../../src/dag/Key.ts"
import * as Process from "../../src/store/Process.ts"
import { writeShard } from "../../src/store/ShardFiles.ts"
import { Store, StoreError } from "../../src/store/Store.ts"
import {
  buryLocks,
  codeOf,
  Files,
  faulty,
  finish,
  makeEntry,
  outputs,
  partsOf,
  pathsUnder,
  Report,
  refusing,
  shardCount,
  shardOf,
  storeAt,
  temporaryFolder,
  Words,
  wordsOf
} from "./Support.ts"

const key = keyOf(partsOf("node"))

/** Reads everything of the only entry under the key and compares it with what was written. */
const checkWhole = Effect.gen(function* () {
  const store = yield* Store
  const [found, ...more] = yield* store.find(key, codeOf("code").digest)
  assert.lengthOf(more, 0)
  if (found === undefined) return false
  assert.deepStrictEqual(yield* store.verify(found), [])
  const read = yield* Effect.scoped(
    Effect.gen(function* () {
      const words = yield* store.open(found, "rows", Words)
      const files = yield* store.open(found, "files", Files)
      const report = yield* store.open(found, "report", Report)
      const all = yield* words.get(Array.from({ length: words.length }, (_, i) => i))
      return { all, files, report }
    })
  )
  assert.deepStrictEqual(read.all, Array.from({ length: shardCount }, (_, i) => wordsOf(i)).flat())
  assert.strictEqual(readFileSync(join(read.files.path, "sub", "b.txt"), "utf8"), "contents of b")
  assert.deepStrictEqual(read.report, { seen: 9 })
  assert.lengthOf(yield* Stream.runCollect(store.refused(found)), 1)
  return true
})

const digestsOf = Effect.map(
  Effect.flatMap(Store, (store) => store.find(key, codeOf("code").digest)),
  (found) => Object.fromEntries(Object.entries(found[0]!.manifest.outputs).map(([port, one]) => [port, one.digest]))
)

describe("PendingEntry", () => {
  for (const how of ["crash", "ENOSPC"])
    it.live(
      `${how} at every change leaves the old state or the whole entry, and the next run completes it`,
      () =>
        Effect.gen(function* () {
          const counting = faulty({ at: Number.POSITIVE_INFINITY, how })
          yield* Effect.provide(makeEntry("node"), storeAt(temporaryFolder(), counting.layer))
          const expected = yield* Effect.gen(function* () {
            yield* makeEntry("node")
            return yield* digestsOf
          }).pipe(Effect.provide(storeAt(temporaryFolder())))
          assert.isAbove(counting.count(), 60)
          let completed = 0
          const one = Effect.fnUntraced(function* (at: number) {
            const root = temporaryFolder()
            const exit = yield* Effect.exit(Effect.provide(makeEntry("node"), storeAt(root, faulty({ at, how }).layer)))
            if (how === "ENOSPC" && Exit.isFailure(exit)) {
              const error = exit.cause.reasons.flatMap((one) => (one._tag === "Fail" ? [one.error] : []))[0]
              if (error instanceof StoreError) {
                assert.strictEqual(error.reason, "full")
                assert.include(error.hint, "gc")
              }
            }
            buryLocks(root)
            yield* Effect.gen(function* () {
              if (yield* checkWhole) completed++
              else {
                yield* makeEntry("node")
                assert.isTrue(yield* checkWhole)
              }
              assert.deepStrictEqual(yield* digestsOf, expected)
            }).pipe(Effect.provide(storeAt(root)))
            const left = pathsUnder(join(root, "entries")).filter((path) => path.endsWith(".tmp"))
            assert.deepStrictEqual(left, [], `leftovers after a fault at change ${at}`)
            rmSync(root, { recursive: true })
          })
          yield* Effect.forEach(
            Array.from({ length: counting.count() }, (_, at) => at),
            one,
            { concurrency: 4 }
          )
          assert.isBelow(completed, counting.count() / 2)
        }),
      180_000
    )

  it.live("a killed sharded node repeats only the shards without a record", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      const layer = storeAt(root)
      yield* Effect.gen(function* () {
        const store = yield* Store
        yield* Effect.scoped(
          Effect.gen(function* () {
            const work = yield* store.begin({ key, code: codeOf("code"), allowStaleCode: false, fresh: false })
            yield* shardOf(work.folder, 1)
          })
        )
        assert.lengthOf(yield* store.find(key, codeOf("code").digest), 0)
        const { made } = yield* makeEntry("node")
        assert.deepStrictEqual(made, [0])
        assert.isTrue(yield* checkWhole)
      }).pipe(Effect.provide(layer))
    })
  )

  it.live("`fresh` throws earlier work away, but not what another `fresh` began", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const begin = (fresh: boolean) => store.begin({ key, code: codeOf("code"), allowStaleCode: false, fresh })
      yield* Effect.scoped(Effect.flatMap(begin(false), (work) => shardOf(work.folder, 0)))
      const killed = Effect.flatMap(begin(true), (work) => Effect.as(shardOf(work.folder, 1), [...work.shards.keys()]))
      assert.deepStrictEqual(yield* Effect.scoped(killed), [])
      const again = yield* Effect.scoped(Effect.flatMap(begin(true), (work) => finish(work, partsOf("node"))))
      assert.deepStrictEqual(again.made, [0])
      assert.notInclude(pathsUnder(again.found.folder), "forced")
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("`allowStaleCode` takes over unfinished work of other code, and only then", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const begin = (code: string, allowStaleCode: boolean) =>
        store.begin({ key, code: codeOf(code), allowStaleCode, fresh: false })
      yield* Effect.scoped(
        Effect.gen(function* () {
          const work = yield* begin("old", false)
          yield* shardOf(work.folder, 0)
          yield* work.saveCheckpoint({ step: 5, files: new Map([["n", new Uint8Array([5])]]), keepLast: 1 })
        })
      )
      assert.strictEqual(yield* Effect.scoped(Effect.map(begin("new", false), (work) => work.shards.size)), 0)
      const other = yield* Effect.scoped(
        Effect.gen(function* () {
          const work = yield* begin("new", true)
          return { shards: work.shards.size, step: (yield* work.newestCheckpoint)?.step, begunBy: work.begunBy }
        })
      )
      // "new" had left an empty work folder of its own, which is no reason to start over.
      const begunBy = [codeOf("old").digest]
      assert.deepStrictEqual(other, { shards: 1, step: 5, begunBy })
      // Once accepted it is this code's work; where it came from stays known.
      const done = yield* Effect.scoped(Effect.flatMap(begin("new", false), (work) => finish(work, partsOf("node"))))
      assert.deepStrictEqual(done.made, [1])
      assert.deepStrictEqual(done.found.manifest.begunBy, begunBy)
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("`allowStaleCode` never takes over what another file's definition began", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const begin = (code: string, file: string) =>
        store.begin({ key, code: { ...codeOf(code), file }, allowStaleCode: true, fresh: false })
      yield* Effect.scoped(Effect.flatMap(begin("old", "a.ts"), (work) => shardOf(work.folder, 0)))
      const shards = (code: string, file: string) =>
        Effect.scoped(Effect.map(begin(code, file), (work) => work.shards.size))
      assert.strictEqual(yield* shards("other", "b.ts"), 0)
      assert.strictEqual(yield* shards("new", "a.ts"), 1)
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("committing what exists keeps the existing entry", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const first = yield* makeEntry("node")
      const marker = join(first.found.folder, "marker")
      writeFileSync(marker, "")
      const again = yield* Effect.scoped(
        Effect.gen(function* () {
          const work = yield* store.begin({ key, code: codeOf("code"), allowStaleCode: false, fresh: true })
          assert.strictEqual(work.existing?.folder, first.found.folder)
          return yield* finish(work, partsOf("node"))
        })
      )
      assert.strictEqual(again.found.folder, first.found.folder)
      assert.isTrue(existsSync(marker))
      assert.deepStrictEqual(again.made, [0, 1])
      assert.deepStrictEqual(again.found.differing, [])
      const other = yield* Effect.scoped(
        Effect.gen(function* () {
          const work = yield* store.begin({ key, code: codeOf("code"), allowStaleCode: false, fresh: true })
          const values = { report: { seen: 10 } }
          const shards = [yield* shardOf(work.folder, 0), yield* shardOf(work.folder, 1)]
          const { files: _, ...some } = outputs
          return yield* work.commit({
            parts: partsOf("node"),
            parents: {},
            shards,
            values,
            outputs: some,
            peakMemory: 0
          })
        })
      )
      assert.deepStrictEqual(other.manifest, first.found.manifest)
      assert.lengthOf(other.differing ?? [], 1)
      assert.match(other.differing![0]!, /^report: made [0-9a-f]{12}, stored [0-9a-f]{12}$/)
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("a commit killed between manifest and rename is finished by the next begin", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      const fault = faulty({ at: 0, how: "crash", when: (what, path) => what === "rename" && /entries/.test(path) })
      const exit = yield* Effect.exit(Effect.provide(makeEntry("node"), storeAt(root, fault.layer)))
      assert.isTrue(Exit.isFailure(exit))
      buryLocks(root)
      yield* Effect.gen(function* () {
        const store = yield* Store
        assert.lengthOf(yield* store.find(key, codeOf("code").digest), 0)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const work = yield* store.begin({ key, code: codeOf("code"), allowStaleCode: false, fresh: false })
            assert.isDefined(work.existing)
          })
        )
        assert.isTrue(yield* checkWhole)
      }).pipe(Effect.provide(storeAt(root)))
    })
  )

  it.live("equal work has equal digests, whatever its store, code and instance", () =>
    Effect.gen(function* () {
      const make = (code: string) =>
        Effect.gen(function* () {
          yield* makeEntry("node", { code: codeOf(code) })
          return yield* digestsOf
        }).pipe(Effect.provide(storeAt(temporaryFolder())))
      assert.deepStrictEqual(yield* make("one"), yield* make("two"))
    })
  )

  it.live("a shard without a record refuses the commit", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const error = yield* Effect.scoped(
        Effect.gen(function* () {
          const work = yield* store.begin({ key, code: codeOf("code"), allowStaleCode: false, fresh: false })
          const record = yield* shardOf(work.folder, 1)
          return yield* Effect.flip(
            work.commit({
              parts: partsOf("node"),
              parents: {},
              shards: [record],
              values: { report: { seen: 0 } },
              outputs,
              peakMemory: 0
            })
          )
        })
      )
      assert.strictEqual(error.reason, "missing")
    }).pipe(Effect.provide(Layer.mergeAll(storeAt(temporaryFolder()), NodeFileSystem.layer)))
  )

  const begun = Effect.flatMap(Store, (store) =>
    store.begin({ key, code: codeOf("code"), allowStaleCode: false, fresh: false })
  )

  for (const [how, spoil] of [
    ["shorter", (path: string) => writeFileSync(path, "x")],
    ["gone", () => undefined]
  ] as const)
    it.live(`a shard's file that is ${how} when the node is committed is refused by name, and made again alone`, () =>
      Effect.gen(function* () {
        const path = (folder: string) => join(folder, "ports/rows/00001.jsonl")
        const error = yield* Effect.scoped(
          Effect.gen(function* () {
            const work = yield* begun
            const shards = [yield* shardOf(work.folder, 0), yield* shardOf(work.folder, 1)]
            rmSync(path(work.folder))
            spoil(path(work.folder))
            yield* work.treeFolder("files")
            const values = { report: { seen: 9 } }
            return yield* Effect.flip(
              work.commit({ parts: partsOf("node"), parents: {}, shards, values, outputs, peakMemory: 0 })
            )
          })
        )
        assert.strictEqual(error.reason, "damaged")
        assert.include(error.message, "rows/00001.jsonl")
        const { made } = yield* makeEntry("node")
        assert.deepStrictEqual(made, [1])
        assert.isTrue(yield* checkWhole)
      }).pipe(Effect.provide(storeAt(temporaryFolder())))
    )

  it.live("what dead attempts left goes under the lock, at the beginning and at the commit", () =>
    Effect.gen(function* () {
      const left = (folder: string, names: ReadonlyArray<string>) => {
        for (const name of names) {
          mkdirSync(dirname(join(folder, name)), { recursive: true })
          writeFileSync(join(folder, name), "half")
        }
      }
      const names = [
        ".manifest.json.0123456789abcdef.tmp",
        "ports/rows/.00000.jsonl.0123456789abcdef.tmp",
        "ports/rows/00001.jsonl.tmp",
        "refused/00001.jsonl.part0",
        "shards/.00001.json.0123456789abcdef.tmp"
      ]
      const folder = yield* Effect.scoped(Effect.map(begun, (work) => work.folder))
      left(folder, names)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const work = yield* begun
          assert.deepStrictEqual(
            pathsUnder(folder).filter((path) => names.includes(path)),
            []
          )
          left(folder, names) // and of a thread that died meanwhile
          yield* finish(work, partsOf("node"))
        })
      )
      assert.isTrue(yield* checkWhole)
      const [found] = yield* Effect.flatMap(Store, (store) => store.find(key, codeOf("code").digest))
      assert.deepStrictEqual(
        pathsUnder(found!.folder).filter((path) => names.includes(path)),
        []
      )
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("a process that lost its lock saves no checkpoint, gives no shard its name and commits nothing", () =>
    Effect.gen(function* () {
      const lost = yield* Effect.scoped(
        Effect.gen(function* () {
          const work = yield* begun
          const shards = [yield* shardOf(work.folder, 0), yield* shardOf(work.folder, 1)]
          rmSync(work.fence!.path)
          writeFileSync(work.fence!.path, JSON.stringify({ ...Process.self(), token: "another" }))
          const step = { step: 1, files: new Map([["a", new Uint8Array(3)]]), keepLast: 1 }
          const tries: ReadonlyArray<Effect.Effect<unknown, StoreError, FileSystem.FileSystem>> = [
            work.saveCheckpoint(step),
            work.treeFolder("files"),
            writeShard({
              folder: work.folder,
              fence: work.fence,
              index: 0,
              outputs: { rows: { artifact: Words, batches: Stream.make(wordsOf(0)) } },
              refusals: refusing([]),
              rowsIn: () => 3
            }),
            work.commit({
              parts: partsOf("node"),
              parents: {},
              shards,
              values: { report: { seen: 9 } },
              outputs,
              peakMemory: 0
            })
          ]
          return yield* Effect.forEach(tries, Effect.flip)
        })
      )
      assert.deepStrictEqual(
        lost.map(({ reason }) => reason),
        ["lost", "lost", "lost", "lost"]
      )
      assert.isFalse(yield* checkWhole)
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("the tree of a holder that lost its lock stays out of the next one's", () =>
    Effect.gen(function* () {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const late = yield* begun
          const theirs = yield* late.treeFolder("files")
          writeFileSync(join(theirs, "a.txt"), "of the first")
          buryLocks((yield* Store).root)
          const work = yield* begun
          yield* Effect.forkScoped(
            Effect.repeat(
              Effect.sync(() => existsSync(theirs) && writeFileSync(join(theirs, "a.txt"), "of the first, late")),
              { schedule: Schedule.spaced(1) }
            )
          )
          yield* finish(work, partsOf("node"))
        })
      )
      assert.isTrue(yield* checkWhole)
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("a killed commit whose files changed since is not finished: the damaged shard is made again", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      const fault = faulty({ at: 0, how: "crash", when: (what, path) => what === "rename" && /entries/.test(path) })
      yield* Effect.exit(Effect.provide(makeEntry("node"), storeAt(root, fault.layer)))
      buryLocks(root)
      yield* Effect.gen(function* () {
        const folder = join(root, "work", `${key}.${codeOf("code").digest}`)
        const shard = join(folder, "ports/rows/00001.jsonl")
        const bytes = readFileSync(shard)
        rmSync(shard)
        writeFileSync(shard, Buffer.concat([Buffer.from("X"), bytes.subarray(1)])) // same size
        assert.deepStrictEqual((yield* makeEntry("node")).made, [1])
        assert.isTrue(yield* checkWhole)
      }).pipe(Effect.provide(storeAt(root)))
    })
  )
})
