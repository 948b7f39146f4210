/**
 * One AdamW update of one tensor.
 */
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
