/**
 * Images as the originals see them: decoded to what PIL's `convert("RGB")` gives, cropped or padded to a square.
 *
 * Not a normaliser: pixels stay uint8 (`/255`, mean and deviation are applied when a row is read). Not a file reader.
 *
 * The usual JPEGs are decoded in wasm (`JpegWasm.ts`), without leaving the thread; GIF and BMP here, AVIF in libavif.
 * Everything else, and every JPEG with anything odd about it, is libvips' (through sharp), which says what of it is
 * corrupt. Nothing else of sharp is used: no colour management, no EXIF rotation. Alpha is dropped and not blended;
 * grey is repeated; CMYK and 16-bit grey follow Pillow's own formulas. Of an animation the first frame is taken.
 *
 * Shapes: pixels_HWC uint8, 3 channels.
 */
import { Effect, Schema } from "effect"
import { missing, PackageMissing } from "../dag/Missing.ts"
import { wrongFile } from "../dag/WrongFile.ts"
import { decodeAvif } from "./Avif.ts"
import { type BmpHeader, bmpHeader, decodeBmp } from "./Bmp.ts"
import { decodeGif, gifFrame } from "./Gif.ts"
import { type ImageHeader, type ImageType, type OtherType, otherTypes, readHeader, sniff } from "./ImageHeader.ts"
import { borrowJpeg } from "./JpegWasm.ts"
import { withRightChecksums } from "./PngChunks.ts"
import type { Raster, Window } from "./Resample.ts"
import { resize } from "./ResampleWasm.ts"
import { type TiffHeader, tiffHeader, turned } from "./Tiff.ts"

const { default: sharp } = await import("sharp").catch(missing("sharp"))

