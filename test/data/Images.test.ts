import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import sharp from "sharp"
import { imageHeader } from "../../src/data/ImageHeader.ts"
import { BadImage, cropGeometry, decodeImage, fitImage } from "../../src/data/Images.ts"
import { type Raster, resizeReference } from "../../src/data/Resample.ts"

const golden = fileURLToPath(new URL("../golden/images-0/", import.meta.url))
const sources = readdirSync(golden).filter((name) => !/\.(crop|pad)\.png$/.test(name))
const read = (name: string) => decodeImage(readFileSync(golden + name), { name })

const differing = (a: Raster, b: Raster): number => {
  assert.deepStrictEqual([a.width, a.height], [b.width, b.height])
  let count = 0
  for (let at = 0; at < a.pixels_HWC.length; at++) if (a.pixels_HWC[at] !== b.pixels_HWC[at]) count++
  return count
}

const raster = (width: number, height: number): Raster => ({
  width,
  height,
  pixels_HWC: Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 37 + (i >> 3) * 11) & 255)
})

const pngOf = ({ width, height, pixels_HWC }: Raster) =>
  sharp(pixels_HWC, { raw: { width, height, channels: 3 } }).png()

describe("Images", () => {
  for (const name of sources) {
    for (const fit of ["crop", "pad"] as const) {
      it.effect(`makes of ${name} what PIL makes, ${fit}, 0 differing samples`, () =>
        Effect.gen(function* () {
          const expected = yield* read(name.replace(/\.\w+$/, `.${fit}.png`))
          const image = yield* read(name)
          assert.strictEqual(differing(fitImage(image, { size: 336, fit }), expected), 0)
        })
      )
    }
  }

  // Width, height, size, fit and the digest of what Pillow 12.3 makes of a computed image.
  const digests: ReadonlyArray<readonly [number, number, number, "crop" | "pad", string]> = [
    [640, 480, 336, "crop", "b3565f4d265f6d10"],
    [640, 480, 336, "pad", "533dd238aa1a9b8c"],
    [333, 500, 336, "crop", "588f0f4e7803a6d3"],
    [333, 500, 336, "pad", "de2eaa9a93079db1"],
    [97, 61, 56, "crop", "fba8431578656cf7"],
    [97, 61, 56, "pad", "9d4bdfc983c13aab"],
    [17, 31, 28, "crop", "816a3d889217c275"],
    [17, 31, 28, "pad", "037fcec1928fe297"],
    [2, 1002, 1, "crop", "d698ed8646f7b05e"],
    [2, 1002, 1, "pad", "db0f725a1cc3911b"],
    [3, 700, 2, "crop", "3733c0426a79d5b0"],
    [3, 700, 2, "pad", "ac50f958df059778"],
    [1, 90, 14, "crop", "3aa2bf9c8f66a1c1"],
    [1, 90, 14, "pad", "bc261bcb7d99d693"],
    [1200, 7, 28, "crop", "a4bb11b9021e8871"],
    [1200, 7, 28, "pad", "506b452408ced943"]
  ]
  it("makes of computed pictures, very tall and very wide ones too, what Pillow 12.3 makes", () => {
    for (const [width, height, size, fit, digest] of digests) {
      const pixels_HWC = Uint8Array.from({ length: width * height * 3 }, (_, i) =>
        i % 89 < 9 ? 0 : i % 97 < 9 ? 255 : (i * 37 + (i >> 3) * 11) & 255
      )
      const fitted = fitImage({ width, height, pixels_HWC }, { size, fit })
      const got = createHash("sha256").update(fitted.pixels_HWC).digest("hex").slice(0, 16)
      assert.strictEqual(got, digest, `${width} x ${height} ${fit} ${size}`)
    }
  })

  it("covers every golden picture", () => assert.strictEqual(sources.length, 10))

  it.prop(
    "crops and pads to any size as the reference does",
    {
      width: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 70 })),
      height: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 70 })),
      size: Schema.Literals([1, 14, 28, 56])
    },
    ({ width, height, size }) => {
      const image = raster(width, height)
      const to = cropGeometry(width, height, size)
      assert.isAtLeast(Math.min(to.width, to.height), size)
      assert.deepStrictEqual(
        fitImage(image, { size, fit: "crop" }),
        resizeReference(image, to.width, to.height, to.window)
      )
      assert.strictEqual(fitImage(image, { size, fit: "pad" }).pixels_HWC.length, size * size * 3)
    }
  )

  it.effect("keeps each sample of a lossless picture, whatever its layout", () =>
    Effect.gen(function* () {
      const image = raster(31, 17)
      const rgb = yield* decodeImage(new Uint8Array(yield* Effect.promise(() => pngOf(image).toBuffer())))
      assert.strictEqual(rgb.type, "png")
      assert.strictEqual(differing(rgb, image), 0)
      const faint = yield* Effect.promise(() => pngOf(image).ensureAlpha(0.25).png().toBuffer())
      assert.strictEqual(differing(yield* decodeImage(faint), image), 0)
      const webp = yield* Effect.promise(() => pngOf(image).webp({ lossless: true }).toBuffer())
      assert.strictEqual(differing(yield* decodeImage(webp, { name: "a.webp" }), image), 0)
      assert.deepStrictEqual(imageHeader(webp), { type: "webp", width: 31, height: 17, samples: "usual" })
    })
  )

  it.effect("clips 16-bit grey as Pillow does", () =>
    Effect.gen(function* () {
      const values = Uint16Array.of(0, 1, 254, 255, 256, 40_000)
      const bytes = yield* Effect.promise(() =>
        sharp(values, { raw: { width: 6, height: 1, channels: 1 } })
          .toColourspace("grey16")
          .png()
          .toBuffer()
      )
      assert.strictEqual(imageHeader(bytes)?.samples, "grey16")
      const image = yield* decodeImage(bytes)
      assert.deepStrictEqual(
        [...image.pixels_HWC].filter((_, i) => i % 3 === 1),
        [0, 1, 254, 255, 255, 255]
      )
    })
  )

  it.effect("refuses what is no picture with the reason why", () =>
    Effect.gen(function* () {
      const jpeg = readFileSync(`${golden}landscape.jpg`)
      const png = readFileSync(`${golden}exact.png`)
      const gif = yield* Effect.promise(() => pngOf(raster(4, 4)).gif().toBuffer())
      const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
      const bomb = Buffer.from(png)
      bomb.writeUInt32BE(60_000, 16)
      bomb.writeUInt32BE(60_000, 20)
      const cases: ReadonlyArray<readonly [string, Uint8Array, BadImage["reason"]]> = [
        ["a.jpg", new Uint8Array(0), "empty"],
        ["a.jpg", Buffer.from("<html>404</html>"), "not-an-image"],
        ["a.svg", svg, "unsupported"],
        ["a.bmp", Buffer.from("BM000000000000"), "corrupt"],
        ["a.jp2", Buffer.from("\0\0\0\x0cjP  \r\n\x87\n", "latin1"), "unsupported"],
        ["a.jpg", gif, "misnamed"],
        ["a.PNG", jpeg, "misnamed"],
        ["a.png", bomb, "too-large"],
        ["a.jpg", jpeg.subarray(0, 2000), "corrupt"],
        ["a.jpg", jpeg.subarray(0, 60_000), "corrupt"],
        ["a.jpg", jpeg.subarray(0, 20), "corrupt"],
        ["a.png", png.subarray(0, 20_000), "corrupt"],
        ["a.png", png.subarray(0, 20), "corrupt"]
      ]
      for (const [name, bytes, reason] of cases) {
        const error = yield* Effect.flip(decodeImage(bytes, { name }))
        assert.instanceOf(error, BadImage)
        assert.strictEqual(error.reason, reason, `${name} ${error.message}`)
      }
      const accepted = yield* decodeImage(gif, { name: "a.jpg", misnamed: "accept" })
      assert.strictEqual(accepted.type, "gif")
      assert.strictEqual(accepted.width, 4)
    })
  )

  it.effect.prop(
    "never crashes on damaged bytes",
    {
      name: Schema.Literals(["landscape.jpg", "alpha.png", "cmyk.jpg"]),
      at: Schema.Array(Schema.Tuple([Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })), Schema.Int]))
    },
    ({ name, at }) =>
      Effect.gen(function* () {
        const bytes = Buffer.from(readFileSync(golden + name))
        for (const [place, value] of at) bytes[Math.floor(place * 0.999 * bytes.length)] = value
        const result = yield* Effect.result(decodeImage(bytes, { name, misnamed: "accept", maxPixels: 1 << 22 }))
        if (result._tag === "Success") {
          assert.strictEqual(result.success.pixels_HWC.length, result.success.width * result.success.height * 3)
        } else assert.instanceOf(result.failure, BadImage)
      }),
    { arbitrary: { runs: 40 } }
  )
})
