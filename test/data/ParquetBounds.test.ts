/**
 * What a Parquet file claims costs no more than its bytes allow; a value or a row that cannot be costs its row; damage
 * at random gives rows or a typed error.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, expect, it } from "@effect/vitest"
import { Effect, Result, Schema, Stream } from "effect"
import { BadParquetRow, ParquetError, type ParquetOptions, readParquet } from "../../src/data/Parquet.ts"
import { type ParquetBounds, Tally, thriftEnd } from "../../src/data/ParquetBounds.ts"
import { writeParquet } from "../../src/data/ParquetWriter.ts"
import { readRowFiles } from "../../src/data/RowFiles.ts"
import { scratch } from "../nodes/support.ts"
import { mutate } from "../soak/fuzz/Mutate.ts"
import { randomOf } from "../soak/fuzz/Random.ts"
import { dictionary, list, page, parquetBytes, plain, run, struct, type TextColumn } from "./ParquetBytes.ts"

const ids = (count: number): TextColumn => ({
  name: "id",
  pages: [
    page({
      values: count,
      encoding: "PLAIN",
      data: plain(...Array.from({ length: count }, (_, i) => `row ${i}`))
    })
  ]
})

/** Lists of one text: `lengths[i]` items in row i, in a dictionary of one entry. */
const lists = (...lengths: ReadonlyArray<number>): TextColumn => {
  const all = lengths.reduce((sum, length) => sum + length, 0)
  const reps = Buffer.concat(lengths.flatMap((length) => [run(0, 1), run(1, length - 1)]))
  const data = Buffer.concat([Buffer.from([1]), run(0, all)])
  return {
    name: "items",
    repeated: true,
    pages: [dictionary(1, plain("x")), page({ values: all, encoding: "RLE_DICTIONARY", reps, defs: run(1, all), data })]
  }
}

const read = Effect.fnUntraced(function* (bytes: Buffer, options: ParquetOptions = {}) {
  const path = join(yield* scratch, "x.parquet")
  writeFileSync(path, bytes)
  const rows: Array<readonly [number, Readonly<Record<string, unknown>>]> = []
  const refused: Array<BadParquetRow> = []
  const result = yield* Effect.result(
    Stream.runForEach(readParquet(path, options), (batch) =>
      Effect.sync(() => {
        for (const [i, row] of batch.rows.entries()) rows.push([batch.first + i, row])
        refused.push(...batch.refused)
      })
    )
  )
  return { rows, refused, error: Result.isFailure(result) ? result.failure : undefined }
}, Effect.scoped)

