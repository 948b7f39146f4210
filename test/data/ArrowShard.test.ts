import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { tableFromIPC } from "apache-arrow"
import { Effect, Schema, Stream } from "effect"
import { fromBuffer, ShardFormatError } from "../../src/dag/Format.ts"
import { arrowRows, fixedBytes, fixedFloats, list, type RowOf } from "../../src/data/ArrowShard.ts"

const columns = {
  id: "utf8",
  meta: "json",
  width: "int32",
  score: "float64",
  loss: "float32",
  keep: "bool",
  pixels: fixedBytes(6),
  features: fixedFloats(3),
  ids: list("int32"),
  weights: list("float32")
} as const

type Row = RowOf<typeof columns>
const format = arrowRows(columns)

const Batches = Schema.Array(
  Schema.Array(
    Schema.Struct({
      id: Schema.String,
      meta: Schema.Union([
        Schema.Null,
        Schema.String,
        Schema.Array(Schema.Int),
        Schema.Record(Schema.String, Schema.Null)
      ]),
      width: Schema.Int.check(Schema.isBetween({ minimum: -(2 ** 31), maximum: 2 ** 31 - 1 })),
      score: Schema.Number,
      keep: Schema.Boolean,
      ids: Schema.Array(Schema.Int)
    })
  )
)

const rowOf = (seed: (typeof Batches.Type)[number][number]): Row => ({
  ...seed,
  id: seed.id.toWellFormed(),
  meta: JSON.parse(JSON.stringify(seed.meta)),
  loss: Math.fround(seed.score / 3),
  pixels: Uint8Array.from({ length: 6 }, (_, i) => seed.width >> i),
  features: Float32Array.of(seed.score, 1, -0),
  ids: Int32Array.from(seed.ids),
  weights: Float32Array.from(seed.ids, (value) => value / 7)
})

const encode = (batches: ReadonlyArray<ReadonlyArray<Row>>): Uint8Array => {
  const encoder = format.encoder()
  return Buffer.concat([...batches.flatMap((batch) => encoder.append(batch)), ...encoder.finish()])
}

const plain = (rows: ReadonlyArray<Row>) =>
  rows.map((row) => ({
    ...row,
    pixels: [...row.pixels],
    features: [...row.features],
    ids: [...row.ids],
    weights: [...row.weights]
  }))

const sample = (count: number): ReadonlyArray<Row> =>
  Array.from({ length: count }, (_, i) =>
    rowOf({ id: `row ${i} ü`, meta: [i], width: i - 3, score: i / 3, keep: i % 3 === 0, ids: [i, i * i].slice(i % 3) })
  )

