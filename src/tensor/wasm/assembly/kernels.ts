/**
 * The wasm engine's own kernels (AssemblyScript, SIMD): matrix product, LayerNorm, GELU, rotary, attention,
 * cross-entropy, AdamW, segment sum. All f32; they run inside the heap of tfjs-backend-wasm, so a tensor is a pointer.
 *
 * Not a library: no allocation, no static data, no bounds checks. `wasm/Kernels.ts` validates shapes and is the only
 * caller. Every sum has a fixed order, so equal inputs give equal bits.
 *
 * Built by scripts/vendor-tfjs.ts into ../kernels.wasm, which is committed.
 */

@external("env", "log")
declare function hostLog(x: f64): f64

// Register tile of the product (rows x columns) and its cache blocks.
const MR: i32 = 6
const NR: i32 = 8
const KC: i32 = 256
const MC: i32 = 96
const NC: i32 = 512

// Scratch, set once by `setup`: packed B (KC x NC), packed A (MC x KC), one edge tile, then attention rows.
let packB: usize = 0
let packA: usize = 0
let tile: usize = 0
let rows: usize = 0

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

/** out[N] = column sums of x[M,N], in 8 partial rows so that the error grows slowly. */
export function columnSums(x: usize, M: i32, N: i32, out: usize): void {
  const row = (N as usize) << 2
  let j = 0
  for (; j + 4 <= N; j += 4) {
    const o = (j as usize) << 2
    let total = f32x4.splat(0)
    for (let i0 = 0; i0 < M; i0 += 64) {
      let sum = f32x4.splat(0)
      const end = min(M, i0 + 64)
      for (let i = i0; i < end; i++) sum = f32x4.add(sum, v128.load(x + (i as usize) * row + o))
      total = f32x4.add(total, sum)
    }
    v128.store(out + o, total)
  }
  for (; j < N; j++) {
    const o = (j as usize) << 2
    let total: f64 = 0
    for (let i = 0; i < M; i++) total += load<f32>(x + (i as usize) * row + o) as f64
    store<f32>(out + o, total as f32)
  }
}

/** exp, four at a time: range reduction by ln 2 and a degree 6 polynomial (after Cephes expf); 1e-7 relative. */
function exp4(x: v128): v128 {
  x = f32x4.min(f32x4.splat(88.37), f32x4.max(f32x4.splat(-87.33), x))
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504088896341)))
  let r = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)))
  r = f32x4.sub(r, f32x4.mul(n, f32x4.splat(-2.12194440e-4)))
  let p = f32x4.splat(1.9875691500e-4)
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.3981999507e-3))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1))
  p = f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(r, r), p), r), f32x4.splat(1))
  const e = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23)
  return f32x4.mul(p, e)
}

// @ts-ignore: decorator
@inline
function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32x4.splat(x)), 0)
}

// @ts-ignore: decorator
@inline
function sum4(v: v128): f32 {
  return (f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1)) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
}

/** y = (x - mean) * rstd * g + b per row of D; stats [M,2] = mean, rstd. */
export function layerNorm(x: usize, g: usize, b: usize, y: usize, stats: usize, M: i32, D: i32, eps: f32): void {
  const row = (D as usize) << 2
  const d4 = D & ~3
  for (let i = 0; i < M; i++) {
    const from = x + (i as usize) * row
    const to = y + (i as usize) * row
    let s4 = f32x4.splat(0)
    let j = 0
    for (; j < d4; j += 4) s4 = f32x4.add(s4, v128.load(from + ((j as usize) << 2)))
    let s: f32 = sum4(s4)
    for (; j < D; j++) s += load<f32>(from + ((j as usize) << 2))
    const mean: f32 = s / (D as f32)
    const mean4 = f32x4.splat(mean)
    s4 = f32x4.splat(0)
    for (j = 0; j < d4; j += 4) {
      const c = f32x4.sub(v128.load(from + ((j as usize) << 2)), mean4)
      s4 = f32x4.add(s4, f32x4.mul(c, c))
    }
    s = sum4(s4)
    for (; j < D; j++) {
      const c: f32 = load<f32>(from + ((j as usize) << 2)) - mean
      s += c * c
    }
    const rstd: f32 = 1 / sqrt<f32>(s / (D as f32) + eps)
    const rstd4 = f32x4.splat(rstd)
    store<f32>(stats + ((i as usize) << 3), mean)
    store<f32>(stats + ((i as usize) << 3), rstd, 4)
    for (j = 0; j < d4; j += 4) {
      const o = (j as usize) << 2
      const h = f32x4.mul(f32x4.sub(v128.load(from + o), mean4), rstd4)
      v128.store(to + o, f32x4.add(f32x4.mul(h, v128.load(g + o)), v128.load(b + o)))
    }
    for (; j < D; j++) {
      const o = (j as usize) << 2
      store<f32>(to + o, (load<f32>(from + o) - mean) * rstd * load<f32>(g + o) + load<f32>(b + o))
    }
  }
}

