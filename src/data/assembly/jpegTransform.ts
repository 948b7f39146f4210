/**
 * AssemblyScript: libjpeg's accurate integer inverse DCT on 16-bit lanes, in the order of operations of its SIMD code.
 *
 * Columns first, rounded to 2 fractional bits, then rows. Sums that leave 16 bits wrap or saturate where they do there.
 */

/** A block's columns, each eight times. */
const scratch = memory.data(128, 16)

const BITS = 13
const FIRST = BITS - 2
const SECOND = BITS + 2 + 3

/** Pairs of weights for a dot product of two interleaved inputs. */
// @ts-ignore: decorator
@inline
function pair(a: i32, b: i32): v128 {
  return i32x4.splat((a & 0xffff) | (b << 16))
}

// @ts-ignore: decorator
@inline
function low(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23)
}

// @ts-ignore: decorator
@inline
function high(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31)
}

// @ts-ignore: decorator
@inline
function low32(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23)
}

// @ts-ignore: decorator
@inline
function high32(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31)
}

// @ts-ignore: decorator
@inline
function low64(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
}

// @ts-ignore: decorator
@inline
function high64(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
}

// @ts-ignore: decorator
@inline
function sum(aLow: v128, aHigh: v128, bLow: v128, bHigh: v128, half: v128, shift: i32): v128 {
  return i16x8.narrow_i32x4_s(
    i32x4.shr_s(i32x4.add(i32x4.add(aLow, bLow), half), shift),
    i32x4.shr_s(i32x4.add(i32x4.add(aHigh, bHigh), half), shift)
  )
}

// @ts-ignore: decorator
@inline
function difference(aLow: v128, aHigh: v128, bLow: v128, bHigh: v128, half: v128, shift: i32): v128 {
  return i16x8.narrow_i32x4_s(
    i32x4.shr_s(i32x4.add(i32x4.sub(aLow, bLow), half), shift),
    i32x4.shr_s(i32x4.add(i32x4.sub(aHigh, bHigh), half), shift)
  )
}

/** One pass over eight vectors: `at` gets them transformed and transposed. */
// @ts-ignore: decorator
@inline
function pass(
  at: usize, in0: v128, in1: v128, in2: v128, in3: v128, in4: v128, in5: v128, in6: v128, in7: v128, shift: i32
): void {
  const half = i32x4.splat(1 << (shift - 1))
  const zero = i32x4.splat(0)
  // The even part.
  const evenLow = low(in2, in6)
  const evenHigh = high(in2, in6)
  const e3Low = i32x4.dot_i16x8_s(evenLow, pair(4433 + 6270, 4433))
  const e3High = i32x4.dot_i16x8_s(evenHigh, pair(4433 + 6270, 4433))
  const e2Low = i32x4.dot_i16x8_s(evenLow, pair(4433, 4433 - 15137))
  const e2High = i32x4.dot_i16x8_s(evenHigh, pair(4433, 4433 - 15137))
  const plus = i16x8.add(in0, in4)
  const minus = i16x8.sub(in0, in4)
  const e0Low = i32x4.shr_s(low(zero, plus), 16 - BITS)
  const e0High = i32x4.shr_s(high(zero, plus), 16 - BITS)
  const e1Low = i32x4.shr_s(low(zero, minus), 16 - BITS)
  const e1High = i32x4.shr_s(high(zero, minus), 16 - BITS)
  const t0Low = i32x4.add(e0Low, e3Low)
  const t0High = i32x4.add(e0High, e3High)
  const t3Low = i32x4.sub(e0Low, e3Low)
  const t3High = i32x4.sub(e0High, e3High)
  const t1Low = i32x4.add(e1Low, e2Low)
  const t1High = i32x4.add(e1High, e2High)
  const t2Low = i32x4.sub(e1Low, e2Low)
  const t2High = i32x4.sub(e1High, e2High)
  // The odd part.
  const z3 = i16x8.add(in7, in3)
  const z4 = i16x8.add(in5, in1)
  const zLow = low(z3, z4)
  const zHigh = high(z3, z4)
  const z3Low = i32x4.dot_i16x8_s(zLow, pair(9633 - 16069, 9633))
  const z3High = i32x4.dot_i16x8_s(zHigh, pair(9633 - 16069, 9633))
  const z4Low = i32x4.dot_i16x8_s(zLow, pair(9633, 9633 - 3196))
  const z4High = i32x4.dot_i16x8_s(zHigh, pair(9633, 9633 - 3196))
  const outerLow = low(in7, in1)
  const outerHigh = high(in7, in1)
  const o0Low = i32x4.add(i32x4.dot_i16x8_s(outerLow, pair(2446 - 7373, -7373)), z3Low)
  const o0High = i32x4.add(i32x4.dot_i16x8_s(outerHigh, pair(2446 - 7373, -7373)), z3High)
  const o3Low = i32x4.add(i32x4.dot_i16x8_s(outerLow, pair(-7373, 12299 - 7373)), z4Low)
  const o3High = i32x4.add(i32x4.dot_i16x8_s(outerHigh, pair(-7373, 12299 - 7373)), z4High)
  const innerLow = low(in5, in3)
  const innerHigh = high(in5, in3)
  const o1Low = i32x4.add(i32x4.dot_i16x8_s(innerLow, pair(16819 - 20995, -20995)), z4Low)
  const o1High = i32x4.add(i32x4.dot_i16x8_s(innerHigh, pair(16819 - 20995, -20995)), z4High)
  const o2Low = i32x4.add(i32x4.dot_i16x8_s(innerLow, pair(-20995, 25172 - 20995)), z3Low)
  const o2High = i32x4.add(i32x4.dot_i16x8_s(innerHigh, pair(-20995, 25172 - 20995)), z3High)
  const out0 = sum(t0Low, t0High, o3Low, o3High, half, shift)
  const out7 = difference(t0Low, t0High, o3Low, o3High, half, shift)
  const out1 = sum(t1Low, t1High, o2Low, o2High, half, shift)
  const out6 = difference(t1Low, t1High, o2Low, o2High, half, shift)
  const out2 = sum(t2Low, t2High, o1Low, o1High, half, shift)
  const out5 = difference(t2Low, t2High, o1Low, o1High, half, shift)
  const out3 = sum(t3Low, t3High, o0Low, o0High, half, shift)
  const out4 = difference(t3Low, t3High, o0Low, o0High, half, shift)
  // Transposed.
  const a0 = low(out0, out1)
  const a1 = high(out0, out1)
  const a2 = low(out2, out3)
  const a3 = high(out2, out3)
  const a4 = low(out4, out5)
  const a5 = high(out4, out5)
  const a6 = low(out6, out7)
  const a7 = high(out6, out7)
  const b0 = low32(a0, a2)
  const b1 = high32(a0, a2)
  const b2 = low32(a4, a6)
  const b3 = high32(a4, a6)
  const b4 = low32(a1, a3)
  const b5 = high32(a1, a3)
  const b6 = low32(a5, a7)
  const b7 = high32(a5, a7)
  v128.store(at, low64(b0, b2), 0)
  v128.store(at, high64(b0, b2), 16)
  v128.store(at, low64(b1, b3), 32)
  v128.store(at, high64(b1, b3), 48)
  v128.store(at, low64(b4, b6), 64)
  v128.store(at, high64(b4, b6), 80)
  v128.store(at, low64(b5, b7), 96)
  v128.store(at, high64(b5, b7), 112)
}

