/**
 * The decoder of sequential JPEGs as plain loops: the reference that `JpegWasm` is held against.
 *
 * Not the fast path. Pure; no I/O. Source of the algorithm: the standard (ITU-T T.81) for the bits; libjpeg's accurate
 * integer transform, triangle filter and colour tables for the pixels. Where sums of damaged or extreme data leave 16
 * bits, they wrap or saturate as in libjpeg-turbo's SIMD code, so that there is one right result for every input.
 *
 * Shapes: pixels_HWC uint8, 3 channels. A plane is a component's samples, rows from the top.
 */
import {
  decodeJpegWith,
  type HuffmanTable,
  type JpegComponent,
  type JpegEngine,
  type JpegFrame,
  type JpegScan,
  ZIGZAG
} from "./JpegScan.ts"
import type { Raster } from "./Resample.ts"

const wrap = (value: number): number => (value << 16) >> 16
const saturate = (value: number): number => Math.min(Math.max(value, -32_768), 32_767)
const byte = (value: number): number => Math.min(Math.max(value, 0), 255)

/** 2 ** 13 times the weights of `pass`, named by the standard names of its products. */
const [F_0_298, F_0_390, F_0_541, F_0_765, F_0_899, F_1_175] = [2446, 3196, 4433, 6270, 7373, 9633]
const [F_1_501, F_1_847, F_1_961, F_2_053, F_2_562, F_3_072] = [12_299, 15_137, 16_069, 16_819, 20_995, 25_172]

/** Transforms 8 of `values`, `step` apart from `at` on, and rounds `shift` bits off. */
const pass = (values: Int16Array, at: number, step: number, shift: number): void => {
  const x = Array.from({ length: 8 }, (_, i) => values[at + i * step]!)
  const e3 = x[2]! * (F_0_541 + F_0_765) + x[6]! * F_0_541
  const e2 = x[2]! * F_0_541 + x[6]! * (F_0_541 - F_1_847)
  const e0 = wrap(x[0]! + x[4]!) << 13
  const e1 = wrap(x[0]! - x[4]!) << 13
  const even = [e0 + e3, e1 + e2, e1 - e2, e0 - e3]
  const [z3, z4] = [wrap(x[7]! + x[3]!), wrap(x[5]! + x[1]!)]
  const y3 = z3 * (F_1_175 - F_1_961) + z4 * F_1_175
  const y4 = z3 * F_1_175 + z4 * (F_1_175 - F_0_390)
  const odd = [
    x[7]! * -F_0_899 + x[1]! * (F_1_501 - F_0_899) + y4,
    x[5]! * -F_2_562 + x[3]! * (F_3_072 - F_2_562) + y3,
    x[5]! * (F_2_053 - F_2_562) + x[3]! * -F_2_562 + y4,
    x[7]! * (F_0_298 - F_0_899) + x[1]! * -F_0_899 + y3
  ]
  const half = 1 << (shift - 1)
  for (let i = 0; i < 4; i++) {
    values[at + i * step] = saturate((even[i]! + odd[i]! + half) >> shift)
    values[at + (7 - i) * step] = saturate((even[i]! - odd[i]! + half) >> shift)
  }
}

/** 64 coefficients, dequantised and by rows, become samples around 0. */
const transform = (block: Int16Array): void => {
  const flat = block.subarray(8).every((value) => value === 0)
  for (let x = 0; x < 8; x++) {
    if (flat) for (let y = 0, level = wrap(block[x]! << 2); y < 8; y++) block[y * 8 + x] = level
    else pass(block, x, 8, 11)
  }
  for (let y = 0; y < 8; y++) pass(block, y * 8, 1, 18)
}