/** An image that cannot be used; a node refuses its row and goes on. */
export class BadImage extends Schema.TaggedError<BadImage>()("BadImage", {
  name: Schema.String,
  reason: Schema.Literals(["empty", "not-an-image", "unsupported", "misnamed", "too-large", "corrupt"]),
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/** A decoded image and what its bytes said it was. */
export interface DecodedImage extends Raster {
  readonly type: ImageType
}

/** The compiled kernels that pixels depend on: assets of a node that decodes or fits images. */
export const imageKernels = [
  new URL("./wasm/jpeg.wasm", import.meta.url),
  new URL("./wasm/resample.wasm", import.meta.url)
] as const

/** What to accept. Every field has a default. */
export interface DecodeOptions {
  /** For errors, and for its extension. Default: none, so that nothing can be misnamed. */
  readonly name?: string
  /** Pixels at most, checked before decoding. Default 67,108,864 (201 MB decoded). */
  readonly maxPixels?: number
  /** A GIF called `.jpg`: `refuse` it (default) or `accept` it by its content. */
  readonly misnamed?: "refuse" | "accept"
}

/** The padding of LLaVA's `pad` mode: CLIP's mean colour. */
export const CLIP_BACKGROUND = [122, 116, 104] as const

/** Neither side may be longer: JPEG's own limit, and what keeps a padded square in bounds. */
const MAX_SIDE = 65_535

const SMALL_PIXELS = 1 << 20

const extensionTypes: Readonly<Record<string, ImageType>> = {
  jpg: "jpeg",
  jpeg: "jpeg",
  jpe: "jpeg",
  jfif: "jpeg",
  png: "png",
  gif: "gif",
  webp: "webp",
  bmp: "bmp",
  dib: "bmp",
  tif: "tiff",
  tiff: "tiff",
  avif: "avif"
}

/** The type that a name's extension says; undefined where it says none. */
export const declaredType = (name: string): ImageType | undefined =>
  extensionTypes[/\.([^./\\]+)$/.exec(name)?.[1]?.toLowerCase() ?? ""]

const hints: Record<BadImage["reason"], string> = {
  empty: "The file has no bytes; download it again.",
  "not-an-image": "The bytes are of no image type that is known here; look at them with `file`, or download it again.",
  unsupported: "Convert it to JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF.",
  misnamed: 'Rename it, or set `misnamed` to "accept" to go by content.',
  "too-large": "Scale it down, or raise `maxPixels` if the memory is there (3 bytes a pixel).",
  corrupt: "The image is cut or damaged; download it again."
}

const isOther = (type: ImageType | OtherType): type is OtherType => type in otherTypes

let tuned = false

/** Once a process: parallelism is over images and not inside one, and no image is decoded twice. */
const tune = (): void => {
  if (tuned) return
  sharp.concurrency(1)
  sharp.cache(false)
  tuned = true
}

/** `a * b / 255`, rounded as Pillow's MULDIV255. */
const mulDiv255 = (a: number, b: number): number => {
  const product = a * b + 128
  return ((product >> 8) + product) >> 8
}

/** Pillow's cmyk2rgb. */
const fromCmyk = (data: Uint8Array, pixels: number): Uint8Array => {
  const rgb = new Uint8Array(pixels * 3)
  for (let i = 0; i < pixels; i++) {
    const white = 255 - data[i * 4 + 3]!
    for (let c = 0; c < 3; c++) rgb[i * 3 + c] = Math.max(0, white - mulDiv255(data[i * 4 + c]!, white))
  }
  return rgb
}

/** Pillow's I;16 to RGB: clipped, not scaled. */
const fromGrey16 = (data: Uint16Array, step: number, pixels: number): Uint8Array => {
  const rgb = new Uint8Array(pixels * 3)
  for (let i = 0; i < pixels; i++) rgb.fill(Math.min(255, data[i * step]!), i * 3, i * 3 + 3)
  return rgb
}

const repeatGrey = (data: Uint8Array, pixels: number): Uint8Array => {
  const rgb = new Uint8Array(pixels * 3)
  for (let i = 0; i < pixels; i++) rgb.fill(data[i]!, i * 3, i * 3 + 3)
  return rgb
}

const decode = async (bytes: Uint8Array, header: ImageHeader, maxPixels: number): Promise<Raster> => {
  switch (header.type) {
    case "gif":
      return decodeGif(bytes, gifFrame(bytes)!)
    case "bmp":
      return decodeBmp(bytes, bmpHeader(bytes) as BmpHeader)
    case "avif":
      return await decodeAvif(bytes)
    case "tiff":
      return turned(await decodeVips(bytes, header, maxPixels), (tiffHeader(bytes) as TiffHeader).orientation)
    case "png":
      return await decodeVips(bytes, header, maxPixels).catch((cause) => {
        const right = withRightChecksums(bytes, header.width, header.height)
        if (right === undefined) throw cause
        return decodeVips(right, header, maxPixels)
      })
    default:
      return await decodeVips(bytes, header, maxPixels)
  }
}

const decodeVips = async (bytes: Uint8Array, header: ImageHeader, maxPixels: number): Promise<Raster> => {
  // Small images decode some 10 % faster whole; large ones would be held twice.
  const sequentialRead = header.width * header.height > SMALL_PIXELS
  const image = sharp(bytes, { ignoreIcc: true, failOn: "error", limitInputPixels: maxPixels, sequentialRead })
  if (header.samples === "cmyk") {
    const pipeline = image.pipelineColourspace("cmyk").toColourspace("cmyk").raw()
    const { data, info } = await pipeline.toBuffer({ resolveWithObject: true })
    const pixels = info.width * info.height
    if (info.channels === 4) return { width: info.width, height: info.height, pixels_HWC: fromCmyk(data, pixels) }
    throw new Error(`expected 4 channels of CMYK, got ${info.channels}`)
  }
  if (header.samples === "grey16") {
    const pipeline = image.toColourspace("grey16").raw({ depth: "ushort" })
    const { data, info } = await pipeline.toBuffer({ resolveWithObject: true })
    const samples = new Uint16Array(data.buffer, data.byteOffset, data.byteLength >> 1)
    const pixels_HWC = fromGrey16(samples, info.channels, info.width * info.height)
    return { width: info.width, height: info.height, pixels_HWC }
  }
  const pipeline = image.removeAlpha().toColourspace("srgb").raw()
  const { data, info } = await pipeline.toBuffer({ resolveWithObject: true })
  const pixels_HWC = info.channels === 1 ? repeatGrey(data, info.width * info.height) : data
  if (pixels_HWC.length !== info.width * info.height * 3) {
    throw new Error(`expected 3 channels of 8 bits, got ${info.channels}`)
  }
  return { width: info.width, height: info.height, pixels_HWC }
}

/**
 * Decodes a JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF to RGB, as PIL's `Image.open(...).convert("RGB")` does, and gives
 * what `use` makes of it.
 *
 * Fails with `BadImage`; sizes are checked before anything is allocated. Where `lent`, the pixels are overwritten by
 * the next image: `use` must not keep them.
 *
 * @example
 * ```ts
 * const square = yield* withImage(bytes, { name: "1.jpg" }, (photo) => fitImage(photo, { size: 336, fit: "crop" }))
 * ```
 */
export const withImage = <A>(
  bytes: Uint8Array,
  options: DecodeOptions,
  use: (image: DecodedImage, lent: boolean) => A
): Effect.Effect<A, BadImage> =>
  Effect.suspend(() => {
    const name = options.name ?? "image"
    const maxPixels = options.maxPixels ?? 67_108_864
    const bad = (reason: BadImage["reason"], detail: string, hint = hints[reason]): Effect.Effect<never, BadImage> =>
      Effect.fail(new BadImage({ name, reason, message: `${name}: ${detail}`, hint }))
    if (bytes.length === 0) return bad("empty", "the file is empty")
    const type = sniff(bytes)
    if (type === undefined) {
      const wrong = wrongFile(bytes, bytes.length, "image")
      if (wrong !== undefined) return bad("not-an-image", wrong.message, wrong.hint)
      return bad("not-an-image", "the first bytes are of no image type")
    }
    if (isOther(type)) return bad("unsupported", `is ${otherTypes[type]}, which is not decoded`)
    const declared = declaredType(name)
    if (declared !== undefined && declared !== type && options.misnamed !== "accept") {
      return bad("misnamed", `the name says ${declared}, the bytes are ${type}`)
    }
    const header = readHeader(bytes)
    if (typeof header === "string") return bad("unsupported", `is ${header}, which is not decoded`)
    if (header === undefined || header.width === 0 || header.height === 0) {
      return bad("corrupt", `the ${type} header is cut or damaged`)
    }
    const { width, height } = header
    if (width * height > maxPixels || width > MAX_SIDE || height > MAX_SIDE) {
      return bad("too-large", `${width} x ${height} pixels are more than ${maxPixels}, or than ${MAX_SIDE} a side`)
    }
    const lent = type === "jpeg" && header.samples === "usual" ? borrowJpeg(bytes, maxPixels) : undefined
    if (lent !== undefined) return Effect.succeed(use({ ...lent, type }, true))
    tune()
    return Effect.tryPromise({
      try: () => decode(bytes, header, maxPixels),
      // Not in libvips' words: threads share its message buffer, so that they may be another image's, or none.
      catch: (cause) =>
        cause instanceof PackageMissing
          ? new BadImage({ name, reason: "unsupported", message: `${name}: ${cause.message}`, hint: cause.hint, cause })
          : new BadImage({
              name,
              reason: "corrupt",
              message: `${name}: the ${type} data is cut or damaged`,
              hint: hints.corrupt,
              cause
            })
    }).pipe(Effect.map((raster) => use({ ...raster, type }, false)))
  })

/**
 * Decodes as `withImage` does; the pixels are the caller's own.
 *
 * @example
 * ```ts
 * const photo = yield* decodeImage(bytes, { name: "GCC_train_002582585.jpg" })
 * ```
 */
export const decodeImage = (bytes: Uint8Array, options: DecodeOptions = {}): Effect.Effect<DecodedImage, BadImage> =>
  withImage(bytes, options, (image, lent) => (lent ? { ...image, pixels_HWC: image.pixels_HWC.slice() } : image))

/** How an image becomes a square. */
export interface FitOptions {
  /** Pixels a side. */
  readonly size: number
  /** `crop`: shortest edge to size, centre crop. `pad`: centred on an even square, then resized. */
  readonly fit: "crop" | "pad"
  /** Colour of the padding. Default `CLIP_BACKGROUND`. */
  readonly background?: readonly [number, number, number]
}

/** What `crop` resizes to, and the part of it that is kept. Pixels. */
export const cropGeometry = (
  width: number,
  height: number,
  size: number
): { readonly width: number; readonly height: number; readonly window: Window } => {
  const target = Math.trunc((size * Math.max(width, height)) / Math.min(width, height))
  const [toWidth, toHeight] = width <= height ? [size, target] : [target, size]
  const left = Math.floor((toWidth - size) / 2)
  const top = Math.floor((toHeight - size) / 2)
  return { width: toWidth, height: toHeight, window: { left, top, width: size, height: size } }
}

/**
 * Fits an image into `size` x `size` pixels, bit-identical to PIL (bicubic). Synchronous; about 1 ms.
 *
 * Cost follows what is kept: a crop resamples only what its window needs, a padded square is never built. The pixels
 * are written to `into`, where that is given: `size * size * 3` bytes.
 *
 * @example
 * ```ts
 * fitImage(photo, { size: 336, fit: "crop" }).pixels_HWC // 336 * 336 * 3 bytes
 * ```
 */
export const fitImage = (
  image: Raster,
  { size, fit, background = CLIP_BACKGROUND }: FitOptions,
  into?: Uint8Array
): Raster => {
  if (fit === "crop") {
    const to = cropGeometry(image.width, image.height, size)
    return resize(image, to.width, to.height, to.window, undefined, into)
  }
  const side = Math.max(image.width, image.height)
  const left = (side - image.width) >> 1
  const top = (side - image.height) >> 1
  return resize(image, size, size, undefined, { width: side, height: side, left, top, background }, into)
}
