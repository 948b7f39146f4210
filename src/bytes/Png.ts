/**
 * Writes images as PNG: no filter, no time and no text in it.
 *
 * Stored by default, so that the bytes depend on the pixels alone; a file is as large as its pixels then. Deflated
 * bytes are smaller, and differ between versions of zlib: for pages, not for artifacts.
 *
 * Shapes: pixels_HWC uint8, 3 channels. Source: the PNG specification, third edition; RFC 1950 and 1951.
 */
import { crc32, deflateSync } from "node:zlib"

/** An RGB image: a byte a sample, rows from the top. */
export interface RgbImage {
  readonly width: number
  readonly height: number
  readonly pixels_HWC: Uint8Array
}

/** Bytes of a stored block at most. */
const BLOCK = 0xffff

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}

const chunk = (kind: string, data: Uint8Array): Buffer => {
  const body = Buffer.concat([Buffer.from(kind, "latin1"), data])
  return Buffer.concat([u32(data.length), body, u32(crc32(body))])
}

const adler32 = (data: Uint8Array): number => {
  let [a, b] = [1, 0]
  for (const byte of data) {
    a = (a + byte) % 65_521
    b = (b + a) % 65_521
  }
  return b * 65_536 + a
}

/** A zlib stream of stored blocks. */
const stored = (data: Uint8Array): Buffer => {
  const parts: Array<Uint8Array> = [Buffer.of(0x78, 0x01)]
  for (let at = 0; at < data.length; at += BLOCK) {
    const part = data.subarray(at, at + BLOCK)
    const head = Buffer.alloc(5)
    head[0] = at + BLOCK >= data.length ? 1 : 0
    head.writeUInt16LE(part.length, 1)
    head.writeUInt16LE(part.length ^ 0xffff, 3)
    parts.push(head, part)
  }
  return Buffer.concat([...parts, u32(adler32(data))])
}

/**
 * The file of an image of at least one pixel. Throws `RangeError` when the pixels are not width x height x 3.
 *
 * @example
 * await writeFile("red.png", encodePng({ width: 1, height: 1, pixels_HWC: Uint8Array.of(255, 0, 0) }))
 */
export const encodePng = (
  { height, pixels_HWC, width }: RgbImage,
  { deflate = false }: { readonly deflate?: boolean } = {}
): Uint8Array => {
  if (width < 1 || height < 1 || pixels_HWC.length !== width * height * 3)
    throw new RangeError(`${pixels_HWC.length} bytes are no ${width} x ${height} pixels of 3`)
  const row = width * 3
  const lines = new Uint8Array(height * (row + 1))
  for (let y = 0; y < height; y++) lines.set(pixels_HWC.subarray(y * row, (y + 1) * row), y * (row + 1) + 1)
  const header = Buffer.concat([u32(width), u32(height), Buffer.of(8, 2, 0, 0, 0)])
  return Buffer.concat([
    Buffer.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk("IHDR", header),
    chunk("IDAT", deflate ? deflateSync(lines) : stored(lines)),
    chunk("IEND", Buffer.alloc(0))
  ])
}

/** A deflated image as an address that a page can hold: `data:image/png;base64,...`. */
export const pngUrl = (image: RgbImage): string =>
  `data:image/png;base64,${Buffer.from(encodePng(image, { deflate: true })).toString("base64")}`
