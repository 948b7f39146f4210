/** A webdataset gives a row a sample, with the image that `tokenizeImages` then reads from the same files. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { readWebdataset } from "../../src/nodes/ReadWebdataset.ts"
import { openImages, tokenizeImages } from "../../src/nodes/TokenizeImages.ts"
import { tarBytes } from "../data/TarWriter.ts"
import { png, scratch } from "./support.ts"

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const params = { request: "What is it?", shardRows: 4 }
const sized = { size: 28, fit: "crop", folder: "", minSide: 8, maxAspect: 3, misnamed: "refuse" } as const

describe("readWebdataset", () => {
  it.effect("extensions count in any case, links are followed, and a link that leads out costs its sample", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const files = join(yield* scratch, "SET.TAR")
        const picture = yield* Effect.promise(() => png(28, 28, 1))
        writeFileSync(
          files,
          tarBytes([
            { name: "000.PNG", data: picture },
            { name: "000.TXT", data: text("upper") },
            { name: "001.Png", type: "2", link: "000.PNG" },
            { name: "001.Json", data: text('{"caption":"mixed"}') },
            { name: "002.BMP", data: picture },
            { name: "002.txt", type: "2", link: "elsewhere.txt" }
          ])
        )
        const { out, refused } = yield* Node.run(readWebdataset, { files }, params)
        expect(out.rows.map(({ caption, id, image }) => [id, image, caption])).toEqual([
          ["000", "000.PNG", "upper"],
          ["001", "001.Png", "mixed"]
        ])
        expect(refused.map(({ reason, row }) => [row, reason])).toEqual([[2, "BadSample: bad-caption"]])
        const tokenized = yield* Node.run(tokenizeImages, { rows: out.rows, images: files }, sized)
        expect(tokenized.out.rows.length).toBe(2)
      })
    )
  )

  it.effect("pairs captions and pictures over all shards, and refuses samples that lack one", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const files = join(yield* scratch, "set")
        mkdirSync(files)
        const picture = yield* Effect.promise(() => png(28, 28, 1))
        const first = tarBytes([
          { name: "./000.png", data: picture },
          { name: "./000.json", data: text('{"caption":" a kettle ","url":"x"}') },
          { name: "./000.txt", data: text("not this one") },
          { name: "001.png", data: picture },
          { name: "001.txt", data: text("a mill\n") },
          { name: "002.txt", data: text("no image") },
          { name: "003.png", data: picture },
          { name: "004.png", data: picture },
          { name: "004.json", data: text("{") },
          { name: "005.png", data: picture },
          { name: "005.txt", data: Uint8Array.of(0xff, 0xfe) }
        ])
        const second = tarBytes([
          { name: "x/006.seg.png", data: picture },
          { name: "x/006.txt", data: text("a stone") },
          { name: "007.png", data: text("no image at all") },
          { name: "007.json", data: text('{"caption":7}') },
          { name: "007.txt", data: text("a race") }
        ])
        writeFileSync(join(files, "00000.tar"), first)
        writeFileSync(join(files, "00001.tar"), second)
        const { out, refused } = yield* Node.run(readWebdataset, { files }, params)
        expect(out.rows.map(({ caption, id, image }) => [id, image, caption])).toEqual([
          ["000", "000.png", "a kettle"],
          ["001", "001.png", "a mill"],
          ["x/006", "x/006.seg.png", "a stone"],
          ["007", "007.png", "a race"]
        ])
        expect(out.rows[0]!.conversations[0]).toEqual({ from: "human", value: "<image>\nWhat is it?" })
        expect(refused.map(({ reason, row }) => [row, reason])).toEqual([
          [2, "BadSample: no-image"],
          [3, "BadSample: no-caption"],
          [4, "BadSample: bad-caption"],
          [5, "BadSample: bad-caption"]
        ])
        const tokenized = yield* Node.run(tokenizeImages, { rows: out.rows, images: files }, sized)
        expect(tokenized.out.pixels.map(({ id }) => id)).toEqual(["000", "001", "x/006"])
        expect(tokenized.refused.map(({ reason, row }) => [row, reason])).toEqual([[3, "BadImage: not-an-image"]])
      })
    )
  )
})

it.effect("tar files of several splits in one folder are read by the one that is chosen", () =>
  Effect.scoped(
    Effect.gen(function* () {
      const files = yield* scratch
      const picture = yield* Effect.promise(() => png(28, 28, 1))
      for (const name of ["train-000000", "train-000001", "val-000000"]) {
        const entries = [
          { name: `${name}.png`, data: picture },
          { name: `${name}.txt`, data: text(name) }
        ]
        writeFileSync(join(files, `${name}.tar`), tarBytes(entries))
      }
      const ids = (split?: string) =>
        Effect.map(
          Node.run(readWebdataset, { files }, split === undefined ? params : { ...params, split }),
          ({ out }) => out.rows.map(({ id }) => id)
        )
      expect(yield* ids("train")).toEqual(["train-000000", "train-000001"])
      expect(yield* ids("validation")).toEqual(["val-000000"])
      expect(yield* Effect.flip(ids())).toMatchObject({ _tag: "NoRowFiles", reason: "several-splits" })
      expect(yield* Effect.flip(ids("test"))).toMatchObject({ _tag: "NoRowFiles", reason: "no-such-split" })
      writeFileSync(join(files, "extra.tar"), tarBytes([]))
      expect(yield* ids("train")).toEqual(["train-000000", "train-000001"])
    })
  )
)

it.effect("a .json that cannot be used leaves the caption to the .txt, and endings are read in any case", () =>
  Effect.scoped(
    Effect.gen(function* () {
      const file = join(yield* scratch, "0.tar")
      const picture = yield* Effect.promise(() => png(28, 28, 1))
      const bad: ReadonlyArray<readonly [string, Uint8Array]> = [
        ["a", text("{")],
        ["b", Uint8Array.of(0xff, 0xfe)],
        ["c", text('{"caption":NaN}')],
        ["d", text("x".repeat((1 << 20) + 1))],
        ["e", text("[]")],
        ["i", text('{"caption":"half \\ud83d"}')]
      ]
      const entries = bad.flatMap(([id, json]) => [
        { name: `${id}.JPG`, data: picture },
        { name: `${id}.JSON`, data: json },
        { name: `${id}.TXT`, data: text(`caption ${id}\n`) }
      ])
      const more = [
        { name: "f.jpg", data: picture },
        { name: "f.json", data: text('{"caption":"a mill","score":NaN,"seed":9007199254740993}') },
        { name: "f.txt", data: text("not this one") },
        { name: "g.jpg", data: picture },
        { name: "g.txt", data: text("the mark <image> as a caption") },
        { name: "h.jpg", data: picture },
        { name: "h.json", data: text('{"caption":"half \\ud83d"}') }
      ]
      writeFileSync(file, tarBytes([...entries, ...more]))
      const { out, refused } = yield* Node.run(readWebdataset, { files: file }, params)
      expect(out.rows.map(({ caption, id }) => [id, caption])).toEqual([
        ...bad.map(([id]) => [id, `caption ${id}`]),
        ["f", "a mill"]
      ])
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual([
        [7, "BadSample: mark-in-caption"],
        [8, "BadSample: bad-caption"]
      ])
    })
  )
)

describe("openImages", () => {
  it.effect("takes a tar whatever it is called, and says what to do with a compressed one", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const folder = yield* scratch
        const bytes = tarBytes([{ name: "a.png", data: text("a") }])
        writeFileSync(join(folder, "pictures"), bytes)
        writeFileSync(join(folder, "pictures.tar.gz"), gzipSync(bytes))
        const images = yield* openImages({ path: join(folder, "pictures") })
        expect(Buffer.from(yield* images.read("a.png")).toString()).toBe("a")
        expect((yield* Effect.flip(images.read("b.png")))._tag).toBe("ImageMissing")
        const packed = yield* Effect.flip(openImages({ path: join(folder, "pictures.tar.gz") }))
        expect(packed._tag === "TarError" && packed.reason).toBe("compressed")
        expect((yield* Effect.flip(openImages({ path: join(folder, "absent") })))._tag).toBe("ImageSourceError")
      })
    )
  )
})
