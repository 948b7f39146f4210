/**
 * Four bits keep what they promise: bounds of the error, fixed points, zeros; and engines compute with the same
 * matrices.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { uploadPacked } from "../../src/model/lora/Quantised.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import {
  BLOCK,
  dequantiseNf4,
  dynamicValues,
  NESTED,
  nearest,
  nf4Values,
  packedSizes,
  quantiseNf4
} from "../../src/tensor/Nf4.ts"
import { tf } from "../../src/tensor/Ops.ts"
import { fillNormal, stream } from "../../src/tensor/Random.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { cpu, relativeError, values } from "./support.ts"
import { missing } from "./torch/built.ts"

const Seed = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e6 }))
const Pairs = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3 * BLOCK }))
const normal = (size: number, seed: number, std = 1): Float32Array =>
  fillNormal(stream(seed, "nf4"), new Float32Array(size), { std })

describe("the two sets of values", () => {
  it("rise, and hold 0 and 1; the 8-bit type spans seven decades with both signs", () => {
    for (const set of [nf4Values, dynamicValues]) {
      expect([...set].every((x, i) => i === 0 || x > set[i - 1]!)).toBe(true)
      expect(set.includes(0)).toBe(true)
      expect(set[set.length - 1]).toBe(1)
    }
    expect([nf4Values.length, dynamicValues.length]).toEqual([16, 256])
    // 1 + 2 + .. + 64 fractions of each sign; the smallest is the middle of [0.1, 1] in millionths.
    expect(dynamicValues.filter((x) => x < 0).length).toBe(127)
    expect(Math.min(...dynamicValues.filter((x) => x > 0)) / 0.55e-6).toBeCloseTo(1, 6)
    // The largest fraction below 1 is the middle of the last of 64 intervals.
    expect(dynamicValues[0]).toBeCloseTo(-(1 - 0.9 / 128), 6)
  })

  it.prop("`nearest` finds what a search through all finds", { x: Schema.Finite }, ({ x }) => {
    for (const set of [nf4Values, dynamicValues]) {
      const far = [...set].map((value) => Math.abs(value - x))
      expect(far[nearest(set, x)]).toBe(Math.min(...far))
    }
  })
})

describe("four bits", () => {
  it.prop(
    "keep each weight within half a gap of its block's largest, and of what that lost",
    [Seed, Pairs],
    ([seed, pairs]) => {
      const weights = normal(2 * pairs, seed)
      const packed = quantiseNf4(weights)
      const back = dequantiseNf4(packed)
      // The widest gap between two values is 0.304; a magnitude loses at most half the 8-bit type's widest gap, 0.014
      // of its nested block's largest.
      const scale = Math.max(...packed.scales.slice(0, -1))
      for (const [i, x] of weights.entries()) {
        const block = weights.subarray(i - (i % BLOCK), i - (i % BLOCK) + BLOCK)
        const largest = block.reduce((most, one) => Math.max(most, Math.abs(one)), 0)
        expect(Math.abs(back[i]! - x)).toBeLessThanOrEqual(0.1525 * largest + 0.0075 * scale + 1e-6)
      }
    }
  )

  it.prop(
    "are fixed points: what was quantised once is quantised to itself where all magnitudes are equal",
    [Seed],
    ([seed]) => {
      const random = normal(256, seed)
      // Each block holds a 1, so that its largest is 1, and so is the mean.
      const weights = Float32Array.from(random, (x, i) =>
        i % BLOCK === 0 ? 1 : nf4Values[Math.floor(Math.abs(x) * 5) % 16]!
      )
      expect(dequantiseNf4(quantiseNf4(weights))).toEqual(weights)
    }
  )

  it("of a normal matrix lose 9 % of its norm, with the second quantisation hardly more than without", () => {
    const weights = normal(256 * 256, 1, 0.02)
    const once = Float32Array.from(weights)
    for (let at = 0; at < once.length; at += BLOCK) {
      const block = once.subarray(at, at + BLOCK)
      const largest = block.reduce((most, one) => Math.max(most, Math.abs(one)), 0)
      for (let i = 0; i < block.length; i++) block[i] = nf4Values[nearest(nf4Values, block[i]! / largest)]! * largest
    }
    const [single, double] = [relativeError(once, weights), relativeError(dequantiseNf4(quantiseNf4(weights)), weights)]
    expect(single).toBeGreaterThan(0.08)
    expect(double).toBeLessThan(0.1)
    expect(double).toBeLessThan(1.01 * single)
  })

  it("keep blocks of zeros zero, beside others and alone", () => {
    const mixed = new Float32Array(4 * BLOCK)
    mixed.set(normal(BLOCK, 3), BLOCK)
    const back = dequantiseNf4(quantiseNf4(mixed))
    for (let i = 0; i < mixed.length; i++) if (Math.floor(i / BLOCK) !== 1) expect(back[i]).toBe(0)
    const zeros = new Float32Array(2 * BLOCK + 6)
    expect(dequantiseNf4(quantiseNf4(zeros))).toEqual(zeros)
  })

  it("take 0.516 bytes a weight", () => {
    const { codes, magnitudes, scales } = packedSizes(2560 * 10_240)
    expect((codes + magnitudes + 4 * scales) / (2560 * 10_240)).toBeCloseTo(0.5 + 1 / 64 + 4 / (BLOCK * NESTED), 6)
  })
})

const engines = [
  ["wasm", Engine.wasm, ""],
  ["plain operations", cpu, ""],
  ["torch", Engine.torch, missing]
] as const

for (const [name, engine, why] of engines)
  describe.skipIf(why !== "")(`${name}${why}`, () => {
    for (const [outputs, inputs] of [
      [96, 128],
      // Blocks that cross rows, and a last one that is not full.
      [7, 46]
    ] as const)
      it.effect(`multiplies with the very matrix that the definition gives: ${outputs} x ${inputs}`, () =>
        Effect.gen(function* () {
          const tensors = yield* Tensors
          const weights = normal(outputs * inputs, 5)
          const packed = yield* uploadPacked(weights, [outputs, inputs])
          const out = yield* tensors.run((c) => c.nf4Linear(tf.eye(inputs), { ...packed }))
          const read = yield* tensors.read(out)
          const expected = dequantiseNf4(quantiseNf4(weights))
          // Rows of the identity give the matrix's columns.
          for (let o = 0; o < outputs; o++)
            for (let i = 0; i < inputs; i++) expect(read[i * outputs + o]).toBe(expected[o * inputs + i])
          yield* tensors.free(out, { ...packed })
        }).pipe(Effect.provide(engine))
      )

    it.effect("value and gradient by x are those of a linear with that matrix, and nothing leaks", () =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const [rows, outputs, inputs] = [6, 32, 64]
        const weights = normal(outputs * inputs, 6)
        const matrix = yield* tensors.upload(dequantiseNf4(quantiseNf4(weights)), [outputs, inputs])
        const bias = yield* tensors.upload(values(outputs, 2), [outputs])
        const x = yield* tensors.upload(values(rows * inputs, 3), [2, rows / 2, inputs])
        const packed = yield* uploadPacked(weights, [outputs, inputs])
        const measured = (quantised: boolean) =>
          Effect.gen(function* () {
            const { grads, value } = yield* tensors.valueAndGrad(
              (c, v) => {
                const half = tf.mul(v["x"]!, tf.scalar(0.5))
                const y = quantised ? c.nf4Linear(half, packed, bias) : c.linear(half, matrix, bias)
                return tf.sum(tf.mul(y, tf.tensor(values(y.size, 9), y.shape)))
              },
              { x }
            )
            const gradient = yield* tensors.read(grads["x"]!)
            yield* tensors.free(grads)
            return { value, gradient }
          })
        yield* measured(true)
        const before = yield* tensors.memory
        const [ours, plain] = [yield* measured(true), yield* measured(false)]
        const after = yield* tensors.memory
        expect(relativeError([ours.value], [plain.value])).toBeLessThan(1e-6)
        expect(relativeError(ours.gradient, plain.gradient)).toBeLessThan(1e-6)
        expect(after.tensors).toBe(before.tensors)
        yield* tensors.free(matrix, bias, x, { ...packed })
      }).pipe(Effect.provide(engine))
    )

    it.effect("parts that do not fit are typed errors", () =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const packed = yield* uploadPacked(normal(64 * 4, 7), [4, 64])
        const x = yield* tensors.upload(values(60, 1), [1, 60])
        const wide = yield* Effect.flip(tensors.run((c) => c.nf4Linear(x, packed)))
        expect(wide).toMatchObject({ _tag: "ShapeMismatch", operation: "nf4Linear" })
        const odd = yield* Effect.flip(uploadPacked(normal(15, 1), [3, 5]))
        expect(odd).toMatchObject({ _tag: "ShapeMismatch", operation: "nf4" })
        yield* tensors.free(x, { ...packed })
      }).pipe(Effect.provide(engine))
    )
  })

describe.skipIf(missing !== "")(`memory on torch${missing}`, () => {
  it.effect("matrices take 0.516 bytes a weight, and a gradient pass holds one of them dequantised, not all", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const [layers, width] = [12, 512]
      const floats = normal(width * width, 8, 0.05)
      const start = yield* tensors.memory
      const packed = yield* Effect.forEach(Array.from({ length: layers }), () => uploadPacked(floats, [width, width]))
      const held = yield* tensors.memory
      const weights = layers * width * width
      expect((held.tensorBytes - start.tensorBytes) / weights).toBeCloseTo(0.516, 3)
      expect((held.engineBytes - start.engineBytes) / weights).toBeLessThan(0.52)
      const x = yield* tensors.upload(values(4 * width, 1), [4, width])
      const pass = tensors.valueAndGrad(
        (c, v) => tf.sum(packed.reduce((y, one) => c.nf4Linear(y, one), tf.mul(v["x"]!, tf.scalar(0.1)))),
        { x }
      )
      yield* tensors.free((yield* pass).grads)
      const before = yield* tensors.memory
      const { grads } = yield* pass
      const after = yield* tensors.memory
      yield* tensors.free(grads)
      // A matrix is 1 MiB in float32; twelve of them kept for the pass back would be 12.
      expect(after.peakBytes! - before.engineBytes).toBeLessThan(2 * 4 * width * width)
      yield* tensors.free(x, ...packed.map((one) => ({ ...one })))
    }).pipe(Effect.provide(Engine.torch))
  )
})