describe("a row that cannot be", () => {
  const bytes = parquetBytes(3, [
    ids(3),
    { name: "text", pages: [page({ values: 3, encoding: "PLAIN", data: plain("a", Buffer.from([0xff, 0x61]), "c") })] }
  ])

  it.effect("with text that is not UTF-8 is refused by column and number, and the file is read on", () =>
    Effect.gen(function* () {
      const { error, refused, rows } = yield* read(bytes, { badRows: "refuse" })
      expect(error).toBe(undefined)
      expect(rows).toEqual([
        [0, { id: "row 0", text: "a" }],
        [2, { id: "row 2", text: "c" }]
      ])
      expect(refused.map(({ column, reason, row }) => [row, column, reason])).toEqual([[1, "text", "value"]])
      expect(refused[0]!.message).toBe("column text: a text is not UTF-8")
    })
  )

  it.effect("ends the file where it is not to be refused, behind the rows before it", () =>
    Effect.gen(function* () {
      const { error, rows } = yield* read(bytes)
      expect(rows.map(([row]) => row)).toEqual([0])
      expect([error?.reason, error?.column, error?.rowGroup, error?.row]).toEqual(["damaged", "text", 0, 1])
      expect(error?.message).toContain("(row group 0, row 1)")
    })
  )

  it.effect("reaches quarantine through a reader of row files", () =>
    Effect.gen(function* () {
      const path = join(yield* scratch, "x.parquet")
      writeFileSync(path, bytes)
      const batches = yield* Stream.runCollect(readRowFiles(path))
      expect(batches.flatMap(({ rows }) => rows.map(({ index }) => index))).toEqual([0, 2])
      const refused = batches.flatMap((batch) => batch.refused)
      expect(refused.map(({ index }) => index)).toEqual([1])
      expect(refused[0]!.error).toBeInstanceOf(BadParquetRow)
    }).pipe(Effect.scoped)
  )

  it.effect("with more values than a row may have is refused, within a page and over several", () =>
    Effect.gen(function* () {
      const bounds: Partial<ParquetBounds> = { rowValues: 1000 }
      const one = lists(2, 5000, 3)
      const apart = [500, 600, 700].map((count, i) =>
        page({
          values: count,
          encoding: "RLE_DICTIONARY",
          reps: i === 0 ? Buffer.concat([run(0, 2), run(1, count - 2)]) : run(1, count),
          defs: run(1, count),
          data: Buffer.concat([Buffer.from([1]), run(0, count)])
        })
      )
      const last = page({
        values: 3,
        encoding: "RLE_DICTIONARY",
        reps: Buffer.concat([run(1, 1), run(0, 1), run(1, 1)]),
        defs: run(1, 3),
        data: Buffer.concat([Buffer.from([1]), run(0, 3)])
      })
      const over = { ...one, pages: [one.pages[0]!, ...apart, last] }
      for (const [column, expected] of [
        [one, [2, 3]],
        [over, [1, 2]]
      ] as const) {
        const { error, refused, rows } = yield* read(parquetBytes(3, [ids(3), column]), { badRows: "refuse", bounds })
        expect(error).toBe(undefined)
        expect(rows.map(([row, { id, items }]) => [row, id, (items as Array<unknown>).length])).toEqual([
          [0, "row 0", expected[0]],
          [2, "row 2", expected[1]]
        ])
        expect(refused.map(({ column, reason, row }) => [row, column, reason])).toEqual([[1, "items", "too-large"]])
      }
    })
  )
})

describe("a file that claims much", () => {
  const failing = Effect.fnUntraced(function* (bytes: Buffer) {
    const { error } = yield* read(bytes, { badRows: "refuse" })
    return [error?._tag, error?.reason]
  })

  it.effect("by a page of 60 million equal values", () =>
    Effect.gen(function* () {
      const bytes = parquetBytes(1, [lists(60_000_000)])
      expect(bytes.length).toBeLessThan(1000)
      expect(yield* failing(bytes)).toEqual(["ParquetError", "too-large"])
    })
  )

  it.effect("by a thousand columns of such pages, each within what one may have", () =>
    Effect.gen(function* () {
      const columns = Array.from({ length: 1000 }, (_, i) => ({ ...lists(1_000_000), name: `c${i}` }))
      expect(yield* failing(parquetBytes(1, columns))).toEqual(["ParquetError", "too-large"])
    })
  )

  it.effect("by a page that says it unfolds to a gigabyte", () =>
    Effect.gen(function* () {
      const big = page({ values: 1, encoding: "PLAIN", data: plain("x"), claims: 2 ** 30 })
      expect(yield* failing(parquetBytes(1, [{ name: "a", pages: [big] }]))).toEqual(["ParquetError", "too-large"])
    })
  )

  it.effect("by texts that each repeat the one before", () =>
    Effect.gen(function* () {
      // 30,000 texts; the first has 20,000 letters and each other one all of the one before it.
      const constant = (first: number, delta: number, count: number) =>
        Buffer.concat(
          [128, 4, count].map(varint).concat([varint(first * 2), varint(delta * 2), Buffer.from([0, 0, 0, 0])])
        )
      const blocks = (first: number, second: number, count: number) => {
        const each = Buffer.concat([varint(0), Buffer.from([0, 0, 0, 0])])
        const head = constant(first, second - first, count)
        return Buffer.concat([head, ...Array.from({ length: Math.ceil(count / 128) }, () => each)])
      }
      const prefixes = blocks(20_000, 20_000, 30_000)
      const data = Buffer.concat([prefixes, prefixes, Buffer.alloc(20_000, 97)])
      const pages = [page({ values: 30_000, encoding: "DELTA_BYTE_ARRAY", data })]
      expect(yield* failing(parquetBytes(30_000, [{ name: "a", pages }]))).toEqual(["ParquetError", "too-large"])
    })
  )

  it.effect("by lists of a footer, each in the other and of two billion items", () =>
    Effect.gen(function* () {
      const claim = Buffer.from([0xf9, 0xff, 0xff, 0xff, 0xff, 0x07])
      const nested = Buffer.concat([Buffer.from([0x19]), ...Array.from({ length: 500 }, () => claim)])
      expect(yield* failing(parquetBytes(0, [], nested))).toEqual(["ParquetError", "damaged"])
    })
  )

  it("a struct's end is found without making anything, and numbers of more than 64 bits are none", () => {
    const inner = struct({ 1: list([struct({})]), 3: struct({ 20: [1, Buffer.alloc(0)] }) })[1]
    // Field 20 is too far for the short form of this encoder, so only the plain ones are compared.
    const plainStruct = struct({ 1: list([struct({}), struct({})]), 3: struct({ 4: [1, Buffer.alloc(0)] }) })[1]
    expect(thriftEnd(Buffer.concat([plainStruct, Buffer.alloc(9)]), 0)).toBe(plainStruct.length)
    expect(() => thriftEnd(Buffer.concat([Buffer.from([0x16]), Buffer.alloc(200, 0x80)]), 0)).toThrow(/64 bits/)
    expect(() => thriftEnd(inner.subarray(0, 2), 0)).toThrow()
  })

  it("what is let go may be held again, and what was read is counted for ever", () => {
    const tally = new Tally(1000, { valuesPerByte: 1 })
    for (let i = 0; i < 4; i++) {
      tally.values(1_000_000)
      tally.holds(200_000_000)
      tally.release(200_000_000)
    }
    expect(() => tally.values(1_000_000)).toThrow(/5,000,000, more than the 4,195,304 for 1,000 bytes/)
    tally.holds(200_000_000)
    expect(() => tally.holds(200_000_000)).toThrow(/in memory are 400,000,000/)
  })
})