/** dx, dg, db of layerNorm. dg and db are overwritten. */
export function layerNormGrad(
  dy: usize, x: usize, g: usize, stats: usize, dx: usize, dg: usize, db: usize, M: i32, D: i32
): void {
  const row = (D as usize) << 2
  memory.fill(dg, 0, row)
  memory.fill(db, 0, row)
  const d4 = D & ~3
  for (let i = 0; i < M; i++) {
    const xi = x + (i as usize) * row
    const dyi = dy + (i as usize) * row
    const dxi = dx + (i as usize) * row
    const mean: f32 = load<f32>(stats + ((i as usize) << 3))
    const rstd: f32 = load<f32>(stats + ((i as usize) << 3), 4)
    const mean4 = f32x4.splat(mean)
    const rstd4 = f32x4.splat(rstd)
    let p4 = f32x4.splat(0)
    let q4 = f32x4.splat(0)
    let j = 0
    for (; j < d4; j += 4) {
      const o = (j as usize) << 2
      const h = f32x4.mul(f32x4.sub(v128.load(xi + o), mean4), rstd4)
      const d = v128.load(dyi + o)
      v128.store(dg + o, f32x4.add(v128.load(dg + o), f32x4.mul(d, h)))
      v128.store(db + o, f32x4.add(v128.load(db + o), d))
      const dh = f32x4.mul(d, v128.load(g + o))
      p4 = f32x4.add(p4, dh)
      q4 = f32x4.add(q4, f32x4.mul(dh, h))
    }
    let p: f32 = sum4(p4)
    let q: f32 = sum4(q4)
    for (; j < D; j++) {
      const o = (j as usize) << 2
      const h: f32 = (load<f32>(xi + o) - mean) * rstd
      const d: f32 = load<f32>(dyi + o)
      store<f32>(dg + o, load<f32>(dg + o) + d * h)
      store<f32>(db + o, load<f32>(db + o) + d)
      const dh: f32 = d * load<f32>(g + o)
      p += dh
      q += dh * h
    }
    p /= D as f32
    q /= D as f32
    const pp = f32x4.splat(p)
    const qq = f32x4.splat(q)
    for (j = 0; j < d4; j += 4) {
      const o = (j as usize) << 2
      const h = f32x4.mul(f32x4.sub(v128.load(xi + o), mean4), rstd4)
      const dh = f32x4.mul(v128.load(dyi + o), v128.load(g + o))
      v128.store(dxi + o, f32x4.mul(rstd4, f32x4.sub(f32x4.sub(dh, pp), f32x4.mul(h, qq))))
    }
    for (; j < D; j++) {
      const o = (j as usize) << 2
      const h: f32 = (load<f32>(xi + o) - mean) * rstd
      const dh: f32 = load<f32>(dyi + o) * load<f32>(g + o)
      store<f32>(dxi + o, rstd * (dh - p - h * q))
    }
  }
}

/** Sigmoid argument and its derivative for the two sigmoid forms: tanh GELU is x * sigmoid(2u), u = c(x + .044715 x^3). */
function gelu4(x: v128, kind: i32): v128 {
  const one = f32x4.splat(1)
  if (kind == 1) return f32x4.mul(f32x4.mul(f32x4.splat(0.5), x), f32x4.add(one, erf4(f32x4.mul(x, f32x4.splat(0.7071067811865476)))))
  let z: v128
  if (kind == 0) {
    const x3 = f32x4.mul(f32x4.mul(x, x), x)
    z = f32x4.mul(f32x4.splat(1.5957691216057308), f32x4.add(x, f32x4.mul(f32x4.splat(0.044715), x3)))
  } else z = f32x4.mul(f32x4.splat(1.702), x)
  return f32x4.div(x, f32x4.add(one, exp4(f32x4.neg(z))))
}

