/**
 * Random numbers as a pure function of (seed, path, index): the same on every machine, in any order, in any worker.
 *
 * Not a generator with state: nothing is advanced, so nothing has to be saved in a checkpoint. Not for cryptography.
 *
 * A stream is the 64-bit key that `stream(seed, ...path)` derives; element `i` of a stream is Philox4x32-10 applied to
 * the counter `i`. Only 32-bit integer operations and exactly rounded float operations (+ - * / sqrt) are used, so
 * normals agree to the last bit between machines too.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011); normal quantile:
 * Wichura, algorithm AS 241 (Applied Statistics 37, 1988); bounded integers: Lemire (TOMACS 29, 2019).
 */

/** A 64-bit key that names one random stream. */
export interface RandomStream {
  readonly low: number
  readonly high: number
}

/** One step of a path that names a stream: a counter (a safe non-negative integer) or a label. */
export type PathStep = number | string

const words = new Uint32Array(4)

/** High 32 bits of the product of two unsigned 32-bit integers. */
const multiplyHigh = (a: number, b: number): number => {
  const a0 = a & 0xffff
  const a1 = a >>> 16
  const b0 = b & 0xffff
  const b1 = b >>> 16
  const middle = a1 * b0 + ((a0 * b0) >>> 16)
  const cross = a0 * b1 + (middle & 0xffff)
  return (a1 * b1 + Math.floor(middle / 65536) + Math.floor(cross / 65536)) >>> 0
}

/**
 * Philox4x32 with ten rounds: a 128-bit counter and a 64-bit key to four 32-bit words, written to `out`.
 *
 * @example
 * philox(new Uint32Array(4), 0, 0, 0, 0, 0, 0)[0] // 0x6627e8d5
 */
export const philox = (
  out: Uint32Array,
  counter0: number,
  counter1: number,
  counter2: number,
  counter3: number,
  key0: number,
  key1: number
): Uint32Array => {
  let c0 = counter0 >>> 0
  let c1 = counter1 >>> 0
  let c2 = counter2 >>> 0
  let c3 = counter3 >>> 0
  let k0 = key0 >>> 0
  let k1 = key1 >>> 0
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0)
    const low0 = Math.imul(0xd2511f53, c0)
    const high1 = multiplyHigh(0xcd9e8d57, c2)
    const low1 = Math.imul(0xcd9e8d57, c2)
    c0 = (high1 ^ c1 ^ k0) >>> 0
    c1 = low1 >>> 0
    c2 = (high0 ^ c3 ^ k1) >>> 0
    c3 = low0 >>> 0
    k0 = (k0 + 0x9e3779b9) >>> 0
    k1 = (k1 + 0xbb67ae85) >>> 0
  }
  out[0] = c0
  out[1] = c1
  out[2] = c2
  out[3] = c3
  return out
}

const checkCounter = (value: number, what: string): void => {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`${what} must be a safe non-negative integer, got ${value}`)
  }
}

/** Absorbs one 64-bit value under a tag: the key of the next step is the cipher of this one. */
const absorb = (key: RandomStream, low: number, high: number, tag: number, place: number): RandomStream => {
  philox(words, low, high, tag, place, key.low, key.high)
  return { low: words[0]!, high: words[1]! }
}

/**
 * The stream named by a seed and a path of counters and labels; `"1"` and `1` differ, and so do `"ab"` and `"a", "b"`.
 *
 * Throws `RangeError` for a seed or counter that is no safe non-negative integer.
 *
 * @example
 * const mask = stream(settings.seed, "dropout", step, row, layer)
 */
export const stream = (seed: number, ...path: ReadonlyArray<PathStep>): RandomStream => {
  checkCounter(seed, "seed")
  return extend({ low: seed >>> 0, high: Math.floor(seed / 0x100000000) }, ...path)
}

/**
 * The sub-stream of a stream: `extend(stream(seed, a), b)` is `stream(seed, a, b)`.
 *
 * @example
 * const layer3 = extend(stream(seed, "init"), "layers", 3)
 */
export const extend = (parent: RandomStream, ...path: ReadonlyArray<PathStep>): RandomStream => {
  let key = parent
  for (const step of path) {
    if (typeof step === "number") {
      checkCounter(step, "a path counter")
      key = absorb(key, step >>> 0, Math.floor(step / 0x100000000), 1, 0)
      continue
    }
    key = absorb(key, step.length, 0, 2, 0)
    for (let at = 0, place = 0; at < step.length; at += 4, place++) {
      const unit = (offset: number): number => (at + offset < step.length ? step.charCodeAt(at + offset) : 0)
      key = absorb(key, unit(0) | (unit(1) << 16), unit(2) | (unit(3) << 16), 3, place)
    }
  }
  return key
}

