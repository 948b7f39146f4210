/**
 * Sums of a file's blocks: a CRC-32 of each 256 KiB, so that a reader checks the part that it reads and no more.
 *
 * Not an identity of content (that is sha256, and keys are made of it): a sum tells bytes that changed on the disk,
 * with a chance of 1 in 4 billion a block that it does not; one changed bit, or any within 32 next to each other, it
 * always tells. Text form: eight hex digits a block, in order; "" of an empty file. 31 bytes of a manifest for a
 * megabyte of rows.
 */
import { crc32 } from "node:zlib"

/** Bytes of a block; the last one of a file may be shorter. */
export const BLOCK = 1 << 18

const DIGITS = 8
const hex = (sum: number): string => sum.toString(16).padStart(DIGITS, "0")

/** Takes the sums of a file on its way, in pieces of any size. */
export const makeSums = (): { readonly update: (bytes: Uint8Array) => void; readonly text: () => string } => {
  let done = ""
  let sum = 0
  let filled = 0
  return {
    update: (bytes) => {
      for (let at = 0; at < bytes.byteLength; ) {
        const piece = bytes.subarray(at, at + BLOCK - filled)
        sum = crc32(piece, sum)
        at += piece.byteLength
        filled += piece.byteLength
        if (filled < BLOCK) continue
        done += hex(sum)
        sum = 0
        filled = 0
      }
    },
    text: () => (filled === 0 ? done : done + hex(sum))
  }
}

export const blocksOf = (bytes: number): number => Math.ceil(bytes / BLOCK)

/** The sums of a file of `bytes` bytes; undefined where there are none, or not one for each block. */
export const readSums = (text: string | undefined, bytes: number): Uint32Array | undefined => {
  const blocks = blocksOf(bytes)
  if (text === undefined || text.length !== DIGITS * blocks || !/^[0-9a-f]*$/.test(text)) return undefined
  return Uint32Array.from({ length: blocks }, (_, i) => Number.parseInt(text.slice(DIGITS * i, DIGITS * (i + 1)), 16))
}
