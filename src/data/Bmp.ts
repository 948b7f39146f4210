/**
 * Decodes Windows and OS/2 bitmaps to what PIL's `convert("RGB")` gives: 1, 4, 8, 16, 24 and 32 bits, palettes, bit
 * fields, RLE.
 *
 * Not a reader of every bitmap: fields that Pillow does not know, JPEG and PNG inside of a bitmap and other depths are
 * refused by name. Alpha is dropped. A row that is cut is an error, as there.
 *
 * Source: Pillow's `BmpImagePlugin.py`. Shapes: pixels_HWC uint8, 3 channels. Pure.
 */
import type { Raster } from "./Resample.ts"

/** What a bitmap's header says. */
export interface BmpHeader {
  readonly width: number
  readonly height: number
  /** Bits a pixel. */
  readonly bits: number
  readonly topDown: boolean
  readonly compression: number
  /** Where in a pixel its red, green and blue are: bytes of 24 and 32 bits; of 16, how many bits green has. */
  readonly order: readonly [number, number, number]
  readonly palette: Uint8Array | undefined
  readonly at: number
}

const CORE = 12
const HEADERS: ReadonlySet<number> = new Set([CORE, 40, 52, 56, 64, 108, 124])
const RAW = 0
const RLE8 = 1
const RLE4 = 2
const FIELDS = 3
const BGR = [2, 1, 0] as const

/** Red, green, blue and alpha of the fields that Pillow knows, and where the colours are. */
const fields32: Readonly<Record<string, readonly [number, number, number]>> = {
  "ff0000,ff00,ff,0": BGR,
  "ff000000,ff0000,ff00,0": [3, 2, 1],
  "ff000000,ff00,ff,0": [3, 1, 0],
  "ff000000,ff0000,ff00,ff": [3, 2, 1],
  "ff,ff00,ff0000,ff000000": [0, 1, 2],
  "ff0000,ff00,ff,ff000000": BGR,
  "ff000000,ff00,ff,ff0000": [3, 1, 0],
  "0,0,0,0": BGR
}
const fields16: Readonly<Record<string, readonly [number, number, number]>> = {
  "f800,7e0,1f": [5, 6, 5],
  "7c00,3e0,1f": [5, 5, 5]
}

/** Reads the header. A string names what is not read; `undefined`: it is cut. */
export const bmpHeader = (bytes: Uint8Array): BmpHeader | string | undefined => {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 26) return undefined
  const size = data.getUint32(14, true)
  if (!HEADERS.has(size)) return `a bitmap's header of ${size} bytes`
  if (bytes.length < 14 + size) return undefined
  const core = size === CORE
  const width = core ? data.getUint16(18, true) : data.getUint32(18, true)
  const topDown = !core && bytes[25] === 0xff
  const stated = core ? data.getUint16(20, true) : data.getUint32(22, true)
  const height = topDown ? 2 ** 32 - stated : stated
  const bits = data.getUint16(core ? 24 : 28, true)
  const compression = core ? RAW : data.getUint32(30, true)
  const colours = (core ? 0 : data.getUint32(46, true)) || 2 ** bits
  if (![1, 4, 8, 16, 24, 32].includes(bits)) return `a bitmap of ${bits} bits a pixel`
  let order: readonly [number, number, number] = bits === 16 ? [5, 5, 5] : BGR
  let behind = 14 + size
  if (compression === FIELDS) {
    if (bytes.length < 70) return undefined
    const [red, green, blue, alpha] = [54, 58, 62, 66].map((at) => data.getUint32(at, true).toString(16))
    const key = `${red},${green},${blue}`
    const known =
      bits === 32
        ? fields32[`${key},${size >= 56 ? alpha : "0"}`]
        : bits === 16
          ? fields16[key]
          : bits === 24 && key === "ff0000,ff00,ff"
            ? BGR
            : undefined
    if (known === undefined) return `a bitmap with the fields ${key} in ${bits} bits`
    order = known
    if (size === 40) behind += 12
  } else if (!(compression === RAW || (compression === RLE8 && bits === 8) || (compression === RLE4 && bits === 4))) {
    return compression === 4 || compression === 5
      ? `a bitmap with a ${compression === 4 ? "JPEG" : "PNG"} inside`
      : `a bitmap of ${bits} bits with compression ${compression}`
  }
  const offset = data.getUint32(10, true)
  if (bits > 8) return { width, height, bits, topDown, compression, order, palette: undefined, at: offset || behind }
  if (colours > 65_536) return `a bitmap of ${colours} colours`
  const step = core ? 3 : 4
  const end = behind + step * colours
  const at = offset === behind || offset === 0 ? end : offset
  const stored = bytes.subarray(behind, Math.min(end, bytes.length))
  return { width, height, bits, topDown, compression, order, palette: paletteOf(stored, step, colours), at }
}