/** Word `index & 3` of block `index >> 2`, for an index up to 2^53. */
const wordAt = (key: RandomStream, index: number): number => {
  const block = Math.floor(index / 4)
  philox(words, block >>> 0, Math.floor(block / 0x100000000), 0, 0, key.low, key.high)
  return words[index % 4]!
}

/**
 * The 32-bit integer at the end of a path: `uint32(seed, ...path)` in [0, 2^32).
 *
 * @example
 * uint32(0, "caption", "GCC_train_002582585")
 */
export const uint32 = (seed: number, ...path: ReadonlyArray<PathStep>): number => wordAt(stream(seed, ...path), 0)

/**
 * A float in [0, 1) with 53 random bits at the end of a path.
 *
 * @example
 * uniform(0, "keep", rowId) < 0.1
 */
export const uniform = (seed: number, ...path: ReadonlyArray<PathStep>): number => {
  const key = stream(seed, ...path)
  philox(words, 0, 0, 0, 0, key.low, key.high)
  return (words[0]! * 2097152 + (words[1]! >>> 11)) / 9007199254740992
}

/**
 * Fills `out` with floats uniform in [low, high); element `i` depends on (key, offset + i) alone, so slices of one big
 * fill can be made anywhere. `high` is never reached, also after rounding to 32 bits.
 *
 * @example
 * fillUniform(stream(0, "projector"), new Float32Array(1024), { low: -0.1, high: 0.1 })
 */
export const fillUniform = (
  key: RandomStream,
  out: Float32Array,
  options: { readonly low?: number; readonly high?: number; readonly offset?: number } = {}
): Float32Array => {
  const low = options.low ?? 0
  const span = (options.high ?? 1) - low
  const offset = options.offset ?? 0
  checkCounter(offset, "offset")
  for (let i = 0; i < out.length; ) {
    const block = Math.floor((offset + i) / 4)
    philox(words, block >>> 0, Math.floor(block / 0x100000000), 0, 0, key.low, key.high)
    for (let lane = (offset + i) % 4; lane < 4 && i < out.length; lane++, i++) {
      out[i] = low + ((words[lane]! >>> 8) / 16777216) * span
    }
  }
  return out
}

const bits = new DataView(new ArrayBuffer(8))
const LN2_HIGH = 0.6931471803691238
const LN2_LOW = 1.9082149292705877e-10

/** Natural logarithm of a positive normal number from exactly rounded operations alone (error below 2 ulp). */
const exactLog = (x: number): number => {
  bits.setFloat64(0, x)
  const top = bits.getUint32(0)
  let exponent = (top >>> 20) - 1023
  bits.setUint32(0, (top & 0x000fffff) | 0x3ff00000)
  let mantissa = bits.getFloat64(0)
  if (mantissa > Math.SQRT2) {
    mantissa /= 2
    exponent++
  }
  const s = (mantissa - 1) / (mantissa + 1)
  const z = s * s
  let series = 0
  for (let n = 23; n >= 1; n -= 2) series = series * z + 1 / n
  return exponent * LN2_HIGH + (2 * s * series + exponent * LN2_LOW)
}

const horner = (coefficients: ReadonlyArray<number>, x: number): number => {
  let sum = 0
  for (let i = coefficients.length - 1; i >= 0; i--) sum = sum * x + coefficients[i]!
  return sum
}

// Wichura's PPND16: numerator and denominator for the centre, the shoulder and the tail, constant term first.
const CENTRE_A = [
  3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987, 67265.7709270087,
  33430.57558358813, 2509.0809287301227
]
const CENTRE_B = [
  1, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597, 39307.89580009271, 28729.085735721943,
  5226.495278852854
]
const SHOULDER_A = [
  1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045, 1.2704582524523684, 0.2417807251774506,
  0.022723844989269184, 0.0007745450142783414
]
const SHOULDER_B = [
  1, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008, 0.015198666563616457,
  0.0005475938084995345, 1.0507500716444169e-9
]
const TAIL_A = [
  6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487, 0.026532189526576124,
  0.0012426609473880784, 2.7115555687434876e-5, 2.0103343992922881e-7
]
const TAIL_B = [
  1, 0.599832206555888, 0.1369298809227358, 0.014875361290850615, 0.0007868691311456133, 1.8463183175100548e-5,
  1.421511758316446e-7, 2.0442631033899397e-15
]

/**
 * The standard normal quantile of `p` in (0, 1), relative error about 1e-15 (AS 241, PPND16).
 *
 * @example
 * normalQuantile(0.975) // 1.959963984540054
 */
