/**
 * What is said when an index is out of range: which one, where, and what to do.
 *
 * Integers that were uploaded are looked at before: a GPU that meets a bad index is lost to its process. Those made on
 * the device are read only when libtorch refuses them.
 */
import type { TensorInfo } from "@tensorflow/tfjs-core"
import { EngineFailure, ShapeMismatch } from "../Errors.ts"
import type { TorchBackend } from "./Backend.ts"

const HINT =
  "Check that the tokenizer and the vocabulary size agree, and that positions fit the model's context length."

/**
 * Throws `ShapeMismatch` for the first of `indices` that is outside `0..limit - 1`. Negative ones are `ignored` or not.
 */
export const expectInRange = (
  operation: string,
  indices: ArrayLike<number>,
  limit: number,
  ignored: "ignore negative" | "refuse negative" = "refuse negative"
): void => {
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i]!
    if (index < limit && (index >= 0 || ignored === "ignore negative")) continue
    throw new ShapeMismatch({
      operation,
      message: `${operation}: the index value ${index} is not in [0, ${limit - 1}]: index ${index} at ${i}`,
      hint: HINT
    })
  }
}

/** The same for indices that were uploaded and are remembered; those made on the device are left to libtorch. */
export const expectKnownInRange = (
  backend: TorchBackend,
  operation: string,
  indices: TensorInfo,
  limit: number,
  ignored?: "ignore negative" | "refuse negative"
): void => {
  const known = backend.host(indices)
  if (known !== undefined) expectInRange(operation, known, limit, ignored)
}

/** Runs a look-up; where libtorch refuses an index, `explain` reads the indices and throws what is said above. */
export const withIndices = <A>(run: () => A, explain: () => void): A => {
  try {
    return run()
  } catch (cause) {
    if (cause instanceof EngineFailure && /out of (range|bounds)/.test(cause.message)) explain()
    throw cause
  }
}
