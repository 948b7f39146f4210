/**
 * Reads what a TIFF's first directory says, and which TIFFs are decoded here as PIL decodes them.
 *
 * Not a decoder: libvips reads the pixels. Of a format with so many forms those are accepted that were compared with
 * Pillow sample by sample, and every other is refused by name. Pillow turns a TIFF by its orientation when it is loaded
 * (and no other format); libvips, as sharp asks it, does not.
 *
 * Source: TIFF 6.0, BigTIFF; Pillow's `TiffImagePlugin.py`. Pure.
 */

import type { Raster } from "./Resample.ts"

/** A TIFF that is decoded. */
export interface TiffHeader {
  readonly width: number
  readonly height: number
  readonly samples: "usual" | "cmyk" | "grey16"
  /** 1 to 8, as EXIF has it: how the stored image is to be turned. */
  readonly orientation: number
}

const compressions: Readonly<Record<number, string>> = {
  2: "CCITT RLE",
  6: "the old JPEG",
  34887: "LERC",
  34712: "JPEG 2000",
  34925: "LZMA",
  50000: "zstd",
  50001: "WebP",
  50002: "JPEG XL"
}
/** None, group 3, group 4, LZW, JPEG, deflate (two numbers), PackBits. */
const READ: ReadonlySet<number> = new Set([1, 3, 4, 5, 7, 8, 32_946, 32_773])
const JPEG = 7

const colours: ReadonlyArray<string> = ["grey", "grey", "RGB", "palette", "mask", "CMYK", "YCbCr", "", "LAB"]
const formats: ReadonlyArray<string> = ["", "", "signed", "floating-point", "untyped", "complex", "complex"]

/** Bytes of a value, by field type. */
const typeBytes: Readonly<Record<number, number>> = {
  1: 1,
  2: 1,
  3: 2,
  4: 4,
  6: 1,
  7: 1,
  8: 2,
  9: 4,
  13: 4,
  16: 8,
  18: 8
}

/** Reads the first directory. A string names what is not read; `undefined`: it is cut or damaged. */
export const tiffHeader = (bytes: Uint8Array): TiffHeader | string | undefined => {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    return readDirectory(data)
  } catch (cause) {
    if (cause instanceof RangeError) return undefined // outside of the file
    throw cause
  }
}

const readDirectory = (data: DataView): TiffHeader | string | undefined => {
  const littleEndian = data.getUint8(0) === 0x49
  const u16 = (at: number): number => data.getUint16(at, littleEndian)
  const u32 = (at: number): number => data.getUint32(at, littleEndian)
  const big = u16(2) === 43
  const place = (at: number): number => (big ? Number(data.getBigUint64(at, littleEndian)) : u32(at))
  const first = place(big ? 8 : 4)
  const count = big ? place(first) : u16(first)
  const [entryBytes, wordBytes] = big ? [20, 8] : [12, 4]
  const entries = first + (big ? 8 : 2)
  const tags = new Map<number, ReadonlyArray<number>>()
  for (let i = 0; i < Math.min(count, 4096); i++) {
    const at = entries + i * entryBytes
    const type = u16(at + 2)
    const n = place(at + 4)
    const size = typeBytes[type]
    if (size === undefined) continue
    const valueAt = n * size <= wordBytes ? at + 4 + wordBytes : place(at + 4 + wordBytes)
    const read = (k: number): number =>
      size === 1 ? data.getUint8(valueAt + k) : size === 2 ? u16(valueAt + k * 2) : u32(valueAt + k * size)
    tags.set(
      u16(at),
      Array.from({ length: Math.min(n, 16) }, (_, k) => read(k))
    )
  }
  const one = (tag: number, absent: number): number => tags.get(tag)?.[0] ?? absent
  const [width, height] = [one(256, 0), one(257, 0)]
  const bits = tags.get(258) ?? [1]
  const samples = one(277, 1)
  const compression = one(259, 1)
  const colour = one(262, 1)
  const format = one(339, 1)
  const form = `${colours[colour] || `colours ${colour}`} TIFF of ${samples} x ${bits[0]} ${formats[format] ?? ""} bits`
  const named = form.replace("  ", " ")
  if (!READ.has(compression)) return `TIFF packed with ${compressions[compression] ?? `method ${compression}`}`
  if (one(266, 1) !== 1) return `${named} in the other bit order`
  const samplesAs = usable(colour, bits, samples, format, compression, one(284, 1) === 2)
  if (samplesAs === undefined) return named
  return { width, height, samples: samplesAs, orientation: one(274, 1) }
}

/** How the samples come to RGB; undefined where that was not seen to be Pillow's. */
const usable = (
  colour: number,
  bits: ReadonlyArray<number>,
  samples: number,
  format: number,
  compression: number,
  planes: boolean
): TiffHeader["samples"] | undefined => {
  const depth = bits[0]!
  if (bits.some((one) => one !== depth)) return undefined
  if (colour <= 1 && samples === 1) {
    if (format === 1 && [1, 2, 4, 8].includes(depth)) return "usual"
    if (format === 1 && depth === 16 && colour === 1) return "grey16"
    return depth === 32 && colour === 1 && (format === 2 || format === 3) ? "usual" : undefined
  }
  if (format !== 1) return undefined
  if (colour === 1 && samples === 2 && depth === 8 && !planes) return "usual"
  if (colour === 2 && (samples === 3 || samples === 4) && (depth === 8 || (depth === 16 && !planes))) return "usual"
  if (colour === 3 && samples === 1 && [1, 2, 4, 8].includes(depth)) return "usual"
  if (colour === 5 && samples === 4 && depth === 8 && !planes) return "cmyk"
  return colour === 6 && samples === 3 && depth === 8 && compression === JPEG ? "usual" : undefined
}

/** A stored image turned and mirrored by an orientation of EXIF; others than 2 to 8 change nothing. */
export const turned = (raster: Raster, orientation: number): Raster => {
  if (!(orientation >= 2 && orientation <= 8)) return raster
  const { height, pixels_HWC: from, width } = raster
  const swapped = orientation >= 5
  const [toWidth, toHeight] = swapped ? [height, width] : [width, height]
  const mirrored = [2, 3, 7, 8].includes(orientation)
  const flipped = [3, 4, 6, 7].includes(orientation)
  const pixels_HWC = new Uint8Array(from.length)
  for (let y = 0; y < toHeight; y++) {
    for (let x = 0; x < toWidth; x++) {
      const [u, v] = swapped ? [y, x] : [x, y]
      const source = ((flipped ? height - 1 - v : v) * width + (mirrored ? width - 1 - u : u)) * 3
      const to = (y * toWidth + x) * 3
      for (let c = 0; c < 3; c++) pixels_HWC[to + c] = from[source + c]!
    }
  }
  return { width: toWidth, height: toHeight, pixels_HWC }
}
