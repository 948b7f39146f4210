/**
 * What is read is checked while it is read: one flipped bit anywhere in a shard, a value or a tree is found by its
 * reader.
 */
import { chmodSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FileSystem, Layer, Schema, type Scope, Stream } from "effect"
import { rows } from "../../src/dag/Artifact.ts"
import { arrowRows } from "../../src/data/ArrowShard.ts"
import { damageIn, damageMark, damageSince } from "../../src/store/Damage.ts"
import { portFolder } from "../../src/store/Layout.ts"
import { layer as localStore } from "../../src/store/LocalStore.ts"
import type { ShardEntry } from "../../src/store/Manifest.ts"
import { lazyReader, makePool } from "../../src/store/Readers.ts"
import { writeRows } from "../../src/store/ShardFiles.ts"
import { Store, type StoreError } from "../../src/store/Store.ts"
import { BLOCK, blocksOf, makeSums, readSums } from "../../src/store/Sums.ts"
import { Files, makeEntry, Report, storeAt, temporaryFolder, Words } from "./Support.ts"

/** A place in a file, as a share of its bits. */
const Place = Schema.Number.check(Schema.isBetween({ minimum: 0, maximum: 0.999_999 }))

/** Flips one bit of a file, whoever may write to it; gives the offset of its byte. */
const flip = (path: string, place: number): number => {
  const bytes = readFileSync(path)
  const bit = Math.floor(place * 8 * bytes.length)
  bytes[bit >> 3]! ^= 1 << (bit & 7)
  chmodSync(path, 0o644)
  writeFileSync(path, bytes)
  return bit >> 3
}

const Item = Schema.Struct({ id: Schema.Int, text: Schema.String })
type Item = typeof Item.Type
const formats = {
  jsonl: rows("items", Item),
  arrow: rows("items", Item, { format: arrowRows({ id: "int32", text: "utf8" }) })
}
/** Some 700 kB, so that a shard has three blocks. */
const items: ReadonlyArray<Item> = Array.from({ length: 2000 }, (_, id) => ({
  id,
  text: `${id} ${"x".repeat(300 + ((id * 7919) % 97))}`
}))

const written = (kind: keyof typeof formats) => {
  const folder = temporaryFolder()
  return Effect.map(
    writeRows({ folder, port: "rows", artifact: formats[kind], batches: Stream.make(items), shardRows: items.length }),
    ([entry]) => ({ entry: entry!, ports: portFolder(folder, "rows") })
  )
}

const reading = <A>(kind: keyof typeof formats, ports: string, entry: ShardEntry, use: Use<A>) => {
  let reports = 0
  return Effect.map(
    Effect.exit(
      Effect.scoped(
        Effect.flatMap(makePool(), (pool) => use(lazyReader<Item>(pool, ports, entry, formats[kind], () => reports++)))
      )
    ),
    (exit) => ({ exit, reports })
  )
}
type Use<A> = (reader: ReturnType<typeof lazyReader<Item>>) => Effect.Effect<A, unknown>

const errorOf = (exit: Exit.Exit<unknown, unknown>): StoreError | undefined => {
  const found = Exit.isFailure(exit) ? exit.cause.reasons.find((one) => one._tag === "Fail") : undefined
  return found?._tag === "Fail" ? damageIn(found.error) : undefined
}

describe("sums of blocks", () => {
  it.effect.prop(
    "are the same however the bytes came",
    [Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 * BLOCK })), Schema.Array(Place)],
    ([bytes, cuts]) =>
      Effect.sync(() => {
        const whole = Uint8Array.from({ length: bytes }, (_, i) => (i * 7919) >> 3)
        const [one, pieces] = [makeSums(), makeSums()]
        one.update(whole)
        const at = [0, ...cuts.map((cut) => Math.floor(cut * bytes)), bytes].sort((a, b) => a - b)
        for (const [i, from] of at.entries()) pieces.update(whole.subarray(from, at[i + 1] ?? bytes))
        assert.strictEqual(pieces.text(), one.text())
        assert.strictEqual(readSums(one.text(), bytes)?.length, blocksOf(bytes))
      }),
    { arbitrary: { runs: 20 } }
  )

  it("of another number of blocks, or no sums, count as none", () => {
    assert.deepStrictEqual(readSums("", 0), new Uint32Array())
    assert.isUndefined(readSums("0000000100000002", BLOCK))
    assert.isUndefined(readSums("0000000g", 1))
    assert.isUndefined(readSums(undefined, 1))
  })
})

for (const kind of ["jsonl", "arrow"] as const)
  for (const sums of [true, false])
    describe(`a shard of ${kind}${sums ? "" : " without sums, of an older store"}`, () => {
      it.effect.prop(
        "never gives a wrong row after a flipped bit, and says what is damaged",
        [Place, Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: items.length - 1 })))],
        ([place, indices]) =>
          Effect.gen(function* () {
            const { entry: full, ports } = yield* written(kind)
            const { sums: _, ...old } = full
            const entry = sums ? full : old
            assert.isAtLeast(blocksOf(entry.bytes), 3)
            const sound = yield* reading(kind, ports, entry, (reader) => Stream.runCollect(reader.batches))
            assert.isTrue(Exit.isSuccess(sound.exit))
            assert.strictEqual(sound.reports, 0)
            const path = join(ports, entry.file)
            const at = flip(path, place)
            const all = yield* reading(kind, ports, entry, (reader) =>
              Stream.runForEach(reader.batches, (batch) =>
                Effect.sync(() => {
                  for (const row of batch) assert.deepStrictEqual(row, items[row.id])
                })
              )
            )
            const error = errorOf(all.exit)
            assert.strictEqual(error?.reason, "damaged")
            assert.include(error?.message, path)
            if (sums) {
              const block = Math.floor(at / BLOCK)
              assert.include(error?.message, `bytes ${block * BLOCK} to `)
            }
            assert.isAtLeast(all.reports, 1)
            const some = yield* reading(kind, ports, entry, (reader) => reader.get(indices))
            if (Exit.isSuccess(some.exit))
              assert.deepStrictEqual(
                some.exit.value,
                indices.map((i) => items[i]!)
              )
            else assert.strictEqual(errorOf(some.exit)?.reason, "damaged")
          }).pipe(Effect.provide(NodeFileSystem.layer)),
        { arbitrary: { runs: 12 } }
      )
    })

