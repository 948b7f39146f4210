/**
 * AssemblyScript: the two passes of Pillow's fixed-point resampler with 128-bit SIMD. Bit-identical to `Resample.ts`.
 *
 * No memory management: the host (`ResampleWasm.ts`) lays out linear memory and passes addresses in bytes.
 *
 * A weight w (22 fractional bits, signed) is split w = (high << 11) + low, 0 <= low < 2048, so that products fit the
 * 16-bit dot product; sums are recombined modulo 2^32, which is what the int32 sum of the reference is.
 * Weights come in pairs of taps: one i32 holds (w[2j] & 0xffff) | (w[2j + 1] << 16), first all highs, then all lows.
 */

// @ts-ignore: decorator
@inline
function settle(high: v128, low: v128): v128 {
  const half = i32x4.splat(1 << 21)
  return i32x4.shr_s(i32x4.add(i32x4.add(i32x4.shl(high, 11), low), half), 22)
}

/** Of r0 g0 b0 r1 g1 b1 r2 g2 b2 r3 g3 b3: the 16-bit pairs (r0 r1)(g0 g1)(b0 b1). */
// @ts-ignore: decorator
@inline
function firstPair(pixels: v128): v128 {
  return i8x16.shuffle(pixels, i32x4.splat(0), 0, 16, 3, 16, 1, 16, 4, 16, 2, 16, 5, 16, 16, 16, 16, 16)
}

/** Of the same: (r2 r3)(g2 g3)(b2 b3). */
// @ts-ignore: decorator
@inline
function secondPair(pixels: v128): v128 {
  return i8x16.shuffle(pixels, i32x4.splat(0), 6, 16, 9, 16, 7, 16, 10, 16, 8, 16, 11, 16, 16, 16, 16, 16)
}

/**
 * Rows of RGB: out[y][x] = clip(sum over taps of in[y][starts[x] + k] * w[x][k]).
 * @param source first input row, `sourceStride` bytes a row; 16 readable bytes must follow the last row
 * @param target first output row, `targetStride` bytes a row; 1 writable byte must follow the last row
 * @param starts i32 per output pixel: byte offset of its first tap
 * @param pairs i32 per output pixel: pairs of taps (a last odd tap is paired with weight 0)
 * @param weights per output pixel `2 * maxPairs` i32: highs, then lows
 */
export function horizontal(
  source: usize, sourceStride: usize, target: usize, targetStride: usize,
  rows: i32, width: i32, starts: usize, pairs: usize, weights: usize, maxPairs: i32
): void {
  const zero = i32x4.splat(0)
  const lows = <usize>maxPairs << 2
  // Two rows at a time share their weights; a last odd row is its own partner and written twice.
  for (let y = 0; y < rows; y += 2) {
    const partner = y + 1 < rows ? sourceStride : 0
    const below = y + 1 < rows ? targetStride : 0
    let out = target
    let begin: u8 = 0
    for (let x = 0; x < width; x++) {
      let from = source + <usize>load<i32>(starts + (<usize>x << 2))
      const n = load<i32>(pairs + (<usize>x << 2))
      let weight = weights + <usize>x * (lows << 1)
      let highA = zero, lowA = zero, highB = zero, lowB = zero
      let j = 0
      for (; j + 1 < n; j += 2) {
        const up0 = v128.load32_splat(weight)
        const up1 = v128.load32_splat(weight, 4)
        const down0 = v128.load32_splat(weight + lows)
        const down1 = v128.load32_splat(weight + lows, 4)
        const a = v128.load(from)
        const b = v128.load(from + partner)
        const a0 = firstPair(a)
        const a1 = secondPair(a)
        const b0 = firstPair(b)
        const b1 = secondPair(b)
        highA = i32x4.add(i32x4.add(highA, i32x4.dot_i16x8_s(a0, up0)), i32x4.dot_i16x8_s(a1, up1))
        lowA = i32x4.add(i32x4.add(lowA, i32x4.dot_i16x8_s(a0, down0)), i32x4.dot_i16x8_s(a1, down1))
        highB = i32x4.add(i32x4.add(highB, i32x4.dot_i16x8_s(b0, up0)), i32x4.dot_i16x8_s(b1, up1))
        lowB = i32x4.add(i32x4.add(lowB, i32x4.dot_i16x8_s(b0, down0)), i32x4.dot_i16x8_s(b1, down1))
        from += 12
        weight += 8
      }
      if (j < n) {
        const up = v128.load32_splat(weight)
        const down = v128.load32_splat(weight + lows)
        const a = firstPair(v128.load64_zero(from))
        const b = firstPair(v128.load64_zero(from + partner))
        highA = i32x4.add(highA, i32x4.dot_i16x8_s(a, up))
        lowA = i32x4.add(lowA, i32x4.dot_i16x8_s(a, down))
        highB = i32x4.add(highB, i32x4.dot_i16x8_s(b, up))
        lowB = i32x4.add(lowB, i32x4.dot_i16x8_s(b, down))
      }
      const words = i16x8.narrow_i32x4_s(settle(highA, lowA), settle(highB, lowB))
      const bytes = i8x16.narrow_i16x8_u(words, words)
      if (x == 0) begin = <u8>i8x16.extract_lane_u(bytes, 4)
      // Each writes a fourth byte that the next pixel overwrites.
      v128.store32_lane(out, bytes, 0)
      v128.store32_lane(out + below, bytes, 1)
      out += 3
    }
    // The upper row's last fourth byte fell on the lower row's first where rows lie without a gap.
    store<u8>(target + below, begin)
    source += sourceStride << 1
    target += targetStride << 1
  }
}

