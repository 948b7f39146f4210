/**
 * Power cuts on every path that commits: of each state that one may leave, what was told durable is there, nothing
 * wrong is published, and going on ends with the undisturbed digests. `POWER_CUTS` sets the states a path (24).
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Stream } from "effect"
import { keyOf } from "../../src/dag/Key.ts"
import * as Gc from "../../src/store/Gc.ts"
import { openPendingFolder } from "../../src/store/PendingEntry.ts"
import { readShardRecords } from "../../src/store/Records.ts"
import * as RunLog from "../../src/store/RunLog.ts"
import { writeShard } from "../../src/store/ShardFiles.ts"
import { Store } from "../../src/store/Store.ts"
import { dice, kinds, type Recording, recording } from "./PowerCut.ts"
import {
  buryLocks,
  codeOf,
  makeEntry,
  partsOf,
  refusing,
  shardOf,
  storeAt,
  temporaryFolder,
  Words,
  wordsOf
} from "./Support.ts"

const CUTS = Number(process.env["POWER_CUTS"] ?? 24)
const key = keyOf(partsOf("node"))
const code = codeOf("code")
const node = Effect.provide(NodeFileSystem.layer)

const foundOf = (of: string = key) =>
  Effect.map(
    Effect.flatMap(Store, (store) => store.find(of, code.digest)),
    (all) => all[0]
  )

/** Every entry that can be found is sound in every byte. */
const nothingWrong = Effect.gen(function* () {
  const store = yield* Store
  for (const one of yield* store.keys)
    for (const found of yield* store.find(one, code.digest))
      assert.deepStrictEqual(yield* store.verify(found), [], found.folder)
})

const digestsOf = Effect.map(foundOf(), (found) =>
  Object.fromEntries(Object.entries(found?.manifest.outputs ?? {}).map(([port, one]) => [port, one.digest]))
)

const undisturbed = Effect.andThen(makeEntry("node"), digestsOf).pipe(Effect.provide(storeAt(temporaryFolder())))

type Act = (disk: Recording) => Effect.Effect<unknown, unknown, Store | FileSystem.FileSystem>
type Check = (told: ReadonlySet<string>) => Effect.Effect<unknown, unknown, Store | FileSystem.FileSystem>

/** Does `act` on a recorded disk that holds what `before` made, then checks states that cuts leave, evenly spread. */
const cuts = (options: {
  readonly seed: number
  readonly before?: (root: string) => Effect.Effect<unknown, unknown, never>
  readonly act: Act
  readonly check: Check
}) =>
  Effect.gen(function* () {
    const root = temporaryFolder()
    if (options.before !== undefined) yield* options.before(root)
    const disk = recording(root)
    yield* Effect.provide(options.act(disk), storeAt(root, disk.layer))
    const pick = dice(options.seed)
    const one = (cut: number) =>
      Effect.gen(function* () {
        const upto = CUTS >= disk.count() ? cut % (disk.count() + 1) : pick(disk.count() + 1)
        const kind = kinds[cut % kinds.length]!
        const left = join(temporaryFolder(), "store")
        const told = disk.cut(upto, left, kind, pick)
        buryLocks(left)
        yield* Effect.provide(options.check(told), storeAt(left)).pipe(
          Effect.catchDefect((defect) => {
            const message = defect instanceof Error ? defect.message : String(defect)
            return Effect.die(new Error(`cut ${cut}, after ${upto} of ${disk.count()} changes, ${kind}: ${message}`))
          })
        )
        rmSync(left, { recursive: true, force: true })
      })
    yield* Effect.forEach(
      Array.from({ length: CUTS }, (_, cut) => cut),
      one,
      { concurrency: 4, discard: true }
    )
  })

/** Going on ends with the undisturbed digests, and nothing wrong was to be seen before. */
const goesOn = Effect.gen(function* () {
  yield* nothingWrong
  yield* makeEntry("node")
  yield* nothingWrong
  assert.deepStrictEqual(yield* digestsOf, yield* undisturbed)
})

