/**
 * A linear of a model that may have an adapter beside it, and whose matrix may be in four bits.
 *
 * Not a layer with state: the names among the weights say which of these it is. Shapes: x [.., I], y [.., O].
 */
import { expectShape } from "../../tensor/Errors.ts"
import type { Tensor, Weights } from "../../tensor/Ops.ts"
import { tf } from "../../tensor/Ops.ts"
import type { Compute } from "../../tensor/Tensors.ts"
import { namesOf } from "./Lora.ts"
import { partNames } from "./Quantised.ts"

/** How adapters are applied: their scale, and the dropout of their inputs (the identity in evaluation). */
export interface Adapting {
  readonly scale: number
  readonly drop: (x: Tensor, site: string) => Tensor
}

const base = (c: Compute, w: Weights, name: string, x: Tensor): Tensor => {
  const bias = w[`${name}.bias`]
  const { codes, magnitudes, scales } = partNames(`${name}.weight`)
  const packed = w[codes]
  return packed === undefined
    ? c.linear(x, w[`${name}.weight`]!, bias)
    : c.nf4Linear(x, { codes: packed, magnitudes: w[magnitudes]!, scales: w[scales]! }, bias)
}

/**
 * y = x W^T + b, and where `name` has an adapter + scale (drop(x) A^T) B^T. The scale is applied to the R columns
 * between.
 *
 * @example adaptedLinear(c, w, "self_attn.q_proj", y_BTD, { scale: 2, drop: (x) => x })
 */
export const adaptedLinear = (c: Compute, w: Weights, name: string, x: Tensor, adapting?: Adapting): Tensor => {
  const y = base(c, w, name, x)
  const names = namesOf(name)
  const [A, B] = [w[names.A], w[names.B]]
  if (A === undefined || B === undefined) return y
  expectShape(
    adapting !== undefined,
    "adaptedLinear",
    () => `${name} has an adapter, and no scale was given`,
    "Merge the adapter into the weights, or say how it is applied."
  )
  const { drop, scale } = adapting!
  const low = c.linear(drop(x, `lora.${name}`), A)
  return tf.add(y, c.linear(scale === 1 ? low : tf.mul(low, tf.scalar(scale)), B))
}