/** erf after Abramowitz and Stegun 7.1.26: 1.5e-7 absolute. */
function erf4(x: v128): v128 {
  const a = f32x4.abs(x)
  const one = f32x4.splat(1)
  const t = f32x4.div(one, f32x4.add(one, f32x4.mul(f32x4.splat(0.3275911), a)))
  let p = f32x4.splat(1.061405429)
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(-1.453152027))
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(1.421413741))
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(-0.284496736))
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(0.254829592))
  p = f32x4.mul(p, t)
  const y = f32x4.sub(one, f32x4.mul(p, exp4(f32x4.neg(f32x4.mul(a, a)))))
  return v128.bitselect(x, y, f32x4.splat(-0.0))
}

function geluGrad4(x: v128, kind: i32): v128 {
  const one = f32x4.splat(1)
  if (kind == 1) {
    const cdf = f32x4.mul(f32x4.splat(0.5), f32x4.add(one, erf4(f32x4.mul(x, f32x4.splat(0.7071067811865476)))))
    const pdf = f32x4.mul(f32x4.splat(0.3989422804014327), exp4(f32x4.mul(f32x4.splat(-0.5), f32x4.mul(x, x))))
    return f32x4.add(cdf, f32x4.mul(x, pdf))
  }
  let z: v128
  let dz: v128
  if (kind == 0) {
    const x2 = f32x4.mul(x, x)
    const c = f32x4.splat(1.5957691216057308)
    z = f32x4.mul(c, f32x4.add(x, f32x4.mul(f32x4.splat(0.044715), f32x4.mul(x2, x))))
    dz = f32x4.mul(c, f32x4.add(one, f32x4.mul(f32x4.splat(0.134145), x2)))
  } else {
    z = f32x4.mul(f32x4.splat(1.702), x)
    dz = f32x4.splat(1.702)
  }
  const s = f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(z))))
  return f32x4.add(s, f32x4.mul(f32x4.mul(f32x4.mul(x, dz), s), f32x4.sub(one, s)))
}

/** kind: 0 tanh, 1 erf, 2 quick. */
export function gelu(x: usize, y: usize, n: i32, kind: i32): void {
  let i = 0
  for (; i + 4 <= n; i += 4) {
    const o = (i as usize) << 2
    v128.store(y + o, gelu4(v128.load(x + o), kind))
  }
  for (; i < n; i++) {
    const o = (i as usize) << 2
    store<f32>(y + o, f32x4.extract_lane(gelu4(f32x4.splat(load<f32>(x + o)), kind), 0))
  }
}

export function geluGrad(dy: usize, x: usize, dx: usize, n: i32, kind: i32): void {
  let i = 0
  for (; i + 4 <= n; i += 4) {
    const o = (i as usize) << 2
    v128.store(dx + o, f32x4.mul(v128.load(dy + o), geluGrad4(v128.load(x + o), kind)))
  }
  for (; i < n; i++) {
    const o = (i as usize) << 2
    store<f32>(dx + o, load<f32>(dy + o) * f32x4.extract_lane(geluGrad4(f32x4.splat(load<f32>(x + o)), kind), 0))
  }
}

/** Rotate-half on the first R dims of each head; table [P, R] = R/2 cosines then R/2 sines; sign -1 turns back. */
export function rotary(
  x: usize, positions: usize, table: usize, y: usize, rowsN: i32, heads: i32, hd: i32, R: i32, sign: f32
): void {
  const row = ((heads * hd) as usize) << 2
  const half = R >> 1
  memory.copy(y, x, row * (rowsN as usize))
  for (let i = 0; i < rowsN; i++) {
    const t = table + (((load<i32>(positions + ((i as usize) << 2)) * R) as usize) << 2)
    for (let h = 0; h < heads; h++) {
      const from = x + (i as usize) * row + (((h * hd) as usize) << 2)
      const to = y + (i as usize) * row + (((h * hd) as usize) << 2)
      for (let j = 0; j < half; j++) {
        const o1 = (j as usize) << 2
        const o2 = ((j + half) as usize) << 2
        const cos: f32 = load<f32>(t + o1)
        const sin: f32 = load<f32>(t + o2) * sign
        const x1: f32 = load<f32>(from + o1)
        const x2: f32 = load<f32>(from + o2)
        store<f32>(to + o1, x1 * cos - x2 * sin)
        store<f32>(to + o2, x2 * cos + x1 * sin)
      }
    }
  }
}

