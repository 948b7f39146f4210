/**
 * Reads what a picture's first bytes say: its type, size and how its samples are stored.
 *
 * Not a decoder and no judge of corruption: it looks only as far as the size. Pure; no I/O.
 *
 * Units: pixels. `undefined` means that the bytes are of no type known here.
 */

/** What can be decoded exactly as the originals' loader does. */
export type ImageType = "jpeg" | "png" | "gif" | "webp"

/** Type, size and sample layout. `samples` names what needs care on the way to 8-bit RGB. */
export interface ImageHeader {
  readonly type: ImageType
  readonly width: number
  readonly height: number
  readonly samples: "usual" | "cmyk" | "grey16"
}

/** A type that is recognised, so that the refusal can name it, but not decoded. */
export type OtherType = "bmp" | "tiff" | "avif" | "heic" | "svg" | "pdf" | "jxl" | "ico"

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
  if (bytes.length < 10) return undefined
  const data = view(bytes)
  return { type: "gif", width: data.getUint16(6, true), height: data.getUint16(8, true), samples: "usual" }
}

/** The type by magic bytes alone. */
export const sniff = (bytes: Uint8Array): ImageType | OtherType | undefined => {
  const head = text(bytes, 0, 16)
  if (head.startsWith("\xff\xd8\xff")) return "jpeg"
  if (head.startsWith("\x89PNG\r\n\x1a\n")) return "png"
  if (head.startsWith("GIF87a") || head.startsWith("GIF89a")) return "gif"
  if (head.startsWith("RIFF") && head.slice(8, 12) === "WEBP") return "webp"
  if (head.startsWith("II*\0") || head.startsWith("MM\0*")) return "tiff"
  if (head.startsWith("BM")) return "bmp"
  if (head.startsWith("%PDF")) return "pdf"
  if (head.startsWith("\0\0\x01\0")) return "ico"
  if (head.startsWith("\xff\x0a") || head.slice(4, 8) === "JXL ") return "jxl"
  if (head.slice(4, 8) === "ftyp") return head.slice(8, 12).startsWith("avi") ? "avif" : "heic"
  if (/^\s*(<\?xml[^>]*>\s*)?<svg/.test(text(bytes, 0, 256))) return "svg"
  return undefined
}

/**
 * Type, size and sample layout of a picture, or `undefined` where the header is cut or of no decodable type.
 *
 * @example
 * ```ts
 * imageHeader(bytes)?.width
 * ```
 */
export const imageHeader = (bytes: Uint8Array): ImageHeader | undefined => {
  switch (sniff(bytes)) {
    case "jpeg":
      return jpeg(bytes)
    case "png":
      return png(bytes)
    case "webp":
      return webp(bytes)
    case "gif":
      return gif(bytes)
    default:
      return undefined
  }
}
