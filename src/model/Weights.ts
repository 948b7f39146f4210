/**
 * Named weights on their way between files, seeds and an engine, one tensor in memory at a time.
 *
 * Not a file format (`Checkpoint.ts`), not what a file must hold (`Match.ts`) and not a naming scheme (`Names.ts` of
 * each model). Our names are those of the stock Hugging Face classes; a model made of models prefixes them
 * (`language.model.embed_tokens.weight`).
 */
import { Effect } from "effect"
import type { TensorError } from "../tensor/Errors.ts"
import type { Tensor, Weights } from "../tensor/Ops.ts"
import { fillNormal, stream } from "../tensor/Random.ts"
import { Tensors } from "../tensor/Tensors.ts"
import { release } from "./Dtype.ts"

/** A weight that can be had: from a file, or from a seed. */
export interface WeightSource<E = never> {
  readonly name: string
  readonly shape: ReadonlyArray<number>
  readonly read: Effect.Effect<Float32Array, E>
  /** Each read makes an array of its own: whoever has used it may give its memory back. */
  readonly isFresh?: boolean
}

export type Shapes = Readonly<Record<string, ReadonlyArray<number>>>

const sizeOf = ({ shape }: WeightSource<unknown>): number => shape.reduce((product, n) => product * n, 1)

/**
 * Uploads every source in turn, the largest first: what one takes on its way comes on top of what is there, so the peak
 * stays within a few percent of what the engine keeps. The caller owns the tensors; a failure frees those already
 * uploaded.
 *
 * `frozen`: nothing trains them, so they may be kept as narrow as the engine computes.
 *
 * @example const weights = yield* uploadWeights(yield* phiSources(checkpoint, config))
 */
export const uploadWeights = <E>(
  sources: ReadonlyArray<WeightSource<E>>,
  { frozen = false }: { readonly frozen?: boolean } = {}
): Effect.Effect<Weights, E | TensorError, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const upload = frozen ? tensors.uploadFrozen : tensors.upload
    const uploaded: Record<string, Tensor> = {}
    yield* Effect.forEach(
      sources.toSorted((a, b) => sizeOf(b) - sizeOf(a)),
      (source) =>
        Effect.gen(function* () {
          const values = yield* source.read
          uploaded[source.name] = yield* upload(values, source.shape)
          if (source.isFresh === true) release(values)
        }),
      { discard: true }
    ).pipe(Effect.onError(() => tensors.free(uploaded)))
    // Named in the order of the sources, which sums over weights follow.
    return Object.fromEntries(sources.map(({ name }) => [name, uploaded[name]!]))
  })

/**
 * The weights under a prefix, with the prefix taken off: `language.lm_head.weight` is `lm_head.weight` of `language.`.
 */
export const under = <A>(weights: Readonly<Record<string, A>>, prefix: string): Record<string, A> =>
  Object.fromEntries(
    Object.entries(weights).flatMap(([name, w]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), w]] : []))
  )

/** The weights with a prefix put on. */
export const prefixed = <A>(weights: Readonly<Record<string, A>>, prefix: string): Record<string, A> =>
  Object.fromEntries(Object.entries(weights).map(([name, w]) => [prefix + name, w]))

/** Sources renamed with a prefix. */
export const prefixedSources = <E>(
  sources: ReadonlyArray<WeightSource<E>>,
  prefix: string
): ReadonlyArray<WeightSource<E>> => sources.map((source) => ({ ...source, name: prefix + source.name }))

/**
 * Fresh weights of these shapes: norms one, biases zero, the rest normal with `std`; a pure function of (seed, name).
 *
 * @example yield* uploadWeights(initialWeights(phiShapes(config), 0, 0.02))
 */
export const initialWeights = (shapes: Shapes, seed: number, std: number): ReadonlyArray<WeightSource> =>
  Object.entries(shapes).map(([name, shape]) => ({
    name,
    shape,
    read: Effect.sync(() => {
      const values = new Float32Array(shape.reduce((product, n) => product * n, 1))
      if (name.endsWith(".bias")) return values
      if (isNorm(name)) return values.fill(1)
      return fillNormal(stream(seed, "init", name), values, { std })
    })
  }))

/** Whether a name is of a layer norm: `input_layernorm`, `layer_norm1`, `pre_layrnorm` (so spelled). */
export const isNorm = (name: string): boolean => /lay(er|r)?_?norm/.test(name)
