/**
 * The one service that hides the engine: gradients, checkpointing, the optimiser's step, memory, and the fused regions.
 *
 * Model code is a plain function of a `Compute` and tensors, runs inside `run` or `valueAndGrad`, and names no engine.
 * An engine with its own autograd (libtorch) implements `TensorsShape` with its own tape; engines that are a TF.js
 * backend share `makeTensors`.
 *
 * Lifetimes: whatever is made inside `run` or `valueAndGrad` and not returned is freed when it ends, error or not.
 * What is returned belongs to the caller, who frees it with `free`.
 */
import { Context, Effect } from "effect"
import { type AdamWOptions, type AdamWScalars, adamWScalars, type OptimiserTensors, plainAdamW } from "./AdamW.ts"
import type { Join } from "./Collective.ts"
import type { TensorError } from "./Errors.ts"
import { nf4LinearBy, type PackedTensors } from "./Nf4.ts"
import type { Tensor, Weights } from "./Ops.ts"
import { tf } from "./Ops.ts"
import { plain, type Regions } from "./Regions.ts"
import { checkAdamW, checkLoss, freeAll, running } from "./Running.ts"
import { gradients, recomputed, withoutTape } from "./Tape.ts"

/** What decides the bits of a result besides its inputs; reaches the keys of nodes that compute with an engine. */
export interface Fingerprint {
  readonly engine: string
  readonly precision: "f32" | "bf16"
}

export interface Memory {
  /** Tensors alive. */
  readonly tensors: number
  /** Bytes of tensors alive. */
  readonly tensorBytes: number
  /** Bytes the engine holds from the system; for wasm the heap, which only grows. */
  readonly engineBytes: number
  /** The most bytes there were since memory was last asked for, where the engine counts them. */
  readonly peakBytes?: number
}

/** What model code computes with. */
export interface Compute extends Regions {
  /** Runs a pure `block` keeping only its input, again when its gradient is asked for. `weights`: what it reads. */
  readonly recomputed: (block: (x: Tensor) => Tensor, x: Tensor, weights: Weights) => Tensor
  /**
   * `crossEntropy(linear(x, weight, bias), labels, normaliser)`: a head and its loss, in which logits need not be kept.
   */
  readonly linearCrossEntropy: (
    x_ND: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | undefined,
    labels_N: Tensor,
    normaliser: number
  ) => Tensor
  /**
   * Bytes of images as they are stored to what a tower takes: x[m, c, y, x] = levels[c][bytes[m, y, x, c]]. `shape` is
   * `[M, height, width, C]`, each of the C `levels` has 256 numbers. Not differentiable.
   */
  readonly pixels: (
    bytes_MHWC: Uint8Array,
    shape: readonly [number, number, number, number],
    levels: ReadonlyArray<Float32Array>
  ) => Tensor
  /** Bytes as they are, one each. Nothing but what takes them (`nf4Linear`) may read the tensor. */
  readonly bytes: (values: Uint8Array, shape: ReadonlyArray<number>) => Tensor
  /** y = x W^T + b of a frozen matrix in four bits (`Nf4.ts`). Differentiable in x alone. */
  readonly nf4Linear: (x: Tensor, packed: PackedTensors, bias_O?: Tensor) => Tensor
  /** Logits that `linearCrossEntropy` is best given at once; a caller cuts more into recomputed runs. */
  readonly logitsAtOnce: number
}

export interface TensorsShape {
  readonly fingerprint: Fingerprint
  /** Computes on the calling thread alone, so that engines of other threads can take a share of the work. */
  readonly oneThread: boolean
  /** Runs `f` without recording gradients. */
  readonly run: <A extends tf.TensorContainer>(f: (compute: Compute) => A) => Effect.Effect<A, TensorError>
  /**
   * The value of the scalar `f` and its gradient by each of `variables`; everything else is frozen. With `into`, the
   * gradients are added to it and it is consumed.
   */
  readonly valueAndGrad: (
    f: (compute: Compute, variables: Weights) => Tensor,
    variables: Weights,
    into?: Weights
  ) => Effect.Effect<{ readonly value: number; readonly grads: Weights }, TensorError>
  /**
   * One AdamW update, number `update` (first 1). Consumes `state` and `grads`, which has a gradient for every weight.
   */
  readonly adamW: (
    state: OptimiserTensors,
    grads: Weights,
    options: AdamWOptions,
    lr: number,
    update: number
  ) => Effect.Effect<OptimiserTensors, TensorError>
  /** Euclidean norm over all of `tensors`, at least one; squares are summed in doubles. */
  readonly norm: (tensors: Weights) => Effect.Effect<number, TensorError>
  /** Float32 values to the engine; `values` may be reused afterwards. */
  readonly upload: (
    values: Float32Array | Int32Array,
    shape: ReadonlyArray<number>
  ) => Effect.Effect<Tensor, TensorError>
  /**
   * Weights that nothing trains, kept as wide as the engine computes with them: half an `upload` where that is
   * bfloat16.
   */
  readonly uploadFrozen: (values: Float32Array, shape: ReadonlyArray<number>) => Effect.Effect<Tensor, TensorError>
  /** Values back from the engine, in row-major order. */
  readonly read: (tensor: Tensor) => Effect.Effect<Float32Array | Int32Array, TensorError>
  /** Frees tensors; freeing twice is harmless. */
  readonly free: (...tensors: ReadonlyArray<Tensor | Weights>) => Effect.Effect<void>
  readonly memory: Effect.Effect<Memory>
  /** How processes compute together with this engine; absent where they cannot. */
  readonly join?: Join
}

