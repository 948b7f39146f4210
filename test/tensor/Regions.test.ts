/**
 * Every native region equals its plain form: values within 2e-6, gradients within 2e-5 (norm of the difference over
 * norm), and the plain form on wasm equals the plain form on the independent cpu backend.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Engine from "../../src/tensor/Engine.ts"
import { tf } from "../../src/tensor/Ops.ts"
import { gradients } from "../../src/tensor/Tape.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { type Case, cases, ints } from "./regionCases.ts"
import { cpu, relativeError, values } from "./support.ts"

const evaluate = (c: Case) =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const before = yield* tensors.memory
    const results = yield* tensors.run((compute) => {
      const xs = c.shapes.map((shape, i) => tf.tensor(values(tf.util.sizeFromShape([...shape]), i + 7), [...shape]))
      const shape = c.f(compute, xs).shape
      const dy = tf.tensor(values(tf.util.sizeFromShape(shape), 99), shape)
      const { value, grads } = gradients(() => c.f(compute, xs), xs, dy)
      return [value, ...grads]
    })
    const arrays = yield* Effect.forEach(results, tensors.read)
    yield* tensors.free(...results)
    const after = yield* tensors.memory
    return { arrays, leaked: after.tensors - before.tensors }
  })

describe("Regions", () => {
  for (const c of cases)
    it.effect(`${c.name}: native equals plain, in value and gradients`, () =>
      Effect.gen(function* () {
        const native = yield* evaluate(c).pipe(Effect.provide(Engine.wasm))
        const plain = yield* evaluate(c).pipe(Effect.provide(Engine.wasmPlain))
        const reference = yield* evaluate(c).pipe(Effect.provide(cpu))
        native.arrays.forEach((array, i) => {
          const what = i === 0 ? "value" : `gradient ${i - 1}`
          expect(relativeError(array, reference.arrays[i]!), `${what}, native`).toBeLessThan(i === 0 ? 2e-6 : 2e-5)
          expect(relativeError(plain.arrays[i]!, reference.arrays[i]!), `${what}, plain`).toBeLessThan(2e-5)
        })
        // The rotary table is kept on purpose, once.
        if (c.name !== "rotary") expect(native.leaked).toBe(0)
        expect(plain.leaked).toBe(0)
      })
    )

  it.effect("shapes that do not fit are refused with a hint, and an index out of range is named", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const shape = yield* Effect.flip(tensors.run((c) => c.linear(tf.zeros([2, 3]), tf.zeros([5, 4]))))
      expect(shape).toMatchObject({ _tag: "ShapeMismatch", operation: "linear" })
      const index = yield* Effect.flip(tensors.run((c) => c.rows(tf.zeros([4, 2]), tf.tensor1d(ints(0, 4), "int32"))))
      expect(index).toMatchObject({ _tag: "ShapeMismatch", operation: "rows" })
      expect(index.message).toContain("index 4 at 1")
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("products of any transposition and broadcast batch equal the cpu backend's over tiled operands", () =>
    Effect.gen(function* () {
      const product = (tile: boolean) =>
        Effect.gen(function* () {
          const tensors = yield* Tensors
          const outs = yield* tensors.run(() =>
            [false, true].flatMap((ta) =>
              [false, true].map((tb) => {
                const a = tf.tensor(values(2 * 1 * 9 * 5, 1), ta ? [2, 1, 5, 9] : [2, 1, 9, 5])
                const b = tf.tensor(values(3 * 5 * 11, 2), tb ? [1, 3, 11, 5] : [1, 3, 5, 11])
                return tile
                  ? tf.matMul(tf.tile(a, [1, 3, 1, 1]), tf.tile(b, [2, 1, 1, 1]), ta, tb)
                  : tf.matMul(a, b, ta, tb)
              })
            )
          )
          return yield* Effect.forEach(outs, tensors.read)
        })
      const native = yield* product(false).pipe(Effect.provide(Engine.wasm))
      const reference = yield* product(true).pipe(Effect.provide(cpu))
      native.forEach((array, i) => {
        expect(relativeError(array, reference[i]!)).toBeLessThan(1e-6)
      })
    })
  )
})
