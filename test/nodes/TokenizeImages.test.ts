/** Rows keep their pictures: the k-th pixels are the k-th pictured row's, and a bad image takes only its row. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import sharp from "sharp"
import { zipBytes } from "../../src/bytes/ZipWriter.ts"
import * as Node from "../../src/dag/RunNode.ts"
import { fitImage } from "../../src/data/Images.ts"
import { tokenizeImages } from "../../src/nodes/TokenizeImages.ts"
import { tarBytes } from "../data/TarWriter.ts"
import { pixelsOf, png, scratch } from "./support.ts"

const params = { size: 28, fit: "crop", folder: "", minSide: 8, maxAspect: 3, misnamed: "refuse" } as const
const row = (id: string, image: string | null) => ({
  id,
  image,
  conversations: [
    { from: "human" as const, value: "What?" },
    { from: "gpt" as const, value: "That." }
  ]
})
type Row = ReturnType<typeof row>
const run = (rows: ReadonlyArray<Row>, images: string, given: Partial<typeof params> = {}) =>
  Node.run(tokenizeImages, { rows, images }, { ...params, ...given })
/** Reason by row id. */
const reasons = (rows: ReadonlyArray<Row>, refused: ReadonlyArray<{ readonly row: number; readonly reason: string }>) =>
  Object.fromEntries(refused.map((one) => [rows[one.row]!.id, one.reason]))

const kinds = Arbitrary.array(Arbitrary.schema(Schema.Literals(["good", "missing", "empty", "text"])), {
  maxLength: 90
})

