import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync, zstdCompressSync } from "node:zlib"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { type JsonBatch, JsonError, type JsonOptions, parseChunks, readJson } from "../../src/data/JsonArray.ts"

const folder = mkdtempSync(join(tmpdir(), "millrace-json-"))
afterAll(() => rmSync(folder, { recursive: true }))

const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

const collect = async (chunks: Iterable<Uint8Array>, options: JsonOptions = {}, path = "memory.json") => {
  const batches: Array<JsonBatch> = []
  const source = async function* () {
    yield* chunks
  }
  let error: JsonError | undefined
  try {
    for await (const batch of parseChunks(source(), path, options)) batches.push(batch)
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause
    error = cause
  }
  return { rows: batches.flatMap((b) => b.rows), refused: batches.flatMap((b) => b.refused), error }
}

const cut = (bytes: Uint8Array, size: number): Array<Uint8Array> => {
  const out: Array<Uint8Array> = []
  for (let at = 0; at < bytes.length; at += size) out.push(bytes.slice(at, at + size))
  return out
}

async function* stream(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text)
}

const Value = Schema.Union([
  Schema.String,
  Schema.Finite,
  Schema.Boolean,
  Schema.Null,
  Schema.Array(Schema.String),
  Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Null, Schema.Array(Schema.Int)]))
])

/**
 * A whole number beyond 2^53 is read as a bigint, because a double may stand for several (`JsonText`); here as the
 * double.
 */
const asDoubles = (value: unknown): unknown =>
  typeof value === "bigint"
    ? Number(value)
    : Array.isArray(value)
      ? value.map(asDoubles)
      : typeof value === "object" && value !== null
        ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, asDoubles(one)]))
        : value

