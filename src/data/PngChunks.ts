/**
 * Makes the checksums of a PNG's pixel chunks right where the pixels are proven whole by the checksum inside of them.
 *
 * Not a decoder. Pillow compares the CRC of what stands before the pixels and of nothing behind, libpng that of the
 * pixels as well. A file that some program edited without writing the CRC anew therefore opens in Pillow alone. Here it
 * opens when the Adler-32 of the whole stream is right; damaged pixels stay an error. Pure.
 */
import { crc32, inflateSync } from "node:zlib"

/** Pixels of 8 bytes, and a filter byte a row in up to seven passes. */
const mostBytes = (width: number, height: number): number => width * height * 8 + height * 8 + 65_536

/**
 * A copy whose chunks are the header's up to the last of the pixels, with right CRCs; `undefined` where that is not
 * due.
 */
export const withRightChecksums = (bytes: Uint8Array, width: number, height: number): Uint8Array | undefined => {
  const copy = Buffer.from(bytes)
  const pixels: Array<Buffer> = []
  let wrong = 0
  let at = 8
  while (at + 12 <= copy.length) {
    const length = copy.readUInt32BE(at)
    const end = at + 12 + length
    if (end > copy.length) break
    const kind = copy.toString("latin1", at + 4, at + 8)
    if (pixels.length > 0 && kind !== "IDAT") break
    const right = crc32(copy.subarray(at + 4, end - 4))
    if (right !== copy.readUInt32BE(end - 4)) {
      if (kind !== "IDAT") return undefined
      copy.writeUInt32BE(right, end - 4)
      wrong++
    }
    if (kind === "IDAT") pixels.push(copy.subarray(at + 8, end - 4))
    at = end
  }
  if (wrong === 0) return undefined
  try {
    inflateSync(Buffer.concat(pixels), { maxOutputLength: mostBytes(width, height) })
  } catch {
    return undefined
  }
  return Buffer.concat([copy.subarray(0, at), END])
}

const END = Buffer.from("0000000049454e44ae426082", "hex")
