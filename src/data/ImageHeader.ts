/**
 * Reads what an image's first bytes say: its type, size and how its samples are stored.
 *
 * Not a decoder and no judge of corruption: it looks only as far as the size. Pure; no I/O.
 *
 * Units: pixels. `undefined` means that the bytes are of no type known here.
 */

import { avifSize } from "./Avif.ts"
import { bmpHeader } from "./Bmp.ts"
import { gifFrame } from "./Gif.ts"
import { tiffHeader } from "./Tiff.ts"

/** What can be decoded exactly as the originals' loader does (AVIF: within 3 of 255, see there). */
export type ImageType = "jpeg" | "png" | "gif" | "webp" | "bmp" | "tiff" | "avif"

/** Type, size and sample layout. `samples` names what needs care on the way to 8-bit RGB. */
export interface ImageHeader {
  readonly type: ImageType
  readonly width: number
  readonly height: number
  readonly samples: "usual" | "cmyk" | "grey16"
}

/** Types that are recognised, so that the refusal can name them, but not decoded; and what they are called. */
export const otherTypes = {
  heic: "HEIC",
  jp2: "JPEG 2000",
  jxl: "JPEG XL",
  jxr: "JPEG XR",
  jls: "JPEG-LS",
  netpbm: "PPM/PGM/PBM",
  psd: "Photoshop",
  svg: "SVG",
  pdf: "PDF",
  postscript: "PostScript",
  ico: "icon (ICO)",
  icns: "icon (ICNS)",
  qoi: "QOI",
  dds: "DirectDraw (DDS)",
  exr: "OpenEXR",
  hdr: "Radiance HDR",
  xcf: "GIMP (XCF)",
  wmf: "Windows metafile",
  pcx: "PCX",
  tga: "Targa (TGA)",
  sgi: "SGI",
  fits: "FITS",
  dicom: "DICOM",
  video: "video (MP4 or QuickTime)",
  matroska: "video (WebM or Matroska)"
} as const
export type OtherType = keyof typeof otherTypes

const text = (bytes: Uint8Array, from: number, to: number): string =>
  String.fromCharCode(...bytes.subarray(from, Math.min(to, bytes.length)))

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Walks a JPEG's segments to its frame header. */
const jpeg = (bytes: Uint8Array): ImageHeader | undefined => {
  const data = view(bytes)
  let at = 2
  while (at + 4 <= bytes.length) {
    if (bytes[at] !== 0xff) {
      at++
      continue
    }
    const marker = bytes[at + 1]!
    if (marker === 0xff) {
      at++
      continue
    }
    const standalone = marker === 0x01 || marker === 0x00 || (marker >= 0xd0 && marker <= 0xd8)
    if (standalone) {
      at += 2
      continue
    }
    if (marker === 0xd9 || marker === 0xda) return undefined
    const frame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
    if (frame) {
      if (at + 10 > bytes.length) return undefined
      const samples = bytes[at + 9] === 4 ? "cmyk" : "usual"
      return { type: "jpeg", width: data.getUint16(at + 7), height: data.getUint16(at + 5), samples }
    }
    at += 2 + data.getUint16(at + 2)
  }
  return undefined
}

const png = (bytes: Uint8Array): ImageHeader | undefined => {
  if (bytes.length < 26 || text(bytes, 12, 16) !== "IHDR") return undefined
  const data = view(bytes)
  const samples = bytes[24] === 16 && bytes[25] === 0 ? "grey16" : "usual"
  return { type: "png", width: data.getUint32(16), height: data.getUint32(20), samples }
}

