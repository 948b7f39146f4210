/**
 * Images in cells of Parquet and Arrow files reach the pixels, each under one name, and no name stands for two images.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema, Stream } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { openCells } from "../../src/data/CellImages.ts"
import { writeParquet } from "../../src/data/ParquetWriter.ts"
import { readInstructions } from "../../src/nodes/ReadLlava.ts"
import { tokenizeImages } from "../../src/nodes/TokenizeImages.ts"

const folder = fileURLToPath(new URL("fixtures/pictures", import.meta.url))
const sized = { size: 28, fit: "crop", folder: "", minSide: 8, maxAspect: 3, misnamed: "refuse" } as const
const COLOURS = { red: [255, 0, 0], lime: [0, 255, 0], blue: [0, 0, 255], white: [255, 255, 255] } as const
/** Rows of `datasets`' own files: paths are image.png, lime.png, none, image.png. */
const LAYOUTS = {
  "Parquet as the hub serves it": ["hub", "data/train-00000-of-00001.parquet"],
  "a folder of save_to_disk": ["saved", "data-00000-of-00001.arrow"]
} as const

/** The rows, and of each the colour that its answer says and the first pixel of its image. */
const readAll = Effect.fnUntraced(function* (path: string, images?: "cell") {
  const params = { shardRows: 4, ...(images === undefined ? {} : { images }) }
  const read = yield* Node.run(readInstructions, { file: path }, params)
  const tokenized = yield* Node.run(tokenizeImages, { rows: read.out.rows, images: path }, sized)
  expect(read.refused).toEqual([])
  expect(read.out.rows[0]!.conversations[0]!.value).toBe("<image>\nWhat colour?")
  return {
    names: read.out.rows.map(({ image }) => image),
    seen: tokenized.out.rows.map(({ conversations }, i) => [
      conversations[1]!.value,
      [...tokenized.out.pixels[i]!.pixels_HWC.slice(0, 3)]
    ]),
    refused: tokenized.refused.map(({ reason, row }) => [row, reason])
  }
})
const right = (colours: ReadonlyArray<keyof typeof COLOURS>) => colours.map((colour) => [colour, [...COLOURS[colour]]])

describe("pictures in cells", () => {
  for (const [what, [name, part]] of Object.entries(LAYOUTS))
    it.effect(`of ${what}: by path or by cell, and a path of two cells is refused`, () =>
      Effect.gen(function* () {
        const byPath = yield* readAll(join(folder, name))
        expect(byPath.names).toEqual(["image.png", "lime.png", `${part}#2`, "image.png"])
        expect(byPath.seen).toEqual(right(["lime", "blue"]))
        expect(byPath.refused).toEqual([0, 3].map((row) => [row, "ImageUnreadable: ambiguous"]))
        const byCell = yield* readAll(join(folder, name), "cell")
        expect(byCell.names).toEqual([0, 1, 2, 3].map((row) => `${part}#${row}`))
        expect(byCell.seen).toEqual(right(["red", "lime", "blue", "white"]))
        expect(byCell.refused).toEqual([])
      })
    )

  const Rows = Schema.Struct({
    image: Schema.NullOr(Schema.Struct({ bytes: Schema.Uint8Array, path: Schema.NullOr(Schema.String) }))
  })
  const rows = Array.from({ length: 5000 }, (_, i) => ({
    image: i % 100 === 99 ? null : { bytes: Uint8Array.of(i & 255, i >> 8), path: `${i}.jpg` }
  }))
  const home = mkdtempSync(join(tmpdir(), "millrace-cells-"))
  const path = join(home, "rows.parquet")
  beforeAll(() => Effect.runPromise(writeParquet(path, Rows, Stream.make(rows), { groupRows: 700 })))
  afterAll(() => rmSync(home, { recursive: true }))
  const asked = Arbitrary.array(Arbitrary.schema(Schema.Literals([0, 1, 7, 8, 31, 32, 33, 64, 99, 100, 2500, 4999])), {
    minLength: 1,
    maxLength: 10
  })

  it.effect.prop("any cell has its own bytes, in whatever order cells are asked for", [asked], ([asked]) =>
    Effect.gen(function* () {
      const images = yield* openCells(path, { maxFileBytes: 2 })
      for (const row of asked) {
        const expected = rows[row]!.image?.bytes
        for (const name of [`rows.parquet#${row}`, `${row}.jpg`]) {
          const read = yield* Effect.result(images.read(name))
          if (expected === undefined) expect(read).toMatchObject({ _tag: "Failure", failure: { _tag: "ImageMissing" } })
          else expect(read).toMatchObject({ _tag: "Success", success: expected })
        }
      }
      expect((yield* Effect.flip(images.read("rows.parquet#5000")))._tag).toBe("ImageMissing")
      expect((yield* Effect.flip(images.read("other.parquet#0")))._tag).toBe("ImageMissing")
      const small = yield* openCells(path, { maxFileBytes: 1 })
      expect(yield* Effect.flip(small.read("0.jpg"))).toMatchObject({ _tag: "ImageUnreadable", reason: "too-large" })
    }).pipe(Effect.scoped)
  )
})
