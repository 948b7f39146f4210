/** The wasm decoder, its reference and sharp's libjpeg have one opinion of every JPEG, whole or damaged. */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import sharp from "sharp"
import { decodeImage } from "../../src/data/Images.ts"
import { decodeJpegReference } from "../../src/data/Jpeg.ts"
import { borrowJpeg } from "../../src/data/JpegWasm.ts"
import type { Raster } from "../../src/data/Resample.ts"
import { Drawn, jpegOf } from "./jpegs.ts"

/** What libjpeg makes of it, through sharp: RGB, or `undefined` where it refuses. */
const libjpeg = async (bytes: Uint8Array): Promise<Raster | undefined> => {
  try {
    const { data, info } = await sharp(bytes, { ignoreIcc: true, failOn: "error" })
      .toColourspace("srgb")
      .raw()
      .toBuffer({ resolveWithObject: true })
    const step = info.channels === 1 ? 1 : 3
    const pixels_HWC = new Uint8Array(info.width * info.height * 3)
    for (let i = 0; i < pixels_HWC.length; i++) pixels_HWC[i] = data[step === 1 ? Math.floor(i / 3) : i]!
    return { width: info.width, height: info.height, pixels_HWC }
  } catch {
    return undefined
  }
}

const same = (a: Raster | undefined, b: Raster | undefined): boolean =>
  a === undefined || b === undefined
    ? a === b
    : a.width === b.width && a.height === b.height && Buffer.compare(a.pixels_HWC, b.pixels_HWC) === 0

/** Blocks of an interleaved unit: more than 10 are illegal. */
const legal = ({ factors, scans }: Drawn): boolean =>
  factors.length === 1 ||
  scans.split(",").every((scan) => [...scan].reduce((sum, i) => sum + factors[+i]![0] * factors[+i]![1], 0) <= 10)

/** Bytes that are overwritten: place, from 0 to 1, and value. */
const Damage = Schema.Array(
  Schema.Tuple([Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })), Schema.Int])
)

const golden = fileURLToPath(new URL("../golden/images-0/", import.meta.url))

interface Made {
  readonly how: string
  readonly jpeg: string
  readonly sha256: string
  readonly width: number
  readonly height: number
}

/** Small files of Pillow 12.3 and cjpeg 2.1, base64, with the digest of the RGB that Pillow 12.3 reads from them. */
const made: ReadonlyArray<Made> = JSON.parse(readFileSync(new URL("./jpegs.json", import.meta.url), "utf8"))

describe("JpegWasm", () => {
  it.effect.prop(
    "gives the reference's pixels, and libjpeg's, for every sampling, scan, restart interval and table",
    { drawn: Drawn },
    ({ drawn }) =>
      Effect.gen(function* () {
        const bytes = jpegOf(drawn)
        const got = borrowJpeg(bytes)
        assert.strictEqual(got !== undefined, legal(drawn))
        assert.isTrue(same(got, decodeJpegReference(bytes)), "the reference differs")
        if (drawn.size === "tame") {
          assert.isTrue(same(got, yield* Effect.promise(() => libjpeg(bytes))), "libjpeg differs")
        }
      }),
    { arbitrary: { runs: 200 } }
  )

  it.effect.prop(
    "takes nothing that libjpeg refuses or reads otherwise: damaged files, as the reference does",
    { drawn: Drawn, damage: Damage, cut: Schema.Finite.check(Schema.isBetween({ minimum: 0.5, maximum: 1.5 })) },
    ({ cut, damage, drawn }) =>
      Effect.gen(function* () {
        const whole = jpegOf({ ...drawn, size: "tame" })
        const bytes = whole.slice(0, Math.ceil(whole.length * Math.min(1, cut)))
        for (const [place, value] of damage) bytes[Math.floor(place * 0.999 * bytes.length)] = value
        const got = borrowJpeg(bytes)
        assert.isTrue(same(got, decodeJpegReference(bytes)), "the reference differs")
        if (got !== undefined) {
          assert.isTrue(same(got, yield* Effect.promise(() => libjpeg(bytes))), "libjpeg differs")
        }
      }),
    { arbitrary: { runs: 200 } }
  )

  it.effect.prop(
    "never lets an earlier image show: each is as if it were the first",
    { drawn: Schema.Array(Drawn).check(Schema.isMaxLength(4)) },
    ({ drawn }) =>
      Effect.sync(() => {
        const files = drawn.filter(legal).map(jpegOf)
        const once = files.map((bytes) => borrowJpeg(bytes)!.pixels_HWC.slice())
        const again = files.map((bytes) => {
          borrowJpeg(bytes.subarray(0, bytes.length >> 1))
          return borrowJpeg(bytes)!.pixels_HWC.slice()
        })
        assert.deepStrictEqual(again, once)
      }),
    { arbitrary: { runs: 30 } }
  )

  it("gives what Pillow gives, for files of two encoders", () => {
    for (const { height, how, jpeg, sha256, width } of made) {
      const bytes = Buffer.from(jpeg, "base64")
      for (const decode of [borrowJpeg, decodeJpegReference]) {
        const got = decode(bytes)
        assert.deepStrictEqual([got?.width, got?.height], [width, height], how)
        assert.strictEqual(createHash("sha256").update(got!.pixels_HWC).digest("hex"), sha256, how)
      }
    }
  })

  it("decodes every golden JPEG but the CMYK one, as the reference does", () => {
    const names = readdirSync(golden).filter((name) => name.endsWith(".jpg"))
    for (const name of names) {
      const got = borrowJpeg(readFileSync(golden + name))
      assert.strictEqual(got === undefined, name === "cmyk.jpg", name)
      if (name !== "large.jpg") assert.isTrue(same(got, decodeJpegReference(readFileSync(golden + name))), name)
    }
  })

  it.effect("leaves what it does not know to sharp: progressive pictures, and those over its limit of pixels", () =>
    Effect.gen(function* () {
      const pixels = Buffer.alloc(64 * 48 * 3, 90)
      const raw = { raw: { width: 64, height: 48, channels: 3 } } as const
      const progressive = yield* Effect.promise(() => sharp(pixels, raw).jpeg({ progressive: true }).toBuffer())
      assert.isUndefined(borrowJpeg(progressive))
      assert.strictEqual((yield* decodeImage(progressive)).width, 64)
      const usual = yield* Effect.promise(() => sharp(pixels, raw).jpeg().toBuffer())
      assert.isUndefined(borrowJpeg(usual, 64 * 48 - 1))
      assert.isDefined(borrowJpeg(usual, 64 * 48))
    })
  )

  it.effect("keeps the pixels of decodeImage when the next picture is decoded", () =>
    Effect.gen(function* () {
      const bytes = readFileSync(`${golden}portrait.jpg`)
      const first = yield* decodeImage(bytes)
      const copy = first.pixels_HWC.slice()
      yield* decodeImage(readFileSync(`${golden}landscape.jpg`))
      assert.strictEqual(Buffer.compare(first.pixels_HWC, copy), 0)
    })
  )
})
