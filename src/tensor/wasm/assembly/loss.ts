/**
 * Cross-entropy of logits with labels (negative = no loss) and its gradient; sums in doubles.
 */
import { exp1, exp4, sum4 } from "./exp"

@external("env", "log")
declare function hostLog(x: f64): f64

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
