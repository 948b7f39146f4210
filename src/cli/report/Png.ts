/**
 * Small pictures as PNG files in a data URL, for pages that stand alone.
 *
 * Not an image library: 8-bit RGB, no filter, one zlib stream (W3C PNG specification, third edition, sections 5 and 11).
 * Equal pixels give equal bytes on one version of zlib.
 */
import { crc32, deflateSync } from "node:zlib"
import type { Picture } from "../../dag/Sections.ts"

const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)

/** Length, type, data, and the CRC of type and data. */
const chunk = (type: string, data: Uint8Array): Uint8Array => {
  const out = Buffer.alloc(12 + data.length)
  out.writeUInt32BE(data.length, 0)
  out.write(type, 4, "latin1")
  out.set(data, 8)
  out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length)
  return out
}

/** The bytes of a PNG file. Throws `RangeError` when the pixels are not width x height x 3. */
export const png = ({ height, pixels_HWC, width }: Picture): Uint8Array => {
  if (width < 1 || height < 1 || pixels_HWC.length !== width * height * 3)
    throw new RangeError(`${pixels_HWC.length} bytes are no ${width} x ${height} pixels of 3`)
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 2, 0, 0, 0], 8) // bits a sample, RGB, deflate, filters a row, not interlaced
  const line = width * 3
  const raw = Buffer.alloc(height * (line + 1)) // each row behind its filter's number: 0, none
  for (let y = 0; y < height; y++) raw.set(pixels_HWC.subarray(y * line, (y + 1) * line), y * (line + 1) + 1)
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(raw)),
    chunk("IEND", new Uint8Array(0))
  ])
}

/** `data:image/png;base64,...` */
export const pngUrl = (picture: Picture): string =>
  `data:image/png;base64,${Buffer.from(png(picture)).toString("base64")}`
