/**
 * Decodes the usual JPEGs in WebAssembly SIMD: the samples of libjpeg-turbo's SIMD code, without leaving the thread.
 *
 * Not for every JPEG: what it does not know, or finds irregular, is left to another decoder (`undefined`). Each thread
 * that imports this module has its own instance; its linear memory grows to the largest image, 8 bytes a pixel or so.
 *
 * Shapes: pixels_HWC uint8, 3 channels.
 */
import { readFileSync } from "node:fs"
import {
  decodeJpegWith,
  type HuffmanTable,
  type JpegComponent,
  type JpegEngine,
  type JpegFrame,
  ZIGZAG
} from "./JpegScan.ts"
import type { Raster } from "./Resample.ts"

/** The part used here of the global: neither the `dom` library nor another declaration of it is in scope. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: object) => { readonly exports: object }
}

/** What `assembly/jpeg.ts` exports. Addresses are in bytes. */
interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer; readonly grow: (pages: number) => number }
  readonly heap: () => number
  readonly huffman: (counts: number, symbols: number, table: number, ac: number) => number
  readonly scan: (
    from: number,
    end: number,
    top: number,
    components: number,
    componentCount: number,
    unitsAcross: number,
    unitsDown: number,
    restart: number
  ) => number
  readonly upsample: (near: number, far: number, width: number, out: number, sums: number, mode: number) => void
  readonly convert: (first: number, second: number, third: number, out: number, width: number, ycc: number) => void
}

const exported = ["memory", "heap", "huffman", "scan", "upsample", "convert"] as const

const isKernel = (exports: object): exports is Kernel => exported.every((name) => name in exports)

const instantiate = (): Kernel => {
  const module = new WebAssembly.Module(readFileSync(new URL("./wasm/jpeg.wasm", import.meta.url)))
  const exports: object = new WebAssembly.Instance(module, {}).exports
  if (!isKernel(exports)) throw new Error("src/data/wasm/jpeg.wasm lacks its exports; run: npm run build:wasm")
  return exports
}

/** Larger images and files are left to others: linear memory never shrinks. */
const MAX_PIXELS = 1 << 22
const MAX_BYTES = 1 << 24

const PAGE = 1 << 16
/** Of a Huffman table, see `assembly/jpeg.ts`. */
const TABLE_BYTES = 4096 + 17 * 8 + 256
/** Room before the bytes without stuffing: what damaged data can read too far. */
const BEHIND = 4096

const round16 = (bytes: number): number => (bytes + 15) & ~15

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Modes of `upsample`. */
const ABOVE = 0
const BELOW = 1
const COLUMNS = 2
const BOTH = 3
const REPEATED = 4

/** A component's plane, and the row at full size that it is upsampled to. */
interface Plane {
  readonly component: JpegComponent
  readonly at: number
  readonly stride: number
  readonly row: number
}

class Engine implements JpegEngine {
  readonly #kernel = instantiate()
  /**
   * Fixed places: six Huffman tables, three quantisation tables, three components, counts and symbols to build from.
   */
  readonly #tables: number
  readonly #quants: number
  readonly #parts: number
  readonly #draft: number
  readonly #free: number
  /** What the Huffman tables were built from: most images of a set have the same. */
  readonly #built: Array<HuffmanTable | undefined> = []
  #bytes = new Uint8Array(0)
  #frame: JpegFrame | undefined
  #planes: ReadonlyArray<Plane> = []
  #input = 0
  #inputEnd = 0
  #top = 0
  #sums = 0
  #pixels = 0

  constructor() {
    this.#tables = round16(this.#kernel.heap())
    this.#quants = this.#tables + 6 * round16(TABLE_BYTES)
    this.#parts = this.#quants + 3 * 128
    this.#draft = this.#parts + 3 * 32
    this.#free = round16(this.#draft + 16 + 256)
  }