/** Query rows that attention works on at once. */
const QB: i32 = 96

/** Floats of scratch that attention needs: three blocks of QB x (keys rounded up). */
export function attentionFloats(keys: i32): i32 {
  return 2 * QB * keys
}

/**
 * Mask kinds: 0 none, 1 causal with segments (query i sees key j <= i when their segments are equal and not 0; a padding
 * query, segment 0, sees every real key before it), 2 key j is visible when its segment is not 0.
 */
// @ts-ignore: decorator
@inline
function visible(kind: i32, seg: usize, i: i32, j: i32): bool {
  if (kind == 0) return true
  const sj = load<i32>(seg + ((j as usize) << 2))
  if (kind == 2) return sj != 0
  const si = load<i32>(seg + ((i as usize) << 2))
  return sj != 0 && j <= i && (si == sj || si == 0)
}

/** Scores of one query block to probabilities in place; with stats given reads them, else writes them (max, 1/sum). */
function softmaxBlock(
  s: usize, i0: i32, rowsN: i32, keys: i32, ld: i32, kind: i32, seg: usize, stats: usize, known: bool
): void {
  for (let r = 0; r < rowsN; r++) {
    const row = s + (((r * ld) as usize) << 2)
    const at = stats + (((i0 + r) as usize) << 3)
    const i = i0 + r
    const limit = kind == 1 ? min(keys, i + 1) : keys
    const NEG: f32 = -3.0e38
    let m: f32 = NEG
    if (kind != 0) {
      for (let j = 0; j < limit; j++) {
        const o = (j as usize) << 2
        if (!visible(kind, seg, i, j)) store<f32>(row + o, NEG)
      }
    }
    for (let j = limit; j < keys; j++) store<f32>(row + ((j as usize) << 2), 0)
    if (known) m = load<f32>(at)
    else {
      for (let j = 0; j < limit; j++) m = max<f32>(m, load<f32>(row + ((j as usize) << 2)))
    }
    if (m <= NEG) {
      for (let j = 0; j < limit; j++) store<f32>(row + ((j as usize) << 2), 0)
      store<f32>(at, NEG)
      store<f32>(at, 0, 4)
      continue
    }
    const m4 = f32x4.splat(m)
    const cut = f32x4.splat(-1.0e38)
    let t4 = f32x4.splat(0)
    let j = 0
    for (; j + 4 <= limit; j += 4) {
      const o = (j as usize) << 2
      const v = v128.load(row + o)
      const e = v128.and(exp4(f32x4.sub(v, m4)), f32x4.gt(v, cut))
      t4 = f32x4.add(t4, e)
      v128.store(row + o, e)
    }
    let t: f32 = sum4(t4)
    for (; j < limit; j++) {
      const o = (j as usize) << 2
      const v: f32 = load<f32>(row + o)
      const e: f32 = v > -1.0e38 ? exp1(v - m) : 0
      t += e
      store<f32>(row + o, e)
    }
    let inv: f32
    if (known) inv = load<f32>(at, 4)
    else {
      inv = 1 / t
      store<f32>(at, m)
      store<f32>(at, inv, 4)
    }
    const inv4 = f32x4.splat(inv)
    for (j = 0; j + 4 <= limit; j += 4) {
      const o = (j as usize) << 2
      v128.store(row + o, f32x4.mul(v128.load(row + o), inv4))
    }
    for (; j < limit; j++) {
      const o = (j as usize) << 2
      store<f32>(row + o, load<f32>(row + o) * inv)
    }
  }
}

/** o[B,Q,H*hd] of q[B,Q,H*hd], k, v[B,K,H*hd]; stats [B,H,Q,2]; seg i32 [B,K]. Scores live one query block at a time. */
export function attention(
  q: usize, k: usize, v: usize, seg: usize, o: usize, stats: usize,
  B: i32, Q: i32, Kn: i32, H: i32, hd: i32, kind: i32, scale: f32
): void {
  const D = H * hd
  for (let b = 0; b < B; b++) {
    const segB = seg + (((b * Kn) as usize) << 2)
    for (let h = 0; h < H; h++) {
      const qb = q + (((b * Q * D + h * hd) as usize) << 2)
      const kb = k + (((b * Kn * D + h * hd) as usize) << 2)
      const vb = v + (((b * Kn * D + h * hd) as usize) << 2)
      const ob = o + (((b * Q * D + h * hd) as usize) << 2)
      const sb = stats + ((((b * H + h) * Q) as usize) << 3)
      for (let i0 = 0; i0 < Q; i0 += QB) {
        const m = min(QB, Q - i0)
        const keys = kind == 1 ? min(Kn, i0 + m) : Kn
        const at = ((i0 * D) as usize) << 2
        gemm(m, keys, hd, qb + at, D, 1, kb, 1, D, rows, keys, scale, 0, 0)
        softmaxBlock(rows, i0, m, keys, keys, kind, segB, sb, false)
        gemm(m, hd, keys, rows, keys, 1, vb, D, 1, ob + at, D, 1, 0, 0)
      }
    }
  }
}