describe("a power cut", () => {
  it.live(
    "while a node is made and committed",
    () =>
      cuts({
        seed: 1,
        act: (disk) => Effect.andThen(makeEntry("node"), disk.told("entry")),
        check: (told) =>
          Effect.gen(function* () {
            if (told.has("entry")) assert.isDefined(yield* foundOf())
            yield* goesOn
          })
      }),
    180_000
  )

  const damage = (root: string) =>
    Effect.gen(function* () {
      yield* makeEntry("node")
      const path = join((yield* foundOf())!.folder, "ports/rows/00001.jsonl")
      const bytes = readFileSync(path)
      rmSync(path)
      writeFileSync(path, Buffer.concat([Buffer.from("X"), bytes.subarray(1)])) // a flipped byte, the size is right
    }).pipe(Effect.provide(storeAt(root)))

  it.live(
    "while a damaged shard is repaired: it is never published again",
    () =>
      cuts({
        seed: 2,
        before: damage,
        act: (disk) =>
          Effect.gen(function* () {
            const store = yield* Store
            const found = (yield* foundOf())!
            yield* store.reopen(found, yield* store.verify(found))
            yield* disk.told("taken back")
            assert.deepStrictEqual((yield* makeEntry("node")).made, [1])
            yield* disk.told("repaired")
          }),
        check: (told) =>
          Effect.gen(function* () {
            const store = yield* Store
            const before = yield* foundOf()
            if (told.has("repaired")) assert.isDefined(before)
            // Not taken back yet: it still stands as it did, and is found as it was.
            if (before !== undefined && !told.has("taken back")) {
              const damaged = yield* store.verify(before)
              if (damaged.length > 0) yield* store.reopen(before, damaged)
            }
            yield* goesOn
          })
      }),
    180_000
  )

  it.live(
    "while a killed commit is finished, and while other code's work is taken over",
    () =>
      Effect.gen(function* () {
        yield* cuts({
          seed: 3,
          before: (root) =>
            Effect.gen(function* () {
              const { folder } = yield* Effect.andThen(makeEntry("node"), foundOf()).pipe(
                Effect.map((found) => found!),
                Effect.provide(storeAt(root))
              )
              yield* Effect.provide(
                Effect.flatMap(FileSystem.FileSystem, (fs) =>
                  fs.rename(folder, join(root, "work", `${key}.${code.digest}`))
                ),
                NodeFileSystem.layer
              )
            }),
          act: (disk) => Effect.andThen(makeEntry("node"), disk.told("entry")),
          check: (told) =>
            Effect.gen(function* () {
              if (told.has("entry")) assert.isDefined(yield* foundOf())
              yield* goesOn
            })
        })
        yield* cuts({
          seed: 4,
          before: (root) =>
            Effect.scoped(
              Effect.gen(function* () {
                const store = yield* Store
                const work = yield* store.begin({ key, code: codeOf("old"), allowStaleCode: false, fresh: false })
                yield* shardOf(work.folder, 0)
              })
            ).pipe(Effect.provide(storeAt(root))),
          act: () => makeEntry("node", { allowStaleCode: true }),
          check: () => goesOn
        })
      }),
    180_000
  )

  it.live(
    "while checkpoints are saved: the newest that was told is there, or a newer one",
    () =>
      cuts({
        seed: 5,
        act: (disk) =>
          Effect.scoped(
            Effect.gen(function* () {
              const store = yield* Store
              const work = yield* store.begin({ key, code, allowStaleCode: false, fresh: false })
              for (const step of [1, 2, 3, 4]) {
                const files = new Map([
                  ["a.bin", new Uint8Array(5000).fill(step)],
                  ["b.bin", new Uint8Array(10).fill(step)]
                ])
                yield* work.saveCheckpoint({ step, files, keepLast: 1, score: step })
                yield* disk.told(String(step))
              }
            })
          ),
        check: (told) =>
          Effect.gen(function* () {
            const { root } = yield* Store
            const folder = join(root, "work", `${key}.${code.digest}`)
            const newest = yield* Effect.flatMap(openPendingFolder(folder), (work) => work.newestCheckpoint)
            const least = Math.max(0, ...[...told].map(Number))
            assert.isAtLeast(newest?.step ?? 0, least)
            if (newest === undefined) return
            assert.isTrue(newest.files.get("a.bin")!.every((byte) => byte === newest.step))
            assert.strictEqual(newest.files.get("b.bin")!.length, 10)
          })
      }),
    180_000
  )

  it.live(
    "while a run is recorded, and while instances, pins and aliases are",
    () =>
      cuts({
        seed: 6,
        before: (root) => Effect.provide(makeEntry("node"), storeAt(root)),
        act: (disk) =>
          Effect.scoped(
            Effect.gen(function* () {
              const store = yield* Store
              const found = (yield* foundOf())!
              const log = yield* RunLog.start(store.root, { pipeline: "p", settings: null })
              yield* disk.told("started")
              yield* log.event({ n: 1 })
              yield* store.remember("p", "node", { key, code: code.digest, parts: partsOf("node") })
              yield* disk.told("instance")
              yield* Gc.pin(store.root, "kept", found)
              yield* disk.told("pinned")
              yield* store.alias(found, codeOf("other"))
              yield* disk.told("alias")
              yield* Gc.unpin(store.root, "kept")
              yield* disk.told("unpinned")
              yield* log.event({ n: 2 })
              yield* log.end("done")
              yield* disk.told("ended")
            })
          ),
        check: (told) =>
          Effect.gen(function* () {
            const { root } = yield* Store
            const store = yield* Store
            const [run, ...more] = yield* RunLog.list(root)
            assert.deepStrictEqual(more, [])
            if (told.has("started")) assert.strictEqual(run?.pipeline, "p")
            if (told.has("ended")) {
              assert.strictEqual(run?.status, "done")
              assert.deepStrictEqual(yield* Stream.runCollect(RunLog.events(root, run!.id)), [{ n: 1 }, { n: 2 }])
            }
            if (told.has("instance")) assert.strictEqual((yield* store.last("p", "node"))?.key, key)
            if (told.has("alias")) assert.isTrue((yield* store.find(key, codeOf("other").digest))[0]?.aliased)
            const pins = (yield* Gc.pins(root)).length
            if (told.has("unpinned")) assert.strictEqual(pins, 0)
            else if (told.has("pinned")) assert.isAtMost(pins, 1)
            assert.isDefined(yield* foundOf())
            yield* nothingWrong
          })
      }),
    180_000
  )

  it.live(
    "while garbage is collected: what stays is whole, what goes is gone or whole",
    () =>
      cuts({
        seed: 7,
        before: (root) =>
          Effect.gen(function* () {
            for (const name of ["node", "a", "b"]) yield* makeEntry(name)
            const store = yield* Store
            yield* store.remember("p", "node", { key, code: code.digest, parts: partsOf("node") })
          }).pipe(Effect.provide(storeAt(root))),
        act: (disk) =>
          Effect.gen(function* () {
            const { root } = yield* Store
            yield* Gc.collect(root, yield* Gc.plan(root))
            yield* disk.told("collected")
          }),
        check: () =>
          Effect.gen(function* () {
            const { root } = yield* Store
            assert.isDefined(yield* foundOf())
            yield* nothingWrong
            yield* Gc.collect(root, yield* Gc.plan(root))
            for (const name of ["a", "b"]) assert.isUndefined(yield* foundOf(keyOf(partsOf(name))))
            assert.isDefined(yield* foundOf())
          })
      }),
    180_000
  )

  it.live(
    "while a source's folder of links is made: no node is shown a part of it",
    () => {
      const source = temporaryFolder()
      for (const name of ["a.txt", "sub/b.txt", "sub/c.txt", ".hidden"]) {
        mkdirSync(join(source, "sub"), { recursive: true })
        writeFileSync(join(source, name), name)
      }
      const spec = { node: "source", location: source }
      return cuts({
        seed: 8,
        act: (disk) =>
          Effect.andThen(
            Effect.flatMap(Store, (store) => store.fetchSource(spec, { pipeline: "p" })),
            disk.told("shown")
          ),
        check: () =>
          Effect.gen(function* () {
            const shown = yield* Effect.flatMap(Store, (store) => store.fetchSource(spec, { pipeline: "p" }))
            const names = readdirSync(shown.path, { recursive: true }).map(String).sort()
            assert.deepStrictEqual(names, ["a.txt", "sub", "sub/b.txt", "sub/c.txt"])
          })
      })
    },
    180_000
  )
})

