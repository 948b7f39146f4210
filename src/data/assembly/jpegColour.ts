/**
 * AssemblyScript: rows of chroma at full size as libjpeg's triangle filter makes them, and rows of YCbCr as RGB.
 *
 * Rows are of bytes. What is written is rounded up to whole vectors: room for that must follow each row.
 */

/** Sums of the vertical pass: one more sample before the row, and behind it. */
const EDGE: usize = 16

// @ts-ignore: decorator
@inline
function widen(at: usize): v128 {
  return v128.load8x8_u(at)
}

// @ts-ignore: decorator
@inline
function thrice(a: v128): v128 {
  return i16x8.add(i16x8.add(a, a), a)
}

/**
 * One row of a component at full size.
 * @param near the row of samples that lies nearest
 * @param far the next nearest above or below; `near` itself where rows are not doubled
 * @param width samples a row
 * @param out row of `width` or `width * 2` bytes, rounded up to 16
 * @param sums scratch, 2 bytes a sample and 64
 * @param mode 0: rows doubled, far above; 1: rows doubled, far below; 2: columns doubled; 3: both; 4: columns repeated
 */
export function upsample(near: usize, far: usize, width: i32, out: usize, sums: usize, mode: i32): void {
  if (mode == 4) {
    for (let x = 0; x < width; x++) store<u16>(out + (<usize>x << 1), <u16>load<u8>(near + <usize>x) * 0x0101)
    return
  }
  if (mode < 2) {
    const bias = i16x8.splat(mode == 0 ? 1 : 2)
    for (let x = 0; x < width; x += 16) {
      const a = i16x8.shr_u(i16x8.add(i16x8.add(thrice(widen(near)), widen(far)), bias), 2)
      const b = i16x8.shr_u(i16x8.add(i16x8.add(thrice(widen(near + 8)), widen(far + 8)), bias), 2)
      v128.store(out, i8x16.narrow_i16x8_u(a, b))
      near += 16
      far += 16
      out += 16
    }
    return
  }
  const row = sums + EDGE
  if (mode == 3) {
    for (let x = 0; x < width; x += 8) {
      v128.store(row + (<usize>x << 1), i16x8.add(thrice(widen(near + x)), widen(far + x)))
    }
  } else {
    for (let x = 0; x < width; x += 8) v128.store(row + (<usize>x << 1), widen(near + x))
  }
  // Beyond its ends the row goes on as it ends.
  store<u16>(row - 2, load<u16>(row))
  const last = row + (<usize>(width - 1) << 1)
  store<u16>(last + 2, load<u16>(last))
  const shift = mode == 3 ? 4 : 2
  const even = i16x8.splat(mode == 3 ? 8 : 1)
  const odd = i16x8.splat(mode == 3 ? 7 : 2)
  for (let x = 0; x < width; x += 8) {
    const at = row + (<usize>x << 1)
    const middle = thrice(v128.load(at))
    const left = i16x8.shr_u(i16x8.add(i16x8.add(middle, v128.load(at - 2)), even), shift)
    const right = i16x8.shr_u(i16x8.add(i16x8.add(middle, v128.load(at + 2)), odd), shift)
    v128.store(out + (<usize>x << 1), v128.or(left, i16x8.shl(right, 8)))
  }
}

// @ts-ignore: decorator
@inline
function weighted(a: v128, b: v128, weights: v128): v128 {
  const low = i8x16.shuffle(a, b, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23)
  const high = i8x16.shuffle(a, b, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31)
  const half = i32x4.splat(1 << 15)
  return i16x8.narrow_i32x4_s(
    i32x4.shr_s(i32x4.add(i32x4.dot_i16x8_s(low, weights), half), 16),
    i32x4.shr_s(i32x4.add(i32x4.dot_i16x8_s(high, weights), half), 16)
  )
}

/** 16 pixels of three bytes from 16 bytes of each channel. */
// @ts-ignore: decorator
@inline
function interleave(out: usize, r: v128, g: v128, b: v128): void {
  const first = i8x16.shuffle(r, g, 0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5)
  v128.store(out, i8x16.shuffle(first, b, 0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12, 13, 20, 15))
  const second = i8x16.shuffle(g, b, 5, 21, 0, 6, 22, 0, 7, 23, 0, 8, 24, 0, 9, 25, 0, 10)
  v128.store(out, i8x16.shuffle(second, r, 0, 1, 22, 3, 4, 23, 6, 7, 24, 9, 10, 25, 12, 13, 26, 15), 16)
  const third = i8x16.shuffle(b, r, 10, 27, 0, 11, 28, 0, 12, 29, 0, 13, 30, 0, 14, 31, 0, 15)
  v128.store(out, i8x16.shuffle(third, g, 0, 1, 27, 3, 4, 28, 6, 7, 29, 9, 10, 30, 12, 13, 31, 15), 32)
}

/**
 * A row of RGB, three bytes a pixel.
 * @param first luma, red or grey; all three may be the same row
 * @param ycc whether the rows are luma and chroma
 * @param out `width * 3` bytes, rounded up to 48
 */
export function convert(first: usize, second: usize, third: usize, out: usize, width: i32, ycc: bool): void {
  if (!ycc) {
    for (let x = 0; x < width; x += 16, out += 48) {
      interleave(out, v128.load(first + x), v128.load(second + x), v128.load(third + x))
    }
    return
  }
  const centre = i16x8.splat(128)
  const zero = i32x4.splat(0)
  // 1.402 and 1.772 without their whole parts, 0.34414 and 0.71414 less 1, in 1/65536.
  const forRed = i32x4.splat(26345)
  const forGreen = i32x4.splat((-22554 & 0xffff) | (18734 << 16))
  const forBlue = i32x4.splat(-14942 & 0xffff)
  for (let x = 0; x < width; x += 16, out += 48) {
    const luma = v128.load(first + x)
    const blueness = v128.load(second + x)
    const redness = v128.load(third + x)
    const y0 = i16x8.extend_low_i8x16_u(luma)
    const y1 = i16x8.extend_high_i8x16_u(luma)
    const b0 = i16x8.sub(i16x8.extend_low_i8x16_u(blueness), centre)
    const b1 = i16x8.sub(i16x8.extend_high_i8x16_u(blueness), centre)
    const r0 = i16x8.sub(i16x8.extend_low_i8x16_u(redness), centre)
    const r1 = i16x8.sub(i16x8.extend_high_i8x16_u(redness), centre)
    const red = i8x16.narrow_i16x8_u(
      i16x8.add(i16x8.add(y0, r0), weighted(r0, zero, forRed)),
      i16x8.add(i16x8.add(y1, r1), weighted(r1, zero, forRed))
    )
    const green = i8x16.narrow_i16x8_u(
      i16x8.add(i16x8.sub(y0, r0), weighted(b0, r0, forGreen)),
      i16x8.add(i16x8.sub(y1, r1), weighted(b1, r1, forGreen))
    )
    const blue = i8x16.narrow_i16x8_u(
      i16x8.add(i16x8.add(y0, i16x8.add(b0, b0)), weighted(b0, zero, forBlue)),
      i16x8.add(i16x8.add(y1, i16x8.add(b1, b1)), weighted(b1, zero, forBlue))
    )
    interleave(out, red, green, blue)
  }
}
