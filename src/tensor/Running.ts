/**
 * What every engine's `Tensors` does in the same way: errors made typed, tensors freed, an optimiser's shapes checked.
 *
 * Not an engine; `Tensors.ts` and `torch/Tensors.ts` are made with it.
 */
import { Effect } from "effect"
import type { OptimiserTensors } from "./AdamW.ts"
import { EngineFailure, expectShape, isTensorError, type TensorError } from "./Errors.ts"
import { type Tensor, tf, type Weights } from "./Ops.ts"

/** Runs `f` with the backend called `backendName`; what it throws becomes a typed error of `engine`. */
export const running =
  (engine: string, backendName: string) =>
  <A>(f: () => A): Effect.Effect<A, TensorError> =>
    Effect.try({
      try: () => {
        // Synchronous for a backend that has been initialised, which `Engine` made sure of.
        if (tf.getBackend() !== backendName) void tf.setBackend(backendName)
        return f()
      },
      catch: (cause) =>
        isTensorError(cause)
          ? cause
          : new EngineFailure({
              engine,
              message: cause instanceof Error ? cause.message : String(cause),
              hint: "An operation failed inside the engine; the cause has its stack. Check shapes and dtypes there.",
              cause
            })
    })

/** Frees tensors; freeing twice is harmless. */
export const freeAll = (tensors: ReadonlyArray<Tensor | Weights>): void => {
  for (const t of tensors)
    if (t instanceof tf.Tensor) t.dispose()
    else for (const named of Object.values(t)) named.dispose()
}

/**
 * Throws `ShapeMismatch` unless every weight has moments and a gradient of its shape. To be called before anything is
 * consumed.
 */
export const checkAdamW = (state: OptimiserTensors, grads: Weights): void => {
  for (const [name, w] of Object.entries(state.weights))
    for (const [what, other] of Object.entries({ m: state.m[name], v: state.v[name], gradient: grads[name] }))
      expectShape(
        other !== undefined && other.shape.join() === w.shape.join(),
        "adamW",
        () => `${what} of ${name} is ${other === undefined ? "missing" : `[${other.shape.join(", ")}]`}`,
        "Weights, moments and gradients have the same names and shapes; frozen weights are in none of them."
      )
}

/** Throws `ShapeMismatch` unless a loss is one number. */
export const checkLoss = (value: Tensor): void =>
  expectShape(
    value.size === 1,
    "valueAndGrad",
    () => `the value is [${value.shape.join(", ")}]`,
    "Return a scalar: a mean, or a sum over a normaliser."
  )
