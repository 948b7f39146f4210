/**
 * The gradient of one micro-batch: what a training step is made of, in whichever thread it is computed.
 *
 * Not a step: gradients are summed, clipped and applied by `Step.ts`.
 */
import { Effect } from "effect"
import type { TokenBatch } from "../model/TokenBatch.ts"
import type { Trainable } from "../model/Trainable.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Tensor, Weights } from "../tensor/Ops.ts"
import { tf } from "../tensor/Ops.ts"
import { Tensors } from "../tensor/Tensors.ts"

/** A micro-batch and all that its gradient depends on besides the weights; plain data, so that it can cross threads. */
export interface MicroBatch<Batch extends TokenBatch> {
  readonly batch: Batch
  /** Supervised tokens of the global batch. */
  readonly normaliser: number
  /** Absent: no dropout. `rows` are numbers in the global batch. */
  readonly dropout?: { readonly seed: number; readonly step: number; readonly rows: ReadonlyArray<number> }
}

/** A micro-batch's share of the loss, and gradients by name. */
export interface Gradient {
  readonly value: number
  readonly grads: Weights
}

/**
 * Loss and gradient of a micro-batch. With `into`, the gradient is added to it and it is consumed.
 *
 * @example const { value, grads } = yield* gradientOf(model, state.weights, frozen, { batch, normaliser: tokens })
 */
export const gradientOf = <Batch extends TokenBatch, Prepared extends tf.TensorContainer>(
  model: Trainable<Batch, Prepared>,
  weights: Weights,
  frozen: Weights,
  { batch, dropout, normaliser }: MicroBatch<Batch>,
  into?: Weights
): Effect.Effect<Gradient, TensorError, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const prepared = yield* tensors.run((c) => model.prepare(c, { ...frozen, ...weights }, batch))
    return yield* tensors
      .valueAndGrad(
        (c, variables) =>
          model.loss(c, { ...frozen, ...variables }, prepared, {
            normaliser,
            ...(dropout === undefined ? {} : { dropout })
          }),
        weights,
        into
      )
      .pipe(Effect.ensuring(tensors.free(...tensorsIn(prepared))))
  })

const tensorsIn = (container: tf.TensorContainer): ReadonlyArray<Tensor> => {
  const found: Array<Tensor> = []
  const visit = (u: unknown): void => {
    if (u instanceof tf.Tensor) found.push(u)
    else if (typeof u === "object" && u !== null) for (const inner of Object.values(u)) visit(inner)
  }
  visit(container)
  return found
}
