/**
 * How far a long gradient is scaled down, as `torch.nn.utils.clip_grad_norm_` has it.
 *
 * Not a norm and not a step: those are `Tensors.norm` (of what one process holds), `Step.ts` and `ShardedOptimizer.ts`.
 */

/** What torch adds to the norm before it divides. */
const EPSILON = 1e-6

/**
 * What a gradient of this norm is multiplied by, so that it is no longer than `limit`: limit / (norm + 1e-6), at most
 * 1. One means that it stays as it is. No limit clips nothing.
 *
 * @example clipCoefficient(2, 0.5) // 0.249999875
 */
export const clipCoefficient = (norm: number, limit: number | undefined): number =>
  limit === undefined ? 1 : Math.min(1, limit / (norm + EPSILON))