export const normalQuantile = (p: number): number => {
  const q = p - 0.5
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q
    return (q * horner(CENTRE_A, r)) / horner(CENTRE_B, r)
  }
  const r = Math.sqrt(-exactLog(q < 0 ? p : 1 - p))
  const value =
    r <= 5 ? horner(SHOULDER_A, r - 1.6) / horner(SHOULDER_B, r - 1.6) : horner(TAIL_A, r - 5) / horner(TAIL_B, r - 5)
  return q < 0 ? -value : value
}

/**
 * Fills `out` with independent normals; element `i` depends on (key, offset + i) alone.
 *
 * Two words an element, centred in their cell, so the largest magnitude is about 8.3 standard deviations.
 *
 * @example
 * fillNormal(stream(seed, "init", "lm_head.weight"), new Float32Array(51200 * 2560), { std: 0.02 })
 */
export const fillNormal = (
  key: RandomStream,
  out: Float32Array,
  options: { readonly mean?: number; readonly std?: number; readonly offset?: number } = {}
): Float32Array => {
  const mean = options.mean ?? 0
  const std = options.std ?? 1
  const offset = options.offset ?? 0
  checkCounter(offset, "offset")
  for (let i = 0; i < out.length; ) {
    const block = Math.floor((offset + i) / 2)
    philox(words, block >>> 0, Math.floor(block / 0x100000000), 1, 0, key.low, key.high)
    for (let lane = (offset + i) % 2; lane < 2 && i < out.length; lane++, i++) {
      const p = (words[2 * lane]! * 1048576 + (words[2 * lane + 1]! >>> 12) + 0.5) / 4503599627370496
      out[i] = mean + std * normalQuantile(p)
    }
  }
  return out
}

/** Draws of one stream in order, for rejection loops that cannot know how many words they need. */
const drawer = (key: RandomStream): ((bound: number) => number) => {
  const block = new Uint32Array(4)
  let next = 0
  const word = (): number => {
    const lane = next % 4
    if (lane === 0) {
      const at = next / 4
      philox(block, at >>> 0, Math.floor(at / 0x100000000), 2, 0, key.low, key.high)
    }
    next++
    return block[lane]!
  }
  // Lemire: the high word of word * bound, rejecting the few low words that would favour small results.
  return (bound) => {
    let draw = word()
    let low = Math.imul(draw, bound) >>> 0
    if (low < bound) {
      const threshold = (0x100000000 - bound) % bound
      while (low < threshold) {
        draw = word()
        low = Math.imul(draw, bound) >>> 0
      }
    }
    return multiplyHigh(draw, bound)
  }
}

/**
 * Shuffles an array or typed array in place without bias (Fisher-Yates), and returns it.
 *
 * @example
 * shuffle(stream(seed, "megabatches", epoch), batches)
 */
export const shuffle = <T extends Array<any> | Int32Array | Uint32Array>(key: RandomStream, values: T): T => {
  const draw = drawer(key)
  for (let i = values.length - 1; i > 0; i--) {
    const j = draw(i + 1)
    const held = values[i]
    values[i] = values[j]
    values[j] = held
  }
  return values
}

/**
 * A uniformly random order of 0 .. n-1; four bytes an element. Throws `RangeError` for n outside [0, 2^31).
 *
 * @example
 * permutation(stream(seed, "order", epoch), rows)
 */
export const permutation = (key: RandomStream, n: number): Int32Array<ArrayBuffer> => {
  checkCounter(n, "n")
  if (n >= 0x80000000) throw new RangeError(`a permutation of ${n} elements does not fit 32-bit indices`)
  const order = new Int32Array(n)
  for (let i = 0; i < n; i++) order[i] = i
  return shuffle(key, order)
}

/**
 * `k` distinct values of 0 .. n-1, every subset equally likely, in ascending order (Floyd's algorithm, memory O(k)).
 *
 * Throws `RangeError` when k > n.
 *
 * @example
 * sample(stream(seed, "preview"), 16, rows)
 */
export const sample = (key: RandomStream, k: number, n: number): Int32Array<ArrayBuffer> => {
  checkCounter(k, "k")
  checkCounter(n, "n")
  if (k > n || n >= 0x80000000) throw new RangeError(`cannot take ${k} distinct values of ${n}`)
  const draw = drawer(key)
  const chosen = new Set<number>()
  for (let top = n - k; top < n; top++) {
    const value = draw(top + 1)
    chosen.add(chosen.has(value) ? top : value)
  }
  return Int32Array.from(chosen).sort()
}