// @ts-ignore: decorator
@inline
function dequantised(block: usize, quant: usize, row: usize): v128 {
  return i16x8.mul(v128.load(block + (row << 4)), v128.load(quant + (row << 4)))
}

/** Two rows of 16-bit samples as bytes around 128, and zeros in their place. */
// @ts-ignore: decorator
@inline
function settle(block: usize, row: usize, out: usize, stride: usize): void {
  const at = block + (row << 4)
  const bytes = i8x16.narrow_i16x8_s(v128.load(at), v128.load(at, 16))
  const samples = v128.xor(bytes, i8x16.splat(-128))
  v128.store64_lane(out + row * stride, samples, 0)
  v128.store64_lane(out + (row + 1) * stride, samples, 1)
  v128.store(at, i32x4.splat(0), 0)
  v128.store(at, i32x4.splat(0), 16)
}

/**
 * Dequantises and transforms a block to 8 x 8 samples, and leaves zeros in it.
 * @param block 64 i16 by rows
 * @param quant 64 i16 by rows
 * @param last place of the last coefficient in zigzag order; those behind it are zeros
 */
export function idct(block: usize, quant: usize, out: usize, stride: usize, last: i32): void {
  if (last == 0) {
    const dc = <i32>(<i16>(<i32>(<i16>(load<i16>(block) * load<i16>(quant))) << 2))
    const level = min(max((dc + 16) >> 5, -128), 127) + 128
    const samples = <u64>level * 0x0101010101010101
    for (let row = 0; row < 8; row++, out += stride) store<u64>(out, samples)
    store<i16>(block, 0)
    return
  }
  const below = v128.or(
    v128.or(v128.or(v128.load(block, 16), v128.load(block, 32)), v128.or(v128.load(block, 48), v128.load(block, 64))),
    v128.or(v128.or(v128.load(block, 80), v128.load(block, 96)), v128.load(block, 112))
  )
  if (!v128.any_true(below)) {
    // Columns of one coefficient each: libjpeg's shortcut, which wraps where the pass would saturate.
    const row = i16x8.shl(dequantised(block, quant, 0), 2)
    v128.store(block, row)
    for (let column: usize = 0; column < 8; column++) v128.store(scratch + (column << 4), v128.load16_splat(block + (column << 1)))
    memory.copy(block, scratch, 128)
  } else pass(
    block,
    dequantised(block, quant, 0), dequantised(block, quant, 1), dequantised(block, quant, 2),
    dequantised(block, quant, 3), dequantised(block, quant, 4), dequantised(block, quant, 5),
    dequantised(block, quant, 6), dequantised(block, quant, 7), FIRST
  )
  pass(
    block,
    v128.load(block), v128.load(block, 16), v128.load(block, 32), v128.load(block, 48),
    v128.load(block, 64), v128.load(block, 80), v128.load(block, 96), v128.load(block, 112), SECOND
  )
  settle(block, 0, out, stride)
  settle(block, 2, out, stride)
  settle(block, 4, out, stride)
  settle(block, 6, out, stride)
}
