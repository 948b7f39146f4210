/**
 * Which blocks of a model are computed again for their gradients: memory for time, never bits.
 *
 * Not how it is done: `Compute.recomputed` does it.
 */

/**
 * `false` keeps every block's activations, `true` none but its input; a number k frees every k-th block, the first
 * among them.
 */
export type Recompute = boolean | number

/**
 * Whether block number `block` (from 0) is computed again.
 *
 * @example recomputes(2, 3) // false
 */
export const recomputes = (policy: Recompute, block: number): boolean =>
  typeof policy === "number" ? block % policy === 0 : policy
