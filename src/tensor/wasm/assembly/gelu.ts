/**
 * The three GELUs (tanh, exact, quick) and their gradients.
 */
import { exp4 } from "./exp"

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
