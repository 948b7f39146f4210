/** An Arrow file whose offsets and counts claim more than its bytes hold is an error, before room is made for it. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import {
  Bool,
  type Data,
  Field,
  Int32,
  List,
  makeData,
  RecordBatch,
  RecordBatchFileWriter,
  Schema,
  Struct,
  Utf8
} from "apache-arrow"
import { Effect, Stream } from "effect"
import { readArrowRows } from "../../src/data/ArrowRows.ts"
import { scratch } from "../nodes/support.ts"

const fileOf = (name: string, data: Data): Uint8Array => {
  const schema = new Schema([new Field(name, data.type, false)])
  const struct = makeData({ type: new Struct(schema.fields), length: data.length, children: [data] })
  return RecordBatchFileWriter.writeAll([new RecordBatch(schema, struct)]).toUint8Array(true)
}

const read = Effect.fnUntraced(function* (bytes: Uint8Array) {
  const path = join(yield* scratch, "x.arrow")
  writeFileSync(path, bytes)
  return yield* Stream.runCollect(readArrowRows(path))
}, Effect.scoped)

/** Lists of which each begins at the first item and ends at the last. */
const overlapping = (rows: number, items: number): Data => {
  const offsets = Int32Array.from({ length: rows + 1 }, (_, i) => (i % 2) * items)
  const child = makeData({ type: new Int32(), length: items, data: new Int32Array(items) })
  return makeData({ type: new List(new Field("item", new Int32(), false)), length: rows, valueOffsets: offsets, child })
}

it.effect("rows that all lead to the same items", () =>
  Effect.gen(function* () {
    const bytes = fileOf("a", overlapping(40_001, 10_000))
    const error = yield* Effect.flip(read(bytes))
    expect([error._tag, error.reason]).toEqual(["ArrowFileError", "damaged"])
    expect(error.message).toContain("its rows take more than 1,024 times its")
  })
)

it.effect("rows that all lead to the same text", () =>
  Effect.gen(function* () {
    const offsets = Int32Array.from({ length: 40_002 }, (_, i) => (i % 2) * 100_000)
    const data = makeData({
      type: new Utf8(),
      length: 40_001,
      valueOffsets: offsets,
      data: new Uint8Array(100_000).fill(97)
    })
    const error = yield* Effect.flip(read(fileOf("a", data)))
    expect(error.message).toContain("its rows take more than 1,024 times its")
  })
)

it.effect("what a file holds is read: many small rows, and lists", () =>
  Effect.gen(function* () {
    const flags = makeData({ type: new Bool(), length: 200_000, data: new Uint8Array(25_000) })
    const rows = (yield* read(fileOf("flag", flags))).flatMap((batch) => batch.rows)
    expect([rows.length, rows.at(-1)]).toEqual([200_000, { flag: false }])
    const lists = (yield* read(fileOf("a", overlapping(3, 3)))).flatMap((batch) => batch.rows)
    expect(lists[0]).toEqual({ a: [0, 0, 0] })
  })
)
