/**
 * LayerNorm over the last axis and its gradient; column sums (the gradient of a bias).
 */
import { sum4 } from "./exp"

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
