/** AdamW: fused, plain and a slow reference in doubles agree; decay spares vectors; the recipe's numbers. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { type AdamWOptions, adamWScalars, recipeAdamW, zeroMoments } from "../../src/tensor/AdamW.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { tf } from "../../src/tensor/Ops.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { relativeError, values } from "./support.ts"

/** In doubles, from the definition. */
const reference = (
  w0: Float32Array,
  gradients: ReadonlyArray<Float32Array>,
  o: AdamWOptions,
  lr: number,
  decay: number
) => {
  const [w, m, v] = [Float64Array.from(w0), new Float64Array(w0.length), new Float64Array(w0.length)]
  for (const [t, g] of gradients.entries())
    for (let i = 0; i < w.length; i++) {
      w[i]! *= 1 - lr * decay
      m[i] = o.beta1 * m[i]! + (1 - o.beta1) * g[i]!
      v[i] = o.beta2 * v[i]! + (1 - o.beta2) * g[i]! ** 2
      const [mHat, vHat] = [m[i]! / (1 - o.beta1 ** (t + 1)), v[i]! / (1 - o.beta2 ** (t + 1))]
      w[i]! -= (lr * mHat) / (Math.sqrt(vHat) + o.eps)
    }
  return { w, m, v }
}

describe("AdamW", () => {
  for (const [name, engine] of [
    ["fused", Engine.wasm],
    ["plain", Engine.wasmPlain]
  ] as const)
    it.effect(`${name}: ten updates equal the definition in doubles within 1e-6, moments too`, () =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const shapes = { matrix: [3, 7], vector: [13], scalar: [] }
        const initial = Object.fromEntries(
          Object.entries(shapes).map(([n, shape], i) => [n, values(tf.util.sizeFromShape(shape), i)])
        )
        const weights = yield* tensors.run(
          () =>
            Object.fromEntries(
              Object.entries(shapes).map(([n, shape]) => [n, tf.tensor(initial[n]!, shape)])
            ) as tf.NamedTensorMap
        )
        const moments = yield* tensors.run(() => zeroMoments(weights) as { m: tf.NamedTensorMap; v: tf.NamedTensorMap })
        let state: Parameters<typeof tensors.adamW>[0] = { weights, ...moments }
        const gradient = (n: string, step: number) => values(initial[n]!.length, 100 + step).map((x) => x * 10 ** -step)
        const before = yield* tensors.memory
        for (let step = 0; step < 10; step++) {
          const grads = yield* tensors.run(
            () =>
              Object.fromEntries(
                Object.entries(shapes).map(([n, shape]) => [n, tf.tensor(gradient(n, step), shape)])
              ) as tf.NamedTensorMap
          )
          state = yield* tensors.adamW(state, grads, recipeAdamW, 1e-2, step + 1)
        }
        expect((yield* tensors.memory).tensors).toBe(before.tensors)
        for (const n of Object.keys(shapes)) {
          const expected = reference(
            initial[n]!,
            Array.from({ length: 10 }, (_, step) => gradient(n, step)),
            recipeAdamW,
            1e-2,
            n === "matrix" ? 0.1 : 0
          )
          expect(relativeError(yield* tensors.read(state.weights[n]!), expected.w), n).toBeLessThan(1e-6)
          expect(relativeError(yield* tensors.read(state.m[n]!), expected.m), n).toBeLessThan(1e-6)
          expect(relativeError(yield* tensors.read(state.v[n]!), expected.v), n).toBeLessThan(1e-6)
        }
      }).pipe(Effect.provide(engine))
    )

  it("the recipe's optimiser is Adam .9 / .98, eps 1e-7, decay .1 on matrices only", () => {
    expect(recipeAdamW).toEqual({ beta1: 0.9, beta2: 0.98, eps: 1e-7, weightDecay: 0.1 })
    expect(adamWScalars(recipeAdamW, 3e-5, 1, 2).keep).toBe(1 - 3e-5 * 0.1)
    expect(adamWScalars(recipeAdamW, 3e-5, 1, 1).keep).toBe(1)
  })
})
