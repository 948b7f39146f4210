/**
 * The matrix product: c = alpha * op(a) . op(b) (+ c) (+ bias), any strides, f32, SIMD with fused multiply-add.
 *
 * Blocking after Goto and van de Geijn (2008): both operands are packed into panels that a 6 x 8 register tile walks, so
 * a transposed operand costs no more than another. Sums run in a fixed order. Also keeps the scratch memory.
 */
// Register tile of the product (rows x columns) and its cache blocks.
const MR: i32 = 6
const NR: i32 = 8
const KC: i32 = 256
const MC: i32 = 96
const NC: i32 = 512

// Scratch, set by `setup`: packed B (KC x NC), packed A (MC x KC), one edge tile, then attention rows.
let packB: usize = 0
let packA: usize = 0
let tile: usize = 0
export let rows: usize = 0

/** Bytes that `setup` needs, with `rowFloats` floats of attention scratch. */
export function scratchBytes(rowFloats: i32): i32 {
  return (KC * NC + MC * KC + MR * NR + rowFloats) * 4 + 64
}

export function setup(scratch: usize): void {
  packB = (scratch + 15) & ~15
  packA = packB + KC * NC * 4
  tile = packA + MC * KC * 4
  rows = tile + MR * NR * 4
}

/** Packs kc x nc of B into panels of NR columns, zero padded. Strides in floats. */
function packPanelsB(b: usize, kc: i32, nc: i32, sk: i32, sn: i32): void {
  let to = packB
  for (let j = 0; j < nc; j += NR) {
    const n = min(NR, nc - j)
    if (n == NR && sn == 1) {
      let from = b + ((j as usize) << 2)
      for (let k = 0; k < kc; k++) {
        v128.store(to, v128.load(from))
        v128.store(to, v128.load(from, 16), 16)
        from += (sk as usize) << 2
        to += 32
      }
    } else {
      const step = (sn as usize) << 2
      for (let k = 0; k < kc; k++) {
        let from = b + (((j * sn + k * sk) as usize) << 2)
        for (let i = 0; i < NR; i++) {
          store<f32>(to, i < n ? load<f32>(from) : 0)
          from += step
          to += 4
        }
      }
    }
  }
}

