/**
 * Euclidean norms of tensors, computed in doubles.
 *
 * Not of TF.js: handles in, a handle out. In f32, libtorch on a CPU adds a tensor's squares one after another, a lane
 * each, and loses what is small beside the sum.
 */
import { type Addon, dtypes } from "./Addon.ts"

/** The norm of each as one float64 tensor `[N]`, whose handle the caller frees. At least one. */
export const normsOf = (addon: Addon, handles: ReadonlyArray<number>): number => {
  const norms = addon.aten("_foreach_norm.Scalar")(handles, 2, dtypes.float64)
  const each = Array.from({ length: norms.number() }, () => norms.tensor().handle)
  const all = addon.aten("stack")(each, 0).tensor().handle
  addon.free(each)
  return all
}
