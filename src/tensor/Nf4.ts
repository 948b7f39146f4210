/**
 * Four-bit NormalFloat with double quantisation: float32 matrices to 4.127 bits a weight, and back.
 *
 * Not an engine: this is the definition, in JavaScript, whose matrices engines equal bit for bit. Not a way to train
 * what is
 * quantised: such a matrix is frozen.
 *
 * A block of 64 weights is divided by its largest magnitude, and each becomes the nearest of 16 values, the quantiles
 * of a normal distribution between -1 and 1, one of them zero. The magnitudes, less their mean, are quantised once
 * more: in blocks of 256, to 8 bits of a type whose exponent has as many bits as it needs. Source: Dettmers et al.,
 * "QLoRA" (2023), appendix E for the values; "8-bit Optimizers via Block-wise Quantization" (2021) for the 8-bit type;
 * layout as bitsandbytes has it.
 *
 * Shapes: a matrix [O, I], I even, is O * I / 2 bytes of codes (the first of two weights in the high half), a byte for
 * each 64 weights in row-major order, and a float for each 256 of those with the mean behind them.
 */
import { expectShape } from "./Errors.ts"
import { type Tensor, tf } from "./Ops.ts"

/** Weights of a block, and blocks whose magnitudes are quantised together. */
export const BLOCK = 64
export const NESTED = 256

/** The 16 values, by code. */
export const nf4Values: Float32Array = Float32Array.of(
  -1,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1
)

const TENTH = Math.fround(0.1)

/**
 * The 256 values of the signed 8-bit type, rising: for each of seven decimal exponents, 1, 2, .. 64 evenly spaced
 * fractions between 0.1 and 1, with both signs; zero; and one.
 */
const makeDynamicValues = (): Float32Array => {
  const all = [0, 1]
  for (let i = 0; i < 7; i++) {
    const fractions = 2 ** i
    const exponent = Math.fround(10 ** (i - 6))
    // Boundaries in float32 steps from the nearer end, as `torch.linspace` makes them: the published type was made so.
    const step = Math.fround(Math.fround(1 - TENTH) / fractions)
    const boundary = (k: number): number =>
      2 * k < fractions + 1 ? Math.fround(TENTH + step * k) : Math.fround(1 - step * (fractions - k))
    for (let k = 0; k < fractions; k++) {
      const mean = Math.fround(Math.fround(boundary(k) + boundary(k + 1)) / 2)
      const value = Math.fround(exponent * mean)
      all.push(value, -value)
    }
  }
  return Float32Array.from(all).sort()
}
export const dynamicValues: Float32Array = makeDynamicValues()

/** The code whose value is nearest to `x`: `values` rise; of two that are equally near, the lower. */
export const nearest = (values: Float32Array, x: number): number => {
  let [low, high] = [0, values.length - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    // Exact: a sum of two float32 is a double.
    if (x > (values[middle]! + values[middle + 1]!) / 2) low = middle + 1
    else high = middle
  }
  return low
}

/** A matrix in four bits. */
export interface Packed {
  readonly codes: Uint8Array
  /** Of each block: the code of its magnitude. */
  readonly magnitudes: Uint8Array
  /** Of each 256 blocks their largest magnitude, less the mean; and last, the mean of all. */
  readonly scales: Float32Array
}

/** How many bytes and floats a matrix of so many weights takes. */
export const packedSizes = (weights: number) => {
  const blocks = Math.ceil(weights / BLOCK)
  return { codes: weights / 2, magnitudes: blocks, scales: Math.ceil(blocks / NESTED) + 1 }
}

/** Largest magnitudes of runs of `size`. */
const magnitudesOf = (values: Float32Array, size: number): Float32Array => {
  const out = new Float32Array(Math.ceil(values.length / size))
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i]!)
    const block = Math.floor(i / size)
    if (magnitude > out[block]!) out[block] = magnitude
  }
  return out
}

/** x over its block's magnitude, rounded to float32; a block of zeros stays one. */
const share = (x: number, magnitude: number): number => (magnitude === 0 ? 0 : Math.fround(x / magnitude))

/**
 * Quantises a matrix in row-major order, of an even number of finite weights.
 *
 * @example quantiseNf4(Float32Array.from({ length: 128 }, (_, i) => Math.sin(i))).codes.length // 64
 */
