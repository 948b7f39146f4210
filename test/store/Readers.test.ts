/** Thousands of shards are read with a bounded number of open files, opened when asked for. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { sha256 } from "../../src/dag/Canonical.ts"
import { lazyReader, makePool } from "../../src/store/Readers.ts"
import { temporaryFolder, Words } from "./Support.ts"

/** Node's file system that counts files which are open. */
const counted = () => {
  const seen = { open: 0, most: 0, times: 0 }
  const layer = Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (real) =>
      FileSystem.FileSystem.of({
        ...real,
        open: (path, options) =>
          Effect.gen(function* () {
            yield* Effect.acquireRelease(
              Effect.sync(() => {
                seen.times++
                seen.most = Math.max(seen.most, ++seen.open)
              }),
              () =>
                Effect.sync(() => {
                  seen.open--
                })
            )
            return yield* real.open(path, options)
          })
      })
    )
  ).pipe(Layer.provide(NodeFileSystem.layer))
  return { seen, layer }
}

const shardsIn = (folder: string, count: number) => {
  mkdirSync(folder, { recursive: true })
  return Array.from({ length: count }, (_, i) => {
    const text = `{"id":"${i} a"}\n{"id":"${i} b"}\n`
    writeFileSync(join(folder, `${i}.jsonl`), text)
    return { file: `${i}.jsonl`, rows: 2, bytes: text.length, sha256: sha256(text) }
  })
}

describe("Readers", () => {
  it.live("opens on demand, at most `limit` at a time, also under concurrent reads, and closes all", () =>
    Effect.gen(function* () {
      const { seen, layer } = counted()
      const folder = temporaryFolder()
      const shards = shardsIn(folder, 60)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const pool = yield* makePool(8)
          const readers = shards.map((shard) => lazyReader(pool, folder, shard, Words))
          assert.strictEqual(seen.times, 0)
          const read = (i: number) =>
            Effect.map(readers[i % 60]!.get([1, 0]), (rows) =>
              assert.deepStrictEqual(rows, [{ id: `${i % 60} b` }, { id: `${i % 60} a` }])
            )
          yield* Effect.forEach(
            Array.from({ length: 300 }, (_, i) => i * 7),
            read,
            { concurrency: 4 }
          )
          assert.isAtMost(seen.most, 8)
          yield* Effect.forEach(
            Array.from({ length: 50 }, () => 3),
            read
          )
          assert.isAbove(seen.open, 0)
        })
      ).pipe(Effect.provide(layer))
      assert.strictEqual(seen.open, 0)
    })
  )

  it.live("a shard of another size, of other rows, or gone is an error that says so, again and again", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const folder = temporaryFolder()
        const [one, two, three] = shardsIn(folder, 3)
        const pool = yield* makePool()
        const failing = (entry: typeof one) =>
          Effect.map(Effect.flip(lazyReader(pool, folder, entry!, Words).get([0])), (error) => error.message)
        assert.include(yield* failing({ ...one!, bytes: 5 }), "manifest says 5")
        assert.include(yield* failing({ ...two!, rows: 9 }), "manifest says 9")
        rmSync(join(folder, three!.file))
        assert.include(yield* failing(three), "no such file")
        writeFileSync(join(folder, three!.file), '{"id":"2 a"}\n{"id":"2 b"}\n')
        assert.deepStrictEqual(yield* lazyReader(pool, folder, three!, Words).get([0]), [{ id: "2 a" }])
      })
    ).pipe(Effect.provide(NodeFileSystem.layer))
  )
})
