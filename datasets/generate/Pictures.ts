/**
 * Encodes drawn scenes as the files of an image folder, and damages those that should be damaged.
 *
 * Not a renderer (`Render`). JPEG bytes come from the installed libjpeg and may change with it; the pixels before
 * encoding do not.
 */
import { Effect, Schema } from "effect"
import sharp from "sharp"
import type { Picture, Treatment } from "./Captions.ts"
import { type Dice, dice } from "./Random.ts"
import { rasterise } from "./Render.ts"
import type { Scene } from "./Scene.ts"
import type { SignalPicture } from "./Signals.ts"

/** An image could not be encoded. */
export class PictureError extends Schema.TaggedError<PictureError>()("PictureError", {
  name: Schema.String,
  treatment: Schema.String,
  cause: Schema.Unknown,
  hint: Schema.String
}) {}

export interface Encoded {
  readonly name: string
  readonly bytes: Uint8Array
  readonly treatment: Treatment
}

/** JPEG quality, as web images have it. */
export const quality = 80

const framed = (scene: Scene, treatment: Treatment): Scene => {
  if (treatment === "strip") return { ...scene, frame: { ...scene.frame, width: 400, height: 40 } }
  if (treatment === "tiny") return { ...scene, frame: { ...scene.frame, width: 12, height: 10 } }
  return scene
}

const encoded = (scene: Scene, treatment: Treatment): Promise<Uint8Array> => {
  const { width, height, pixels_HWC } = rasterise(framed(scene, treatment))
  const picture = sharp(pixels_HWC, { raw: { width, height, channels: 3 } })
  switch (treatment) {
    case "gif-called-jpg":
      return picture.gif().toBuffer()
    case "png-called-jpg":
      return picture.png().toBuffer()
    case "grey":
      return picture.toColourspace("b-w").jpeg({ quality }).toBuffer()
    case "cmyk":
      return picture.toColourspace("cmyk").jpeg({ quality }).toBuffer()
    default:
      return picture.jpeg({ quality }).toBuffer()
  }
}

const lostPage = new TextEncoder().encode(
  "<!DOCTYPE html>\n<html><head><title>404</title></head><body><p>This picture has moved.</p></body></html>\n"
)

/** The scan of a JPEG begins after the header of its SOS marker (FF DA). */
const scanStart = (jpeg: Uint8Array): number => {
  for (let i = 2; i + 3 < jpeg.length; ) {
    const length = jpeg[i + 2]! * 256 + jpeg[i + 3]!
    if (jpeg[i + 1] === 0xda) return i + 2 + length
    i += 2 + length
  }
  throw new RangeError("scanStart: no SOS marker")
}

const damaged = (jpeg: Uint8Array, treatment: Treatment, throws: Dice): Uint8Array => {
  const bytes = Uint8Array.from(jpeg)
  switch (treatment) {
    case "truncated":
      return bytes.subarray(0, scanStart(jpeg) + Math.floor((jpeg.length - scanStart(jpeg)) * throws.unit() * 0.7))
    case "garbled-header":
      for (let i = 0; i < 24; i++) bytes[i] = throws.int(256)
      return bytes
    case "garbled-body": {
      const start = scanStart(jpeg)
      for (let i = 0; i < 40; i++) bytes[start + throws.int(jpeg.length - start - 2)]! ^= 1 << throws.int(8)
      return bytes
    }
    case "page-called-jpg":
      return lostPage
    case "empty":
      return new Uint8Array(0)
    default:
      return bytes
  }
}

const cannotEncode = (name: string, treatment: Treatment) => (cause: unknown) =>
  new PictureError({
    name,
    treatment,
    cause,
    hint: "The installed sharp lacks an encoder (JPEG, PNG and GIF are needed); reinstall it with npm ci."
  })

/** One picture as a JPEG, nothing damaged. Errors: `PictureError` when sharp refuses. */
export const encodePlain = ({ height, name, pixels_HWC, width }: SignalPicture) =>
  Effect.tryPromise({
    try: () =>
      sharp(pixels_HWC, { raw: { width, height, channels: 3 } })
        .jpeg({ quality })
        .toBuffer(),
    catch: cannotEncode(name, "plain")
  })

/**
 * Encodes one image with its treatment.
 *
 * Errors: `PictureError` when sharp refuses. A `missing` image is encoded too; leaving it out is the caller's part.
 */
export const encode = (seed: number, picture: Picture): Effect.Effect<Encoded, PictureError> =>
  Effect.tryPromise({
    try: () => encoded(picture.scene, picture.treatment),
    catch: cannotEncode(picture.name, picture.treatment)
  }).pipe(
    Effect.map((jpeg) => ({
      name: picture.name,
      treatment: picture.treatment,
      bytes: damaged(jpeg, picture.treatment, dice(seed, `damage/${picture.name}`))
    }))
  )
