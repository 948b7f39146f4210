/**
 * Every format is decoded to what PIL's `Image.open(f).convert("RGB")` gives, or refused by name. The files and
 * Pillow's pixels are `test/golden/formats/make.py`'s.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { inflateSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { sniff } from "../../src/data/ImageHeader.ts"
import { BadImage, decodeImage } from "../../src/data/Images.ts"
import { turned } from "../../src/data/Tiff.ts"

const Case = Schema.Struct({
  name: Schema.String,
  ext: Schema.String,
  width: Schema.Number,
  height: Schema.Number,
  /** SHA-256 of Pillow's pixels; null where Pillow refuses the file. */
  rgb: Schema.NullOr(Schema.String),
  file: Schema.String,
  /** Pillow's pixels, deflated, where they cannot be had bit for bit. */
  pixels: Schema.optionalKey(Schema.String)
})
const { cases } = Schema.decodeUnknownSync(Schema.Struct({ pillow: Schema.String, cases: Schema.Array(Case) }))(
  JSON.parse(readFileSync(new URL("../golden/formats/cases.json", import.meta.url), "utf8"))
)

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
const bytesOf = (file: string): Buffer => Buffer.from(file, "base64")
const decodeCase = ({ ext, file }: Pick<typeof Case.Type, "ext" | "file">) =>
  decodeImage(bytesOf(file), { name: `a.${ext}` })

/** Pillow opens these, and here they are refused by name: what they hold was not seen to come out equal. */
const refusedByName: Readonly<Record<string, string>> = {
  "tiff YCbCr None": "YCbCr TIFF",
  "tiff YCbCr tiff_lzw": "YCbCr TIFF",
  "tiff LAB None": "LAB TIFF",
  "tiff LAB tiff_lzw": "LAB TIFF",
  "tiff 16 grey, white is zero": "grey TIFF of 1 x 16 bits",
  "tiff uint32": "grey TIFF of 1 x 32 bits",
  "tiff int8": "grey TIFF of 1 x 8 signed bits",
  "tiff int16": "grey TIFF of 1 x 16 signed bits"
}

/** Pillow refuses these, and here they open, with the pixels of the case named: nothing in doubt is one. */
const openedHere: Readonly<Record<string, string | undefined>> = {
  "bmp 4 grey": undefined,
  "png crc of text before the pixels": "png RGB, plain",
  "png crc of pHYs before the pixels": "png RGB, plain",
  "png a cut chunk behind the pixels": "png RGB, plain"
}

const named: Readonly<Record<string, string>> = {
  "bmp 32 masks odd": "a bitmap with the fields",
  "bmp 16 4444": "a bitmap with the fields",
  "bmp png inside": "a bitmap with a PNG inside",
  "bmp 2": "a bitmap of 2 bits",
  "tiff double": "64 floating-point bits"
}

