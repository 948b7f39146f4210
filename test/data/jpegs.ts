/**
 * Writes JPEGs that encoders seldom write: any sampling, restart intervals, scans of one component, codes of 16 bits.
 *
 * Not an encoder: coefficients are drawn, not computed from an image. Equal descriptions give equal bytes.
 */
import { Schema } from "effect"
import { ZIGZAG } from "../../src/data/JpegScan.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const Factors = Schema.Tuple([between(1, 2), between(1, 2)])

/** What is drawn. */
export const Drawn = Schema.Struct({
  width: between(1, 70),
  height: between(1, 70),
  factors: Schema.Union([Schema.Tuple([Factors]), Schema.Tuple([Factors, Factors, Factors])]),
  colour: Schema.Literals(["jfif", "none", "adobe ycc", "adobe rgb", "names rgb"]),
  /** Components of each scan. */
  scans: Schema.Literals(["012", "0,1,2", "0,12", "01,2"]),
  restart: Schema.Literals([0, 0, 1, 3, 20]),
  /** Codes of 1, 2, ... bits before all others get 16. */
  shortCodes: between(1, 8),
  /** Largest value of a quantisation table. */
  coarse: Schema.Literals([1, 7, 60, 255]),
  /** Of 64 coefficients so many are not zero, or so. */
  dense: Schema.Literals([0, 1, 4, 20, 64]),
  /** `wild`: coefficients that no image has, up to what the format can say. */
  size: Schema.Literals(["tame", "tame", "wild"]),
  seed: Schema.Int
})
export type Drawn = typeof Drawn.Type

/** Numbers from 0 to below `n`. */
const generator = (seed: number) => {
  let state = seed | 1
  return (n: number): number => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
    return ((state >>> 8) * n) >>> 24
  }
}

interface Table {
  readonly counts: ReadonlyArray<number>
  readonly symbols: ReadonlyArray<number>
  readonly codes: ReadonlyMap<number, readonly [code: number, bits: number]>
}

/** One code each of 1 ... `short` bits, the rest of 16. */
const tableOf = (symbols: ReadonlyArray<number>, short: number): Table => {
  const counts = Array.from({ length: 16 }, (_, i) => (i < short ? 1 : i === 15 ? symbols.length - short : 0))
  const codes = new Map<number, readonly [number, number]>()
  let code = 0
  let used = 0
  for (const [i, count] of counts.entries()) {
    for (let n = 0; n < count; n++) codes.set(symbols[used++]!, [code++, i + 1])
    code <<= 1
  }
  return { counts, symbols, codes }
}

/** Entropy-coded bytes with stuffing. */
class Coded {
  readonly bytes: Array<number> = []
  #value = 0
  #bits = 0

