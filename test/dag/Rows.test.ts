import { expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Schema, Stream } from "effect"
import { fanOut } from "../../src/dag/FanOut.ts"
import { fromBuffer } from "../../src/dag/Format.ts"
import { jsonl } from "../../src/dag/Jsonl.ts"
import { fromArray, fromShards } from "../../src/dag/Rows.ts"

const format = jsonl(Schema.Struct({ n: Schema.Number }))
const shard = (rows: ReadonlyArray<{ n: number }>) => {
  const encoder = format.encoder()
  return format.open(fromBuffer(Buffer.concat([...encoder.append(rows), ...encoder.finish()])))
}
const small = (max: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: max }))

it.effect.prop(
  "rows in shards are the same rows as in one array, whatever the boundaries",
  [Schema.Array(small(5)), Schema.Array(small(1000))],
  ([sizes, wanted]) =>
    Effect.gen(function* () {
      let n = 0
      const parts = sizes.map((size) => Array.from({ length: size }, () => ({ n: n++ })))
      const all = parts.flat()
      const rows = fromShards("rows", yield* Effect.forEach(parts, shard))
      expect(rows.length).toBe(all.length)
      expect((yield* Stream.runCollect(rows.batches)).flat()).toEqual(all)
      const indices = all.length === 0 ? [] : wanted.map((i) => i % all.length)
      expect(yield* rows.get(indices)).toEqual(indices.map((i) => all[i]))
      expect(yield* fromArray(all).get(indices)).toEqual(indices.map((i) => all[i]))
    })
)

it.effect("a row out of range ends the reader from outside, as InputUnavailable", () =>
  Effect.gen(function* () {
    const exit = yield* Effect.exit(fromArray([{ n: 0 }]).get([1]))
    expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toMatchObject({ _tag: "InputUnavailable" })
  })
)

it.effect("one stream of batches feeds every port, and an error reaches each of them", () =>
  Effect.scoped(
    Effect.gen(function* () {
      const batches = Stream.fromIterable([1, 2, 3]).pipe(Stream.map((n) => ({ a: [n], b: [n * 10, n * 100] })))
      const ports = yield* fanOut(["a", "b"], batches)
      const [a, b] = yield* Effect.all([Stream.runCollect(ports["a"]!), Stream.runCollect(ports["b"]!)], {
        concurrency: 2
      })
      expect([a.flat(), b.flat()]).toEqual([
        [1, 2, 3],
        [10, 100, 20, 200, 30, 300]
      ])
      const broken = yield* fanOut(["a", "b"], Stream.concat(batches, Stream.fail("no")))
      const errors = yield* Effect.all(
        ["a", "b"].map((port) => Effect.flip(Stream.runCollect(broken[port]!))),
        { concurrency: 2 }
      )
      expect(errors).toEqual(["no", "no"])
    })
  )
)
