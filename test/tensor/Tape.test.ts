/** Gradients: right against finite differences, nested, and nothing left behind, errors included. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Engine from "../../src/tensor/Engine.ts"
import { tf } from "../../src/tensor/Ops.ts"
import { gradients, isWanted, recomputed } from "../../src/tensor/Tape.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { relativeError, values } from "./support.ts"

const f = (x: tf.Tensor, w: tf.Tensor) => tf.sum(tf.square(tf.tanh(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D))))

describe("Tape", () => {
  it.effect("gradients equal finite differences within 1e-3, and tf.grads within 1e-6", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const [x0, w0] = [values(6, 1), values(12, 2)]
      const result = yield* tensors.run(() => {
        const [x, w] = [tf.tensor2d(x0, [2, 3]), tf.tensor2d(w0, [3, 4])]
        const theirs = tf.grads(f)([x, w])
        const { grads } = gradients(() => f(x, w), [x, w])
        return { ours: grads, theirs }
      })
      for (const i of [0, 1])
        expect(
          relativeError(yield* tensors.read(result.ours[i]!), yield* tensors.read(result.theirs[i]!))
        ).toBeLessThan(1e-6)
      const at = (w: Float32Array) =>
        Effect.gen(function* () {
          const y = yield* tensors.run(() => f(tf.tensor2d(x0, [2, 3]), tf.tensor2d(w, [3, 4])))
          return (yield* tensors.read(y))[0]!
        })
      const numeric: Array<number> = []
      for (let i = 0; i < w0.length; i++) {
        const [up, down] = [w0.slice(), w0.slice()]
        up[i]! += 1e-2
        down[i]! -= 1e-2
        numeric.push(((yield* at(up)) - (yield* at(down))) / 2e-2)
      }
      expect(relativeError(yield* tensors.read(result.ours[1]!), numeric)).toBeLessThan(1e-3)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("a tensor used twice, one not used, and one used past a checkpoint in a checkpoint", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const before = yield* tensors.memory
      const grads = yield* tensors.run(() => {
        const [x, w, unused] = [tf.tensor1d([1, 2, 3]), tf.tensor1d([2, 2, 2]), tf.tensor1d([5])]
        const inner = (y: tf.Tensor) => tf.mul(y, w)
        const outer = (y: tf.Tensor) => tf.mul(recomputed(inner, y, { w }), tf.add(w, x))
        const make = (wrap: boolean) =>
          gradients(() => tf.sum(wrap ? recomputed(outer, x, { w, x }) : outer(x)), [x, w, unused]).grads
        return [...make(false), ...make(true)]
      })
      const arrays = yield* Effect.forEach(grads, tensors.read)
      // d/dx sum(x w (w + x)) = w^2 + 2 x w; d/dw = 2 x w + x^2.
      expect([...arrays[0]!]).toEqual([8, 12, 16])
      expect([...arrays[1]!]).toEqual([5, 12, 21])
      expect([...arrays[2]!]).toEqual([0])
      expect(arrays.slice(3)).toEqual(arrays.slice(0, 3))
      yield* tensors.free(...grads)
      expect((yield* tensors.memory).tensors).toBe(before.tensors)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("an error inside leaves no tensor and no recording behind", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const w = yield* tensors.run(() => tf.ones([3]))
      const before = yield* tensors.memory
      const error = yield* Effect.flip(
        tensors.valueAndGrad(
          (c, { w }) => {
            expect(isWanted(w!)).toBe(true)
            const y = c.gelu(tf.exp(w!), "tanh")
            return tf.sum(c.linear(y, tf.zeros([2, 5])))
          },
          { w }
        )
      )
      expect(error._tag).toBe("ShapeMismatch")
      expect((yield* tensors.memory).tensors).toBe(before.tensors)
      expect(isWanted(w)).toBe(false)
      const { value } = yield* tensors.valueAndGrad((_, { w }) => tf.sum(w!), { w })
      expect(value).toBe(3)
    }).pipe(Effect.provide(Engine.wasm))
  )
})
