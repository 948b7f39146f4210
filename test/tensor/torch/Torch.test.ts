/** The torch engine against plain operations, the goldens and itself; skipped by name where it cannot be built. */
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { recipeAdamW, zeroMoments } from "../../../src/tensor/AdamW.ts"
import * as Engine from "../../../src/tensor/Engine.ts"
import { tf, type Weights } from "../../../src/tensor/Ops.ts"
import { stream } from "../../../src/tensor/Random.ts"
import type { Compute } from "../../../src/tensor/Tensors.ts"
import { Tensors, uploadPixels } from "../../../src/tensor/Tensors.ts"
import { openAddon } from "../../../src/tensor/torch/Addon.ts"
import { TorchBackend } from "../../../src/tensor/torch/Backend.ts"
import { gatherPixels } from "../../../src/tensor/torch/Pixels.ts"
import { type Case, cases } from "../regionCases.ts"
import { cpu, relativeError, values } from "../support.ts"
import { missing, root, tsx } from "./built.ts"

/** The region weighed by fixed numbers, and its gradient by every input. */
const gradient = (c: Case) =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const variables: Record<string, tf.Tensor> = {}
    for (const [i, shape] of c.shapes.entries())
      variables[`x${i}`] = yield* tensors.upload(values(tf.util.sizeFromShape([...shape]), i + 7), shape)
    const weighed = (compute: Compute, xs: Weights) => {
      const y = c.f(compute, Object.values(xs))
      return tf.sum(tf.mul(y, tf.tensor(values(y.size, 99), y.shape)))
    }
    const before = yield* tensors.memory
    const { grads, value } = yield* tensors.valueAndGrad(weighed, variables)
    const arrays = yield* Effect.forEach(Object.values(grads), tensors.read)
    yield* tensors.free(grads)
    const after = yield* tensors.memory
    yield* tensors.free(variables)
    return { value, arrays, leaked: after.tensors - before.tensors }
  })

