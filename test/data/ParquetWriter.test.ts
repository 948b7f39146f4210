/** Rows of any schema that has a Parquet form come back equal; the rest is refused by name of the column. */
import { mkdirSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema, Stream } from "effect"
import { describeParquet } from "../../src/data/Parquet.ts"
import { readParquetAs, writeParquet } from "../../src/data/ParquetWriter.ts"
import { scratch } from "../nodes/support.ts"
import { duckDb } from "./DuckDb.ts"

const wellFormed = Schema.String.check(Schema.makeFilter((text) => text.isWellFormed()))

/** Everything that has a form, nullable and optional, inside of structs and lists. */
const Kinds = Schema.Struct({
  text: wellFormed,
  nullText: Schema.NullOr(wellFormed),
  mayText: Schema.optionalKey(wellFormed),
  choice: Schema.Literals(["human", "gpt"]),
  double: Schema.Number,
  nullDouble: Schema.NullOr(Schema.Number),
  int: Schema.Int,
  mayInt: Schema.optionalKey(Schema.Int),
  big: Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: -(2n ** 63n), maximum: 2n ** 63n - 1n })),
  flag: Schema.Boolean,
  nullFlag: Schema.NullOr(Schema.Boolean),
  bytes: Schema.Uint8Array,
  json: Schema.Json,
  mayJson: Schema.optionalKey(Schema.Json),
  list: Schema.Array(wellFormed),
  nullList: Schema.NullOr(Schema.Array(Schema.NullOr(Schema.Number))),
  struct: Schema.Struct({ a: Schema.Boolean, b: Schema.NullOr(Schema.Struct({ c: Schema.NullOr(Schema.Int) })) }),
  mayStruct: Schema.optionalKey(Schema.Struct({ a: Schema.optionalKey(wellFormed), l: Schema.Array(Schema.Int) })),
  turns: Schema.Array(
    Schema.Struct({
      from: Schema.Literals(["human", "gpt"]),
      value: wellFormed,
      marks: Schema.NullOr(Schema.Array(Schema.Struct({ at: Schema.Int, of: Schema.NullOr(wellFormed) })))
    })
  ),
  deep: Schema.Array(Schema.Array(Schema.NullOr(Schema.Array(Schema.Boolean))))
})

/** The same rows with integers that have no sign at zero, as an int64 has none; and JSON as JSON has it. */
const canonical = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(canonical)
    : typeof value === "object" && value !== null && !(value instanceof Uint8Array)
      ? Object.fromEntries(
          Object.entries(value).map(([key, one]) => [
            key,
            ["json", "mayJson"].includes(key)
              ? JSON.parse(JSON.stringify(one))
              : ["int", "mayInt", "at", "c"].includes(key) && one !== null
                ? (one as number) + 0
                : key === "l"
                  ? (one as Array<number>).map((int) => int + 0)
                  : canonical(one)
          ])
        )
      : value

const written = Effect.fnUntraced(function* <Row>(
  schema: Schema.Codec<Row, any>,
  batches: ReadonlyArray<ReadonlyArray<Row>>,
  options: Parameters<typeof writeParquet>[3] = {}
) {
  const folder = yield* scratch
  const path = join(folder, "rows.parquet")
  const result = yield* writeParquet(path, schema, Stream.fromIterable(batches), options)
  return { folder, path, ...result }
})

const readBack = <Row>(path: string, schema: Schema.Codec<Row, any>) =>
  Effect.map(Stream.runCollect(readParquetAs(path, schema)), (batches) => batches.flat())

const failure = <Row>(schema: Schema.Codec<Row, any>, rows: ReadonlyArray<Row>) => Effect.flip(written(schema, [rows]))