  begin(bytes: Uint8Array, frame: JpegFrame): void {
    let next = this.#free
    const take = (size: number): number => {
      const at = next
      next = round16(at + size)
      return at
    }
    this.#frame = frame
    this.#input = take(bytes.length + 64)
    this.#inputEnd = this.#input + bytes.length
    this.#top = take(bytes.length + BEHIND + 64) + bytes.length + BEHIND + 32
    this.#sums = take(frame.width * 2 + 128)
    this.#planes = frame.components.map((component) => {
      const stride = component.planeWidth
      const at = take(stride * component.planeHeight + 64)
      return { component, at, stride, row: take(frame.unitsAcross * 32 + 64) }
    })
    this.#pixels = take(frame.width * frame.height * 3 + 64)
    const { memory } = this.#kernel
    const missing = next - memory.buffer.byteLength
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE))
    this.#bytes = new Uint8Array(memory.buffer)
    this.#bytes.set(bytes, this.#input)
    // A marker that is always found.
    this.#bytes.fill(0, this.#inputEnd, this.#inputEnd + 64)
    this.#bytes.set([0xff, 0xd9], this.#inputEnd)
  }

  scan: JpegEngine["scan"] = ({ at, parts, restart, unitsAcross, unitsDown }) => {
    const words = new Int32Array(this.#bytes.buffer)
    for (const [i, { ac, dc, h, index, quant, v }] of parts.entries()) {
      const plane = this.#planes[index]!
      const dcAt = this.#table(i * 2, dc, false)
      const acAt = this.#table(i * 2 + 1, ac, true)
      if (dcAt === undefined || acAt === undefined) return undefined
      const quantAt = this.#quants + i * 128
      const values = new Int16Array(this.#bytes.buffer, quantAt, 64)
      for (let k = 0; k < 64; k++) values[ZIGZAG[k]!] = quant[k]!
      words.set([plane.at, plane.stride, h, v, dcAt, acAt, quantAt, 0], (this.#parts + i * 32) >> 2)
    }
    const from = this.#input + at
    const marker = this.#kernel.scan(
      from,
      this.#inputEnd,
      this.#top,
      this.#parts,
      parts.length,
      unitsAcross,
      unitsDown,
      restart
    )
    return marker === 0 ? undefined : marker - this.#input
  }

  /** The address of a built table, or `undefined` where it is irregular. */
  #table(slot: number, table: HuffmanTable, ac: boolean): number | undefined {
    const at = this.#tables + slot * round16(TABLE_BYTES)
    const built = this.#built[slot]
    if (built !== undefined && sameBytes(built.counts, table.counts) && sameBytes(built.symbols, table.symbols))
      return at
    this.#built[slot] = undefined
    this.#bytes.set(table.counts, this.#draft)
    this.#bytes.set(table.symbols, this.#draft + 16)
    if (this.#kernel.huffman(this.#draft, this.#draft + 16, at, ac ? 1 : 0) === 0) return undefined
    this.#built[slot] = table
    return at
  }

  /** The address of a component's row `y` at full size. */
  #row({ at, component, row, stride }: Plane, y: number): number {
    const { doubledX, doubledY, height, width } = component
    const sample = doubledY ? y >> 1 : y
    const near = at + sample * stride
    if (!doubledX && !doubledY) return near
    if (doubledX && width <= 2) {
      this.#kernel.upsample(near, near, width, row, this.#sums, REPEATED)
      return row
    }
    const below = (y & 1) === 1
    const other = Math.min(Math.max(sample + (below ? 1 : -1), 0), height - 1)
    const mode = doubledX ? (doubledY ? BOTH : COLUMNS) : below ? BELOW : ABOVE
    this.#kernel.upsample(near, doubledY ? at + other * stride : near, width, row, this.#sums, mode)
    return row
  }

  finish(): Raster {
    const { colour, height, width } = this.#frame!
    const [first, second = first!, third = first!] = this.#planes
    const { convert } = this.#kernel
    for (let y = 0; y < height; y++) {
      const a = this.#row(first!, y)
      const b = second === first ? a : this.#row(second, y)
      const c = third === first ? a : this.#row(third, y)
      convert(a, b, c, this.#pixels + y * width * 3, width, colour === "ycc" ? 1 : 0)
    }
    return { width, height, pixels_HWC: this.#bytes.subarray(this.#pixels, this.#pixels + width * height * 3) }
  }
}

let engine: Engine | undefined

/**
 * Decodes a JPEG to RGB, or gives `undefined` where it is not of the usual kind, not in order, or over 4 megapixels
 * or 16 MiB.
 *
 * The pixels lie in the kernel's memory and are overwritten by the next call: use them at once, or copy.
 *
 * @example
 * ```ts
 * const pixels_HWC = borrowJpeg(bytes)?.pixels_HWC.slice()
 * ```
 */
export const borrowJpeg = (bytes: Uint8Array, maxPixels = MAX_PIXELS): Raster | undefined =>
  bytes.length > MAX_BYTES
    ? undefined
    : decodeJpegWith((engine ??= new Engine()), bytes, Math.min(maxPixels, MAX_PIXELS))