  put(value: number, bits: number): void {
    for (let bit = bits - 1; bit >= 0; bit--) {
      this.#value = (this.#value << 1) | ((value >> bit) & 1)
      if (++this.#bits < 8) continue
      this.bytes.push(this.#value)
      if (this.#value === 0xff) this.bytes.push(0)
      this.#value = 0
      this.#bits = 0
    }
  }

  /** A code, then the bits of a value as the standard has them. */
  symbol(table: Table, symbol: number, value: number): void {
    const [code, bits] = table.codes.get(symbol)!
    this.put(code, bits)
    const size = symbol & 15
    this.put(value < 0 ? value + (1 << size) - 1 : value, size)
  }

  flush(): void {
    while (this.#bits > 0) this.put(1, 1)
  }
}

const sizeOf = (value: number): number => 32 - Math.clz32(Math.abs(value))

const segment = (marker: number, ...body: ReadonlyArray<number>): ReadonlyArray<number> => [
  ...[0xff, marker, (body.length + 2) >> 8, (body.length + 2) & 255],
  ...body
]

const ascii = (text: string): ReadonlyArray<number> => [...Buffer.from(text)]

/** The file. */
export const jpegOf = (drawn: Drawn): Uint8Array => {
  const { coarse, colour, dense, height, shortCodes, size, width } = drawn
  const random = generator(drawn.seed)
  const shuffled = (values: ReadonlyArray<number>): ReadonlyArray<number> =>
    values
      .map((value) => [random(1 << 20), value] as const)
      .sort(([a], [b]) => a - b)
      .map(([, value]) => value)
  const dc = tableOf(shuffled(Array.from({ length: 12 }, (_, i) => i)), shortCodes)
  const sizes = Array.from({ length: 160 }, (_, i) => (Math.floor(i / 10) << 4) | ((i % 10) + 1))
  const ac = tableOf(shuffled([0, 0xf0, ...sizes]), shortCodes)
  const alone = drawn.factors.length === 1
  const names = colour === "names rgb" && !alone ? [82, 71, 66] : [1, 2, 3]
  const components = drawn.factors.map(([h, v], i) => ({ name: names[i]!, h: alone ? 1 : h, v: alone ? 1 : v }))
  const mostH = Math.max(...components.map(({ h }) => h))
  const mostV = Math.max(...components.map(({ v }) => v))
  const quant = Array.from({ length: 64 }, () => 1 + random(coarse))
  const out: Array<number> = [0xff, 0xd8]
  if (colour === "jfif") out.push(...segment(0xe0, ...ascii("JFIF\0"), 1, 2, 0, 0, 1, 0, 1, 0, 0))
  if (colour.startsWith("adobe")) {
    out.push(...segment(0xee, ...ascii("Adobe"), 0, 100, 0, 0, 0, 0, colour === "adobe ycc" ? 1 : 0))
  }
  out.push(...segment(0xdb, 0, ...quant))
  const frame = components.flatMap(({ name }, i) => [name, (drawn.factors[i]![0] << 4) | drawn.factors[i]![1], 0])
  out.push(...segment(0xc0, 8, height >> 8, height & 255, width >> 8, width & 255, components.length, ...frame))
  out.push(...segment(0xc4, 0, ...dc.counts, ...dc.symbols), ...segment(0xc4, 0x10, ...ac.counts, ...ac.symbols))
  if (drawn.restart > 0) out.push(...segment(0xdd, 0, drawn.restart))

  /** Coefficients of one block, as they would be in an image or, if wild, as no image has them. */
  const largest = (k: number): number =>
    size === "wild" ? 1023 : Math.max(1, Math.floor((k === 0 ? 1000 : 300) / quant[k]! / (1 + (ZIGZAG[k]! >> 3))))
  const block = (): Array<number> =>
    Array.from({ length: 64 }, (_, k) => {
      const value = k === 0 || random(64) < dense ? random(2 * largest(k) + 1) - largest(k) : 0
      return Math.min(Math.max(value, -1023), 1023)
    })

  const scans = alone ? [[0]] : drawn.scans.split(",").map((scan) => [...scan].map(Number))
  for (const scan of scans) {
    const single = scan.length === 1
    const parts = scan.map((index) => ({ ...components[index]!, ...(single ? { h: 1, v: 1 } : {}) }))
    const { h, v } = components[scan[0]!]!
    const across = single ? Math.ceil(Math.ceil((width * h) / mostH) / 8) : Math.ceil(width / (8 * mostH))
    const down = single ? Math.ceil(Math.ceil((height * v) / mostV) / 8) : Math.ceil(height / (8 * mostV))
    out.push(...segment(0xda, scan.length, ...parts.flatMap(({ name }) => [name, 0]), 0, 63, 0))
    let coded = new Coded()
    let predictions = scan.map(() => 0)
    for (let unit = 0; unit < across * down; unit++) {
      if (drawn.restart > 0 && unit > 0 && unit % drawn.restart === 0) {
        coded.flush()
        for (const one of coded.bytes) out.push(one)
        out.push(0xff, 0xd0 + ((unit / drawn.restart - 1) & 7))
        coded = new Coded()
        predictions = scan.map(() => 0)
      }
      for (const [p, part] of parts.entries()) {
        for (let i = 0; i < part.h * part.v; i++) {
          const values = block()
          const difference = values[0]! - predictions[p]!
          predictions[p] = values[0]!
          coded.symbol(dc, sizeOf(difference), difference)
          let zeros = 0
          for (let k = 1; k < 64; k++) {
            if (values[k] === 0) {
              zeros++
              continue
            }
            for (; zeros > 15; zeros -= 16) coded.symbol(ac, 0xf0, 0)
            coded.symbol(ac, (zeros << 4) | sizeOf(values[k]!), values[k]!)
            zeros = 0
          }
          if (zeros > 0) coded.symbol(ac, 0, 0)
        }
      }
    }
    coded.flush()
    for (const one of coded.bytes) out.push(one)
  }
  out.push(0xff, 0xd9)
  return Uint8Array.from(out)
}