/** The engine-neutral tensor service. Layers are in `Engine.ts`. */
export class Tensors extends Context.Service<Tensors, TensorsShape>()("millrace/tensor/Tensors") {}

/** A TF.js backend, seen from here. */
export interface TfEngine {
  readonly name: string
  /** The registered TF.js backend. */
  readonly backendName: string
  readonly oneThread: boolean
  /** Regions the engine provides; the rest run from plain operations. */
  readonly native: Partial<Regions>
  readonly adamW?: (w: Tensor, m: Tensor, v: Tensor, g: Tensor, scalars: AdamWScalars) => [Tensor, Tensor, Tensor]
  /** The sum of a float tensor's squares in doubles; without it, values are read and summed here. */
  readonly squares?: (t: Tensor) => number
  readonly engineBytes: () => number
}

/** 16 MiB of float32. */
const LOGITS_AT_ONCE = 2 ** 22

/** `Compute.pixels` on this side of the engine. */
export const uploadPixels: Compute["pixels"] = (bytes_MHWC, [images, height, width, channels], levels) => {
  const plane = height * width
  const out = new Float32Array(images * plane * channels)
  for (let image = 0; image < images; image++)
    for (let channel = 0; channel < channels; channel++) {
      const level = levels[channel]!
      const from = image * plane * channels + channel
      const to = (image * channels + channel) * plane
      for (let i = 0; i < plane; i++) out[to + i] = level[bytes_MHWC[from + i * channels]!]!
    }
  return tf.tensor4d(out, [images, channels, height, width])
}

/** `TfEngine.squares` from values that are read. In f32 a long sum loses what is small beside it. */
const plainSquares = (t: Tensor): number => {
  let sum = 0
  for (const one of t.dataSync() as Float32Array) sum += one * one
  return sum
}

/** `TensorsShape` over a TF.js backend, with the tape of `Tape.ts`. */
export const makeTensors = (engine: TfEngine): TensorsShape => {
  const regions: Regions = { ...plain, ...engine.native }
  const compute: Compute = {
    ...regions,
    recomputed,
    linearCrossEntropy: (x, w, b, labels, normaliser) =>
      regions.crossEntropy(regions.linear(x, w, b), labels, normaliser),
    pixels: uploadPixels,
    bytes: (values, shape) => tf.tensor(values, [...shape], "bool"),
    nf4Linear: nf4LinearBy(regions.linear),
    logitsAtOnce: LOGITS_AT_ONCE
  }
  const active = running(engine.name, engine.backendName)
  return {
    fingerprint: { engine: engine.name, precision: "f32" },
    oneThread: engine.oneThread,
    run: (f) => active(() => withoutTape(() => tf.tidy(() => f(compute)))),
    valueAndGrad: (f, variables, into) =>
      active(() => {
        const names = Object.keys(variables)
        const { value, grads } = gradients(
          () => f(compute, variables),
          names.map((name) => variables[name]!)
        )
        if (value.size !== 1) freeAll([value, ...grads])
        checkLoss(value)
        const loss = value.dataSync()[0]!
        value.dispose()
        return {
          value: loss,
          grads: Object.fromEntries(
            names.map((name, i) => {
              const before = into?.[name]
              if (before === undefined) return [name, grads[i]!]
              const sum = tf.add(before, grads[i]!)
              freeAll([before, grads[i]!])
              return [name, sum]
            })
          )
        }
      }),
    adamW: (state, grads, options, lr, update) =>
      active(() => {
        const next = { weights: {}, m: {}, v: {} } as Record<keyof OptimiserTensors, Record<string, Tensor>>
        checkAdamW(state, grads)
        for (const [name, w] of Object.entries(state.weights)) {
          const [m, v, g] = [state.m[name]!, state.v[name]!, grads[name]!]
          const scalars = adamWScalars(options, lr, update, w.rank)
          const [w2, m2, v2] = tf.tidy(() => (engine.adamW ?? plainAdamW)(w, m, v, g, scalars))
          next.weights[name] = w2
          next.m[name] = m2
          next.v[name] = v2
          freeAll([w, m, v, g])
        }
        return next
      }),
    norm: (tensors) =>
      active(() => {
        const squares = engine.squares ?? plainSquares
        return Math.sqrt(Object.values(tensors).reduce((sum, t) => sum + squares(t), 0))
      }),
    upload: (values, shape) =>
      active(() => tf.tensor(values, [...shape], values instanceof Int32Array ? "int32" : "float32")),
    uploadFrozen: (values, shape) => active(() => tf.tensor(values, [...shape], "float32")),
    read: (tensor) => active(() => tensor.dataSync() as Float32Array | Int32Array),
    free: (...tensors) => Effect.sync(() => freeAll(tensors)),
    memory: Effect.sync(() => {
      const { numTensors, numBytes } = tf.memory()
      return { tensors: numTensors, tensorBytes: numBytes, engineBytes: engine.engineBytes() }
    })
  }
}