describe("fsyncs", () => {
  const oneRow = (folder: string, index: number) =>
    writeShard({
      folder,
      index,
      outputs: { rows: { artifact: Words, batches: Stream.make(wordsOf(index, 1)) } },
      refusals: refusing([]),
      rowsIn: () => 1
    })

  it.effect("a shard of one port costs two, and its folders one each until their names are due", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const disk = recording(folder)
      const made = (from: number, to: number) =>
        Effect.forEach(
          Array.from({ length: to - from }, (_, i) => from + i),
          (index) => oneRow(folder, index)
        ).pipe(Effect.provide(disk.layer))
      yield* made(0, 1)
      const first = disk.syncs()
      yield* made(1, 51)
      assert.strictEqual(disk.syncs() - first, 100)
      // Nothing that a record speaks of is less than durable, however little of the names is.
      for (let upto = 0; upto <= disk.count(); upto += 7) {
        const left = temporaryFolder()
        disk.cut(upto, left, "anything", dice(upto))
        for (const record of (yield* node(readShardRecords(left))).values())
          assert.deepStrictEqual(
            readFileSync(join(left, "ports/rows", record.ports["rows"]!.file), "utf8"),
            `${JSON.stringify(wordsOf(record.index, 1)[0])}\n`
          )
      }
    })
  )

  it.live("a commit costs the same for two shards and for forty", () =>
    Effect.gen(function* () {
      const count = (shards: number) =>
        Effect.gen(function* () {
          const root = temporaryFolder()
          const disk = recording(root)
          yield* Effect.scoped(
            Effect.gen(function* () {
              const store = yield* Store
              const work = yield* store.begin({ key, code, allowStaleCode: false, fresh: false })
              const made = []
              for (let index = 0; index < shards; index++) made.push(yield* oneRow(work.folder, index))
              const before = disk.syncs()
              yield* work.commit({
                parts: partsOf("node"),
                parents: {},
                shards: made,
                values: {},
                outputs: { rows: Words },
                peakMemory: 0
              })
              return disk.syncs() - before
            })
          ).pipe(
            Effect.tap((syncs) => Effect.sync(() => assert.isBelow(syncs, 16))),
            Effect.map((syncs) => counts.push(syncs)),
            Effect.provide(storeAt(root, disk.layer))
          )
        })
      const counts: Array<number> = []
      yield* count(2)
      yield* count(40)
      assert.strictEqual(counts[0], counts[1])
    })
  )
})