/**
 * 256 colours as r, g, b. Beyond the ones that are stored an index is black, as Pillow has it; behind greys, a grey.
 */
const paletteOf = (stored: Uint8Array, step: number, colours: number): Uint8Array => {
  const palette = new Uint8Array(768)
  let greys = true
  for (let i = 0; i < Math.min(256, colours); i++) {
    for (let c = 0; c < 3; c++) {
      palette[i * 3 + c] = stored[i * step + 2 - c] ?? 0
      greys &&= palette[i * 3 + c] === i
    }
  }
  if (greys) for (let i = 0; i < 768; i++) palette[i] = Math.floor(i / 3)
  return palette
}

/** Colour numbers of a run-length-coded bitmap, in the order of the file. */
const runs = (bytes: Uint8Array, { at: from, bits, height, width }: BmpHeader): Uint8Array => {
  const out = new Uint8Array(width * height)
  const nibbles = bits === 4
  let at = from
  let [n, x] = [0, 0]
  const put = (value: number): void => {
    if (n < out.length) out[n] = value
    n++
  }
  const ended = (): never => {
    throw new Error(`the runs end after ${n} of ${out.length} pixels`)
  }
  while (n < out.length) {
    if (at + 2 > bytes.length) ended()
    const [count, value] = [bytes[at++]!, bytes[at++]!]
    if (count > 0) {
      const fits = Math.max(0, Math.min(count, width - x))
      for (let i = 0; i < fits; i++) put(nibbles ? (i % 2 === 0 ? value >> 4 : value & 15) : value)
      x += fits
    } else if (value === 0) {
      while (n % width !== 0) put(0)
      x = 0
    } else if (value === 1) ended()
    else if (value === 2) {
      if (at + 2 > bytes.length) ended()
      const skipped = Math.min(out.length - n, bytes[at]! + bytes[at + 1]! * width)
      at += 2
      for (let i = 0; i < skipped; i++) put(0)
      x = n % width
    } else {
      const literal = Math.min(out.length - n, value)
      const coded = nibbles ? (literal + 1) >> 1 : literal
      if (at + coded > bytes.length) ended()
      for (let i = 0; i < literal; i++) {
        const byte = bytes[at + (nibbles ? i >> 1 : i)]!
        put(nibbles ? (i % 2 === 0 ? byte >> 4 : byte & 15) : byte)
      }
      at += coded
      x += value
      // To an even place in the file.
      at += at % 2
    }
  }
  return out
}

/** The image of a header that `bmpHeader` read. Throws where its data is cut or damaged. */
export const decodeBmp = (bytes: Uint8Array, header: BmpHeader): Raster => {
  const { at, bits, compression, height, order, palette, topDown, width } = header
  const pixels_HWC = new Uint8Array(width * height * 3)
  const coded = compression === RLE8 || compression === RLE4 ? runs(bytes, header) : undefined
  const stride = coded === undefined ? ((width * bits + 31) >>> 5) * 4 : width
  const used = Math.ceil((width * bits) / 8)
  if (coded === undefined && at + stride * (height - 1) + used > bytes.length) {
    throw new Error(`${bytes.length - at} bytes are too few for ${height} rows of ${stride}`)
  }
  const source = coded ?? bytes
  const start = coded === undefined ? at : 0
  const depth = coded === undefined ? bits : 8
  for (let y = 0; y < height; y++) {
    const row = start + y * stride
    let to = (topDown ? y : height - 1 - y) * width * 3
    for (let x = 0; x < width; x++) {
      if (palette !== undefined) {
        const bit = x * depth
        const index = (source[row + (bit >> 3)]! >> (8 - depth - (bit & 7))) & ((1 << depth) - 1)
        for (let c = 0; c < 3; c++) pixels_HWC[to++] = palette[index * 3 + c]!
      } else if (bits === 16) {
        const value = source[row + x * 2]! | (source[row + x * 2 + 1]! << 8)
        const [, green] = order
        const mostGreen = (1 << green) - 1
        pixels_HWC[to++] = Math.trunc((((value >> (5 + green)) & 31) * 255) / 31)
        pixels_HWC[to++] = Math.trunc((((value >> 5) & mostGreen) * 255) / mostGreen)
        pixels_HWC[to++] = Math.trunc(((value & 31) * 255) / 31)
      } else {
        const pixel = row + (x * bits) / 8
        for (let c = 0; c < 3; c++) pixels_HWC[to++] = source[pixel + order[c]!]!
      }
    }
  }
  return { width, height, pixels_HWC }
}
