/**
 * Files of another writer are read as they are, in every compression, encoding and page version that it has; values are
 * exact or an error; damage is a typed error and never a wrong row.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema, Stream } from "effect"
import { describeParquet, ParquetError, type ParquetOptions, readParquet } from "../../src/data/Parquet.ts"
import { dateText, decimalText, timestampText } from "../../src/data/ParquetValue.ts"
import { scratch } from "../nodes/support.ts"
import { duckDb } from "./DuckDb.ts"

const collect = (path: string, options?: ParquetOptions) =>
  Effect.map(Stream.runCollect(readParquet(path, options)), (batches) => batches.flatMap(({ rows }) => rows))

/** What a query gives, written by DuckDB. */
const copied = Effect.fnUntraced(function* (sql: string, settings = "COMPRESSION zstd") {
  const db = yield* duckDb
  const path = join(yield* scratch, "duck.parquet")
  yield* db.rows(`COPY (${sql}) TO '${path}' (FORMAT parquet, ${settings})`)
  return path
})

const SQL = `
  SELECT i::INTEGER AS i,
    i * 1000000007 AS big,
    (i % 256)::UTINYINT AS small,
    i / 7 AS double,
    (i / 8)::FLOAT AS float,
    CASE WHEN i % 3 = 0 THEN NULL ELSE 'text ü ' || (i % 5) END AS words,
    'unlike ' || i AS unlike,
    CASE WHEN i % 7 = 0 THEN NULL ELSE i % 2 = 0 END AS flag,
    [{'from': 'human', 'value': repeat('x', (i % 20)::INTEGER)},
     {'from': 'gpt', 'value': CASE WHEN i % 4 = 0 THEN NULL ELSE 'v' || i END}] AS turns,
    CASE WHEN i % 5 = 0 THEN NULL WHEN i % 5 = 1 THEN [] ELSE [i, NULL, i + 1] END AS list,
    [[i], [], NULL] AS lists,
    CASE WHEN i % 2 = 0 THEN NULL ELSE {'p': {'q': CASE WHEN i % 3 = 0 THEN NULL ELSE i END}} END AS struct,
    MAP {'k' || i: i} AS map,
    'ab'::BLOB AS bytes
  FROM range(3000) t(i)`

const sqlRow = (i: number) => ({
  i,
  big: i * 1_000_000_007,
  small: i % 256,
  double: i / 7,
  float: i / 8,
  words: i % 3 === 0 ? null : `text ü ${i % 5}`,
  unlike: `unlike ${i}`,
  flag: i % 7 === 0 ? null : i % 2 === 0,
  turns: [
    { from: "human", value: "x".repeat(i % 20) },
    { from: "gpt", value: i % 4 === 0 ? null : `v${i}` }
  ],
  list: i % 5 === 0 ? null : i % 5 === 1 ? [] : [i, null, i + 1],
  lists: [[i], [], null],
  struct: i % 2 === 0 ? null : { p: { q: i % 3 === 0 ? null : i } },
  map: [{ key: `k${i}`, value: i }],
  bytes: new Uint8Array(Buffer.from("ab"))
})

