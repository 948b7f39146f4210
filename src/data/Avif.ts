/**
 * Decodes AVIF with libavif, the library that Pillow decodes it with, built to wasm (`@jsquash/avif`).
 *
 * Not libheif's decoder, which sharp has: it repeats a chroma sample over the pixels that share it, where libavif
 * interpolates (up to 121 of 255 off Pillow). Rotation and mirroring are not applied, of an animation the first frame
 * is taken, alpha is dropped: as `Image.open(f).convert("RGB")` does. Pillow's libavif turns YUV into RGB with libyuv,
 * in whole numbers; this one in its own arithmetic, so that a sample may be off by up to 3 of 255. In the last column
 * of an odd width libyuv does not interpolate chroma that is shared, and the difference there is that of the
 * neighbours' chroma.
 *
 * Loaded with the first AVIF. Shapes: pixels_HWC uint8, 3 channels.
 */
import { readFile } from "node:fs/promises"
import { missing } from "../dag/Missing.ts"
import type { Raster } from "./Resample.ts"

/** The part used here of the global: neither the `dom` library nor another declaration of it is in scope. */
declare const WebAssembly: { readonly Module: new (bytes: Uint8Array) => object }

const ispe = Buffer.from("ispe", "latin1")

/** Width and height: of the largest item that the file describes. `undefined`: its boxes are cut. */
export const avifSize = (bytes: Uint8Array): { readonly width: number; readonly height: number } | undefined => {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 1 << 16))
  let largest: { readonly width: number; readonly height: number } | undefined
  for (let at = head.indexOf(ispe); at >= 0 && at + 16 <= head.length; at = head.indexOf(ispe, at + 4)) {
    const [width, height] = [head.readUInt32BE(at + 8), head.readUInt32BE(at + 12)]
    if (largest === undefined || width * height > largest.width * largest.height) largest = { width, height }
  }
  return largest
}

const load = async () => {
  const { default: decode, init } = await import("@jsquash/avif/decode.js").catch(missing("@jsquash/avif"))
  const wasm = new URL(import.meta.resolve("@jsquash/avif/codec/dec/avif_dec.wasm"))
  await init(new WebAssembly.Module(await readFile(wasm)))
  return decode
}

let decoder: ReturnType<typeof load> | undefined

/** What the wasm build makes its result with; browsers have it, Node does not. */
class ImageDataOfNode {
  readonly data: Uint8ClampedArray
  readonly width: number
  readonly height: number
  constructor(data: Uint8ClampedArray, width: number, height: number) {
    this.data = data
    this.width = width
    this.height = height
  }
}

/** Decodes a file. Rejects where it is cut or damaged. */
export const decodeAvif = async (bytes: Uint8Array): Promise<Raster> => {
  const decode = await (decoder ??= load())
  if (!("ImageData" in globalThis)) Object.assign(globalThis, { ImageData: ImageDataOfNode })
  const decoded = await decode(Uint8Array.from(bytes).buffer).catch((cause) => {
    // What a trap leaves in the module's memory is nobody's to say: the next file gets a new one.
    decoder = undefined
    throw cause
  })
  if (decoded === null) throw new Error("libavif cannot decode it")
  const { data, height, width } = decoded
  const pixels_HWC = new Uint8Array(width * height * 3)
  for (let i = 0, j = 0; j < pixels_HWC.length; i += 4, j += 3) {
    pixels_HWC[j] = data[i]!
    pixels_HWC[j + 1] = data[i + 1]!
    pixels_HWC[j + 2] = data[i + 2]!
  }
  return { width, height, pixels_HWC }
}
