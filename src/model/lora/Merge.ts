/**
 * Merges adapters into the weights that they stand beside: W + (alpha / rank) B A, in float32, one matrix at a time.
 *
 * Not a file: what comes out are weights by name, as any model has them, written in whatever format the caller writes.
 */
import { Effect } from "effect"
import type { TensorError } from "../../tensor/Errors.ts"
import { tf, type Weights } from "../../tensor/Ops.ts"
import { Tensors } from "../../tensor/Tensors.ts"
import { release } from "../Dtype.ts"
import type { WeightSource } from "../Weights.ts"
import { blockLinear, type Lora, loraScale, namesOf } from "./Lora.ts"

/** A weight that an engine has to be asked for. */
export interface MergedSource<E> extends Omit<WeightSource, "read"> {
  readonly read: Effect.Effect<Float32Array, E | TensorError, Tensors>
}

/**
 * The model's weights with the adapters in them. `adapters` are on the engine, and must be there when a weight is read.
 *
 * @example yield* writePhi(folder, config, fromSources(merged(language.sources, trained.weights, lora), "float32"))
 */
export const merged = <E>(
  sources: ReadonlyArray<WeightSource<E>>,
  adapters: Weights,
  lora: Pick<Lora, "alpha" | "rank">
): ReadonlyArray<MergedSource<E>> =>
  sources.map((source) => {
    const linear = blockLinear(source.name)
    const names = linear === undefined ? undefined : namesOf(linear.module)
    const [A, B] = names === undefined ? [] : [adapters[names.A], adapters[names.B]]
    if (A === undefined || B === undefined) return source
    const read = Effect.gen(function* () {
      const tensors = yield* Tensors
      const values = yield* source.read
      const weight = yield* tensors.upload(values, source.shape)
      if (source.isFresh === true) release(values)
      const sum = yield* tensors
        .run(() => tf.add(weight, tf.mul(tf.matMul(B as tf.Tensor2D, A as tf.Tensor2D), tf.scalar(loraScale(lora)))))
        .pipe(Effect.ensuring(tensors.free(weight)))
      return (yield* Effect.ensuring(tensors.read(sum), tensors.free(sum))) as Float32Array
    })
    return { ...source, isFresh: true, read }
  })