describe("readParquet", () => {
  for (const compression of ["snappy", "zstd", "gzip", "brotli", "uncompressed"])
    for (const version of ["V1", "V2"])
      it.effect(`reads DuckDB's files: ${compression}, pages and encodings of ${version}`, () =>
        Effect.gen(function* () {
          const settings = `COMPRESSION ${compression}, PARQUET_VERSION ${version}, ROW_GROUP_SIZE 2048`
          const path = yield* copied(SQL, settings)
          assert.deepStrictEqual(
            yield* collect(path, { batchRows: 777 }),
            Array.from({ length: 3000 }, (_, i) => sqlRow(i))
          )
          const { columns, rowGroups, rows, writer } = yield* describeParquet(path)
          expect([rows, rowGroups, columns.slice(0, 2), columns.slice(8, 10)]).toEqual([
            3000,
            2,
            ["i", "big"],
            ["turns.from", "turns.value"]
          ])
          expect(writer).toMatch(/^DuckDB/)
        }).pipe(Effect.scoped)
      )

  it.effect("gives decimals, dates and times with every digit, JSON parsed, uuids as text", () =>
    Effect.gen(function* () {
      const path = yield* copied(`SELECT 12.30::DECIMAL(9, 2) AS price,
        (-0.001)::DECIMAL(38, 3) AS wide, DATE '2024-02-29' AS date, DATE '0001-01-01' AS early,
        TIMESTAMP '1969-12-31 23:59:59.999999' AS local, TIMESTAMPTZ '2024-01-01 00:00:00.000001+00' AS zoned,
        TIMESTAMP_NS '2024-01-01 00:00:00.123456789' AS nanos, TIME '12:34:56.789' AS time,
        '{"a": [1, null]}'::JSON AS json, '0192f0aa-0000-7000-8000-0123456789ab'::UUID AS uuid`)
      expect(yield* collect(path)).toEqual([
        {
          price: "12.30",
          wide: "-0.001",
          date: "2024-02-29",
          early: "0001-01-01",
          local: "1969-12-31T23:59:59.999999",
          zoned: "2024-01-01T00:00:00.000001Z",
          nanos: "2024-01-01T00:00:00.123456789",
          time: "12:34:56.789000",
          json: { a: [1, null] },
          uuid: "0192f0aa-0000-7000-8000-0123456789ab"
        }
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("never rounds a 64-bit integer: an error that names column and place, or bigints", () =>
    Effect.gen(function* () {
      const path = yield* copied("SELECT 'a' AS id, {'n': 9007199254740993} AS s UNION ALL SELECT 'b', {'n': 1}")
      const error = yield* Effect.flip(collect(path))
      expect([error._tag, error.reason, error.column, error.path]).toEqual([
        "ParquetError",
        "out-of-range",
        "s.n",
        path
      ])
      expect(error.hint).toContain("bigint")
      expect(yield* collect(path, { int64: "bigint" })).toEqual([
        { id: "a", s: { n: 9007199254740993n } },
        { id: "b", s: { n: 1n } }
      ])
      expect(yield* collect(path, { columns: ["id"] })).toEqual([{ id: "a" }, { id: "b" }])
      const unsigned = yield* copied("SELECT 18446744073709551615::UBIGINT AS u, 4294967295::UINTEGER AS v")
      expect(yield* collect(unsigned, { int64: "bigint" })).toEqual([{ u: 2n ** 64n - 1n, v: 2 ** 32 - 1 }])
    }).pipe(Effect.scoped)
  )

  it.effect("reads the columns asked for and nothing else", () =>
    Effect.gen(function* () {
      const path = yield* copied(
        "SELECT 1 AS id, {'bytes': 'ab'::BLOB, 'path': 'a.jpg'} AS image, [{'from': 'x', 'value': 'y'}] AS turns, INTERVAL 1 DAY AS odd"
      )
      expect(yield* collect(path, { columns: ["image.path", "turns.value"] })).toEqual([
        { image: { path: "a.jpg" }, turns: [{ value: "y" }] }
      ])
      expect(
        yield* collect(path, { columns: ["id", "image", "none"], without: ["image.bytes"], absent: "skip" })
      ).toEqual([{ id: 1, image: { path: "a.jpg" } }])
      const failing = (options: ParquetOptions) =>
        Effect.map(Effect.flip(collect(path, options)), ({ column, reason }) => [reason, column])
      expect(yield* failing({ columns: ["id", "imag"] })).toEqual(["no-column", "imag"])
      expect(yield* failing({ columns: ["none"], absent: "skip" })).toEqual(["no-column", undefined])
      expect(yield* failing({})).toEqual(["unsupported", "odd"])
    }).pipe(Effect.scoped)
  )

  /** pyarrow 25's own bytes: a table without rows is one row group of no rows, whose chunks have offsets of 0. */
  const noRows =
    "UEFSMRUEGVw1ABgGc2NoZW1hFQQAFQwlAhgCaWQlAEwcAAAANQIYAW4VAhUGTDwAAAA1BBgEbGlzdBUCABUEJQIYB2VsZW1lbnQAFgAZHBksJgAcFQwZFQYZGAJpZBUAFgAWABYAJgBJDAAAJgAcFQQZFQYZOAFuBGxpc3QHZWxlbWVudBUAFgAWABYAJgBJDAAAFgAWACYAFgAAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI1LjAuMRksHAAAHAAAAMMAAABQQVIx"
  /** The same of two columns, both called `a`, with 1 and 2. */
  const twiceA =
    "UEFSMRUAFRwVHCwVAhUAFQYVBhwAAAACAAAAAgEBAAAAAAAAABUAFRwVHCwVAhUAFQYVBhwAAAACAAAAAgECAAAAAAAAABUEGTw1ABgGc2NoZW1hFQQAFQQlAhgBYQAVBCUCGAFhABYCGRwZLCYAHBUEGSUGABkYAWEVABYCFkIWQiYISRwVABUAFQIAPCkGGSYAAgAAACYAHBUEGSUGABkYAWEVABYCFkIWQiZKSRwVABUAFQIAPCkGGSYAAgAAABaEARYCJggWhAEAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI1LjAuMRksHAAAHAAAALEAAABQQVIx"

  it.effect("a row group without rows is no damage; two columns of one name are an error, not one of them", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      const path = join(folder, "pyarrow.parquet")
      writeFileSync(path, Buffer.from(noRows, "base64"))
      expect(yield* collect(path)).toEqual([])
      expect(yield* collect(path, { columns: ["n"] })).toEqual([])
      expect(yield* describeParquet(path)).toMatchObject({ rows: 0, rowGroups: 1, columns: ["id", "n"] })
      writeFileSync(path, Buffer.from(twiceA, "base64"))
      const error = yield* Effect.flip(collect(path))
      expect([error.reason, error.column]).toEqual(["unsupported", "a"])
      expect(error.message).toContain("the name stands twice")
    }).pipe(Effect.scoped)
  )

  it.effect("says what a file is that is no Parquet, or none any more", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      const whole = readFileSync(yield* copied("SELECT range AS i, 'word ' || range AS w FROM range(1000)"))
      const reasonOf = Effect.fnUntraced(function* (bytes: Uint8Array | string) {
        const path = join(folder, "other.parquet")
        writeFileSync(path, bytes)
        const error = yield* Effect.flip(collect(path))
        expect([error._tag, error.path, error.hint === ""]).toEqual(["ParquetError", path, false])
        return `${error.reason}: ${error.message.slice(path.length + 2)}`
      })
      expect(yield* reasonOf("")).toContain("not-parquet: is empty")
      expect(yield* reasonOf('[{"id": 1}]')).toContain("not-parquet: is JSON")
      expect(yield* reasonOf("version https://git-lfs.github.com/spec/v1\n")).toContain(
        "not-parquet: is a Git LFS pointer"
      )
      expect(yield* reasonOf("ARROW1\0\0")).toContain("not-parquet: is an Arrow file")
      expect(yield* reasonOf("hello")).toContain("not-parquet: does not begin with PAR1")
      expect(yield* reasonOf("PAR1")).toContain("truncated")
      expect(yield* reasonOf(whole.subarray(0, whole.byteLength / 2))).toContain(
        "truncated: the file does not end with"
      )
      expect(yield* reasonOf(Buffer.concat([whole.subarray(0, 100), whole.subarray(-600)]))).toContain("damaged")
      expect((yield* Effect.flip(collect(join(folder, "none.parquet")))).reason).toBe("unreadable")
      mkdirSync(join(folder, "folder.parquet"))
      expect((yield* Effect.flip(collect(join(folder, "folder.parquet")))).reason).toBe("unreadable")
      expect(yield* Effect.flip(describeParquet(join(folder, "none.parquet")))).toBeInstanceOf(ParquetError)
      const lz4 = yield* copied("SELECT 1 AS i", "COMPRESSION lz4_raw")
      expect((yield* Effect.flip(collect(lz4))).message).toContain("column i: compression LZ4_RAW is not read")
    }).pipe(Effect.scoped)
  )

  const place = Arbitrary.schema(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })))
  for (const compression of ["zstd", "uncompressed"])
    it.effect.prop(
      `gives rows or a typed error for damaged ${compression} bytes`,
      { at: place, to: place, bit: place },
      ({ at, bit, to }) =>
        Effect.gen(function* () {
          const whole = damageable[compression] ?? readFileSync(yield* copied(SQL, `COMPRESSION ${compression}`))
          damageable[compression] = whole
          const bytes = Buffer.from(whole)
          for (const share of [at, to]) {
            const i = Math.min(bytes.byteLength - 1, Math.floor(share * bytes.byteLength))
            bytes[i]! ^= 1 << Math.min(7, Math.floor(bit * 8))
          }
          const path = join(yield* scratch, "damaged.parquet")
          writeFileSync(path, bytes)
          const result = yield* Effect.result(collect(path))
          if (result._tag === "Failure") expect(result.failure).toBeInstanceOf(ParquetError)
          else expect(result.success.length).toBeGreaterThan(0)
        }).pipe(Effect.scoped)
    )
  const damageable: Record<string, Buffer> = {}
})

describe("texts of stored values", () => {
  const days = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: -719_162, maximum: 2_932_896 })))
  it.effect.prop("dates are JavaScript's own, years 1 to 9999", { days }, ({ days }) =>
    Effect.sync(() => expect(dateText(days)).toBe(new Date(days * 86_400_000).toISOString().slice(0, 10)))
  )

  const millis = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: -6e13, maximum: 2e14 })))
  it.effect.prop("timestamps are JavaScript's own", { millis }, ({ millis }) =>
    Effect.sync(() => expect(timestampText(BigInt(millis), "MILLIS", true)).toBe(new Date(millis).toISOString()))
  )

  it("years that four digits do not hold have a sign; decimals keep their zeros", () => {
    expect([dateText(-719_529), dateText(2_932_897), dateText(-100_000_000)]).toEqual([
      "-000001-12-31",
      "+010000-01-01",
      "-271821-04-20"
    ])
    expect([decimalText(0n, 2), decimalText(-5n, 2), decimalText(12345n, 0), decimalText(-12345n, 5)]).toEqual([
      "0.00",
      "-0.05",
      "12345",
      "-0.12345"
    ])
  })
})