describe("an entry", () => {
  it.effect.prop(
    "whose tree or value has a flipped bit is not opened, and the damage is reported",
    [Place, Schema.Literals(["a.txt", "sub/b.txt", "value"])],
    ([place, file]) =>
      Effect.gen(function* () {
        const store = yield* Store
        const { found } = yield* makeEntry("clean")
        const mark = damageMark()
        yield* Effect.scoped(store.open(found, "files", Files))
        yield* Effect.scoped(store.open(found, "report", Report))
        assert.deepStrictEqual(damageSince(mark, found.folder), [])
        const damaged =
          file === "value"
            ? {
                ...found,
                manifest: {
                  ...found.manifest,
                  outputs: {
                    ...found.manifest.outputs,
                    report: { ...found.manifest.outputs["report"]!, value: { seen: 9 ^ (1 << Math.floor(place * 16)) } }
                  } as never
                }
              }
            : found
        if (file !== "value") flip(join(portFolder(found.folder, "files"), file), place)
        const opened: Effect.Effect<unknown, StoreError, Scope.Scope> =
          file === "value" ? store.open(damaged, "report", Report) : store.open(damaged, "files", Files)
        const error = yield* Effect.flip(Effect.scoped(opened))
        assert.strictEqual(error.reason, "damaged")
        assert.deepStrictEqual(damageSince(mark, found.folder), [
          file === "value" ? { port: "report", file: "" } : { port: "files", file }
        ])
      }).pipe((test) => Effect.provide(test, storeAt(temporaryFolder()))),
    { arbitrary: { runs: 12 } }
  )

  it.effect("gives rows that are checked, by handle and by shard", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const { found } = yield* makeEntry("clean")
      const rowsOf = Effect.scoped(
        Effect.flatMap(store.open(found, "rows", Words), ({ batches }) => Stream.runCollect(batches))
      )
      assert.lengthOf(yield* rowsOf, 2)
      const mark = damageMark()
      flip(join(portFolder(found.folder, "rows"), "00001.jsonl"), 0.5)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(rowsOf)))
      const shard = Effect.flatMap(store.openShard(found, "rows", Words, 1), (reader) => reader.get([0]))
      assert.strictEqual(damageIn(yield* Effect.flip(Effect.scoped(shard)))?.reason, "damaged")
      assert.deepStrictEqual(damageSince(mark, found.folder), [{ port: "rows", file: "00001.jsonl" }])
    }).pipe(Effect.provide(storeAt(temporaryFolder())))
  )

  it.effect.prop(
    "shows no refused row out of a file with a flipped bit",
    [Place],
    ([place]) =>
      Effect.gen(function* () {
        const store = yield* Store
        const { found } = yield* makeEntry("clean")
        const file = found.manifest.refusedFiles[0]!.path
        assert.isAtLeast((yield* Stream.runCollect(store.refused(found))).length, 1)
        const mark = damageMark()
        flip(join(found.folder, "refused", file), place)
        const error = yield* Effect.flip(Stream.runCollect(store.refused(found)))
        assert.strictEqual(error.reason, "damaged")
        assert.deepStrictEqual(damageSince(mark, found.folder), [{ port: "refused", file }])
      }).pipe((test) => Effect.provide(test, storeAt(temporaryFolder()))),
    { arbitrary: { runs: 12 } }
  )

  it.live("checks refused rows each time that they are shown, and shows no file that the manifest does not list", () =>
    Effect.gen(function* () {
      /** A disk that gives one bit of refused rows wrong from some time on, and says nothing of it. */
      let wrong = false
      const disk = Layer.effect(
        FileSystem.FileSystem,
        Effect.map(FileSystem.FileSystem, (real) =>
          FileSystem.FileSystem.of({
            ...real,
            open: (path, options) =>
              Effect.map(real.open(path, options), (file) =>
                path.includes("/refused/")
                  ? Object.assign(Object.create(file), {
                      read: (buffer: Uint8Array, at: never) =>
                        Effect.tap(file.read(buffer, at), () => Effect.sync(() => void (wrong && (buffer[1]! ^= 4))))
                    })
                  : file
              )
          })
        )
      ).pipe(Layer.provide(NodeFileSystem.layer))
      const program = Effect.gen(function* () {
        const store = yield* Store
        const { found } = yield* makeEntry("clean")
        const shown = Stream.runCollect(store.refused(found))
        const rows = (yield* shown).length
        writeFileSync(join(found.folder, "refused", "00007.jsonl"), '{"row":0,"reason":"Planted","error":null}\n')
        assert.strictEqual((yield* shown).length, rows)
        wrong = true
        assert.strictEqual((yield* Effect.flip(shown)).reason, "damaged")
      })
      yield* Effect.provide(program, Layer.provideMerge(localStore({ root: temporaryFolder() }), disk))
    })
  )
})
