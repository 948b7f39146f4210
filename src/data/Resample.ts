/**
 * The bicubic resampler of Pillow, bit for bit, as plain loops: the reference that `ResampleWasm` is held against.
 *
 * Not the fast path. Pure; no I/O. Source of the algorithm: Pillow's `Resample.c` (8 bits a channel): coefficients in
 * doubles, normalised, rounded to fixed point with 22 fractional bits; a horizontal pass, rounded to uint8, then a
 * vertical one. A pass that changes nothing is skipped.
 *
 * Shapes: pixels_HWC are uint8, 3 channels. A window is the part of the output that is wanted: only what it needs is
 * computed, and its pixels are those of the full resize.
 */

/** RGB pixels, rows from the top. `pixels_HWC.length === height * width * 3`. */
export interface Raster {
  readonly width: number
  readonly height: number
  readonly pixels_HWC: Uint8Array
}

/** A rectangle of output pixels. */
export interface Window {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

/** Fractional bits of a coefficient: 32, less 8 of a pixel, less 2 of headroom for the filter's overshoot. */
export const PRECISION_BITS = 32 - 8 - 2

const SUPPORT = 2
const A = -0.5

const bicubic = (distance: number): number => {
  const x = Math.abs(distance)
  if (x < 1) return ((A + 2) * x - (A + 3)) * x * x + 1
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * A
  return 0
}

/** For output pixel `i` of a window: `taps[i]` inputs from `starts[i]`, weighted by `weights[i * stride + k]`. */
export interface Coefficients {
  readonly starts: Int32Array
  readonly taps: Int32Array
  /** Fixed point, `PRECISION_BITS` fractional bits. */
  readonly weights: Int32Array
  readonly stride: number
}

/** Coefficients for outputs `from ... from + count` when `inputs` pixels become `outputs`. */
export const coefficients = (inputs: number, outputs: number, from = 0, count = outputs): Coefficients => {
  const scale = inputs / outputs
  const filterScale = Math.max(scale, 1)
  const support = SUPPORT * filterScale
  const stride = Math.ceil(support) * 2 + 1
  const starts = new Int32Array(count)
  const taps = new Int32Array(count)
  const weights = new Int32Array(count * stride)
  const row = new Float64Array(stride)
  const inverse = 1 / filterScale
  for (let i = 0; i < count; i++) {
    const centre = (from + i + 0.5) * scale
    const first = Math.max(Math.trunc(centre - support + 0.5), 0)
    const n = Math.min(Math.trunc(centre + support + 0.5), inputs) - first
    let sum = 0
    for (let k = 0; k < n; k++) {
      const weight = bicubic((k + first - centre + 0.5) * inverse)
      row[k] = weight
      sum += weight
    }
    for (let k = 0; k < n; k++) {
      const weight = (sum === 0 ? row[k]! : row[k]! / sum) * (1 << PRECISION_BITS)
      weights[i * stride + k] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5)
    }
    starts[i] = first
    taps[i] = n
  }
  return { starts, taps, weights, stride }
}

const HALF = 1 << (PRECISION_BITS - 1)

const clip = (sum: number): number => {
  return Math.min(Math.max(sum >> PRECISION_BITS, 0), 255)
}

/** The horizontal pass: weighted sums of neighbours in a row. */
const alongRows = (source: Raster, to: Coefficients): Raster => {
  const width = to.starts.length
  const pixels = new Uint8Array(width * source.height * 3)
  for (let y = 0; y < source.height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        let sum = HALF
        for (let k = 0; k < to.taps[x]!; k++) {
          const pixel = source.pixels_HWC[(y * source.width + to.starts[x]! + k) * 3 + c]!
          sum = (sum + Math.imul(pixel, to.weights[x * to.stride + k]!)) | 0
        }
        pixels[(y * width + x) * 3 + c] = clip(sum)
      }
    }
  }
  return { width, height: source.height, pixels_HWC: pixels }
}

/** The vertical pass: weighted sums of neighbours in a column. */
const alongColumns = (source: Raster, to: Coefficients): Raster => {
  const height = to.starts.length
  const items = source.width * 3
  const pixels = new Uint8Array(items * height)
  for (let y = 0; y < height; y++) {
    for (let item = 0; item < items; item++) {
      let sum = HALF
      for (let k = 0; k < to.taps[y]!; k++) {
        const pixel = source.pixels_HWC[(to.starts[y]! + k) * items + item]!
        sum = (sum + Math.imul(pixel, to.weights[y * to.stride + k]!)) | 0
      }
      pixels[y * items + item] = clip(sum)
    }
  }
  return { width: source.width, height, pixels_HWC: pixels }
}

/** The rectangle `window` of an image, copied. */
export const cut = (source: Raster, window: Window): Raster => {
  const pixels = new Uint8Array(window.width * window.height * 3)
  for (let y = 0; y < window.height; y++) {
    const from = ((window.top + y) * source.width + window.left) * 3
    pixels.set(source.pixels_HWC.subarray(from, from + window.width * 3), y * window.width * 3)
  }
  return { width: window.width, height: window.height, pixels_HWC: pixels }
}

/**
 * Whether the vertical pass comes first, as in Pillow's `Image.resize`: for images over 100 times as high as wide that
 * become less high. The order matters because each pass rounds to uint8.
 */
export const verticalFirst = (source: { readonly width: number; readonly height: number }, height: number): boolean =>
  source.height > source.width * 100 && height < source.height

/**
 * Resizes to `width` x `height` and gives the part `window` of it, as Pillow's `resize(..., BICUBIC)` then `crop`
 * would.
 *
 * @example
 * ```ts
 * resizeReference(photo, 448, 336, { left: 56, top: 0, width: 336, height: 336 })
 * ```
 */
export const resizeReference = (
  source: Raster,
  width: number,
  height: number,
  window: Window = { left: 0, top: 0, width, height }
): Raster => {
  const across = (raster: Raster): Raster =>
    width === raster.width
      ? cut(raster, { left: window.left, top: 0, width: window.width, height: raster.height })
      : alongRows(raster, coefficients(raster.width, width, window.left, window.width))
  const down = (raster: Raster): Raster =>
    height === raster.height
      ? cut(raster, { left: 0, top: window.top, width: raster.width, height: window.height })
      : alongColumns(raster, coefficients(raster.height, height, window.top, window.height))
  return verticalFirst(source, height) ? across(down(source)) : down(across(source))
}