describe("JsonArray", () => {
  it.effect.prop(
    "gives the rows of JSON.parse however the bytes are chunked and indented",
    {
      rows: Schema.Array(Value),
      size: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 40 })),
      indent: Schema.Boolean
    },
    ({ rows, size, indent }) =>
      Effect.promise(async () => {
        const text = JSON.stringify(rows, undefined, indent ? 2 : undefined)
        const got = await collect(cut(Buffer.from(text), size))
        assert.isUndefined(got.error)
        assert.deepStrictEqual(
          got.rows.map((r) => asDoubles(r.value)),
          JSON.parse(text)
        )
        assert.deepStrictEqual(
          got.rows.map((r) => r.index),
          rows.map((_, i) => i)
        )
        for (const row of got.rows) {
          const tail = Buffer.from(text).subarray(row.offset).toString()
          assert.isTrue(tail.replace(/\s/g, "").startsWith(JSON.stringify(asDoubles(row.value)).replace(/\s/g, "")))
        }
      })
  )

  it.effect.prop(
    "gives the rows of JSON Lines however the bytes are chunked",
    { rows: Schema.Array(Value), size: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 40 })) },
    ({ rows, size }) =>
      Effect.promise(async () => {
        const text = rows.map((row) => `${JSON.stringify(row)}\n`).join("\r\n \n")
        const got = await collect(cut(Buffer.from(text), size), { layout: "lines" })
        assert.isUndefined(got.error)
        assert.deepStrictEqual(
          got.rows.map((r) => asDoubles(r.value)),
          JSON.parse(JSON.stringify(rows))
        )
      })
  )

  it.effect.prop(
    "never crashes on garbage and never loses the reason",
    {
      bytes: Schema.Array(Schema.Literals([...'[]{},"\\ \n1axé'])),
      size: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))
    },
    ({ bytes, size }) =>
      Effect.promise(async () => {
        const text = Buffer.from(`[${bytes.join("")}`)
        const whole = await collect([text])
        const chopped = await collect(cut(text, size))
        assert.deepStrictEqual(chopped.rows, whole.rows)
        assert.deepStrictEqual(chopped.refused, whole.refused)
        assert.strictEqual(chopped.error?.message, whole.error?.message)
      })
  )

  it("reads an array that is called .jsonl as the array it is, unless told that it is lines", async () => {
    const rows = [{ a: 1 }, { a: [2] }]
    for (const text of [JSON.stringify(rows), `\ufeff \n${JSON.stringify(rows, null, 2)}\n`]) {
      const got: Array<unknown> = []
      for await (const batch of parseChunks(stream(text), "rows.jsonl")) {
        assert.deepStrictEqual(batch.refused, [])
        got.push(...batch.rows.map(({ value }) => value))
      }
      assert.deepStrictEqual(got, rows)
    }
    for await (const batch of parseChunks(stream("[1]\n[2]\n"), "rows.jsonl", { layout: "lines" }))
      assert.deepStrictEqual(
        batch.rows.map(({ value }) => value),
        [[1], [2]]
      )
  })

  it("isolates rows that do not parse and goes on with their neighbours", async () => {
    const text = `\ufeff  [ {"a":1} , {"a":1]} , {"b":2}, nope,, {"c":3} {"d":4}, "\\"],[" , [1,[2,"]"]], ]  \n`
    const bytes = Buffer.from(text)
    const at = (part: string): number => bytes.indexOf(part)
    for (const size of [1, 2, 3, 7, 1000]) {
      const got = await collect(cut(Buffer.from(text), size))
      assert.isUndefined(got.error)
      assert.deepStrictEqual(
        got.rows.map((r) => [r.index, r.value]),
        [
          [0, { a: 1 }],
          [2, { b: 2 }],
          [6, `"],[`],
          [7, [1, [2, "]"]]]
        ]
      )
      assert.deepStrictEqual(
        got.refused.map((r) => [r.row, r.reason, r.offset]),
        [
          [1, "syntax", 17],
          [3, "syntax", at("nope")],
          [4, "missing-value", at("nope") + 5],
          [5, "syntax", at(`{"c"`)],
          [8, "missing-value", bytes.lastIndexOf("]")]
        ]
      )
    }
  })

  it("refuses bytes that are not UTF-8 instead of repairing them", async () => {
    const got = await collect([Buffer.concat([Buffer.from(`["a`), Buffer.from([0xff]), Buffer.from(`","b"]`)])])
    assert.deepStrictEqual(
      got.refused.map((r) => r.reason),
      ["invalid-utf8"]
    )
    assert.deepStrictEqual(
      got.rows.map((r) => r.value),
      ["b"]
    )
  })

  for (const [name, content, reason, offset, row] of [
    ["nothing", "", "empty", 0, 0],
    ["only blanks", " \n", "empty", 2, 0],
    ["an object", ` {"a":[1]}`, "not-an-array", 1, 0],
    ["an unclosed array", `[{"a":1}`, "truncated", 1, 0],
    ["an array without its bracket", `[{"a":1},`, "truncated", 9, 1],
    ["a cut row", `[{"a":1}, {"a":"x`, "truncated", 10, 1],
    ["an unescaped quote", `[{"a":1}, {"a":"x"y"}, {"a":2}]`, "truncated", 10, 1],
    ["two arrays", `[1] [2]`, "trailing", 4, 1],
    ["a huge row that never ends", `[1, "${"x".repeat(200)}, 2]`, "truncated", 4, 1]
  ] as const) {
    it(`says where ${name} goes wrong`, async () => {
      for (const size of [1, 5, 4096]) {
        const { error } = await collect(cut(Buffer.from(content), size), { maxRowBytes: 100 })
        assert.deepStrictEqual([error?.reason, error?.offset, error?.row], [reason, offset, row])
        assert.isAbove(error?.hint.length ?? 0, 10)
      }
    })
  }

  for (const layout of ["array", "lines"] as const) {
    it(`refuses a row that is too large or too deep and reads the next one (${layout})`, async () => {
      const rows = ["1", `"${"x".repeat(200)}"`, "2", `${"[".repeat(30)}"]"${"]".repeat(30)}`, `["[[[[[[[[[[[["]`, "3"]
      const text = layout === "array" ? `[${rows.join(",")}]` : rows.join("\n")
      for (const size of [1, 7, 4096]) {
        const got = await collect(cut(Buffer.from(text), size), { layout, maxRowBytes: 100, maxDepth: 10 })
        assert.deepStrictEqual(
          got.rows.map(({ index, value }) => [index, value]),
          [
            [0, 1],
            [2, 2],
            [4, ["[[[[[[[[[[[["]],
            [5, 3]
          ]
        )
        const first = layout === "array" ? 1 : 0
        assert.deepStrictEqual(
          got.refused.map(({ length, offset, reason, row }) => [row, reason, offset, length]),
          [
            [1, "too-large", first + 2, 202],
            [3, "too-deep", first + 207, 63]
          ]
        )
        assert.isUndefined(got.error)
      }
    })
  }

  it("names UTF-16 instead of calling it no array", async () => {
    const { error } = await collect([Buffer.from("\ufeff[1]", "utf16le")])
    assert.strictEqual(error?.reason, "encoding")
  })

  it.effect("reads plain, gz and zst files in batches and stops early without leaking", () =>
    Effect.gen(function* () {
      const rows = Array.from({ length: 5000 }, (_, id) => ({ id, text: 'naïve "quoted" \\ text '.repeat(id % 7) }))
      const text = JSON.stringify(rows)
      const paths = [
        file("rows.json", text),
        file("rows.json.gz", gzipSync(text)),
        file("rows.json.zst", zstdCompressSync(text)),
        file("rows.jsonl", rows.map((row) => JSON.stringify(row)).join("\n")),
        file("rows.jsonl.gz", gzipSync(rows.map((row) => JSON.stringify(row)).join("\n")))
      ]
      for (const path of paths) {
        const batches = yield* Stream.runCollect(readJson(path, { chunkBytes: 10_000, batchRows: 100 }))
        assert.isAbove(batches.length, 49)
        assert.isTrue(batches.every((batch) => batch.rows.length <= 100))
        assert.deepStrictEqual(
          batches.flatMap((batch) => batch.rows.map((row) => row.value)),
          rows
        )
        const first = yield* readJson(path, { chunkBytes: 1000 }).pipe(Stream.take(1), Stream.runCollect)
        assert.strictEqual(first.length, 1)
      }
    })
  )

  it.effect("reports a missing file and a cut archive as typed errors", () =>
    Effect.gen(function* () {
      const missing = yield* Effect.flip(Stream.runDrain(readJson(join(folder, "absent.json"))))
      assert.strictEqual(missing.reason, "unreadable")
      const whole = gzipSync(JSON.stringify(Array.from({ length: 9999 }, (_, i) => i * i)))
      for (const path of [file("cut.json.gz", whole.subarray(0, 9000)), file("bad.json.gz", Buffer.from("[1,2]"))]) {
        const error = yield* Effect.flip(Stream.runDrain(readJson(path)))
        assert.instanceOf(error, JsonError)
        assert.strictEqual(error.reason, path.endsWith("cut.json.gz") ? "truncated" : "wrong-file")
      }
    })
  )
})
