import { expect, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { fromBuffer, ShardFormatError } from "../../src/dag/Format.ts"
import { jsonl } from "../../src/dag/Jsonl.ts"

const Row = Schema.Struct({
  id: Schema.String,
  n: Schema.Number,
  tags: Schema.Array(Schema.String),
  note: Schema.optional(Schema.String)
})
const format = jsonl(Row)
const Rows = Schema.Array(Row)
const encode = (batches: ReadonlyArray<ReadonlyArray<typeof Row.Type>>) => {
  const encoder = format.encoder()
  return Buffer.concat([...batches.flatMap((batch) => encoder.append(batch)), ...encoder.finish()])
}

it.effect.prop("what is written comes back, in order and by number", [Rows], ([made]) =>
  Effect.gen(function* () {
    const rows = made.map((row) => ({ ...row, n: row.n + 0 })) // JSON has no -0: it reads back as 0
    const reader = yield* format.open(fromBuffer(encode([rows.slice(0, 2), rows.slice(2)])))
    expect(reader.rows).toBe(rows.length)
    expect((yield* Stream.runCollect(reader.batches)).flat()).toEqual(rows)
    expect(yield* reader.get(rows.map((_, i) => rows.length - 1 - i))).toEqual([...rows].reverse())
  })
)

it.prop("bytes do not depend on how rows were batched", [Rows], ([rows]) => {
  expect(encode([rows]).equals(encode(rows.map((row) => [row])))).toBe(true)
})

it.effect("a truncated or garbled shard is a typed error that names the row", () =>
  Effect.gen(function* () {
    const bytes = encode([
      [
        { id: "a", n: 1, tags: [] },
        { id: "b", n: 2, tags: [] }
      ]
    ])
    const cut = yield* Effect.flip(format.open(fromBuffer(bytes.subarray(0, bytes.length - 3))))
    expect(cut).toBeInstanceOf(ShardFormatError)
    const garbled = Buffer.from(bytes)
    garbled[2] = 0
    const reader = yield* format.open(fromBuffer(garbled))
    const error = yield* Effect.flip(reader.get([0]))
    expect(error.message).toContain("row 0")
    expect((yield* Effect.flip(reader.get([7]))).message).toContain("no such row")
  })
)
