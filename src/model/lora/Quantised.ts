/**
 * A language model whose blocks' matrices are in four bits: uploaded as parts, or read as the values that the parts
 * stand for.
 *
 * Not the format (`src/tensor/Nf4.ts`). Embeddings, head, norms and biases stay in float32, as QLoRA has them. A
 * matrix's parts are weights of their own: its name and `.codes`, `.magnitudes`, `.scales`.
 */
import { Effect } from "effect"
import { expectShape, type TensorError } from "../../tensor/Errors.ts"
import { dequantiseNf4, type PackedTensors, quantiseNf4 } from "../../tensor/Nf4.ts"
import { type Tensor, tf, type Weights } from "../../tensor/Ops.ts"
import { Tensors } from "../../tensor/Tensors.ts"
import { release } from "../Dtype.ts"
import type { WeightSource } from "../Weights.ts"
import { blockLinear } from "./Lora.ts"

/** Names of a matrix's parts. */
export const partNames = (name: string) => ({
  codes: `${name}.codes`,
  magnitudes: `${name}.magnitudes`,
  scales: `${name}.scales`
})

/** Uploads a matrix [O, I], I even, in four bits. */
export const uploadPacked = (
  values: Float32Array,
  shape: ReadonlyArray<number>
): Effect.Effect<PackedTensors, TensorError, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const [outputs, inputs] = shape as [number, number]
    return yield* tensors.run((c) => {
      expectShape(
        inputs % 2 === 0,
        "nf4",
        () => `a matrix of [${shape.join(", ")}]`,
        "Two weights share a byte: only matrices with an even number of inputs are quantised."
      )
      const packed = quantiseNf4(values)
      return {
        codes: c.bytes(packed.codes, [outputs, inputs / 2]),
        magnitudes: c.bytes(packed.magnitudes, [packed.magnitudes.length]),
        scales: tf.tensor1d(packed.scales)
      }
    })
  })

/**
 * Uploads every source in turn, as `uploadWeights` does what is frozen, but the blocks' matrices in four bits. Names of
 * the language model come after `prefix`. The caller owns the tensors; a failure frees those already uploaded.
 */
export const uploadQuantised = <E>(
  sources: ReadonlyArray<WeightSource<E>>,
  prefix: string
): Effect.Effect<Weights, E | TensorError, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const weights: Record<string, Tensor> = {}
    const upload = Effect.fnUntraced(function* ({ isFresh, name, read, shape }: WeightSource<E>) {
      const values = yield* read
      if (name.startsWith(prefix) && blockLinear(name.slice(prefix.length)) !== undefined) {
        const names = partNames(name)
        const packed = yield* uploadPacked(values, shape)
        for (const part of ["codes", "magnitudes", "scales"] as const) weights[names[part]] = packed[part]
      } else weights[name] = yield* tensors.uploadFrozen(values, shape)
      if (isFresh === true) release(values)
    })
    const size = ({ shape }: WeightSource<E>): number => shape.reduce((product, n) => product * n, 1)
    const largestFirst = sources.toSorted((a, b) => size(b) - size(a))
    yield* Effect.forEach(largestFirst, upload, { discard: true }).pipe(Effect.onError(() => tensors.free(weights)))
    return weights
  })

/** The model's weights with what four bits leave of the blocks' matrices: what adapters are trained beside. */
export const dequantised = <E>(sources: ReadonlyArray<WeightSource<E>>): ReadonlyArray<WeightSource<E>> =>
  sources.map((source) =>
    blockLinear(source.name) === undefined
      ? source
      : { ...source, isFresh: true, read: Effect.map(source.read, (values) => dequantiseNf4(quantiseNf4(values))) }
  )
