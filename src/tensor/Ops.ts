/**
 * The tensor operations that model code is written on: TensorFlow.js, under one name.
 *
 * Not an engine: which backend runs them is decided by the `Tensors` service. Code outside `src/tensor` imports `tf`
 * from here and nothing else of TensorFlow.js, and calls it only inside `Tensors.run` or `valueAndGrad`.
 */
import * as tf from "./vendor/tfjs.js"

export { tf }
export type Tensor = tf.Tensor

/** Named tensors: weights, gradients or moments. Order of names is the order of insertion and carries no meaning. */
export type Weights = Readonly<Record<string, tf.Tensor>>
