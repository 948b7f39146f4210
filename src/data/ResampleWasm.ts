/**
 * Pillow's bicubic resampler in WebAssembly SIMD: same pixels as `Resample.ts`, several times Pillow's speed.
 *
 * Not a decoder and not thread-shared: each thread that imports this module has its own instance and linear memory.
 * Input goes through in bands of rows, so linear memory grows with the output and not with the image.
 *
 * Shapes: pixels_HWC uint8, 3 channels. A canvas is an image placed on a larger, evenly coloured one without building
 * it.
 */
import { readFileSync } from "node:fs"
import { type Coefficients, coefficients, type Raster, verticalFirst, type Window } from "./Resample.ts"

/** Where a raster lies on a canvas of `width` x `height` pixels of one colour. */
export interface Canvas {
  readonly width: number
  readonly height: number
  readonly left: number
  readonly top: number
  readonly background: readonly [number, number, number]
}

interface Memory {
  readonly buffer: ArrayBuffer
  readonly grow: (pages: number) => number
}

/** The part used here of the global: neither the `dom` library nor another declaration of it is in scope. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: object) => { readonly exports: object }
}

interface Kernel {
  readonly memory: Memory
  readonly horizontal: (
    source: number,
    sourceStride: number,
    target: number,
    targetStride: number,
    rows: number,
    width: number,
    starts: number,
    pairs: number,
    weights: number,
    maxPairs: number
  ) => void
  readonly vertical: (
    source: number,
    target: number,
    stride: number,
    rows: number,
    starts: number,
    pairs: number,
    weights: number,
    maxPairs: number
  ) => void
}

const isKernel = (exports: object): exports is Kernel =>
  "memory" in exports && "horizontal" in exports && "vertical" in exports

const instantiate = (): Kernel => {
  const module = new WebAssembly.Module(readFileSync(new URL("./wasm/resample.wasm", import.meta.url)))
  const exports: object = new WebAssembly.Instance(module, {}).exports
  if (!isKernel(exports)) throw new Error("src/data/wasm/resample.wasm lacks its exports; run: npm run build:wasm")
  return exports
}

let instance: Kernel | undefined
const kernel = (): Kernel => (instance ??= instantiate())

/** Bytes of input rows handed over at a time. */
const BAND = 1 << 20
const PAGE = 1 << 16

const round16 = (bytes: number): number => (bytes + 15) & ~15

/** Coefficients as the kernel wants them: `starts`, `pairs`, then per output all high halves, then all low ones. */
interface Packed {
  readonly starts: Int32Array
  readonly pairs: Int32Array
  readonly weights: Int32Array
  readonly maxPairs: number
}

/** `first` is subtracted from the starts, `unit` scales them to what the kernel counts in. */
const pack = (from: Coefficients, first: number, unit: number): Packed => {
  const count = from.starts.length
  const maxPairs = (from.stride + 1) >> 1
  const starts = new Int32Array(count)
  const pairs = new Int32Array(count)
  const weights = new Int32Array(count * 2 * maxPairs)
  for (let i = 0; i < count; i++) {
    const taps = from.taps[i]!
    starts[i] = (from.starts[i]! - first) * unit
    pairs[i] = (taps + 1) >> 1
    for (let k = 0; k < taps; k++) {
      const weight = from.weights[i * from.stride + k]!
      const at = i * 2 * maxPairs + (k >> 1)
      const shift = (k & 1) << 4
      weights[at]! |= ((weight >> 11) & 0xffff) << shift
      weights[at + maxPairs]! |= (weight & 0x7ff) << shift
    }
  }
  return { starts, pairs, weights, maxPairs }
}

/** Hands out addresses of linear memory, 16-byte aligned, and grows it to fit. */
class Arena {
  #next = 1024
  #memory: Memory

  constructor(memory: Memory) {
    this.#memory = memory
  }

  take(bytes: number): number {
    const at = this.#next
    this.#next = round16(at + bytes)
    return at
  }