/** Packs mc x kc of A into panels of MR rows, zero padded. */
function packPanelsA(a: usize, mc: i32, kc: i32, sm: i32, sk: i32): void {
  let to = packA
  const step = (sm as usize) << 2
  for (let i = 0; i < mc; i += MR) {
    const m = min(MR, mc - i)
    if (m == MR) {
      let from = a + (((i * sm) as usize) << 2)
      for (let k = 0; k < kc; k++) {
        store<f32>(to, load<f32>(from))
        store<f32>(to, load<f32>(from + step), 4)
        store<f32>(to, load<f32>(from + 2 * step), 8)
        store<f32>(to, load<f32>(from + 3 * step), 12)
        store<f32>(to, load<f32>(from + 4 * step), 16)
        store<f32>(to, load<f32>(from + 5 * step), 20)
        from += (sk as usize) << 2
        to += MR * 4
      }
    } else {
      for (let k = 0; k < kc; k++) {
        let from = a + (((i * sm + k * sk) as usize) << 2)
        for (let r = 0; r < MR; r++) {
          store<f32>(to, r < m ? load<f32>(from) : 0)
          from += step
          to += 4
        }
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function fma(a: v128, b: v128, c: v128): v128 {
  return f32x4.relaxed_madd(a, b, c)
}

/** One MR x NR tile: out (row stride ldc bytes) = alpha * A.B (+ out when add). */
function micro(kc: i32, pa: usize, pb: usize, out: usize, ldc: usize, alpha: f32, add: bool): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00
  let c30 = c00, c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00
  for (let k = 0; k < kc; k++) {
    const b0 = v128.load(pb)
    const b1 = v128.load(pb, 16)
    let a = v128.load_splat<f32>(pa)
    c00 = fma(a, b0, c00)
    c01 = fma(a, b1, c01)
    a = v128.load_splat<f32>(pa, 4)
    c10 = fma(a, b0, c10)
    c11 = fma(a, b1, c11)
    a = v128.load_splat<f32>(pa, 8)
    c20 = fma(a, b0, c20)
    c21 = fma(a, b1, c21)
    a = v128.load_splat<f32>(pa, 12)
    c30 = fma(a, b0, c30)
    c31 = fma(a, b1, c31)
    a = v128.load_splat<f32>(pa, 16)
    c40 = fma(a, b0, c40)
    c41 = fma(a, b1, c41)
    a = v128.load_splat<f32>(pa, 20)
    c50 = fma(a, b0, c50)
    c51 = fma(a, b1, c51)
    pa += MR * 4
    pb += NR * 4
  }
  const s = f32x4.splat(alpha)
  put(out, c00, c01, s, add)
  put(out + ldc, c10, c11, s, add)
  put(out + 2 * ldc, c20, c21, s, add)
  put(out + 3 * ldc, c30, c31, s, add)
  put(out + 4 * ldc, c40, c41, s, add)
  put(out + 5 * ldc, c50, c51, s, add)
}

// @ts-ignore: decorator
@inline
function put(out: usize, c0: v128, c1: v128, s: v128, add: bool): void {
  c0 = f32x4.mul(c0, s)
  c1 = f32x4.mul(c1, s)
  if (add) {
    c0 = f32x4.add(c0, v128.load(out))
    c1 = f32x4.add(c1, v128.load(out, 16))
  }
  v128.store(out, c0)
  v128.store(out, c1, 16)
}

/**
 * c[M,N] (row stride ldc) = alpha * a[M,K] . b[K,N] (+ c when `add`), (+ bias[N] when not 0).
 * a and b have any strides (floats), so a transposed operand costs nothing extra. Blocking after Goto and van de Geijn.
 */
export function gemm(
  M: i32, N: i32, K: i32,
  a: usize, sam: i32, sak: i32,
  b: usize, sbk: i32, sbn: i32,
  c: usize, ldc: i32,
  alpha: f32, addTo: i32, bias: usize
): void {
  const row = (ldc as usize) << 2
  for (let jc = 0; jc < N; jc += NC) {
    const nc = min(NC, N - jc)
    for (let pc = 0; pc < K; pc += KC) {
      const kc = min(KC, K - pc)
      packPanelsB(b + (((pc * sbk + jc * sbn) as usize) << 2), kc, nc, sbk, sbn)
      const add = addTo != 0 || pc > 0
      for (let ic = 0; ic < M; ic += MC) {
        const mc = min(MC, M - ic)
        packPanelsA(a + (((ic * sam + pc * sak) as usize) << 2), mc, kc, sam, sak)
        for (let j = 0; j < nc; j += NR) {
          const n = min(NR, nc - j)
          const pb = packB + (((j * kc) as usize) << 2)
          for (let i = 0; i < mc; i += MR) {
            const m = min(MR, mc - i)
            const pa = packA + (((i * kc) as usize) << 2)
            const out = c + ((ic + i) as usize) * row + (((jc + j) as usize) << 2)
            if (m == MR && n == NR) micro(kc, pa, pb, out, row, alpha, add)
            else {
              micro(kc, pa, pb, tile, NR * 4, alpha, false)
              for (let r = 0; r < m; r++) {
                const from = tile + (r as usize) * NR * 4
                const to = out + (r as usize) * row
                for (let q = 0; q < n; q++) {
                  const o = (q as usize) << 2
                  store<f32>(to + o, load<f32>(from + o) + (add ? load<f32>(to + o) : 0))
                }
              }
            }
          }
        }
      }
    }
  }
  if (bias != 0) {
    for (let i = 0; i < M; i++) {
      const out = c + (i as usize) * row
      let j = 0
      for (; j + 4 <= N; j += 4) {
        const o = (j as usize) << 2
        v128.store(out + o, f32x4.add(v128.load(out + o), v128.load(bias + o)))
      }
      for (; j < N; j++) {
        const o = (j as usize) << 2
        store<f32>(out + o, load<f32>(out + o) + load<f32>(bias + o))
      }
    }
  }
}
