/** Rows of any schema that has a Parquet form come back equal; the rest is refused by name of the column. */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema, Stream } from "effect"
import { describeParquet, readParquet } from "../../src/data/Parquet.ts"
import { readParquetAs, writeParquet } from "../../src/data/ParquetWriter.ts"
import { scratch } from "../nodes/support.ts"

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

const failure = <Row>(schema: Schema.Codec<Row, any>, rows: ReadonlyArray<Row>) =>
  Effect.flip(written(schema, [rows]))

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
})
