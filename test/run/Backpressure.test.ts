/** A slow consumer blocks its producer: the buffer between them is bounded. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { rows } from "../../src/dag/Artifact.ts"
import { fanOut } from "../../src/dag/FanOut.ts"
import { makeRefusals } from "../../src/dag/Refusals.ts"
import { parseChunks } from "../../src/data/JsonArray.ts"
import { writeRows, writeShard } from "../../src/store/ShardFiles.ts"

const scratch = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "millrace-pressure-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const Numbers = rows("numbers", Schema.Struct({ n: Schema.Number }))

/** Counts what a format is given. */
const counting = (count: (rows: number) => void) =>
  rows("numbers", Schema.Struct({ n: Schema.Number }), {
    format: {
      ...Numbers.format,
      encoder: () => {
        const inner = Numbers.format.encoder()
        return {
          append: (batch: ReadonlyArray<{ readonly n: number }>) => {
            count(batch.length)
            return inner.append(batch)
          },
          finish: inner.finish
        }
      }
    }
  })

/** Lets everything else that can run do so, many times: a producer without bounds would run far ahead. */
const slowly = Effect.repeat(
  Effect.andThen(
    Effect.yieldNow,
    Effect.promise(() => new Promise(setImmediate))
  ),
  { times: 5 }
)

const CHUNKS = 400
const ROWS = 50

describe("backpressure", () => {
  it.live("a JSON array is read no faster than its rows are stored", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const folder = yield* scratch
        let pulled = 0
        let stored = 0
        let ahead = 0
        const chunks = async function* () {
          for (let i = 0; i < CHUNKS; i++) {
            pulled++
            ahead = Math.max(ahead, pulled - Math.floor(stored / ROWS))
            const cut = Array.from({ length: ROWS }, (_, n) => `{"n":${i * ROWS + n}}`).join(",")
            yield Buffer.from(`${i === 0 ? "[" : ""}${cut}${i === CHUNKS - 1 ? "]" : ","}`)
          }
        }
        const batches = Stream.fromAsyncIterable(parseChunks(chunks(), "x.json"), (cause) => cause).pipe(
          Stream.map((batch) => batch.rows.map(({ value }) => value as { readonly n: number })),
          Stream.tap(() => slowly)
        )
        const artifact = counting((some) => {
          stored += some
        })
        const shards = yield* writeRows({ folder, port: "rows", artifact, batches, shardRows: 1000 })
        assert.strictEqual(
          shards.reduce((sum, shard) => sum + shard.rows, 0),
          CHUNKS * ROWS
        )
        assert.strictEqual(pulled, CHUNKS)
        // The chunk in hand, one batch in the stream, one being written.
        assert.isAtMost(ahead, 3)
      })
    ).pipe(Effect.provide(NodeServices.layer))
  )

  it.live("of several ports of one pass the slowest sets the pace", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const folder = yield* scratch
        let made = 0
        let ahead = 0
        const done = { fast: 0, slow: 0 }
        const batches = Stream.range(0, CHUNKS - 1).pipe(
          Stream.rechunk(1),
          Stream.map((n) => {
            made++
            ahead = Math.max(ahead, made - done.slow)
            return { fast: [{ n }], slow: [{ n }, { n }] }
          })
        )
        const ports = yield* fanOut(["fast", "slow"], batches)
        const record = yield* writeShard({
          folder,
          index: 0,
          outputs: {
            fast: { artifact: counting(() => done.fast++), batches: ports["fast"]! },
            slow: { artifact: counting(() => done.slow++), batches: Stream.tap(ports["slow"]!, () => slowly) }
          },
          refusals: makeRefusals([]),
          rowsIn: () => CHUNKS
        })
        assert.deepStrictEqual([record.ports["fast"]!.rows, record.ports["slow"]!.rows], [CHUNKS, 2 * CHUNKS])
        // One in each queue, one on its way in, one on its way out and one in the producer's hand.
        assert.isAtMost(ahead, 6)
      })
    ).pipe(Effect.provide(NodeServices.layer))
  )
})
