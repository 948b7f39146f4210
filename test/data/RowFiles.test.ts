/** A folder is read as its parts, in name order, and other files are ignored. */
import { copyFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { writeParquet } from "../../src/data/ParquetWriter.ts"
import { readRowFiles } from "../../src/data/RowFiles.ts"
import { scratch } from "../nodes/support.ts"

const read = (path: string) =>
  Effect.map(Stream.runCollect(readRowFiles(path)), (batches) =>
    batches.flatMap(({ rows }) => rows.map(({ index, value }) => [index, value]))
  )

/** What macOS leaves beside each file that it copies to a foreign disk. */
const appleDouble = Buffer.from([0, 5, 22, 7, 0, 2, 0, 0, 77, 97, 99])

describe("readRowFiles", () => {
  it.effect("extensions count in any case", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      const Rows = Schema.Struct({ n: Schema.Int })
      writeFileSync(join(folder, "A.JSON"), '[{"n": 1}]')
      writeFileSync(join(folder, "B.Jsonl.GZ"), gzipSync('{"n": 2}\n{"n": 3}\n'))
      expect(yield* read(folder)).toEqual([
        [0, { n: 1 }],
        [1, { n: 2 }],
        [2, { n: 3 }]
      ])
      const other = yield* scratch
      yield* writeParquet(join(other, "A.PARQUET"), Rows, Stream.make([{ n: 4 }]))
      expect(yield* read(other)).toEqual([[0, { n: 4 }]])
      expect(yield* read(join(other, "A.PARQUET"))).toEqual([[0, { n: 4 }]])
    }).pipe(Effect.scoped)
  )

  it.effect("numbers the rows of JSON parts on, and leaves hidden files alone", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      writeFileSync(join(folder, "b.jsonl"), '{"n": 2}\n{"n": 3}\n')
      writeFileSync(join(folder, "a.json"), '[{"n": 1}]')
      writeFileSync(join(folder, "._a.json"), appleDouble)
      writeFileSync(join(folder, "README.md"), "# rows")
      expect(yield* read(folder)).toEqual([
        [0, { n: 1 }],
        [1, { n: 2 }],
        [2, { n: 3 }]
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("so it does with Parquet parts, of which some have no rows; hidden JSON makes them no mixed folder", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      const Rows = Schema.Struct({ n: Schema.Int })
      for (const [name, rows] of [
        ["part-0.parquet", [{ n: 1 }]],
        ["part-1.parquet", []],
        ["part-2.parquet", [{ n: 2 }]]
      ] as const)
        yield* writeParquet(join(folder, name), Rows, Stream.make(rows))
      for (const name of ["_SUCCESS", ".part-0.parquet.crc", ".meta.json", "._part-0.parquet"])
        writeFileSync(join(folder, name), appleDouble)
      const download = join(folder, "download")
      copyFileSync(join(folder, "part-0.parquet"), download)
      expect(yield* read(folder)).toEqual([
        [0, { n: 1 }],
        [1, { n: 2 }]
      ])
      // A name that says nothing, as many an address has it: the first bytes do.
      expect(yield* read(download)).toEqual([[0, { n: 1 }]])
      writeFileSync(download, '[{"n": 3}]')
      expect(yield* read(download)).toEqual([[0, { n: 3 }]])
    }).pipe(Effect.scoped)
  )
})