export const quantiseNf4 = (values: Float32Array): Packed => {
  const sizes = packedSizes(values.length)
  const largest = magnitudesOf(values, BLOCK)
  const codes = new Uint8Array(sizes.codes)
  for (let i = 0; i < values.length; i += 2) {
    const magnitude = largest[Math.floor(i / BLOCK)]!
    const high = nearest(nf4Values, share(values[i]!, magnitude))
    codes[i >> 1] = (high << 4) | nearest(nf4Values, share(values[i + 1]!, magnitude))
  }
  const mean = largest.length === 0 ? 0 : Math.fround(largest.reduce((sum, one) => sum + one, 0) / largest.length)
  const centred = largest.map((one) => one - mean)
  const outer = magnitudesOf(centred, NESTED)
  const magnitudes = Uint8Array.from(centred, (one, i) =>
    nearest(dynamicValues, share(one, outer[Math.floor(i / NESTED)]!))
  )
  return { codes, magnitudes, scales: Float32Array.of(...outer, mean) }
}

/**
 * The weights again: every product and sum rounded to float32.
 *
 * @example dequantiseNf4(quantiseNf4(values)) // within a tenth or so of each block's largest
 */
export const dequantiseNf4 = ({ codes, magnitudes, scales }: Packed): Float32Array => {
  const out = new Float32Array(2 * codes.length)
  const mean = scales[scales.length - 1]!
  for (let block = 0; block < magnitudes.length; block++) {
    const centred = Math.fround(dynamicValues[magnitudes[block]!]! * scales[Math.floor(block / NESTED)]!)
    const magnitude = Math.fround(centred + mean)
    const end = Math.min(out.length, (block + 1) * BLOCK)
    for (let i = block * BLOCK; i < end; i += 2) {
      const byte = codes[i >> 1]!
      out[i] = nf4Values[byte >> 4]! * magnitude
      out[i + 1] = nf4Values[byte & 15]! * magnitude
    }
  }
  return out
}

/**
 * A matrix [O, I] in four bits on an engine. Bytes are held by tensors that TF.js takes for `bool` (`Compute.bytes`).
 */
export interface PackedTensors {
  /** [O, I / 2] */
  readonly codes: Tensor
  readonly magnitudes: Tensor
  readonly scales: Tensor
}

/** Throws `ShapeMismatch` unless the parts fit one another, x and the bias; used by every engine. */
export const checkNf4Linear = (x: Tensor, { codes, magnitudes, scales }: PackedTensors, bias?: Tensor): void => {
  const sizes = packedSizes(2 * codes.size)
  expectShape(
    codes.rank === 2 &&
      x.rank >= 1 &&
      x.shape[x.rank - 1] === 2 * codes.shape[1]! &&
      magnitudes.size === sizes.magnitudes &&
      scales.size === sizes.scales &&
      (bias === undefined || (bias.rank === 1 && bias.size === codes.shape[0])),
    "nf4Linear",
    () => `x [${x.shape}], codes [${codes.shape}], magnitudes [${magnitudes.shape}], scales [${scales.shape}]`,
    "A matrix in four bits is [out, in] with an even number of inputs; its parts come from one `quantiseNf4`."
  )
}

/**
 * y = x W^T + b from the parts, for engines that have nothing of their own: the matrix is made for each product and
 * freed behind it. Differentiable in x alone.
 */
export const nf4LinearBy =
  (linear: (x: Tensor, weight_OI: Tensor, bias?: Tensor) => Tensor) =>
  (x: Tensor, packed: PackedTensors, bias?: Tensor): Tensor => {
    checkNf4Linear(x, packed, bias)
    const { codes, magnitudes, scales } = packed
    const [outputs, inputs] = [codes.shape[0]!, 2 * codes.shape[1]!]
    const matrix = (): tf.Tensor2D =>
      tf.tensor2d(
        dequantiseNf4({
          codes: codes.dataSync() as Uint8Array,
          magnitudes: magnitudes.dataSync() as Uint8Array,
          scales: scales.dataSync() as Float32Array
        }),
        [outputs, inputs]
      )
    const run = tf.customGrad((input) => ({
      value: tf.tidy(() => linear(input as Tensor, matrix(), bias)),
      gradFunc: (dy: Tensor) =>
        tf.tidy(() => tf.reshape(tf.matMul(tf.reshape(dy, [-1, outputs]) as tf.Tensor2D, matrix()), x.shape))
    }))
    return run(x)
  }