describe("writeParquet", () => {
  it.effect.prop(
    "gives back equal rows, however they are cut",
    {
      rows: Arbitrary.array(Arbitrary.schema(Kinds), { maxLength: 12 }),
      groupRows: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 }))),
      cut: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 })))
    },
    ({ cut, groupRows, rows }) =>
      Effect.gen(function* () {
        const { path, rowGroups } = yield* written(Kinds, [rows.slice(0, cut), rows.slice(cut)], { groupRows })
        assert.deepStrictEqual(yield* readBack(path, Kinds), rows.map(canonical) as typeof rows)
        assert.strictEqual(rowGroups, Math.ceil(rows.length / groupRows))
        assert.strictEqual((yield* describeParquet(path)).rows, rows.length)
      }).pipe(Effect.scoped)
  )

  it.effect("is read by DuckDB: lists of structs, nulls, -0 and NaN, bytes, JSON, 64 bits", () =>
    Effect.gen(function* () {
      const Row = Schema.Struct({
        id: wellFormed,
        turns: Schema.Array(
          Schema.Struct({ from: Schema.Literals(["human", "gpt"]), value: Schema.NullOr(wellFormed) })
        ),
        maybe: Schema.NullOr(Schema.Struct({ n: Schema.optionalKey(Schema.Int) })),
        lists: Schema.NullOr(Schema.Array(Schema.NullOr(Schema.Array(Schema.Int)))),
        d: Schema.Number,
        big: Schema.BigInt,
        bytes: Schema.Uint8Array,
        json: Schema.Json,
        tokens: Schema.instanceOf(Int32Array),
        features: Schema.instanceOf(Float32Array)
      })
      const row = (i: number): typeof Row.Type => ({
        id: `r${i} ü`,
        turns: Array.from({ length: i % 3 }, (_, k) => ({
          from: k === 0 ? "human" : "gpt",
          value: i % 2 === 0 ? null : "x".repeat(i)
        })),
        maybe: i % 3 === 0 ? null : i % 3 === 1 ? {} : { n: i },
        lists: i % 4 === 0 ? null : [[], null, [i, i + 1]],
        d: i === 0 ? -0 : i === 1 ? Number.NaN : i / 3,
        big: 2n ** 62n + BigInt(i),
        bytes: Uint8Array.of(i, 255),
        json: { i },
        tokens: Int32Array.of(i, -1),
        features: Float32Array.of(i / 2)
      })
      const rows = Array.from({ length: 50 }, (_, i) => row(i))
      const { path, rowGroups } = yield* written(Row, [rows], { groupRows: 16 })
      expect(rowGroups).toBe(4)
      expect(yield* readBack(path, Row)).toEqual(rows)
      const db = yield* duckDb
      const read = yield* db.rows(
        `SELECT * REPLACE (hex(bytes) AS bytes, json->>'i' AS json, big::VARCHAR AS big) FROM '${path}'`
      )
      expect(read).toEqual(
        rows
          .map((one, i) => ({
            ...one,
            maybe: one.maybe === null ? null : { n: one.maybe.n ?? null },
            maybeless: undefined,
            lists: one.lists?.map((list) => list?.map(BigInt) ?? null) ?? null,
            big: String(one.big),
            bytes: Buffer.from(one.bytes).toString("hex").toUpperCase(),
            json: String(i),
            tokens: [...one.tokens],
            features: [...one.features]
          }))
          .map(({ maybeless: _, maybe, ...one }) => ({
            ...one,
            maybe: maybe === null ? null : { n: maybe.n === null ? null : BigInt(maybe.n) }
          }))
      )
      const types = yield* db.rows(`DESCRIBE SELECT * FROM '${path}'`)
      expect(types.map((column) => column["column_type"])).toEqual([
        "VARCHAR",
        'STRUCT("from" VARCHAR, "value" VARCHAR)[]',
        "STRUCT(n BIGINT)",
        "BIGINT[][]",
        "DOUBLE",
        "BIGINT",
        "BLOB",
        "JSON",
        "INTEGER[]",
        "FLOAT[]"
      ])
      const codecs = yield* db.rows(`SELECT DISTINCT compression FROM parquet_metadata('${path}')`)
      expect(codecs).toEqual([{ compression: "ZSTD" }])
    }).pipe(Effect.scoped)
  )

  it.effect("writes equal bytes for equal rows, whatever the batches, and cuts groups by size as well", () =>
    Effect.gen(function* () {
      const Row = Schema.Struct({ text: Schema.String })
      const rows = Array.from({ length: 300 }, (_, i) => ({ text: `${i} `.repeat(500) }))
      const one = yield* written(Row, [rows], { groupBytes: 100_000 })
      const two = yield* written(Row, [rows.slice(0, 7), rows.slice(7)], { groupBytes: 100_000 })
      expect(readFileSync(one.path).equals(readFileSync(two.path))).toBe(true)
      expect(one.bytes).toBe(readFileSync(one.path).byteLength)
      expect(one.rowGroups).toBeGreaterThan(4)
      const empty = yield* written(Row, [])
      expect([empty.rows, yield* readBack(empty.path, Row)]).toEqual([0, []])
    }).pipe(Effect.scoped)
  )

  const formless: ReadonlyArray<readonly [string, Schema.Codec<any, any>]> = [
    ["a", Schema.Struct({ a: Schema.Record(Schema.String, Schema.Int) })],
    ["a", Schema.Struct({ a: Schema.Tuple([Schema.Int, Schema.String]) })],
    ["a", Schema.Struct({ a: Schema.Union([Schema.Int, Schema.String]) })],
    ["a.b", Schema.Struct({ a: Schema.Array(Schema.Struct({ b: Schema.Date })) })],
    ["a.b", Schema.Struct({ a: Schema.Struct({ b: Schema.optional(Schema.NullOr(Schema.String)) }) })],
    ["a", Schema.Struct({ a: Schema.Struct({}) })],
    ["a", Schema.Struct({ a: Schema.Null })],
    ["a", Schema.Struct({ a: Schema.Unknown })],
    ["", Schema.String]
  ]
  it.effect("refuses a Schema without a form, and says which column it is", () =>
    Effect.gen(function* () {
      const columns: Array<string | undefined> = []
      for (const [, schema] of formless) {
        const error = yield* failure(schema, [])
        expect([error._tag, error.reason, error.hint === ""]).toEqual(["ParquetError", "no-form", false])
        columns.push(error.column)
      }
      expect(columns).toEqual(formless.map(([column]) => column))
    }).pipe(Effect.scoped)
  )

  it.effect("refuses a value that its column cannot hold, with column and row, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      const path = join(folder, "rows.parquet")
      const at = (schema: Schema.Codec<any, any>, rows: ReadonlyArray<unknown>) =>
        Effect.map(
          Effect.flip(writeParquet(path, schema, Stream.make(rows), { groupRows: 1 })),
          ({ column, reason, row }) => [reason, column, row]
        )
      const Text = Schema.Struct({ a: Schema.Struct({ t: Schema.String }) })
      expect(yield* at(Text, [{ a: { t: "fine" } }, { a: { t: "\ud800" } }])).toEqual(["bad-value", "a.t", 1])
      const Big = Schema.Struct({ n: Schema.BigInt })
      expect(yield* at(Big, [{ n: 2n ** 63n }])).toEqual(["bad-value", "n", 0])
      const Int = Schema.Struct({ n: Schema.Int })
      expect(yield* at(Int, [{ n: 1 }, { n: 2 ** 53 }])).toEqual(["bad-value", "n", 1])
      expect(yield* at(Int, [{ n: null }])).toEqual(["bad-value", "n", 0])
      expect(readdirSync(folder)).toEqual([])
      const nowhere = writeParquet(join(folder, "no", "rows.parquet"), Int, Stream.make([{ n: 1 }]))
      expect((yield* Effect.flip(nowhere)).reason).toBe("unwritable")
      // The name itself can be what cannot be had: it is a folder.
      mkdirSync(path)
      expect(yield* at(Int, [{ n: 1 }])).toEqual(["unwritable", undefined, undefined])
      expect(readdirSync(folder)).toEqual(["rows.parquet"])
    }).pipe(Effect.scoped)
  )

  it.effect("does not read another file's rows as its own", () =>
    Effect.gen(function* () {
      const { path } = yield* written(Schema.Struct({ a: Schema.String }), [[{ a: "x" }]])
      const other = yield* Effect.flip(readBack(path, Schema.Struct({ a: Schema.Int })))
      expect([other.reason, other.column, other.row]).toEqual(["bad-value", "a", 0])
      const choice = yield* Effect.flip(readBack(path, Schema.Struct({ a: Schema.Literals(["y"]) })))
      expect([choice.reason, choice.column]).toEqual(["bad-value", "a"])
      expect((yield* Effect.flip(readBack(path, Schema.Struct({ b: Schema.String })))).reason).toBe("no-column")
    }).pipe(Effect.scoped)
  )
})