/** Gradients of attention; dq, dk, dv are overwritten. Probabilities are computed again from the saved statistics. */
export function attentionGrad(
  dO: usize, q: usize, k: usize, v: usize, seg: usize, o: usize, stats: usize, dq: usize, dk: usize, dv: usize,
  B: i32, Q: i32, Kn: i32, H: i32, hd: i32, kind: i32, scale: f32
): void {
  const D = H * hd
  memory.fill(dk, 0, ((B * Kn * D) as usize) << 2)
  memory.fill(dv, 0, ((B * Kn * D) as usize) << 2)
  for (let b = 0; b < B; b++) {
    const segB = seg + (((b * Kn) as usize) << 2)
    for (let h = 0; h < H; h++) {
      const qo = ((b * Q * D + h * hd) as usize) << 2
      const ko = ((b * Kn * D + h * hd) as usize) << 2
      const sb = stats + ((((b * H + h) * Q) as usize) << 3)
      for (let i0 = 0; i0 < Q; i0 += QB) {
        const m = min(QB, Q - i0)
        const keys = kind == 1 ? min(Kn, i0 + m) : Kn
        const at = qo + (((i0 * D) as usize) << 2)
        const dP = rows + (((m * keys) as usize) << 2)
        gemm(m, keys, hd, q + at, D, 1, k + ko, 1, D, rows, keys, scale, 0, 0)
        softmaxBlock(rows, i0, m, keys, keys, kind, segB, sb, true)
        // dv += P^T dO
        gemm(keys, hd, m, rows, 1, keys, dO + at, D, 1, dv + ko, D, 1, 1, 0)
        // dP = dO v^T, then dS = P * (dP - rowsum(dO * o)) * scale
        gemm(m, keys, hd, dO + at, D, 1, v + ko, 1, D, dP, keys, 1, 0, 0)
        for (let r = 0; r < m; r++) {
          const dor = dO + at + (((r * D) as usize) << 2)
          const or = o + at + (((r * D) as usize) << 2)
          let dot: f32 = 0
          for (let j = 0; j < hd; j++) dot += load<f32>(dor + ((j as usize) << 2)) * load<f32>(or + ((j as usize) << 2))
          const p = rows + (((r * keys) as usize) << 2)
          const d = dP + (((r * keys) as usize) << 2)
          const dot4 = f32x4.splat(dot)
          const scale4 = f32x4.splat(scale)
          let j = 0
          for (; j + 4 <= keys; j += 4) {
            const w = (j as usize) << 2
            v128.store(d + w, f32x4.mul(f32x4.mul(v128.load(p + w), f32x4.sub(v128.load(d + w), dot4)), scale4))
          }
          for (; j < keys; j++) {
            const w = (j as usize) << 2
            store<f32>(d + w, load<f32>(p + w) * (load<f32>(d + w) - dot) * scale)
          }
        }
        gemm(m, hd, keys, dP, keys, 1, k + ko, D, 1, dq + at, D, 1, 0, 0)
        gemm(keys, hd, m, dP, 1, keys, q + at, D, 1, dk + ko, D, 1, 1, 0)
      }
    }
  }
}

