/**
 * Attention over heads that lie side by side, with the three masks of `Regions.ts`, and its gradient.
 *
 * Scores live one block of queries at a time in scratch; the backward pass computes probabilities again from each row's
 * maximum and sum, as in flash attention (Dao et al., 2022).
 */
import { exp1, exp4, sum4 } from "./exp"
import { gemm, rows } from "./product"

/** Query rows that attention works on at once. */
const QB: i32 = 96

/** Floats of scratch that attention needs: three blocks of QB x (keys rounded up). */
export function attentionFloats(keys: i32): i32 {
  return 2 * QB * keys
}

/**
 * Scores of one query block to probabilities in place; with stats `known` reads them, else writes them (max, 1/sum).
 *
 * Mask kinds: 0 none, 1 causal with segments (query i sees key j <= i when their segments are equal and not 0; a padding
 * query, segment 0, sees every real key before it), 2 key j is visible when its segment is not 0.
 */
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
      // Four keys at a time; a padding query or a decoding one sees every key that is not padding.
      const own = kind == 2 ? 0 : load<i32>(seg + ((i as usize) << 2))
      const own4 = i32x4.splat(own)
      const hidden = f32x4.splat(NEG)
      let j = 0
      for (; j + 4 <= limit; j += 4) {
        const o = (j as usize) << 2
        const s4 = v128.load(seg + o)
        const sees = own == 0 ? i32x4.ne(s4, own4) : i32x4.eq(s4, own4)
        v128.store(row + o, v128.bitselect(v128.load(row + o), hidden, sees))
      }
      for (; j < limit; j++) {
        const o = (j as usize) << 2
        const sj = load<i32>(seg + o)
        if (own == 0 ? sj == 0 : sj != own) store<f32>(row + o, NEG)
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
