/**
 * AdamW by ATen's fused operator, in place: as `../AdamW.ts` defines it, over tensors or over flat vectors.
 *
 * Not a loop: one update.
 */
import type { AdamWOptions } from "../AdamW.ts"
import { type Addon, dtypes } from "./Addon.ts"

/** Handles of one piece of the state and its gradient. */
export interface Updated {
  readonly weights: number
  readonly gradient: number
  readonly m: number
  readonly v: number
  /** Whether weight decay applies. */
  readonly decays: boolean
}

/** Update number `update` (the first is 1) at learning rate `lr`. */
export const fusedAdamW = (
  addon: Addon,
  all: ReadonlyArray<Updated>,
  options: AdamWOptions,
  lr: number,
  update: number
): void => {
  // On the device: its kernel reads it there.
  const step = addon.aten("full")([], update, dtypes.float32, null, "device", null).tensor().handle
  try {
    for (const decays of [true, false]) {
      const some = all.filter((one) => one.decays === decays)
      if (some.length === 0) continue
      addon.aten("_fused_adamw_")(
        some.map(({ weights }) => weights),
        some.map(({ gradient }) => gradient),
        some.map(({ m }) => m),
        some.map(({ v }) => v),
        [],
        some.map(() => step),
        lr,
        options.beta1,
        options.beta2,
        decays ? options.weightDecay : 0,
        options.eps,
        false,
        false
      )
    }
  } finally {
    addon.free([step])
  }
}
