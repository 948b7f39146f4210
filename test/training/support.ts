/** Runs a range of training steps with the recipe's optimiser at a learning rate that moves small models. */
import { Effect } from "effect"
import type { TokenBatch } from "../../src/model/TokenBatch.ts"
import type { Trainable } from "../../src/model/Trainable.ts"
import type { tf, Weights } from "../../src/tensor/Ops.ts"
import { type TrainState, trainStep } from "../../src/training/Step.ts"

export const train = <B extends TokenBatch, P extends tf.TensorContainer>(
  model: Trainable<B, P>,
  state: TrainState,
  first: number,
  end: number,
  batches: (step: number) => ReadonlyArray<B>,
  frozen: Weights = {}
) =>
  Effect.gen(function* () {
    const losses: Array<number> = []
    let current = state
    for (let step = first; step < end; step++) {
      const result = yield* trainStep(model, current, frozen, batches(step), { lr: 1e-3, seed: 7, step })
      current = result.state
      losses.push(result.loss)
    }
    return { state: current, losses }
  })
