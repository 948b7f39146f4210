/**
 * Engines: an engine that is not built is a typed error, so is running out of memory, and equal work gives equal bits.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Engine from "../../src/tensor/Engine.ts"
import { tf } from "../../src/tensor/Ops.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { values } from "./support.ts"

describe("Engine", () => {
  for (const [name, text] of [
    ["tensorflow", "is installed in"],
    ["abacus", "no engine called"]
  ] as const)
    it.effect(`${name} is a typed error with a hint`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Engine.layer(name))))
        expect(error).toMatchObject({ _tag: "EngineUnavailable", engine: name })
        expect(error.message).toContain(text)
        expect(error.hint).toContain("wasm")
      })
    )

  it.effect("more memory than there is: OutOfMemory with bytes and a hint, and the engine works on", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      // Just under what 32 bits can say, and past it.
      for (const n of [2 ** 30 - 2 ** 14, 2 ** 30, 2 ** 31]) {
        const error = yield* Effect.flip(tensors.run(() => tf.fill([n], 1)))
        expect(error._tag).toBe("OutOfMemory")
        if (error._tag === "OutOfMemory") {
          expect(error.requestedBytes).toBe(4 * n)
          expect(error.hint).toContain("checkpointing")
        }
      }
      expect((yield* tensors.memory).engineBytes).toBeLessThan(2 ** 29)
      const sum = yield* tensors.run(() => tf.sum(tf.ones([10])))
      expect((yield* tensors.read(sum))[0]).toBe(10)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("the fingerprint names engine and precision, nothing of the machine", () =>
    Effect.gen(function* () {
      expect((yield* Tensors).fingerprint).toEqual({ engine: "wasm", precision: "f32" })
    }).pipe(Effect.provide(Engine.layer("wasm")))
  )

  it.effect("the same gradient twice is the same to the bit", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const once = Effect.gen(function* () {
        const w = yield* tensors.upload(values(96 * 96, 1), [96, 96])
        const x = yield* tensors.upload(values(40 * 96, 2), [2, 20, 96])
        const { value, grads } = yield* tensors.valueAndGrad(
          (c, { w }) => {
            const q = c.linear(x, w!)
            return tf.sum(tf.square(c.attention(q, c.gelu(q, "tanh"), q, { heads: 3, mask: { kind: "none" } })))
          },
          { w }
        )
        const g = yield* tensors.read(grads["w"]!)
        yield* tensors.free(w, x, grads)
        return { value, g }
      })
      expect(yield* once).toEqual(yield* once)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect(
    "shapes that cannot be multiplied are refused, and an operation that throws is EngineFailure with its cause",
    () =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const shapes = yield* Effect.flip(tensors.run(() => tf.matMul(tf.zeros([2, 3]), tf.zeros([2, 3]))))
        expect(shapes).toMatchObject({ _tag: "ShapeMismatch", operation: "matMul" })
        const error = yield* Effect.flip(tensors.run(() => tf.reshape(tf.zeros([2, 3]), [5])))
        expect(error._tag).toBe("EngineFailure")
        expect(error.message).toContain("6")
      }).pipe(Effect.provide(Engine.wasm))
  )
})