/** Reads bits of one run of entropy-coded bytes; `undefined` behind its end. */
class Bits {
  readonly #bytes: Uint8Array
  #at: number
  #value = 0
  #left = 0

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.#at = at
  }

  bit(): number | undefined {
    if (this.#left === 0) {
      const value = this.#bytes[this.#at]
      if (value === undefined || (value === 0xff && this.#bytes[this.#at + 1] !== 0)) return undefined
      this.#at += value === 0xff ? 2 : 1
      this.#value = value
      this.#left = 8
    }
    this.#left--
    return (this.#value >> this.#left) & 1
  }

  bits(count: number): number | undefined {
    let value = 0
    for (let i = 0; i < count; i++) {
      const bit = this.bit()
      if (bit === undefined) return undefined
      value = (value << 1) | bit
    }
    return value
  }

  symbol({ counts, symbols }: HuffmanTable): number | undefined {
    let code = 0
    let first = 0
    let used = 0
    for (let length = 0; length < 16; length++) {
      const bit = this.bit()
      if (bit === undefined) return undefined
      code |= bit
      const count = counts[length]!
      if (code - first < count) return symbols[used + code - first]
      used += count
      first = (first + count) << 1
      code <<= 1
    }
    return undefined
  }

  /** A number of `size` bits as the standard's EXTEND reads it. */
  value(size: number): number | undefined {
    const value = this.bits(size)
    if (value === undefined || size === 0) return value
    return value < 1 << (size - 1) ? value - (1 << size) + 1 : value
  }

  /** The marker's address, if the run ends here. */
  end(): number | undefined {
    const [value, code] = [this.#bytes[this.#at], this.#bytes[this.#at + 1]]
    return value === 0xff && code !== undefined && code !== 0 ? this.#at : undefined
  }
}

/** Whether all codes fit, none is all ones, and all symbols are of 8-bit images. */
const usable = ({ counts, symbols }: HuffmanTable, ac: boolean): boolean => {
  let code = 0
  for (let length = 1; length <= 16; length++) {
    code += counts[length - 1]!
    if (code >= 1 << length) return false
    code <<= 1
  }
  return symbols.every((symbol) =>
    ac ? (symbol & 15) <= 10 && ((symbol & 15) > 0 || symbol === 0 || symbol === 0xf0) : symbol <= 11
  )
}

/** One block's coefficients in zigzag order, or `undefined`. The prediction is not added. */
const readBlock = (bits: Bits, dc: HuffmanTable, ac: HuffmanTable): Int32Array | undefined => {
  const block = new Int32Array(64)
  const size = bits.symbol(dc)
  const difference = size === undefined ? undefined : bits.value(size)
  if (difference === undefined) return undefined
  block[0] = difference
  for (let k = 1; k < 64; k++) {
    const symbol = bits.symbol(ac)
    if (symbol === undefined) return undefined
    if (symbol === 0) break
    k += symbol >> 4
    const value = bits.value(symbol & 15)
    if (value === undefined || k > 63) return undefined
    block[k] = value
  }
  return block
}

/** Samples of a component at every pixel. */
const fullSize = (component: JpegComponent, plane: Uint8Array): ((x: number, y: number) => number) => {
  const { doubledX, doubledY, height, planeWidth, width } = component
  const at = (x: number, y: number): number =>
    plane[Math.min(Math.max(y, 0), height - 1) * planeWidth + Math.min(Math.max(x, 0), width - 1)]!
  // libjpeg filters nothing that is so narrow.
  if (doubledX && width <= 2) return (x, y) => at(x >> 1, doubledY ? y >> 1 : y)
  const column = (x: number, y: number): number =>
    doubledY ? 3 * at(x, y >> 1) + at(x, (y >> 1) + ((y & 1) === 0 ? -1 : 1)) : at(x, y)
  if (!doubledX) return doubledY ? (x, y) => (column(x, y) + 1 + (y & 1)) >> 2 : at
  const [even, odd, shift] = doubledY ? [8, 7, 4] : [1, 2, 2]
  return (x, y) =>
    (x & 1) === 0
      ? (3 * column(x >> 1, y) + column((x >> 1) - 1, y) + even) >> shift
      : (3 * column(x >> 1, y) + column((x >> 1) + 1, y) + odd) >> shift
}

class Reference implements JpegEngine {
  #bytes: Uint8Array = new Uint8Array(0)
  #frame: JpegFrame | undefined
  #planes: ReadonlyArray<Uint8Array> = []

  begin(bytes: Uint8Array, frame: JpegFrame): void {
    this.#bytes = bytes
    this.#frame = frame
    this.#planes = frame.components.map(({ planeHeight, planeWidth }) => new Uint8Array(planeWidth * planeHeight))
  }

  scan({ at, parts, restart, unitsAcross, unitsDown }: JpegScan): number | undefined {
    if (parts.some(({ ac, dc }) => !usable(dc, false) || !usable(ac, true))) return undefined
    const units = unitsAcross * unitsDown
    let bits = new Bits(this.#bytes, at)
    let predictions = parts.map(() => 0)
    for (let unit = 0; unit < units; unit++) {
      if (restart > 0 && unit > 0 && unit % restart === 0) {
        const marker = bits.end()
        if (marker === undefined || this.#bytes[marker + 1] !== 0xd0 + ((unit / restart - 1) & 7)) return undefined
        bits = new Bits(this.#bytes, marker + 2)
        predictions = parts.map(() => 0)
      }
      for (const [p, { ac, dc, h, index, quant, v }] of parts.entries()) {
        for (let i = 0; i < h * v; i++) {
          const read = readBlock(bits, dc, ac)
          if (read === undefined) return undefined
          read[0] = predictions[p]! += read[0]!
          const block = new Int16Array(64)
          for (let k = 0; k < 64; k++) block[ZIGZAG[k]!] = wrap(Math.imul(wrap(read[k]!), quant[k]!))
          transform(block)
          const x = ((unit % unitsAcross) * h + (i % h)) * 8
          const y = (Math.floor(unit / unitsAcross) * v + Math.floor(i / h)) * 8
          this.#put(index, x, y, block)
        }
      }
    }
    return bits.end()
  }

  #put(index: number, left: number, top: number, block: Int16Array): void {
    const { planeWidth } = this.#frame!.components[index]!
    for (let y = 0; y < 8; y++) {
      for (let x = 0; x < 8; x++) {
        this.#planes[index]![(top + y) * planeWidth + left + x] = byte(block[y * 8 + x]! + 128)
      }
    }
  }

  finish(): Raster {
    const { colour, components, height, width } = this.#frame!
    const samples = components.map((component, i) => fullSize(component, this.#planes[i]!))
    const pixels_HWC = new Uint8Array(width * height * 3)
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [a, b = a!, c = a!] = samples.map((sample) => sample(x, y))
        const [cb, cr] = [b - 128, c - 128]
        const rgb =
          colour === "ycc"
            ? [
                byte(a! + ((91_881 * cr + 32_768) >> 16)),
                byte(a! + ((-22_554 * cb - 46_802 * cr + 32_768) >> 16)),
                byte(a! + ((116_130 * cb + 32_768) >> 16))
              ]
            : [a!, b, c]
        pixels_HWC.set(rgb, (y * width + x) * 3)
      }
    }
    return { width, height, pixels_HWC }
  }
}

/**
 * Decodes a JPEG to RGB, or gives `undefined` where it is not of the usual kind or not in order.
 *
 * @example
 * ```ts
 * decodeJpegReference(bytes)?.pixels_HWC
 * ```
 */
export const decodeJpegReference = (bytes: Uint8Array): Raster | undefined =>
  decodeJpegWith(new Reference(), bytes, Number.MAX_SAFE_INTEGER)