/** loss[1] = sum over rows with label >= 0 of (logsumexp - logit[label]) * scale; stats [N,2] = max, 1/sum. */
export function crossEntropy(logits: usize, labels: usize, loss: usize, stats: usize, N: i32, V: i32, scale: f32): void {
  let total: f64 = 0
  const v4 = V & ~3
  for (let i = 0; i < N; i++) {
    const row = logits + ((i as usize) * (V as usize) << 2)
    const label = load<i32>(labels + ((i as usize) << 2))
    const at = stats + ((i as usize) << 3)
    if (label < 0) {
      store<f32>(at, 0)
      store<f32>(at, 0, 4)
      continue
    }
    let m4 = f32x4.splat(-3.0e38)
    let j = 0
    for (; j < v4; j += 4) m4 = f32x4.max(m4, v128.load(row + ((j as usize) << 2)))
    let m: f32 = max<f32>(
      max<f32>(f32x4.extract_lane(m4, 0), f32x4.extract_lane(m4, 1)),
      max<f32>(f32x4.extract_lane(m4, 2), f32x4.extract_lane(m4, 3))
    )
    for (; j < V; j++) m = max<f32>(m, load<f32>(row + ((j as usize) << 2)))
    m4 = f32x4.splat(m)
    let t: f64 = 0
    // Runs of 256 in f32 lanes, then doubles: no horizontal sum in the inner loop, and no long f32 sum.
    for (j = 0; j < v4; ) {
      let run = f32x4.splat(0)
      const end = min(v4, j + 256)
      for (; j < end; j += 4) run = f32x4.add(run, exp4(f32x4.sub(v128.load(row + ((j as usize) << 2)), m4)))
      t += sum4(run) as f64
    }
    for (; j < V; j++) t += exp1(load<f32>(row + ((j as usize) << 2)) - m) as f64
    store<f32>(at, m)
    store<f32>(at, (1 / t) as f32, 4)
    total += hostLog(t) + (m as f64) - (load<f32>(row + ((label as usize) << 2)) as f64)
  }
  store<f32>(loss, (total * (scale as f64)) as f32)
}

/** dlogits = (softmax - onehot) * scale * dy, zero for rows without a label. */
export function crossEntropyGrad(
  dy: usize, logits: usize, labels: usize, stats: usize, out: usize, N: i32, V: i32, scale: f32
): void {
  const s: f32 = scale * load<f32>(dy)
  const v4 = V & ~3
  for (let i = 0; i < N; i++) {
    const at0 = (i as usize) * (V as usize) << 2
    const row = logits + at0
    const to = out + at0
    const label = load<i32>(labels + ((i as usize) << 2))
    if (label < 0) {
      memory.fill(to, 0, (V as usize) << 2)
      continue
    }
    const m: f32 = load<f32>(stats + ((i as usize) << 3))
    const f: f32 = load<f32>(stats + ((i as usize) << 3), 4) * s
    const m4 = f32x4.splat(m)
    const f4 = f32x4.splat(f)
    let j = 0
    for (; j < v4; j += 4) {
      const o = (j as usize) << 2
      v128.store(to + o, f32x4.mul(exp4(f32x4.sub(v128.load(row + o), m4)), f4))
    }
    for (; j < V; j++) {
      const o = (j as usize) << 2
      store<f32>(to + o, exp1(load<f32>(row + o) - m) * f)
    }
    const l = to + ((label as usize) << 2)
    store<f32>(l, load<f32>(l) - s)
  }
}

/**
 * Decoupled AdamW, out of place: m2 = b1 m + o1 g, v2 = b2 v + o2 g^2, w2 = keep w - step m2 / (sqrt(v2) / root + eps).
 * The scalars come from the host, which computes 1 - beta and the bias corrections in doubles.
 */
export function adamW(
  w: usize, m: usize, v: usize, g: usize, w2: usize, m2: usize, v2: usize, n: i32,
  keep: f32, step: f32, root: f32, b1: f32, o1: f32, b2: f32, o2: f32, eps: f32
): void {
  let i = 0
  const b14 = f32x4.splat(b1), o14 = f32x4.splat(o1), b24 = f32x4.splat(b2), o24 = f32x4.splat(o2)
  const keep4 = f32x4.splat(keep), step4 = f32x4.splat(step), root4 = f32x4.splat(root), eps4 = f32x4.splat(eps)
  for (; i + 4 <= n; i += 4) {
    const o = (i as usize) << 2
    const gg = v128.load(g + o)
    const mm = f32x4.add(f32x4.mul(v128.load(m + o), b14), f32x4.mul(gg, o14))
    const vv = f32x4.add(f32x4.mul(v128.load(v + o), b24), f32x4.mul(f32x4.mul(gg, gg), o24))
    const den = f32x4.add(f32x4.div(f32x4.sqrt(vv), root4), eps4)
    v128.store(m2 + o, mm)
    v128.store(v2 + o, vv)
    v128.store(w2 + o, f32x4.sub(f32x4.mul(v128.load(w + o), keep4), f32x4.mul(step4, f32x4.div(mm, den))))
  }
  for (; i < n; i++) {
    const o = (i as usize) << 2
    const gg: f32 = load<f32>(g + o)
    const mm: f32 = load<f32>(m + o) * b1 + gg * o1
    const vv: f32 = load<f32>(v + o) * b2 + gg * gg * o2
    store<f32>(m2 + o, mm)
    store<f32>(v2 + o, vv)
    store<f32>(w2 + o, load<f32>(w + o) * keep - step * (mm / (sqrt<f32>(vv) / root + eps)))
  }
}

