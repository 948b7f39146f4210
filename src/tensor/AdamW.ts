/**
 * AdamW with decoupled weight decay (Loshchilov and Hutter, 2019), as torch computes it.
 *
 * Not a loop and not a schedule: one update of named tensors. Defaults are the recipe's. Decay applies to matrices
 * only: biases and norms (one dimension or none) are left alone. What is frozen is simply absent from the state.
 */
import type { Tensor, Weights } from "./Ops.ts"
import { tf } from "./Ops.ts"

export interface AdamWOptions {
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
  /** Of weights with two dimensions or more. */
  readonly weightDecay: number
}

/** The recipe's optimiser: betas .9 and .98, eps 1e-7, weight decay .1. */
export const recipeAdamW: AdamWOptions = { beta1: 0.9, beta2: 0.98, eps: 1e-7, weightDecay: 0.1 }

/** Weights with their moments; the same names and shapes in all three. */
export interface OptimiserTensors {
  readonly weights: Weights
  readonly m: Weights
  readonly v: Weights
}

/** The scalars of one update. */
export interface AdamWScalars {
  readonly keep: number
  readonly step: number
  readonly root: number
  readonly b1: number
  readonly o1: number
  readonly b2: number
  readonly o2: number
  readonly eps: number
}

/**
 * Scalars for update number `update` (the first is 1) at learning rate `lr`, in doubles, for a tensor of `rank`
 * dimensions.
 *
 * @example adamWScalars(recipeAdamW, 3e-5, 1, 2).keep // 1 - 3e-5 * 0.1
 */
export const adamWScalars = (o: AdamWOptions, lr: number, update: number, rank: number): AdamWScalars => ({
  keep: 1 - lr * (rank > 1 ? o.weightDecay : 0),
  step: lr / (1 - o.beta1 ** update),
  root: Math.sqrt(1 - o.beta2 ** update),
  b1: o.beta1,
  o1: 1 - o.beta1,
  b2: o.beta2,
  o2: 1 - o.beta2,
  eps: o.eps
})

/**
 * One tensor's update from plain operations: new weight, m and v. The definition for fused kernels.
 *
 * @example const [w2, m2, v2] = plainAdamW(w, m, v, g, adamWScalars(recipeAdamW, 3e-5, 1, w.rank))
 */
export const plainAdamW = (w: Tensor, m: Tensor, v: Tensor, g: Tensor, s: AdamWScalars): [Tensor, Tensor, Tensor] => {
  const m2 = tf.add(tf.mul(m, tf.scalar(s.b1)), tf.mul(g, tf.scalar(s.o1)))
  const v2 = tf.add(tf.mul(v, tf.scalar(s.b2)), tf.mul(tf.square(g), tf.scalar(s.o2)))
  const denominator = tf.add(tf.div(tf.sqrt(v2), tf.scalar(s.root)), tf.scalar(s.eps))
  const w2 = tf.sub(tf.mul(w, tf.scalar(s.keep)), tf.mul(tf.scalar(s.step), tf.div(m2, denominator)))
  return [w2, m2, v2]
}

/** Fresh moments for `weights`: zeros. */
export const zeroMoments = (weights: Weights): { readonly m: Weights; readonly v: Weights } => {
  const zeros = () => Object.fromEntries(Object.entries(weights).map(([name, w]) => [name, tf.zeros(w.shape)]))
  return { m: zeros(), v: zeros() }
}
