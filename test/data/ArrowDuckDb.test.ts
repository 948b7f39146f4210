/**
 * Arrow shards are read by DuckDB, from the stream of messages that every Arrow file holds, in C++ that shares nothing
 * with the library that wrote them.
 *
 * The native package has no Arrow reader without an extension that it downloads; the wasm build has one inside.
 */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { createDuckDB, type DuckDBConnection, NODE_RUNTIME, VoidLogger } from "@duckdb/duckdb-wasm/blocking"
import { beforeAll, describe, expect, it } from "@effect/vitest"
import { arrowRows, fixedBytes, fixedFloats, list } from "../../src/data/ArrowShard.ts"
import { pixelRows } from "../../src/data/UniformRows.ts"
import { Examples } from "../../src/nodes/Artifacts.ts"
import { sample } from "../nodes/support.ts"

const { resolve } = createRequire(import.meta.url)
const bundle = (name: string) => ({
  mainModule: resolve(`@duckdb/duckdb-wasm/dist/duckdb-${name}.wasm`),
  mainWorker: ""
})

let connection: DuckDBConnection
beforeAll(async () => {
  const db = await createDuckDB({ mvp: bundle("mvp"), eh: bundle("eh") }, new VoidLogger(), NODE_RUNTIME)
  await db.instantiate(() => undefined)
  connection = db.connect()
})

/** The messages between the magic number and the footer. */
const streamIn = (file: Buffer): Uint8Array =>
  file.subarray(8, file.byteLength - 10 - file.readInt32LE(file.byteLength - 10))

let tables = 0
const load = (pieces: ReadonlyArray<Uint8Array>): string => {
  const name = `shard_${tables++}`
  connection.insertArrowFromIPCStream(streamIn(Buffer.concat(pieces)), { name, create: true })
  return name
}

const plain = (value: unknown): unknown =>
  typeof value === "bigint"
    ? Number(value)
    : typeof value === "object" && value !== null && Symbol.iterator in value
      ? Array.from(value as Iterable<unknown>, plain)
      : value

/** Rows of a query. No functions of extensions: the wasm build would try to download them. */
const query = (sql: string): ReadonlyArray<unknown> =>
  connection
    .query(sql)
    .toArray()
    .map((row) => Object.fromEntries(Object.entries(row.toJSON()).map(([name, value]) => [name, plain(value)])))

describe("DuckDB reads Arrow shards", () => {
  it("of every column type", () => {
    const format = arrowRows({
      id: "utf8",
      meta: "json",
      width: "int32",
      score: "float64",
      loss: "float32",
      keep: "bool",
      pixels: fixedBytes(4),
      features: fixedFloats(3),
      ids: list("int32"),
      weights: list("float32")
    })
    const row = (i: number) => ({
      id: `row ${i} ü`,
      meta: { at: [i, null] },
      width: i - 3,
      score: i / 3,
      loss: i / 4,
      keep: i % 3 === 0,
      pixels: Uint8Array.of(i, 255, 0, 128),
      features: Float32Array.of(i, 0.5, -1),
      ids: Int32Array.from({ length: i % 3 }, (_, k) => i * k),
      weights: Float32Array.of(i / 2)
    })
    const rows = Array.from({ length: 9 }, (_, i) => row(i))
    const encoder = format.encoder()
    const table = load([...encoder.append(rows.slice(0, 5)), ...encoder.append(rows.slice(5)), ...encoder.finish()])
    expect(query(`SELECT * REPLACE (hex(pixels) AS pixels) FROM ${table}`)).toEqual(
      rows.map((one) => ({
        ...one,
        meta: JSON.stringify(one.meta),
        pixels: Buffer.from(one.pixels).toString("hex").toUpperCase(),
        features: [...one.features],
        ids: [...one.ids],
        weights: [...one.weights]
      }))
    )
    expect(query(`DESCRIBE ${table}`).map((column) => (column as { column_type: string }).column_type)).toEqual([
      "VARCHAR",
      "VARCHAR",
      "INTEGER",
      "DOUBLE",
      "FLOAT",
      "BOOLEAN",
      "BLOB",
      "FLOAT[3]",
      "INTEGER[]",
      "FLOAT[]"
    ])
  })

  it("of token rows, of pixels and without rows", () => {
    const tokens = Examples.format.encoder()
    const rows = Array.from({ length: 200 }, (_, i) => ({
      id: `c${i}`,
      group: `g${i % 7}`,
      shard: 0,
      image: -1,
      ids: Int32Array.from({ length: 1 + (i % 50) }, (_, k) => i + k),
      labels: Int32Array.from({ length: 1 + (i % 50) }, () => -100),
      imageAt: -1,
      words: i,
      cut: 0
    }))
    const table = load([...tokens.append(rows), ...tokens.finish()])
    const sum = rows.reduce((all, { ids }) => all + ids.reduce((a, b) => a + b, 0), 0)
    expect(
      query(`SELECT count(*) AS rows, sum(list_sum(ids))::DOUBLE AS sum, max(len(labels)) AS longest FROM ${table}`)
    ).toEqual([{ rows: 200, sum, longest: 50 }])
    const pixels = pixelRows.encoder()
    const picture = readFileSync(sample("tokenizer.json")).subarray(0, 336 * 3)
    const pictures = load([...pixels.append([{ id: "p", pixels_HWC: new Uint8Array(picture) }]), ...pixels.finish()])
    expect(query(`SELECT id, octet_length(pixels_HWC) AS bytes FROM ${pictures}`)).toEqual([
      { id: "p", bytes: picture.byteLength }
    ])
    expect(query(`SELECT count(*) AS rows FROM ${load(Examples.format.encoder().finish())}`)).toEqual([{ rows: 0 }])
  })
})
