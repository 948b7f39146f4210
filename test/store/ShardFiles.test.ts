/**
 * A shard is done when it has a record; equal rows give equal bytes; shards of a whole node have exactly `shardRows`
 * rows.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Schema, Semaphore, Stream } from "effect"
import { rows } from "../../src/dag/Artifact.ts"
import { sha256 } from "../../src/dag/Canonical.ts"
import { readRefused } from "../../src/store/Quarantine.ts"
import { readShardRecords } from "../../src/store/Records.ts"
import { openFile, writeRows, writeShard } from "../../src/store/ShardFiles.ts"
import { faulty, refusing, Stream1, shardOf, temporaryFolder, Words, wordsOf } from "./Support.ts"

const node = Effect.provide(NodeFileSystem.layer)
const numbers = (count: number) => Array.from({ length: count }, (_, i) => ({ id: String(i) }))
const cut = <A>(all: ReadonlyArray<A>, size: number) =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size))

/** Sums of a file of one block. */
const sumsOf = (bytes: Uint8Array) => crc32(bytes).toString(16).padStart(8, "0")

describe("ShardFiles", () => {
  it.live(
    "writes ports, refused rows and the record; a transient port is counted and hashed alike, without a file",
    () =>
      Effect.gen(function* () {
        const folder = temporaryFolder()
        const record = yield* shardOf(folder, 1)
        const bytes = readFileSync(join(folder, "ports/rows/00001.jsonl"))
        const told = { rows: 3, bytes: bytes.length, sha256: sha256(bytes) }
        const stored = { ...told, file: "00001.jsonl", sums: sumsOf(bytes) }
        assert.deepStrictEqual(record.ports, { rows: stored, flow: { ...told, file: "" } })
        assert.isFalse(existsSync(join(folder, "ports/flow")))
        assert.deepStrictEqual(record.refused, { Bad: 1 })
        assert.isAbove(record.peakMemory, 1 << 20)
        assert.deepStrictEqual([...(yield* readShardRecords(folder)).values()], [record])
        assert.deepStrictEqual(yield* Stream.runCollect(readRefused(folder)), [
          { shard: 1, refused: { row: 3, reason: "Bad", error: { _tag: "Bad" } } }
        ])
        assert.deepStrictEqual(readdirSync(join(folder, "ports/rows")), ["00001.jsonl"])
      }).pipe(node)
  )

  it.live("an encoder may reuse its buffers, and large pieces keep their place among small ones", () =>
    Effect.gen(function* () {
      const shared = new Uint8Array(3 << 20)
      const sizes = [1, 10, 3 << 20, 5, 1 << 20, (1 << 20) - 1, 2, 700_000, 700_000]
      const format = {
        ...Words.format,
        encoder: () => ({
          append: (batch: ReadonlyArray<{ readonly id: string }>) =>
            batch.map(({ id }) => shared.subarray(0, sizes[Number(id)]!).fill(Number(id) + 1)),
          finish: () => [shared.subarray(0, 3).fill(99)]
        })
      }
      const folder = temporaryFolder()
      const artifact = rows("words", Schema.Struct({ id: Schema.String }), { format })
      const batches = Stream.fromIterable(cut(numbers(sizes.length), 1))
      const [entry] = yield* writeRows({ folder, port: "rows", artifact, batches, shardRows: 100 })
      const expected = Buffer.concat([...sizes.map((size, i) => Buffer.alloc(size, i + 1)), Buffer.alloc(3, 99)])
      assert.strictEqual(entry?.sha256, sha256(expected))
      assert.isTrue(readFileSync(join(folder, "ports/rows/00000.jsonl")).equals(expected))
    }).pipe(node)
  )

  it.live("a stream that fails leaves no record and no temporary file", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      yield* shardOf(folder, 0)
      const exit = yield* Effect.exit(
        writeShard({
          folder,
          index: 0,
          outputs: { rows: { artifact: Words, batches: Stream.concat(Stream.make(wordsOf(0)), Stream.fail("no")) } },
          refusals: refusing([]),
          rowsIn: () => 3
        })
      )
      assert.deepStrictEqual(exit, Exit.fail("no"))
      assert.strictEqual((yield* readShardRecords(folder)).size, 0)
      assert.deepStrictEqual(readdirSync(join(folder, "ports/rows")), ["00000.jsonl"])
    }).pipe(node)
  )

  it.live("what a killed attempt left is replaced", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      mkdirSync(join(folder, "ports/rows"), { recursive: true })
      writeFileSync(join(folder, "ports/rows/00002.jsonl"), "old")
      mkdirSync(join(folder, "refused"))
      writeFileSync(join(folder, "refused/00002.jsonl"), `{"row":0,"reason":"Old","error":null}\n`)
      yield* shardOf(folder, 2)
      assert.deepStrictEqual(readdirSync(join(folder, "ports/rows")), ["00002.jsonl"])
      assert.deepStrictEqual(yield* Stream.runCollect(readRefused(folder)), [])
    }).pipe(node)
  )

  it.live("of two writers of one shard each finishes a whole file, whatever the other does meanwhile", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      const long = wordsOf(0, 500)
      const step = yield* Semaphore.make(1)
      yield* step.take(1)
      const halfway = yield* Deferred.make<void>()
      const write = (batches: Stream.Stream<ReadonlyArray<{ readonly id: string }>>) =>
        writeShard({
          folder,
          index: 0,
          outputs: { rows: { artifact: Words, batches } },
          refusals: refusing([]),
          rowsIn: () => 500
        })
      const waiting = Stream.concat(
        Stream.make(long.slice(0, 250)),
        Stream.unwrap(
          Effect.andThen(Deferred.succeed(halfway, undefined), Effect.as(step.take(1), Stream.make(long.slice(250))))
        )
      )
      const first = yield* Effect.forkChild(write(waiting))
      yield* Deferred.await(halfway)
      const second = yield* write(Stream.make(long)) // begins and ends while the first is in the middle
      const path = join(folder, "ports/rows/00000.jsonl")
      assert.strictEqual(sha256(readFileSync(path)), second.ports["rows"]?.sha256)
      yield* step.release(1)
      const record = yield* Fiber.join(first)
      assert.deepStrictEqual(record.ports, second.ports)
      assert.strictEqual(sha256(readFileSync(path)), record.ports["rows"]?.sha256)
      assert.deepStrictEqual([...(yield* readShardRecords(folder)).keys()], [0])
      assert.deepStrictEqual(readdirSync(join(folder, "ports/rows")), ["00000.jsonl"])
    }).pipe(node)
  )

  it.live("a row that cannot be encoded is a defect that names port and shard", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        writeShard({
          folder: temporaryFolder(),
          index: 7,
          outputs: { rows: { artifact: Words, batches: Stream.make([{ id: 3 }]) } },
          refusals: refusing([]),
          rowsIn: () => 1
        })
      )
      assert.include(JSON.stringify(exit), "RowsNotEncodable")
      assert.include(JSON.stringify(exit), "port rows, shard 7")
    }).pipe(node)
  )

  it.live("records whose files are cut off or gone, and torn records, do not count", () =>
    Effect.gen(function* () {
      const folder = temporaryFolder()
      for (const index of [0, 1, 2, 3]) yield* shardOf(folder, index)
      truncateSync(join(folder, "ports/rows/00001.jsonl"), 3)
      truncateSync(join(folder, "shards/00002.json"), 9)
      assert.deepStrictEqual([...(yield* readShardRecords(folder)).keys()], [0, 3])
    }).pipe(node)
  )

  for (const how of ["crash", "EDQUOT"])
    it.live(`${how} at every change: a shard that has a record is whole`, () =>
      Effect.gen(function* () {
        const counting = faulty({ at: Number.POSITIVE_INFINITY, how })
        const expected = yield* Effect.provide(shardOf(temporaryFolder(), 1), counting.layer)
        for (let at = 0; at < counting.count(); at++) {
          const folder = temporaryFolder()
          const exit = yield* Effect.exit(Effect.provide(shardOf(folder, 1), faulty({ at, how }).layer))
          const record = (yield* readShardRecords(folder)).get(1)
          if (Exit.isSuccess(exit)) assert.isDefined(record)
          if (record !== undefined) {
            assert.deepStrictEqual(record.ports, expected.ports)
            assert.strictEqual(
              sha256(readFileSync(join(folder, "ports/rows/00001.jsonl"))),
              expected.ports["rows"]?.sha256
            )
            assert.lengthOf(yield* Stream.runCollect(readRefused(folder)), 1)
          }
          assert.deepStrictEqual((yield* shardOf(folder, 1)).ports, expected.ports)
        }
      }).pipe(node)
    )

  it.effect.prop(
    "whole nodes: every shard but the last has exactly shardRows rows, whatever the batches",
    {
      count: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 60 })),
      batch: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 25 })),
      shardRows: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 20 }))
    },
    ({ count, batch, shardRows }) =>
      Effect.gen(function* () {
        const folder = temporaryFolder()
        const all = numbers(count)
        const options = { folder, port: "rows", shardRows }
        const entries = yield* writeRows({
          ...options,
          artifact: Words,
          batches: Stream.fromIterable(cut(all, batch))
        })
        assert.lengthOf(entries, Math.max(1, Math.ceil(count / shardRows)))
        entries.forEach((entry, i) => {
          assert.strictEqual(entry.rows, Math.min(shardRows, count - i * shardRows))
        })
        const text = entries.map((entry) => readFileSync(join(folder, "ports/rows", entry.file), "utf8")).join("")
        assert.strictEqual(text, all.map((row) => JSON.stringify(row) + "\n").join(""))
        const again = yield* writeRows({ ...options, artifact: Stream1, batches: Stream.make(all) })
        assert.deepStrictEqual(
          again.map((entry) => entry.sha256),
          entries.map((entry) => entry.sha256)
        )
        assert.isTrue(again.every((entry) => entry.file === ""))
      }).pipe(node),
    { arbitrary: { runs: 25 } }
  )

  it.live("a file is read by range, and a range past its end fails", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const path = join(temporaryFolder(), "file")
        const bytes = Buffer.from(Array.from({ length: 9 << 20 }, (_, i) => (i * 7) & 255))
        writeFileSync(path, bytes)
        const file = yield* openFile(path)
        assert.strictEqual(file.size, bytes.length)
        for (const [offset, length] of [
          [0, 10],
          [5, 9 << 19],
          [1, (9 << 20) - 1],
          [9 << 20, 0]
        ] as const)
          assert.isTrue(bytes.subarray(offset, offset + length).equals(yield* file.read(offset, length)))
        assert.strictEqual((yield* Effect.flip(file.read(1, 9 << 20)))._tag, "ShardFormatError")
        assert.strictEqual((yield* Effect.flip(openFile(`${path}x`))).reason, "missing")
      })
    ).pipe(node)
  )
})
