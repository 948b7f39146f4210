/**
 * Parquet's hybrid of runs and bit-packed groups: levels, dictionary indices, booleans.
 *
 * Not `hyparquet`'s, which neither checks its bounds nor stops at the count: this one throws `ParquetFault` on damage
 * and does no more work than there are values. Pure.
 */
import { damaged, ParquetFault } from "./ParquetError.ts"

/** Fills `out` with values of `width` bits from bytes `at ... end`. */
export const readHybrid = (
  bytes: Uint8Array,
  from: number,
  end: number,
  width: number,
  out: Uint8Array | Int32Array
): void => {
  if (end > bytes.byteLength) throw damaged("a page ends inside of a run")
  if (width > 24) throw new ParquetFault("unsupported", `a dictionary of ${width}-bit entries is not read`)
  const mask = (1 << width) - 1
  const wide = (width + 7) >> 3
  let at = from
  for (let seen = 0; seen < out.length; ) {
    let header = 0
    for (let shift = 1; ; shift *= 128) {
      if (at >= end || shift > 2 ** 35) throw damaged("a page ends inside of a run")
      const byte = bytes[at++]!
      header += (byte & 127) * shift
      if (byte < 128) break
    }
    const length = Math.floor(header / 2)
    if (header % 2 === 0) {
      if (at + wide > end) throw damaged("a page ends inside of a run")
      let value = 0
      for (let i = 0; i < wide; i++) value |= bytes[at++]! << (8 * i)
      const to = Math.min(out.length, seen + length)
      out.fill(value, seen, to)
      seen = to
      continue
    }
    const count = Math.min(out.length - seen, length * 8)
    if (at + Math.ceil((count * width) / 8) > end) throw damaged("a page ends inside of a run")
    let [bits, held, next] = [0, 0, at]
    for (let i = 0; i < count; i++) {
      while (held < width) {
        bits |= bytes[next++]! << held
        held += 8
      }
      out[seen++] = bits & mask
      bits >>>= width
      held -= width
    }
    at += length * width
  }
}

/** Levels from 0 to `max`. */
export const readLevels = (bytes: Uint8Array, at: number, end: number, max: number, count: number): Uint8Array => {
  const out = new Uint8Array(count)
  readHybrid(bytes, at, end, 32 - Math.clz32(max), out)
  for (let i = 0; i < count; i++) if (out[i]! > max) throw damaged(`a level of ${out[i]} in place of ${max} at most`)
  return out
}
