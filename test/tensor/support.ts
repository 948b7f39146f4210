/** Helpers of the tensor tests: the cpu engine, seeded values, and a relative error. */
import { Effect, Layer } from "effect"
import { tf } from "../../src/tensor/Ops.ts"
import { makeTensors, Tensors } from "../../src/tensor/Tensors.ts"
import { MathBackendCPU } from "../../src/tensor/vendor/tfjs-cpu.js"

/** TF.js's cpu backend with every region plain: slow, and independent of the wasm kernels. */
export const cpu: Layer.Layer<Tensors> = Layer.effect(
  Tensors,
  Effect.promise(async () => {
    if (tf.findBackend("cpu") == null) tf.registerBackend("cpu", () => new MathBackendCPU())
    await tf.setBackend("cpu")
    return makeTensors({ name: "cpu", backendName: "cpu", oneThread: true, native: {}, engineBytes: () => 0 })
  })
)

/** Repeatable values in about -2..2. */
export const values = (n: number, seed: number): Float32Array => {
  let state = (seed * 2654435761 + 12345) >>> 0
  return Float32Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state / 2 ** 32) * 4 - 2
  })
}

/** |a - b| / |b|, in norms; 0 when both are zero. */
export const relativeError = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY
  let [difference, norm] = [0, 0]
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2
    norm += b[i]! ** 2
  }
  return difference === 0 ? 0 : Math.sqrt(difference / norm)
}
