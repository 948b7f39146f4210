/**
 * The sum of squares of a tensor, in doubles: what the norm of a gradient is made of.
 */

/** sum of x[i]^2. Eight sums in doubles, of lanes that are 8 apart; squares of floats are exact in doubles. */
export function squares(x: usize, n: i32): f64 {
  let a = f64x2.splat(0), b = f64x2.splat(0), c = f64x2.splat(0), d = f64x2.splat(0)
  let i = 0
  for (; i + 8 <= n; i += 8) {
    const o = x + ((i as usize) << 2)
    const p = f64x2.promote_low_f32x4(v128.load64_zero(o))
    const q = f64x2.promote_low_f32x4(v128.load64_zero(o, 8))
    const r = f64x2.promote_low_f32x4(v128.load64_zero(o, 16))
    const s = f64x2.promote_low_f32x4(v128.load64_zero(o, 24))
    a = f64x2.add(a, f64x2.mul(p, p))
    b = f64x2.add(b, f64x2.mul(q, q))
    c = f64x2.add(c, f64x2.mul(r, r))
    d = f64x2.add(d, f64x2.mul(s, s))
  }
  const all = f64x2.add(f64x2.add(a, b), f64x2.add(c, d))
  let sum: f64 = f64x2.extract_lane(all, 0) + f64x2.extract_lane(all, 1)
  for (; i < n; i++) {
    const one: f64 = load<f32>(x + ((i as usize) << 2)) as f64
    sum += one * one
  }
  return sum
}