/**
 * Columns: out[y][i] = clip(sum over taps of in[starts[y] + k][i] * w[y][k]) for `items` bytes a row.
 * @param stride bytes of a row of input and output, a multiple of 16
 * @param starts i32 per output row: its first input row; a row of readable bytes must follow the last input row
 * Other parameters as in `horizontal`, with output rows in place of output pixels.
 */
export function vertical(
  source: usize, target: usize, stride: usize,
  rows: i32, starts: usize, pairs: usize, weights: usize, maxPairs: i32
): void {
  const zero = i32x4.splat(0)
  const lows = <usize>maxPairs << 2
  for (let y = 0; y < rows; y++) {
    const first = source + <usize>load<i32>(starts + (<usize>y << 2)) * stride
    const n = load<i32>(pairs + (<usize>y << 2))
    const row = weights + <usize>y * (lows << 1)
    for (let item: usize = 0; item < stride; item += 16) {
      let from = first + item
      let weight = row
      let high0 = zero, high1 = zero, high2 = zero, high3 = zero
      let low0 = zero, low1 = zero, low2 = zero, low3 = zero
      for (let j = 0; j < n; j++) {
        const upper = v128.load(from)
        const lower = v128.load(from + stride)
        const left = i8x16.shuffle(upper, lower, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
        const right = i8x16.shuffle(upper, lower, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
        const pair0 = i16x8.extend_low_i8x16_u(left)
        const pair1 = i16x8.extend_high_i8x16_u(left)
        const pair2 = i16x8.extend_low_i8x16_u(right)
        const pair3 = i16x8.extend_high_i8x16_u(right)
        const up = v128.load32_splat(weight)
        const down = v128.load32_splat(weight + lows)
        high0 = i32x4.add(high0, i32x4.dot_i16x8_s(pair0, up))
        high1 = i32x4.add(high1, i32x4.dot_i16x8_s(pair1, up))
        high2 = i32x4.add(high2, i32x4.dot_i16x8_s(pair2, up))
        high3 = i32x4.add(high3, i32x4.dot_i16x8_s(pair3, up))
        low0 = i32x4.add(low0, i32x4.dot_i16x8_s(pair0, down))
        low1 = i32x4.add(low1, i32x4.dot_i16x8_s(pair1, down))
        low2 = i32x4.add(low2, i32x4.dot_i16x8_s(pair2, down))
        low3 = i32x4.add(low3, i32x4.dot_i16x8_s(pair3, down))
        from += stride << 1
        weight += 4
      }
      const words0 = i16x8.narrow_i32x4_s(settle(high0, low0), settle(high1, low1))
      const words1 = i16x8.narrow_i32x4_s(settle(high2, low2), settle(high3, low3))
      v128.store(target + item, i8x16.narrow_i16x8_u(words0, words1))
    }
    target += stride
  }
}