const webp = (bytes: Uint8Array): ImageHeader | undefined => {
  if (bytes.length < 30) return undefined
  const data = view(bytes)
  const size = (width: number, height: number): ImageHeader => ({ type: "webp", width, height, samples: "usual" })
  switch (text(bytes, 12, 16)) {
    case "VP8 ":
      return size(data.getUint16(26, true) & 0x3fff, data.getUint16(28, true) & 0x3fff)
    case "VP8L": {
      const bits = data.getUint32(21, true)
      return size((bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1)
    }
    case "VP8X":
      return size((data.getUint32(24, true) & 0xffffff) + 1, (data.getUint32(26, true) >>> 8) + 1)
    default:
      return undefined
  }
}

const gif = (bytes: Uint8Array): ImageHeader | undefined => {
  const frame = gifFrame(bytes)
  return frame === undefined ? undefined : { type: "gif", width: frame.width, height: frame.height, samples: "usual" }
}

const bmp = (bytes: Uint8Array): ImageHeader | string | undefined => {
  const header = bmpHeader(bytes)
  return typeof header === "object"
    ? { type: "bmp", width: header.width, height: header.height, samples: "usual" }
    : header
}

const tiff = (bytes: Uint8Array): ImageHeader | string | undefined => {
  const header = tiffHeader(bytes)
  return typeof header === "object"
    ? { type: "tiff", width: header.width, height: header.height, samples: header.samples }
    : header
}

const avif = (bytes: Uint8Array): ImageHeader | undefined => {
  const size = avifSize(bytes)
  return size === undefined ? undefined : { type: "avif", ...size, samples: "usual" }
}

/** Brands of an ISO base media file, the main one first. */
const brandsOf = (bytes: Uint8Array): ReadonlyArray<string> => {
  const end = Math.min(bytes.length, Math.max(16, view(bytes).getUint32(0)), 256)
  const brands = [text(bytes, 8, 12)]
  for (let at = 16; at + 4 <= end; at += 4) brands.push(text(bytes, at, at + 4))
  return brands
}

const isoType = (bytes: Uint8Array): ImageType | OtherType => {
  const brands = brandsOf(bytes)
  if (brands.some((brand) => brand === "avif" || brand === "avis")) return "avif"
  if (brands.some((brand) => /^(hei|hev|mif1|msf1)/.test(brand))) return "heic"
  return /^jp[2xm]/.test(brands[0]!) ? "jp2" : "video"
}

/** First bytes that say the type by themselves. */
const starts: ReadonlyArray<readonly [string, ImageType | OtherType]> = [
  ["\x89PNG\r\n\x1a\n", "png"],
  ["GIF87a", "gif"],
  ["GIF89a", "gif"],
  ["II*\0", "tiff"],
  ["MM\0*", "tiff"],
  ["II+\0", "tiff"],
  ["MM\0+", "tiff"],
  ["BM", "bmp"],
  ["%PDF", "pdf"],
  ["%!PS", "postscript"],
  ["\xc5\xd0\xd3\xc6", "postscript"],
  ["icns", "icns"],
  ["\x01\xda\0\x01", "sgi"],
  ["\x01\xda\x01\x01", "sgi"],
  ["\xff\x0a", "jxl"],
  ["\0\0\0\x0cJXL \r\n\x87\n", "jxl"],
  ["\0\0\0\x0cjP  \r\n\x87\n", "jp2"],
  ["\xff\x4f\xff\x51", "jp2"],
  ["II\xbc", "jxr"],
  ["8BPS", "psd"],
  ["qoif", "qoi"],
  ["DDS ", "dds"],
  ["v/1\x01", "exr"],
  ["#?RADIANCE", "hdr"],
  ["#?RGBE", "hdr"],
  ["gimp xcf", "xcf"],
  ["\xd7\xcd\xc6\x9a", "wmf"],
  ["\x01\0\0\0\x6c\0\0\0", "wmf"],
  ["SIMPLE  =", "fits"],
  ["\x1aE\xdf\xa3", "matroska"]
]

/**
 * Whether the header is a Targa's, which has no magic bytes: kind, colour map, sides and depth must be possible
 * together.
 */
const isTga = (bytes: Uint8Array): boolean => {
  if (bytes.length < 18) return false
  const [, map, kind] = bytes
  const kinds = map === 0 ? [2, 3, 10, 11] : map === 1 ? [1, 9] : []
  if (!kinds.includes(kind!) || (map === 0 && bytes.subarray(3, 8).some((byte) => byte !== 0))) return false
  const sides = bytes[12]! + bytes[13]! > 0 && bytes[14]! + bytes[15]! > 0
  return sides && [8, 15, 16, 24, 32].includes(bytes[16]!) && bytes[17]! < 0x40
}

/** The type by magic bytes alone. */
export const sniff = (bytes: Uint8Array): ImageType | OtherType | undefined => {
  const head = text(bytes, 0, 16)
  if (head.startsWith("\xff\xd8\xff")) return bytes[3] === 0xf7 ? "jls" : "jpeg"
  for (const [start, type] of starts) if (head.startsWith(start)) return type
  if (head.startsWith("RIFF") && head.slice(8, 12) === "WEBP") return "webp"
  if (head.slice(4, 8) === "ftyp") return isoType(bytes)
  // A count above 0 follows; the colour map of a TGA, which begins alike, is empty there.
  if (/^\0\0[\x01\x02]\0(?!\0\0)/.test(head)) return "ico"
  if (isTga(bytes)) return "tga"
  if (/^P[1-7fF][\s#]/.test(head)) return "netpbm"
  if (/^\x0a[\0-\x05]\x01[\x01\x02\x04\x08]/.test(head)) return "pcx"
  if (text(bytes, 128, 132) === "DICM") return "dicom"
  if (
    /^(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<(\w+:)?svg\b/.test(
      text(bytes, 0, 1024)
    )
  )
    return "svg"
  return undefined
}

/** As `imageHeader`; a text names what such an image has that is not read. */
export const readHeader = (bytes: Uint8Array): ImageHeader | string | undefined => {
  switch (sniff(bytes)) {
    case "jpeg":
      return jpeg(bytes)
    case "png":
      return png(bytes)
    case "webp":
      return webp(bytes)
    case "gif":
      return gif(bytes)
    case "bmp":
      return bmp(bytes)
    case "tiff":
      return tiff(bytes)
    case "avif":
      return avif(bytes)
    default:
      return undefined
  }
}

/**
 * Type, size and sample layout of an image, or `undefined` where the header is cut or of no decodable form.
 *
 * @example
 * ```ts
 * imageHeader(bytes)?.width
 * ```
 */
export const imageHeader = (bytes: Uint8Array): ImageHeader | undefined => {
  const header = readHeader(bytes)
  return typeof header === "string" ? undefined : header
}