describe("damage at random", () => {
  const schema = Schema.Struct({
    id: Schema.String,
    n: Schema.Int,
    turns: Schema.Array(Schema.Struct({ from: Schema.String, value: Schema.NullOr(Schema.String) })),
    scores: Schema.Array(Schema.Finite)
  })
  const given = Array.from({ length: 60 }, (_, i) => ({
    id: `id-${i}`,
    n: i * 3,
    turns: Array.from({ length: i % 4 }, (_, k) => ({ from: "human", value: k === 1 ? null : `text ${i} ${k}` })),
    scores: Array.from({ length: i % 3 }, (_, k) => k / 4)
  }))

  it.effect("gives rows that were written, or a typed error, in no more steps than there are values", () =>
    Effect.gen(function* () {
      const path = join(yield* scratch, "base.parquet")
      yield* writeParquet(path, schema, Stream.make(given), { groupRows: 25 })
      const { readFileSync } = yield* Effect.promise(() => import("node:fs"))
      const written = readFileSync(path)
      const crafted = parquetBytes(3, [ids(3), lists(2, 4, 1)])
      const said: Record<string, number> = {}
      for (let i = 0; i < 600; i++) {
        const random = randomOf("parquet", i)
        const bytes = mutate(random, i % 2 === 0 ? written : crafted, [written, crafted])
        const { error, rows } = yield* read(bytes, { badRows: "refuse", bounds: { rowValues: 10_000 } })
        if (error !== undefined) assert.instanceOf(error, ParquetError)
        // The bounds let no input of a few KB have more than some million values.
        assert.isAtMost(rows.length, 2 ** 22 + bytes.length * 8192)
        const reason = error?.reason ?? "read"
        said[reason] = (said[reason] ?? 0) + 1
      }
      // Inputs that were all refused, or all taken, would find nothing.
      assert.isAbove(said["read"] ?? 0, 10)
      assert.isAbove(said["damaged"] ?? 0, 100)
    }).pipe(Effect.scoped)
  )
})

const varint = (value: number): Buffer => {
  const out: Array<number> = []
  let left = value
  for (; left > 127; left = Math.floor(left / 128)) out.push((left % 128) | 128)
  return Buffer.from([...out, left])
}