describe("ArrowShard", () => {
  it.effect.prop(
    "gives back every row, in order and by number, with equal bytes for equal rows",
    { batches: Batches, picks: Schema.Array(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))) },
    ({ batches, picks }) =>
      Effect.gen(function* () {
        const rows = batches.map((batch) => batch.map(rowOf))
        const bytes = encode(rows)
        assert.isTrue(Buffer.from(bytes).equals(encode(rows)))
        const reader = yield* format.open(fromBuffer(bytes))
        const all = rows.flat()
        assert.strictEqual(reader.rows, all.length)
        const read = yield* Stream.runCollect(reader.batches)
        assert.deepStrictEqual(
          read.map((batch) => plain(batch)),
          rows.filter((batch) => batch.length > 0).map((batch) => plain(batch))
        )
        const indices =
          all.length === 0 ? [] : picks.map((pick) => Math.min(all.length - 1, Math.floor(pick * all.length)))
        const runs = indices.flatMap((index) => [index, ...(index + 1 < all.length ? [index + 1] : [])])
        assert.deepStrictEqual(plain(yield* reader.get(runs)), plain(runs.map((index) => all[index]!)))
      })
  )

  it("writes the bytes that `arrow/2` has always stood for", () => {
    const digest = createHash("sha256")
      .update(encode([sample(7), sample(2)]))
      .digest("hex")
    // Another digest means other bytes: then the format needs another id, or stored shards would be taken for equal.
    assert.deepStrictEqual([format.id, digest.slice(0, 16)], ["arrow/2", "433667aa3c37a1b1"])
  })

  it("is read by apache-arrow itself", () => {
    const rows = sample(10)
    const table = tableFromIPC(encode([rows.slice(0, 7), rows.slice(7)]))
    assert.strictEqual(table.batches.length, 2)
    assert.deepStrictEqual(
      table.toArray().map((row) => {
        const { id, meta, width, score, loss, keep, pixels, features, ids, weights } = row.toJSON()
        return {
          ...{ id, meta: JSON.parse(meta), width, score, keep, loss },
          pixels: [...pixels],
          features: [...features],
          ids: [...ids],
          weights: [...weights]
        }
      }),
      plain(rows).map(({ id, meta, width, score, keep, loss, pixels, features, ids, weights }) => ({
        ...{ id, meta, width, score, keep, loss, pixels, features, ids, weights }
      }))
    )
  })

  it.effect("opens a shard without rows", () =>
    Effect.gen(function* () {
      for (const bytes of [encode([]), encode([[]])]) {
        const reader = yield* format.open(fromBuffer(bytes))
        assert.strictEqual(reader.rows, 0)
        assert.deepStrictEqual(yield* Stream.runCollect(reader.batches), [])
        assert.strictEqual(tableFromIPC(bytes).numRows, 0)
      }
    })
  )

  it.effect("reads only the ranges that the asked rows need", () =>
    Effect.gen(function* () {
      const wide = arrowRows({ pixels: fixedBytes(100_000), label: "int32" })
      const encoder = wide.encoder()
      const rows = Array.from({ length: 20 }, (_, i) => ({ pixels: new Uint8Array(100_000).fill(i), label: i }))
      const bytes = Buffer.concat([
        ...encoder.append(rows.slice(0, 16)),
        ...encoder.append(rows.slice(16)),
        ...encoder.finish()
      ])
      const source = fromBuffer(bytes)
      let read = 0
      const counted = {
        size: source.size,
        read: (offset: number, length: number) => {
          read += length
          return source.read(offset, length)
        }
      }
      const reader = yield* wide.open(counted)
      assert.isBelow(read, 4000)
      const got = yield* reader.get([19, 3, 3])
      assert.deepStrictEqual(
        got.map((row) => [row.label, row.pixels[99_999]]),
        [
          [19, 19],
          [3, 3],
          [3, 3]
        ]
      )
      assert.isBelow(read, 4000 + 3 * 100_000 + 100)
    })
  )

  it.effect("refuses rows out of range and a shard of other columns", () =>
    Effect.gen(function* () {
      const bytes = encode([sample(5)])
      const reader = yield* format.open(fromBuffer(bytes))
      for (const index of [-1, 5, 0.5, Number.NaN])
        assert.instanceOf(yield* Effect.flip(reader.get([index])), ShardFormatError)
      const other = yield* Effect.flip(arrowRows({ ...columns, pixels: fixedBytes(7) }).open(fromBuffer(bytes)))
      assert.include(other.message, "pixels: fixedBytes(6)")
      assert.include(other.message, "pixels: fixedBytes(7)")
    })
  )

  it("refuses values that a column cannot hold and says which", () => {
    const [row] = sample(1)
    const cases: ReadonlyArray<readonly [string, unknown]> = [
      ["id", 7],
      ["width", 2 ** 31],
      ["width", 0.5],
      ["pixels", new Uint8Array(5)],
      ["pixels", [1, 2, 3, 4, 5, 6]],
      ["features", new Float32Array(4)],
      ["ids", [1]],
      ["keep", 1],
      ["meta", undefined]
    ]
    for (const [name, value] of cases) {
      const bad = { ...row, [name]: value } as Row
      assert.throws(() => format.encoder().append([row!, bad]), new RegExp(`column ${name}: row 1`))
    }
    const spent = format.encoder()
    spent.finish()
    assert.throws(() => spent.append([]), /spent/)
  })

  it.effect("fails on every truncation with a typed error", () =>
    Effect.gen(function* () {
      const bytes = encode([sample(5), sample(2)])
      for (let length = 0; length < bytes.length; length++) {
        assert.instanceOf(yield* Effect.flip(format.open(fromBuffer(bytes.subarray(0, length)))), ShardFormatError)
      }
    })
  )

  it.effect("survives each single damaged byte", () =>
    Effect.gen(function* () {
      const whole = encode([sample(3), sample(1)])
      for (let at = 0; at < whole.length; at++) {
        for (const value of [0, 0xff, whole[at]! ^ 0x10]) {
          const bytes = Buffer.from(whole)
          bytes[at] = value
          const result = yield* Effect.result(
            Effect.flatMap(format.open(fromBuffer(bytes)), (reader) => Stream.runCollect(reader.batches))
          )
          if (result._tag === "Failure") assert.instanceOf(result.failure, ShardFormatError)
        }
      }
    })
  )

  it.effect.prop(
    "never crashes, hangs or allocates wildly on damaged bytes",
    {
      at: Schema.Array(
        Schema.Tuple([
          Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
          Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
        ])
      )
    },
    ({ at }) =>
      Effect.gen(function* () {
        const bytes = Buffer.from(encode([sample(9), sample(4)]))
        for (const [place, value] of at) bytes[Math.floor(place * 0.9999 * bytes.length)] = value
        const result = yield* Effect.result(
          Effect.flatMap(format.open(fromBuffer(bytes)), (reader) => Stream.runCollect(reader.batches))
        )
        if (result._tag === "Failure") assert.instanceOf(result.failure, ShardFormatError)
      }),
    { arbitrary: { runs: 400 } }
  )
})