describe.skipIf(missing !== "")(`the torch engine${missing}`, () => {
  for (const c of cases)
    it.effect(`${c.name}: value and gradients equal the plain form's on the cpu backend`, () =>
      Effect.gen(function* () {
        const ours = yield* gradient(c).pipe(Effect.provide(Engine.torch))
        const reference = yield* gradient(c).pipe(Effect.provide(cpu))
        expect(relativeError([ours.value], [reference.value])).toBeLessThan(1e-5)
        for (const [i, array] of ours.arrays.entries())
          expect(relativeError(array, reference.arrays[i]!), `gradient ${i}`).toBeLessThan(2e-5)
        // The rotary table is kept on purpose, once.
        if (c.name !== "rotary") expect(ours.leaked).toBe(0)
      })
    )

  it.effect("in bfloat16 every region is near its plain form, and its gradients are f32", () =>
    Effect.gen(function* () {
      for (const c of cases) {
        const ours = yield* gradient(c).pipe(Effect.provide(Engine.torchBf16))
        const reference = yield* gradient(c).pipe(Effect.provide(cpu))
        // bfloat16 keeps 8 bits: half a unit of the last is 0.2 %, and a region rounds a few times.
        for (const [i, array] of ours.arrays.entries())
          expect(relativeError(array, reference.arrays[i]!), `${c.name}, gradient ${i}`).toBeLessThan(2e-2)
        if (c.name !== "rotary") expect(ours.leaked, c.name).toBe(0)
      }
    })
  )

  it.effect("a head that is cut into runs has the loss and the gradients of whole logits, in f32 and bf16", () =>
    Effect.gen(function* () {
      const [rows, width, vocabulary] = [400, 8, 50_000] as const
      const labels = Int32Array.from({ length: rows }, (_, i) => (i % 3 === 0 ? -100 : (i * 977) % vocabulary))
      const measured = (whole: boolean) =>
        Effect.gen(function* () {
          const tensors = yield* Tensors
          const x = yield* tensors.upload(values(rows * width, 1), [rows, width])
          const w = yield* tensors.upload(values(vocabulary * width, 2), [vocabulary, width])
          const b = yield* tensors.upload(values(vocabulary, 3), [vocabulary])
          const before = yield* tensors.memory
          const { grads, value } = yield* tensors.valueAndGrad(
            (c, v) => {
              const y = tf.mul(v["x"]!, tf.scalar(2))
              const targets = tf.tensor1d(labels, "int32")
              const loss = whole
                ? c.crossEntropy(c.linear(y, v["w"]!, v["b"]), targets, 7)
                : c.linearCrossEntropy(y, v["w"]!, v["b"], targets, 7)
              return tf.mul(loss, tf.scalar(0.5))
            },
            { x, w, b }
          )
          const arrays = yield* Effect.forEach(Object.values(grads), tensors.read)
          const held = (yield* tensors.memory).tensors - before.tensors
          yield* tensors.free(grads, { x, w, b })
          return { value, arrays, held }
        })
      const whole = yield* measured(true).pipe(Effect.provide(Engine.torch))
      for (const [engine, tolerance] of [
        [Engine.torch, 1e-5],
        [Engine.torchBf16, 2e-2]
      ] as const) {
        const cut = yield* measured(false).pipe(Effect.provide(engine))
        expect(relativeError([cut.value], [whole.value])).toBeLessThan(tolerance)
        for (const [i, array] of cut.arrays.entries())
          expect(relativeError(array, whole.arrays[i]!), `gradient ${i}`).toBeLessThan(tolerance)
        expect(cut.held).toBe(3)
      }
    })
  )

  it.effect("blocks that share an input pass its gradient on once, as their sum", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const w = yield* tensors.upload(values(64, 1), [8, 8])
      const x = yield* tensors.upload(values(32, 3), [4, 8])
      const loss = (again: boolean) => (c: Compute, weights: Weights) => {
        const input = c.linear(x, weights["w"]!)
        const parts = [1, 2, 3].map((n) => {
          const block = (y: tf.Tensor) => tf.square(tf.mul(c.linear(y, weights["w"]!), tf.scalar(n)))
          return again ? c.recomputed(block, input, weights) : block(input)
        })
        return tf.mean(tf.addN(parts))
      }
      const plainly = yield* tensors.valueAndGrad(loss(false), { w })
      const again = yield* tensors.valueAndGrad(loss(true), { w })
      expect(
        relativeError(yield* tensors.read(again.grads["w"]!), yield* tensors.read(plainly.grads["w"]!))
      ).toBeLessThan(1e-6)
    }).pipe(Effect.provide(Engine.torch))
  )

  it.effect("dropout keeps what the definition keeps, bit for bit", () =>
    Effect.gen(function* () {
      const dropped = Effect.gen(function* () {
        const tensors = yield* Tensors
        const y = yield* tensors.run((c) =>
          c.dropout(tf.ones([3, 50, 7]), [stream(1, "a"), stream(2 ** 40, "b"), stream(3)], 0.1)
        )
        return yield* tensors.read(y)
      })
      const ours = yield* dropped.pipe(Effect.provide(Engine.torch))
      expect(ours).toEqual(yield* dropped.pipe(Effect.provide(cpu)))
      expect(new Set(ours).size).toBe(2)
    })
  )

  it.effect("pixels looked up on the device are those of the host, bit for bit", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const bytes = Uint8Array.from({ length: 2 * 4 * 5 * 3 }, (_, i) => (i * 89) % 256)
      const levels = [1, 2, 3].map((n) => Float32Array.from({ length: 256 }, (_, i) => Math.sin(i * n)))
      const backend = new TorchBackend(openAddon())
      const read = (make: Compute["pixels"]) =>
        Effect.flatMap(
          tensors.run(() => make(bytes, [2, 4, 5, 3], levels)),
          (t) => Effect.ensuring(tensors.read(t), tensors.free(t))
        )
      expect(yield* read(gatherPixels(backend))).toEqual(yield* read(uploadPixels))
    }).pipe(Effect.provide(Engine.torch))
  )

  it.effect("memory: what is allocated, and the most there was since it was last asked", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const before = yield* tensors.memory
      yield* tensors.run(() => tf.sum(tf.add(tf.ones([1 << 20]), tf.scalar(1))))
      const after = yield* tensors.memory
      expect(after.peakBytes! - before.engineBytes).toBeGreaterThanOrEqual(8 << 20)
      expect(after.engineBytes - before.engineBytes).toBeLessThan(1 << 20)
      expect((yield* tensors.memory).peakBytes).toBeLessThan(after.peakBytes!)
    }).pipe(Effect.provide(Engine.torch))
  )

  it.effect("recomputed blocks, one behind and one inside the other, give the gradients of plain ones", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const w = yield* tensors.upload(values(64, 1), [8, 8])
      const frozen = yield* tensors.upload(values(64, 2), [8, 8])
      const x = yield* tensors.upload(values(32, 3), [4, 8])
      const loss = (again: boolean) => (c: Compute, weights: Weights) => {
        const block = (y: tf.Tensor) => c.gelu(c.linear(c.linear(y, weights["w"]!), frozen), "tanh")
        const outer = (y: tf.Tensor) => {
          const inner = again ? c.recomputed(block, y, weights) : block(y)
          return tf.add(inner, y)
        }
        const run = (y: tf.Tensor) => (again ? c.recomputed(outer, y, weights) : outer(y))
        const first = tf.mul(c.linear(x, weights["w"]!), tf.scalar(0.5))
        // The input of a block is used once more behind it.
        return tf.mean(tf.square(tf.add(run(run(first)), first)))
      }
      const before = yield* tensors.memory
      const plainly = yield* tensors.valueAndGrad(loss(false), { w })
      const again = yield* tensors.valueAndGrad(loss(true), { w })
      expect(again.value).toBe(plainly.value)
      expect(
        relativeError(yield* tensors.read(again.grads["w"]!), yield* tensors.read(plainly.grads["w"]!))
      ).toBeLessThan(1e-6)
      yield* tensors.free(plainly.grads, again.grads)
      expect((yield* tensors.memory).tensors).toBe(before.tensors)
    }).pipe(Effect.provide(Engine.torch))
  )

  it.effect("gradients are added to those given, and AdamW's steps are the plain ones", () =>
    Effect.gen(function* () {
      const steps = Effect.gen(function* () {
        const tensors = yield* Tensors
        const weights = {
          w: yield* tensors.upload(values(12, 1), [3, 4]),
          b: yield* tensors.upload(values(3, 2), [3])
        }
        const x = yield* tensors.upload(values(20, 3), [5, 4])
        const f = (c: Compute, now: Weights) => tf.sum(tf.square(c.linear(x, now["w"]!, now["b"]!)))
        let state = { weights: weights as Weights, ...(yield* tensors.run(() => zeroMoments(weights))) }
        for (let update = 1; update <= 4; update++) {
          const first = yield* tensors.valueAndGrad(f, state.weights)
          const { grads } = yield* tensors.valueAndGrad(f, state.weights, first.grads)
          state = yield* tensors.adamW(state, grads, recipeAdamW, 1e-2, update)
        }
        return yield* Effect.forEach([...Object.values(state.weights), ...Object.values(state.v)], tensors.read)
      })
      const ours = yield* steps.pipe(Effect.provide(Engine.torch))
      const reference = yield* steps.pipe(Effect.provide(cpu))
      for (const [i, array] of ours.entries()) expect(relativeError(array, reference[i]!)).toBeLessThan(1e-5)
    })
  )

  it.effect("what cannot be allocated, does not fit or was freed is a typed error, and the engine works on", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      expect(yield* Effect.flip(tensors.run(() => tf.fill([2 ** 50], 1)))).toMatchObject({
        _tag: "OutOfMemory",
        requestedBytes: 2 ** 52
      })
      const shape = yield* Effect.flip(tensors.run((c) => c.linear(tf.zeros([2, 3]), tf.zeros([5, 4]))))
      expect(shape).toMatchObject({ _tag: "ShapeMismatch", operation: "linear" })
      const addon = openAddon()
      const made = addon.upload(new Float32Array([1]), [1], 6)
      addon.free([made.handle, made.handle])
      const other = addon.upload(new Float32Array([2]), [1], 6)
      expect(other.handle).not.toBe(made.handle)
      expect(() => addon.read(new Float32Array(1), made.handle)).toThrow("was freed before")
      addon.free([other.handle])
      const sum = yield* tensors.run(() => tf.sum(tf.ones([10])))
      expect((yield* tensors.read(sum))[0]).toBe(10)
    }).pipe(Effect.provide(Engine.torch))
  )

  it("the goldens of transformers hold: values, gradients, greedy tokens", () => {
    const said = execFileSync(
      tsx,
      [join(root, "src/cli/golden.ts"), join(root, "test/golden/set-2"), "--engine", "torch"],
      { encoding: "utf8" }
    )
    expect(said).toContain("116 quantities within tolerance, 0 past it")
  }, 240_000)
})
