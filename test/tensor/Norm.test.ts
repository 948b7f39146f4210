/**
 * Norms of gradients: every engine's equals the definition in doubles, whatever the length and however unlike the
 * values. Sums in f32 do not: small squares are lost beside a large sum.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Engine from "../../src/tensor/Engine.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { cpu, values } from "./support.ts"
import { missing } from "./torch/built.ts"

/** Square root of the sum of all squares, value by value. */
const reference = (tensors: ReadonlyArray<Float32Array>): number => {
  let sum = 0
  for (const one of tensors) for (const x of one) sum += x * x
  return Math.sqrt(sum)
}

const normOf = (tensors: ReadonlyArray<Float32Array>) =>
  Effect.gen(function* () {
    const engine = yield* Tensors
    const before = yield* engine.memory
    const uploaded = yield* Effect.forEach(tensors, (one) => engine.upload(one, [one.length]))
    const named = Object.fromEntries(uploaded.map((tensor, i) => [`t${i}`, tensor]))
    const norm = yield* engine.norm(named)
    yield* engine.free(named)
    expect((yield* engine.memory).tensors).toBe(before.tensors)
    return norm
  })

const cases = [
  ["wasm", Engine.wasm, ""],
  ["plain operations", Engine.wasmPlain, ""],
  ["TF.js cpu", cpu, ""],
  ["libtorch", Engine.torch, missing]
] as const

for (const [name, layer, why] of cases)
  describe.skipIf(why !== "")(`norm by ${name}${why}`, () => {
    it.effect.prop(
      "equals the definition in doubles within 1e-6, for any lengths and sizes of values",
      {
        sizes: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5000 }))).check(
          Schema.isBetweenLength(1, 5)
        ),
        exponent: Schema.Int.check(Schema.isBetween({ minimum: -15, maximum: 15 }))
      },
      ({ exponent, sizes }) =>
        Effect.gen(function* () {
          const tensors = sizes.map((size, i) => values(size, size + i).map((x) => x * 10 ** (exponent - i)))
          const [got, expected] = [yield* normOf(tensors), reference(tensors)]
          expect(Math.abs(got - expected)).toBeLessThanOrEqual(1e-6 * expected)
        }).pipe(Effect.provide(layer))
    )

    it.effect("keeps what is small beside a large sum, and has room for squares that f32 has not", () =>
      Effect.gen(function* () {
        const long = new Float32Array(2 ** 21).fill(1e-4)
        long[0] = 1
        const lopsided = [long, values(2 ** 20, 3)]
        for (const tensors of [lopsided, [new Float32Array(3).fill(1e25)], [new Float32Array(3).fill(1e-30)]]) {
          const expected = reference(tensors)
          expect(Math.abs((yield* normOf(tensors)) - expected)).toBeLessThanOrEqual(1e-6 * expected)
        }
        expect(yield* normOf([Float32Array.of(1, Number.NaN)])).toBeNaN()
        expect(yield* normOf([Float32Array.of(1, Number.NEGATIVE_INFINITY)])).toBe(Number.POSITIVE_INFINITY)
      }).pipe(Effect.provide(layer))
    )
  })