describe("tokenizeImages", () => {
  it.effect.prop(
    "gives rows in order and pixels of exactly the pictured ones, in the same order",
    [kinds],
    ([all]) =>
      Effect.scoped(
        Effect.gen(function* () {
          const images = yield* scratch
          const one = yield* Effect.promise(() => png(28, 28, 1))
          for (const [i, kind] of all.entries())
            if (kind === "good" || kind === "empty")
              writeFileSync(join(images, `${i}.png`), kind === "good" ? one : new Uint8Array(0))
          const rows = all.map((kind, i) => row(`r${i}`, kind === "text" ? null : `${i}.png`))
          const { out, refused } = yield* run(rows, images)
          const kept = rows.filter((_, i) => all[i] === "good" || all[i] === "text")
          expect(out.rows).toEqual(kept)
          expect(out.pixels.map(({ id }) => id)).toEqual(kept.flatMap(({ id, image }) => (image === null ? [] : [id])))
          expect(refused.map(({ reason, row }) => [row, reason])).toEqual(
            all.flatMap(
              (kind, i): Array<[number, string]> =>
                kind === "missing" ? [[i, "ImageMissing"]] : kind === "empty" ? [[i, "BadImage: empty"]] : []
            )
          )
        })
      ),
    { arbitrary: { runs: 25 } }
  )

  for (const fit of ["crop", "pad"] as const)
    it.effect(`makes pixels as fitImage does, ${fit}, from a zip and from a folder inside it`, () =>
      Effect.gen(function* () {
        const folder = yield* scratch
        const sizes = [
          [40, 30],
          [30, 41],
          [28, 28],
          [9, 20]
        ] as const
        const entries = yield* Effect.promise(() =>
          Promise.all(sizes.map(async ([w, h], i) => ({ name: `train/${i}.png`, data: await png(w, h, i) })))
        )
        writeFileSync(join(folder, "pictures.zip"), zipBytes(entries))
        const rows = sizes.map((_, i) => row(`r${i}`, `${i}.png`))
        const { out, refused } = yield* run(rows, join(folder, "pictures.zip"), { fit, folder: "train/" } as never)
        expect(refused).toEqual([])
        sizes.forEach(([width, height], i) => {
          const expected = fitImage({ width, height, pixels_HWC: pixelsOf(width, height, i) }, { size: 28, fit })
          expect(Buffer.compare(out.pixels[i]!.pixels_HWC, expected.pixels_HWC)).toBe(0)
        })
      })
    )

  it.effect("refuses each kind of bad picture with its own reason", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      const images = join(folder, "images")
      mkdirSync(join(images, "folder.png"), { recursive: true })
      const good = yield* Effect.promise(() => png(28, 28))
      const jpeg = yield* Effect.promise(() => sharp(good).jpeg().toBuffer())
      const files: Record<string, Uint8Array> = {
        "good.png": good,
        "empty.png": new Uint8Array(0),
        "page.jpg": Buffer.from("<!doctype html><title>404</title>"),
        "called.jpg": good,
        "cut.jpg": jpeg.subarray(0, jpeg.length >> 1),
        "tiny.png": yield* Effect.promise(() => png(7, 20)),
        "strip.png": yield* Effect.promise(() => png(90, 10)),
        "tall.png": yield* Effect.promise(() => png(10, 31))
      }
      for (const [name, bytes] of Object.entries(files)) writeFileSync(join(images, name), bytes)
      writeFileSync(join(folder, "secret.png"), good)
      symlinkSync(join(folder, "secret.png"), join(images, "link.png"))
      const names = [...Object.keys(files), "folder.png", "link.png", "../secret.png", "/etc/passwd", "none.png", ""]
      const rows = names.map((name) => row(name, name))
      const { out, refused } = yield* run(rows, images)
      expect(out.rows.map(({ id }) => id)).toEqual(["good.png"])
      expect(reasons(rows, refused)).toEqual({
        "empty.png": "BadImage: empty",
        "page.jpg": "BadImage: not-an-image",
        "called.jpg": "BadImage: misnamed",
        "cut.jpg": "BadImage: corrupt",
        "tiny.png": "OddImage: too-small",
        "strip.png": "OddImage: aspect-ratio",
        "tall.png": "OddImage: aspect-ratio",
        "folder.png": "ImageUnreadable: not-a-file",
        "link.png": "ImageUnreadable: unsafe-name",
        "../secret.png": "ImageUnreadable: unsafe-name",
        "/etc/passwd": "ImageUnreadable: unsafe-name",
        "none.png": "ImageMissing",
        "": "ImageUnreadable: unsafe-name"
      })
      expect(out.misnamed).toEqual([])
    })
  )

  it.effect("takes pictures by content where that is asked for, and lists those whose names say another type", () =>
    Effect.gen(function* () {
      const images = join(yield* scratch, "images")
      mkdirSync(images)
      const { cases } = JSON.parse(readFileSync(new URL("../golden/formats/cases.json", import.meta.url), "utf8")) as {
        readonly cases: ReadonlyArray<{ readonly name: string; readonly file: string }>
      }
      const bytesOf = (name: string) => Buffer.from(cases.find((one) => one.name === name)!.file, "base64")
      const files: ReadonlyArray<readonly [string, Uint8Array]> = [
        ["1437717772.jpg", bytesOf("gif transparent")],
        ["0.GIF", bytesOf("gif plain")],
        ["1.png", bytesOf("bmp 24")],
        ["2.jpg", bytesOf("tiff RGB None")],
        ["3.webp", bytesOf("avif 4:2:0")],
        ["4", bytesOf("bmp 8")],
        ["5.TIFF", bytesOf("tiff P packbits")],
        ["6.jpg", Buffer.from("\0\0\0\x0cjP  \r\n\x87\n", "latin1")]
      ]
      for (const [name, bytes] of files) writeFileSync(join(images, name), bytes)
      const rows = files.map(([name], i) => row(`r${i}`, name))
      const { out, refused } = yield* run(rows, images, { misnamed: "accept" } as never)
      expect(out.rows.map(({ id }) => id)).toEqual(["r0", "r1", "r2", "r3", "r4", "r5", "r6"])
      expect(out.misnamed.map(({ id, image, type }) => [id, image, type])).toEqual([
        ["r0", "1437717772.jpg", "gif"],
        ["r2", "1.png", "bmp"],
        ["r3", "2.jpg", "tiff"],
        ["r4", "3.webp", "avif"]
      ])
      expect(reasons(rows, refused)).toEqual({ r7: "BadImage: unsupported" })
      const strict = yield* run(rows, images)
      expect(strict.out.rows.map(({ id }) => id)).toEqual(["r1", "r5", "r6"])
      expect(Object.values(reasons(rows, strict.refused)).filter((one) => one === "BadImage: misnamed").length).toBe(4)
    })
  )

  it.effect("takes no picture beyond `maxPixels` and no file beyond `maxFileBytes`, in a folder, a zip and a tar", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      const data = yield* Effect.promise(() => png(40, 30))
      mkdirSync(join(folder, "images"))
      writeFileSync(join(folder, "images", "a.png"), data)
      writeFileSync(join(folder, "images.zip"), zipBytes([{ name: "a.png", data }]))
      writeFileSync(join(folder, "images.tar"), tarBytes([{ name: "a.png", data }]))
      for (const name of ["images", "images.zip", "images.tar"]) {
        const given = (limits: object) => run([row("a", "./a.png")], join(folder, name), limits as never)
        expect((yield* given({ maxPixels: 1200, maxFileBytes: data.length })).out.rows.length, name).toBe(1)
        const [few] = (yield* given({ maxPixels: 1199 })).refused
        expect([few!.reason, JSON.stringify(few!.error)]).toEqual([
          "BadImage: too-large",
          expect.stringContaining("maxPixels")
        ])
        const [short] = (yield* given({ maxFileBytes: data.length - 1 })).refused
        expect(short!.reason, name).toBe("ImageUnreadable: too-large")
        expect(JSON.stringify(short!.error)).toContain("`maxFileBytes`")
      }
    })
  )

  it.effect("refuses a zip's entry that lies about its size, fails its CRC or decodes to too many pixels", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      const good = yield* Effect.promise(() => png(28, 28))
      // 20,000 x 20,000 grey pixels in a few kilobytes.
      const bomb = yield* Effect.promise(() =>
        sharp({ create: { width: 20_000, height: 20_000, channels: 3, background: "#777" }, limitInputPixels: false })
          .png({ compressionLevel: 9 })
          .toBuffer()
      )
      const zeros = new Uint8Array(100 * 2 ** 20)
      const zip = zipBytes([
        { name: "good.png", data: good },
        { name: "flipped.png", data: good },
        { name: "bomb.png", data: bomb },
        { name: "zeros.png", data: zeros, method: "deflate" }
      ])
      // Behind the first copy of the image lies the second: one bit of it is turned.
      const at = Buffer.from(zip).indexOf(good.subarray(0, 40), Buffer.from(zip).indexOf(good.subarray(0, 40)) + 1)
      zip[at + good.length - 20]! ^= 1
      const path = join(folder, "pictures.zip")
      writeFileSync(path, zip)
      const rows = ["good.png", "flipped.png", "bomb.png", "zeros.png", "../good.png"].map((name) => row(name, name))
      const { out, refused } = yield* run(rows, path)
      expect(out.rows.map(({ id }) => id)).toEqual(["good.png"])
      expect(reasons(rows, refused)).toEqual({
        "flipped.png": "ImageUnreadable: damaged",
        "bomb.png": "BadImage: too-large",
        "zeros.png": "ImageUnreadable: too-large",
        "../good.png": "ImageUnreadable: unsafe-name"
      })
    })
  )

  it.effect("fails as a whole when there are no pictures at all", () =>
    Effect.gen(function* () {
      const rows = [row("a", "a.png")]
      const folder = yield* scratch
      writeFileSync(join(folder, "no.zip"), "not a zip")
      expect((yield* Effect.flip(run(rows, join(folder, "none"))))._tag).toBe("ImageSourceError")
      expect((yield* Effect.flip(run(rows, join(folder, "no.zip"))))._tag).toBe("ZipError")
    })
  )
})
