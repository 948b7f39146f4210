/** The store as its users see it: opened, shared, read, damaged, repaired, blessed, refused when it is not ours. */
import { existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FileSystem, Layer, Stream } from "effect"
import { InputUnavailable } from "../../src/dag/Artifact.ts"
import { keyOf } from "../../src/dag/Key.ts"
import { Store, StoreError } from "../../src/store/Store.ts"
import {
  codeOf,
  Files,
  faulty,
  makeEntry,
  outputs,
  partsOf,
  Report,
  Stream1,
  said,
  shardOf,
  storeAt,
  temporaryFolder,
  Words,
  wordsOf
} from "./Support.ts"

const key = keyOf(partsOf("node"))
const code = codeOf("code")
const opened = (root: string, readOnly = false) =>
  Effect.provide(Store, storeAt(root, undefined, readOnly)).pipe(Effect.result)

describe("LocalStore", () => {
  it.live("a store of another version is refused, with what to do", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      for (const text of ['{ "store": 99 }', "{", "[]"]) {
        writeFileSync(join(root, "format.json"), text)
        const result = yield* opened(root)
        assert.strictEqual(result._tag === "Failure" ? result.failure.reason : "", "version")
        assert.include(result._tag === "Failure" ? result.failure.hint : "", "--store")
      }
      assert.strictEqual(readFileSync(join(root, "format.json"), "utf8"), "[]")
    })
  )

  it.live("a folder of other things is no store", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      writeFileSync(join(root, "thesis.tex"), "")
      const result = yield* opened(root)
      assert.strictEqual(result._tag === "Failure" ? result.failure.reason : "", "version")
      assert.isFalse(existsSync(join(root, "format.json")))
    })
  )

  it.live("a store that another run makes while this one looks is taken as it is", () =>
    Effect.gen(function* () {
      for (let after = 0; after < 4; after++) {
        const root = temporaryFolder()
        let looks = 0
        // the other run makes the whole store between two looks of this one
        const meanwhile = Layer.effect(
          FileSystem.FileSystem,
          Effect.map(FileSystem.FileSystem, (real) => {
            const others = <A, E>(look: Effect.Effect<A, E>) =>
              Effect.suspend(() => {
                if (looks++ === after) {
                  writeFileSync(join(root, "format.json"), '{ "store": 1 }')
                  for (const name of ["entries", "work", "instances"]) mkdirSync(join(root, name))
                }
                return look
              })
            return FileSystem.FileSystem.of({
              ...real,
              readDirectory: (path, options) => others(real.readDirectory(path, options)),
              readFileString: (path, encoding) => others(real.readFileString(path, encoding))
            })
          })
        ).pipe(Layer.provide(NodeFileSystem.layer))
        const result = yield* Effect.provide(Store, storeAt(root, meanwhile)).pipe(Effect.result)
        assert.strictEqual(result._tag, "Success", `made before look ${after}`)
        if (looks <= after) return
      }
      assert.fail("more looks than this test knows of")
    })
  )

  for (const [errno, reason] of [
    ["EROFS", "read-only"],
    ["EACCES", "read-only"],
    ["ENOSPC", "full"],
    ["EIO", "io"]
  ] as const)
    it.live(`${errno} while working is "${reason}", with a hint`, () =>
      Effect.gen(function* () {
        const root = temporaryFolder()
        yield* opened(root)
        const exit = yield* Effect.exit(
          Effect.provide(makeEntry("node"), storeAt(root, faulty({ at: 0, how: errno }).layer))
        )
        const [failure] = Exit.isFailure(exit) ? exit.cause.reasons : []
        const error = failure?._tag === "Fail" ? failure.error : undefined
        assert.instanceOf(error, StoreError)
        assert.strictEqual((error as StoreError).reason, reason)
        assert.isNotEmpty((error as StoreError).hint)
      })
    )

  it.live("read-only: entries are read, nothing is written, work is refused", () =>
    Effect.gen(function* () {
      const root = temporaryFolder()
      assert.strictEqual((yield* opened(join(root, "none"), true))._tag, "Failure")
      yield* Effect.provide(makeEntry("node"), storeAt(root))
      yield* Effect.gen(function* () {
        const store = yield* Store
        const [found] = yield* store.find(key, code.digest)
        assert.deepStrictEqual(yield* store.verify(found!), [])
        const error = yield* Effect.flip(Effect.scoped(store.begin({ key, code, allowStaleCode: false, fresh: false })))
        assert.strictEqual(error.reason, "read-only")
        const source = join(root, "format.json")
        assert.isAbove((yield* store.digestSource("node", source)).bytes, 0)
        assert.isFalse(existsSync(join(root, "sources.json")))
      }).pipe(Effect.provide(storeAt(root, faulty({ at: 0, how: "EROFS" }).layer, true)))
    })
  )

  it.live("shards are read in order, by number and alone; a transient port says why it cannot be", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const store = yield* Store
        const { found } = yield* makeEntry("node")
        assert.deepStrictEqual([...(yield* store.keys)], [key])
        const words = yield* store.open(found, "rows", Words)
        const all = (yield* Stream.runCollect(words.batches)).flat()
        assert.deepStrictEqual(all, [...wordsOf(0), ...wordsOf(1)])
        assert.deepStrictEqual(yield* words.get([5, 0, 5]), [wordsOf(1)[2]!, wordsOf(0)[0]!, wordsOf(1)[2]!])
        const second = yield* store.openShard(found, "rows", Words, 1)
        assert.deepStrictEqual(yield* second.get([1]), [wordsOf(1)[1]!])
        assert.strictEqual((yield* Effect.flip(store.openShard(found, "rows", Words, 2))).reason, "missing")
        const error = yield* Effect.flip(store.open(found, "flow", Stream1))
        assert.include(error.hint, "transient")
        assert.strictEqual((yield* Effect.flip(store.open(found, "rows", Files))).reason, "damaged")
        assert.strictEqual((yield* Effect.flip(store.open(found, "nothing", Report))).reason, "missing")
      })
    ).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("a shard that vanishes while it is read ends the node as InputUnavailable", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const store = yield* Store
        const { found } = yield* makeEntry("node")
        const words = yield* store.open(found, "rows", Words)
        rmSync(join(found.folder, "ports/rows/00001.jsonl"))
        assert.deepStrictEqual(yield* words.get([0]), [wordsOf(0)[0]!])
        const exit = yield* Effect.exit(words.get([4]))
        const [reason] = Exit.isFailure(exit) ? exit.cause.reasons : []
        assert.instanceOf(reason?._tag === "Die" ? reason.defect : undefined, InputUnavailable)
      })
    ).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("a flipped bit is found by verify and that shard alone is made again", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const { found } = yield* makeEntry("node")
      const path = join(found.folder, "ports/rows/00001.jsonl")
      const bytes = readFileSync(path)
      bytes[9]! ^= 1
      writeFileSync(path, bytes)
      assert.lengthOf(yield* store.find(key, code.digest), 1) // sizes are right
      const damaged = yield* store.verify(found)
      assert.deepStrictEqual(damaged, [{ port: "rows", file: "00001.jsonl" }])
      yield* store.reopen(found, damaged)
      assert.lengthOf(yield* store.find(key, code.digest), 0)
      const again = yield* makeEntry("node")
      assert.deepStrictEqual(again.made, [1])
      assert.deepStrictEqual(again.found.manifest.outputs, found.manifest.outputs)
      assert.deepStrictEqual(yield* store.verify(again.found), [])
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("refused rows are part of the entry: damage is found, and their shard is made again", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const { found } = yield* makeEntry("node")
      const path = join(found.folder, "refused/00001.jsonl")
      const before = readFileSync(path, "utf8")
      writeFileSync(path, before.replace("Bad", "Sad"))
      const damaged = yield* store.verify(found)
      assert.deepStrictEqual(damaged, [{ port: "refused", file: "00001.jsonl" }])
      yield* store.reopen(found, damaged)
      const again = yield* makeEntry("node")
      assert.deepStrictEqual(again.made, [1])
      assert.strictEqual(readFileSync(path, "utf8"), before)
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  for (const [what, hurt, made] of [
    ["a cut quarantine", (folder: string) => truncateSync(join(folder, "refused/00001.jsonl"), 5), [1]],
    ["a cut shard", (folder: string) => truncateSync(join(folder, "ports/rows/00000.jsonl"), 5), [0]],
    ["a missing tree file", (folder: string) => rmSync(join(folder, "ports/files/a.txt")), []],
    ["a torn manifest", (folder: string) => truncateSync(join(folder, "manifest.json"), 50), []],
    ["a missing manifest", (folder: string) => rmSync(join(folder, "manifest.json")), []]
  ] as const)
    it.live(`an entry with ${what} counts as absent, is reported, and its good shards are used again`, () =>
      Effect.gen(function* () {
        const store = yield* Store
        const { found } = yield* makeEntry("node")
        hurt(found.folder)
        said.length = 0
        assert.lengthOf(yield* store.find(key, code.digest), 0)
        if (what !== "a missing manifest") assert.include(said.join("\n"), found.folder)
        const again = yield* makeEntry("node")
        assert.deepStrictEqual(again.made, made as ReadonlyArray<number>)
        assert.deepStrictEqual(again.found.manifest.outputs, found.manifest.outputs)
      }).pipe(Effect.provide(storeAt(temporaryFolder())))
    )

  it.live("an alias blesses one code for one entry; the entry of the code asked for comes first", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const old = yield* makeEntry("node", { code: codeOf("old") })
      const other = codeOf("new")
      assert.isFalse((yield* store.find(key, other.digest))[0]?.aliased)
      yield* store.alias(old.found, other)
      yield* store.alias(old.found, other)
      assert.isTrue((yield* store.find(key, other.digest))[0]?.aliased)
      assert.isFalse((yield* store.find(key, codeOf("third").digest))[0]?.aliased)
      yield* makeEntry("node", { code: codeOf("third") })
      const found = yield* store.find(key, other.digest)
      assert.deepStrictEqual(
        found.map((one) => [one.manifest.code.digest, one.aliased]),
        [
          [codeOf("old").digest, true],
          [codeOf("third").digest, false]
        ]
      )
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("what an instance last was is remembered by pipeline and instance, whatever their names", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const last = { key, code: code.digest, parts: partsOf("node") }
      for (const [pipeline, instance] of [
        ["llava-phi", "instruct/images"],
        ["../x", ".."],
        ["a/b", "c"],
        ["a", "b/c"]
      ] as const) {
        assert.isUndefined(yield* store.last(pipeline, instance))
        yield* store.remember(pipeline, instance, last)
        assert.deepStrictEqual(yield* store.last(pipeline, instance), last)
      }
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live("two that begin the same node: the second waits, then finds it done", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const both = yield* Effect.all([makeEntry("node"), makeEntry("node")], { concurrency: "unbounded" })
      assert.strictEqual(both[0].found.folder, both[1].found.folder)
      assert.lengthOf(yield* store.find(key, code.digest), 1)
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.live(
    "a source is known by its bytes: moved it is the same, changed it is not, missing it says where to look",
    () =>
      Effect.gen(function* () {
        const store = yield* Store
        const folder = temporaryFolder()
        const write = (path: string, text: string) => {
          mkdirSync(join(folder, path, ".."), { recursive: true })
          writeFileSync(join(folder, path), text)
          return join(folder, path)
        }
        const one = yield* store.digestSource("n", write("a", "text"))
        assert.deepStrictEqual(yield* store.digestSource("n", write("b/c", "text")), one)
        write("tree1/x/y", "1")
        write("tree1/z", "2")
        write("tree2/z", "2")
        write("tree2/x/y", "1")
        const tree = yield* store.digestSource("n", join(folder, "tree1"))
        assert.deepStrictEqual(yield* store.digestSource("n", join(folder, "tree2")), tree)
        assert.strictEqual(tree.bytes, 2)
        write("tree1/x/y", "3")
        assert.notStrictEqual((yield* store.digestSource("n", join(folder, "tree1"))).digest, tree.digest)
        write("a", "texT")
        assert.notStrictEqual((yield* store.digestSource("n", join(folder, "a"))).digest, one.digest)
        const error = yield* Effect.flip(store.digestSource("images", join(folder, "none.zip")))
        assert.strictEqual(error._tag, "SourceError")
        assert.include(error.hint, "none.zip")
      }).pipe(Effect.provide(Layer.fresh(storeAt(temporaryFolder()))))
  )

  it.live("shards of a killed node stay invisible to readers", () =>
    Effect.gen(function* () {
      const store = yield* Store
      yield* Effect.scoped(
        Effect.flatMap(store.begin({ key, code, allowStaleCode: false, fresh: false }), (work) =>
          shardOf(work.folder, 0)
        )
      )
      assert.strictEqual((yield* store.keys).size, 0)
      assert.hasAllKeys(outputs, ["rows", "flow", "files", "report"])
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )
})