describe("picture formats", () => {
  for (const one of cases) {
    const { height, name, pixels, rgb, width } = one
    if (name in refusedByName || name in openedHere) continue
    if (rgb === null)
      it.effect(`refuses, as PIL: ${name}`, () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(decodeCase(one))
          assert.instanceOf(error, BadImage)
          assert.strictEqual(error.reason, name in named ? "unsupported" : "corrupt", error.message)
          assert.include(error.message, named[name] ?? "cut or damaged")
        })
      )
    else if (pixels === undefined)
      it.effect(`the pixels of PIL: ${name}`, () =>
        Effect.gen(function* () {
          const image = yield* decodeCase(one)
          assert.deepStrictEqual([image.width, image.height], [width, height])
          assert.strictEqual(digest(image.pixels_HWC), rgb)
        })
      )
    else
      it.effect(`the pixels of PIL within 3 of 255: ${name}`, () =>
        Effect.gen(function* () {
          const image = yield* decodeCase(one)
          const expected = inflateSync(bytesOf(pixels))
          assert.strictEqual(digest(expected), rgb)
          assert.deepStrictEqual([image.width, image.height], [width, height])
          let [most, sum] = [0, 0]
          for (const [i, value] of image.pixels_HWC.entries()) {
            const off = Math.abs(value - expected[i]!)
            sum += off
            // Of the last column of an odd width see `Avif.ts`.
            if (width % 2 === 0 || Math.floor(i / 3) % width < width - 1) most = Math.max(most, off)
          }
          assert.isAtMost(most, 3)
          assert.isAtMost(sum / expected.length, 0.8)
        })
      )
  }

  it.effect("refuses by name what Pillow reads in another way", () =>
    Effect.gen(function* () {
      for (const [name, said] of Object.entries(refusedByName)) {
        const error = yield* Effect.flip(decodeCase(cases.find((one) => one.name === name)!))
        assert.deepStrictEqual([error._tag, error.reason], ["BadImage", "unsupported"], name)
        assert.include(error.message, said)
        assert.include(error.hint, "Convert it")
      }
    })
  )

  it.effect("opens a picture whose damage is beside its pixels", () =>
    Effect.gen(function* () {
      const plain = cases.find(({ name }) => name === "tiff RGB None")!.rgb
      for (const [name, like] of Object.entries(openedHere)) {
        const image = yield* decodeCase(cases.find((one) => one.name === name)!)
        if (like !== undefined) assert.strictEqual(digest(image.pixels_HWC), plain, name)
        // Sixteen greys whose colours are 0 to 15.
        else assert.isBelow(Math.max(...image.pixels_HWC), 16)
      }
    })
  )

  const others: ReadonlyArray<readonly [string, string]> = [
    ["\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ", "JPEG 2000"],
    ["\xff\x4f\xff\x51\0\x2f", "JPEG 2000"],
    ["\0\0\0\x14ftypjpx \0\0\0\0jpx ", "JPEG 2000"],
    ["P6\n2 2\n255\n", "PPM"],
    ["P5 2 2 255\n", "PPM"],
    ["P7\nWIDTH 2\n", "PPM"],
    ["\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"],
    ["\0\0\0\x14ftypmif1\0\0\0\0heic", "HEIC"],
    ["\xff\x0a\0\0", "JPEG XL"],
    ["\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"],
    ["\xff\xd8\xff\xf7\0\x0b", "JPEG-LS"],
    ["II\xbc\x01\x20\0", "JPEG XR"],
    ["8BPS\0\x01", "Photoshop"],
    ['<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"],
    ["%PDF-1.7", "PDF"],
    ["%!PS-Adobe-3.0 EPSF-3.0", "PostScript"],
    ["\0\0\x01\0\x01\0", "icon"],
    ["\0\0\x02\0\x01\0\x10\x10", "icon"],
    ["\0\0\x02\0\0\0\0\0\0\0\0\0\x25\0\x1d\0\x18\0", "Targa"],
    ["\x05\x01\x01\0\0\x10\0\x18\0\0\0\0\x25\0\x1d\0\x08\x20", "Targa"],
    ["\x01\xda\x01\x01\0\x03", "SGI"],
    ["qoif\0\0", "QOI"],
    ["DDS |\0\0\0", "DirectDraw"],
    ["v/1\x01\x02\0", "OpenEXR"],
    ["#?RADIANCE\n", "Radiance"],
    ["gimp xcf file\0", "GIMP"],
    ["\x0a\x05\x01\x08\0\0", "PCX"],
    ["\0\0\0\x18ftypmp42\0\0\0\0isom", "video"],
    ["\x1aE\xdf\xa3\x01\0", "video"]
  ]
  it.effect("calls every other type what it is", () =>
    Effect.gen(function* () {
      for (const [head, said] of others) {
        const error = yield* Effect.flip(decodeImage(Buffer.from(head, "latin1"), { name: "a.jpg" }))
        assert.strictEqual(error.reason, "unsupported", said)
        assert.include(error.message, said)
      }
    })
  )

  it.effect("goes by content where that is asked for, whatever the name", () =>
    Effect.gen(function* () {
      for (const ext of ["gif", "bmp", "tif", "avif", "png", "webp"]) {
        const one = cases.find((each) => each.ext === ext && each.rgb !== null)!
        const misnamed = yield* Effect.flip(decodeImage(bytesOf(one.file), { name: "1437717772.JPG" }))
        assert.strictEqual(misnamed.reason, "misnamed")
        const image = yield* decodeImage(bytesOf(one.file), { name: "1437717772.JPG", misnamed: "accept" })
        assert.deepStrictEqual([image.type, image.width], [sniff(bytesOf(one.file)), one.width])
      }
    })
  )

  it.effect.prop(
    "damaged bytes of every format end in BadImage, or in pixels of the size that is said",
    {
      which: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: cases.length - 1 })),
      changes: Schema.Array(
        Schema.Tuple([
          Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
          Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
        ])
      ).check(Schema.isMinLength(1), Schema.isMaxLength(6)),
      cut: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 4 }))
    },
    ({ changes, cut, which }) =>
      Effect.gen(function* () {
        const { ext, file } = cases[which]!
        const bytes = bytesOf(file)
        for (const [place, value] of changes) bytes[Math.floor(place * 0.999 * bytes.length)] = value
        const options = { name: `a.${ext}`, misnamed: "accept", maxPixels: 1 << 20 } as const
        const result = yield* Effect.result(
          decodeImage(bytes.subarray(0, Math.ceil(Math.min(1, cut) * bytes.length)), options)
        )
        if (result._tag === "Failure") assert.instanceOf(result.failure, BadImage)
        else {
          const { height, pixels_HWC, width } = result.success
          assert.strictEqual(pixels_HWC.length, width * height * 3)
          assert.isAtMost(width * height, 1 << 20)
        }
      }),
    { arbitrary: { runs: 300 } }
  )

  it("turns by an orientation and back", () => {
    const raster = { width: 3, height: 2, pixels_HWC: Uint8Array.from({ length: 18 }, (_, i) => i) }
    const back: Readonly<Record<number, number>> = { 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6, 9: 9 }
    for (const [one, other] of Object.entries(back))
      assert.deepStrictEqual(turned(turned(raster, Number(one)), other), raster, one)
  })
})