/** out[S,D] = sums of the rows of x[N,D] by segment id; ids outside 0..S-1 are dropped, as the operation defines. */
export function segmentSum(x: usize, ids: usize, out: usize, N: i32, D: i32, S: i32): void {
  const row = (D as usize) << 2
  memory.fill(out, 0, row * (S as usize))
  for (let i = 0; i < N; i++) {
    const id = load<i32>(ids + ((i as usize) << 2))
    if (id < 0 || id >= S) continue
    const from = x + (i as usize) * row
    const to = out + (id as usize) * row
    let j = 0
    for (; j + 4 <= D; j += 4) {
      const o = (j as usize) << 2
      v128.store(to + o, f32x4.add(v128.load(to + o), v128.load(from + o)))
    }
    for (; j < D; j++) {
      const o = (j as usize) << 2
      store<f32>(to + o, load<f32>(to + o) + load<f32>(from + o))
    }
  }
}

/** out[N,D] = rows of x[S,D] at ids; the caller checked the range. */
export function gatherRows(x: usize, ids: usize, out: usize, N: i32, D: i32): void {
  const row = (D as usize) << 2
  for (let i = 0; i < N; i++) memory.copy(out + (i as usize) * row, x + (load<i32>(ids + ((i as usize) << 2)) as usize) * row, row)
}

/** Philox4x32-10 (Salmon et al., 2011), as src/tensor/Random.ts: words 0 and 1 of the block, then words 2 and 3. */
let high: u64 = 0
function philox(block: u32, k0: u32, k1: u32): u64 {
  let c0: u32 = block
  let c1: u32 = 0
  let c2: u32 = 0
  let c3: u32 = 0
  for (let round = 0; round < 10; round++) {
    const p0: u64 = (0xd2511f53 as u64) * (c0 as u64)
    const p1: u64 = (0xcd9e8d57 as u64) * (c2 as u64)
    c0 = ((p1 >> 32) as u32) ^ c1 ^ k0
    c1 = p1 as u32
    c2 = ((p0 >> 32) as u32) ^ c3 ^ k1
    c3 = p0 as u32
    k0 += 0x9e3779b9
    k1 += 0xbb67ae85
  }
  high = (c2 as u64) | ((c3 as u64) << 32)
  return (c0 as u64) | ((c1 as u64) << 32)
}

// @ts-ignore: decorator
@inline
function keep(word: u32, threshold: u32, scale: f32): f32 {
  return word >> 8 >= threshold ? scale : 0
}

/** y[B,n] = x * scale where the row's random word >> 8 reaches the threshold, else 0. keys i32 [B,2]. */
export function dropout(x: usize, keys: usize, y: usize, B: i32, n: i32, threshold: u32, scale: f32): void {
  for (let b = 0; b < B; b++) {
    const k0 = load<u32>(keys + ((b as usize) << 3))
    const k1 = load<u32>(keys + ((b as usize) << 3), 4)
    const row = ((b as usize) * (n as usize)) << 2
    for (let i = 0; i < n; i += 4) {
      const low = philox((i as u32) >> 2, k0, k1)
      const o = row + ((i as usize) << 2)
      store<f32>(y + o, load<f32>(x + o) * keep(low as u32, threshold, scale))
      if (i + 1 < n) store<f32>(y + o, load<f32>(x + o, 4) * keep((low >> 32) as u32, threshold, scale), 4)
      if (i + 2 < n) store<f32>(y + o, load<f32>(x + o, 8) * keep(high as u32, threshold, scale), 8)
      if (i + 3 < n) store<f32>(y + o, load<f32>(x + o, 12) * keep((high >> 32) as u32, threshold, scale), 12)
    }
  }
}
