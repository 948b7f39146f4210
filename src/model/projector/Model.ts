/**
 * The projector: `features_BND` of the vision tower -> `features_BNE` of the language model's width. No files, no
 * state.
 */
import type { Tensor, Weights } from "../../tensor/Ops.ts"
import type { Compute } from "../../tensor/Tensors.ts"
import type { ProjectorSizes } from "./Config.ts"

/**
 * linear_2(gelu(linear_1(x))).
 *
 * @example const image = project(c, under(weights, "projector."), config, features)
 */
export const project = (c: Compute, w: Weights, config: ProjectorSizes, features_BND: Tensor): Tensor => {
  const hidden = c.linear(features_BND, w["linear_1.weight"]!, w["linear_1.bias"]!)
  return c.linear(c.gelu(hidden, config.activation), w["linear_2.weight"]!, w["linear_2.bias"]!)
}