  reserve(): Uint8Array {
    const missing = this.#next - this.#memory.buffer.byteLength
    if (missing > 0) this.#memory.grow(Math.ceil(missing / PAGE))
    return new Uint8Array(this.#memory.buffer)
  }
}

/** Fills `bytes[from, to)` with one colour; `to - from` is a multiple of 3. */
const paint = (bytes: Uint8Array, from: number, to: number, [red, green, blue]: Canvas["background"]): void => {
  if (to <= from) return
  bytes[from] = red
  bytes[from + 1] = green
  bytes[from + 2] = blue
  for (let done = 3; from + done < to; done *= 2) bytes.copyWithin(from + done, from, Math.min(from + done, to - done))
}

const whole = (source: Raster): Canvas => ({
  width: source.width,
  height: source.height,
  left: 0,
  top: 0,
  background: [0, 0, 0]
})

/**
 * One horizontal pass, then one vertical pass.
 *
 * Long: it lays out the memory of the kernel and runs both passes over it.
 */
const passes = (
  source: Raster,
  width: number,
  height: number,
  window: Window,
  canvas: Canvas,
  pixels: Uint8Array = new Uint8Array(window.width * window.height * 3)
): Raster => {
  const { memory, horizontal, vertical } = kernel()
  const across = coefficients(canvas.width, width, window.left, window.width)
  const down = coefficients(canvas.height, height, window.top, window.height)
  const last = window.height - 1
  const firstRow = down.starts[0]!
  const endRow = down.starts[last]! + down.taps[last]!
  const firstColumn = across.starts[0]!
  const endColumn = across.starts[window.width - 1]! + across.taps[window.width - 1]!
  const horizontalPack = pack(across, firstColumn, 3)
  const verticalPack = pack(down, firstRow, 1)

  const inputBytes = (endColumn - firstColumn) * 3
  const bandRows = Math.max(1, Math.min(Math.floor(BAND / inputBytes), endRow - firstRow))
  const stride = round16(window.width * 3)
  const arena = new Arena(memory)
  const place = (packed: Packed) => ({
    packed,
    starts: arena.take(packed.starts.byteLength),
    pairs: arena.take(packed.pairs.byteLength),
    weights: arena.take(packed.weights.byteLength)
  })
  const h = place(horizontalPack)
  const v = place(verticalPack)
  const band = arena.take(bandRows * inputBytes + 32)
  const middle = arena.take((endRow - firstRow + 1) * stride + 16)
  const target = arena.take(window.height * stride)
  const bytes = arena.reserve()
  for (const { packed, starts, pairs, weights } of [h, v]) {
    bytes.set(new Uint8Array(packed.starts.buffer), starts)
    bytes.set(new Uint8Array(packed.pairs.buffer), pairs)
    bytes.set(new Uint8Array(packed.weights.buffer), weights)
  }

  // Rows of the canvas above and below the image are of one colour, and stay so: only the image's are resampled.
  const top = Math.max(firstRow, Math.min(endRow, canvas.top))
  const bottom = Math.max(top, Math.min(endRow, canvas.top + source.height))
  const left = Math.max(firstColumn, canvas.left)
  const right = Math.max(left, Math.min(endColumn, canvas.left + source.width))
  if (left > firstColumn || right < endColumn) paint(bytes, band, band + bandRows * inputBytes, canvas.background)
  const contiguous = left === firstColumn && right === endColumn && right - left === source.width
  for (let y = top; y < bottom; y += bandRows) {
    const rows = Math.min(bandRows, bottom - y)
    const sourceRow = (row: number): number => ((row - canvas.top) * source.width + left - canvas.left) * 3
    if (contiguous) bytes.set(source.pixels_HWC.subarray(sourceRow(y), sourceRow(y + rows)), band)
    else {
      for (let row = 0; row < rows; row++) {
        const from = sourceRow(y + row)
        const at = band + row * inputBytes + (left - firstColumn) * 3
        bytes.set(source.pixels_HWC.subarray(from, from + (right - left) * 3), at)
      }
    }
    const into = middle + (y - firstRow) * stride
    horizontal(
      band,
      inputBytes,
      into,
      stride,
      rows,
      window.width,
      h.starts,
      h.pairs,
      h.weights,
      horizontalPack.maxPairs
    )
  }
  // After the pass, which writes a byte past each of its rows.
  for (let y = firstRow; y < endRow; y++) {
    if (y >= top && y < bottom) continue
    const at = middle + (y - firstRow) * stride
    paint(bytes, at, at + window.width * 3, canvas.background)
  }
  vertical(middle, target, stride, window.height, v.starts, v.pairs, v.weights, verticalPack.maxPairs)

  const rowBytes = window.width * 3
  if (stride === rowBytes) pixels.set(bytes.subarray(target, target + window.height * rowBytes))
  else {
    for (let y = 0; y < window.height; y++) {
      pixels.set(bytes.subarray(target + y * stride, target + y * stride + rowBytes), y * rowBytes)
    }
  }
  return { width: window.width, height: window.height, pixels_HWC: pixels }
}

/**
 * Resizes a raster, or a canvas that holds it, to `width` x `height` bicubically and gives the part `window` of it.
 *
 * Bit-identical to Pillow's `resize((width, height), BICUBIC)` followed by `crop`. Synchronous. The pixels are written
 * to
 * `into`, where that is given: `window.width * window.height * 3` bytes.
 *
 * @example
 * ```ts
 * resize(photo, 448, 336, { left: 56, top: 0, width: 336, height: 336 })
 * ```
 */
export const resize = (
  source: Raster,
  width: number,
  height: number,
  window: Window = { left: 0, top: 0, width, height },
  canvas: Canvas = whole(source),
  into?: Uint8Array
): Raster => {
  if (!verticalFirst(canvas, height)) return passes(source, width, height, window, canvas, into)
  // A pass between equal sizes changes nothing, so that two calls swap the order of the passes.
  const rows = { left: 0, top: window.top, width: canvas.width, height: window.height }
  const low = passes(source, canvas.width, height, rows, canvas)
  return passes(low, width, low.height, { ...window, top: 0 }, whole(low), into)
}
