/** LoRA computes what peft computes: loss, logits, gradients of every A and B, merged weights. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { blockLinear } from "../../../src/model/lora/Lora.ts"
import { merged } from "../../../src/model/lora/Merge.ts"
import { dequantised, uploadQuantised } from "../../../src/model/lora/Quantised.ts"
import { uploadWeights } from "../../../src/model/Weights.ts"
import * as Engine from "../../../src/tensor/Engine.ts"
import { Tensors } from "../../../src/tensor/Tensors.ts"
import { relativeError } from "../../tensor/support.ts"
import { missing } from "../../tensor/torch/built.ts"
import { golden, logitsOf, opened, trained } from "./golden.ts"

const engines = [
  ["the wasm engine", Engine.wasm, 1e-5, ""],
  ["the torch engine", Engine.torch, 1e-5, missing],
  // 8 bits of mantissa, rounded several times a block.
  ["the torch engine in bf16", Engine.torchBf16, 5e-2, missing]
] as const

for (const [name, engine, tolerance, why] of engines)
  describe.skipIf(why !== "")(`${name}${why}`, () => {
    it.effect(`loss, logits and gradients of A and B are those of peft (${tolerance}), and nothing leaks`, () =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const { batch, floats } = yield* golden
        const model = yield* opened
        for (const checkpoint of [false, true]) {
          const before = yield* tensors.memory
          const { arrays, value } = yield* trained(model, batch, checkpoint)
          const after = yield* tensors.memory
          expect(relativeError([value], floats["loss"]!)).toBeLessThan(tolerance)
          expect(Object.keys(arrays).length).toBe(2 * 6 * 2)
          for (const [weight, gradient] of Object.entries(arrays))
            expect(relativeError(gradient, floats[`grad.${weight}`]!), weight).toBeLessThan(tolerance)
          if (checkpoint) expect(after.tensors).toBe(before.tensors)
        }
        const logits = yield* logitsOf(model, { ...model.frozen, ...model.weights }, batch)
        expect(relativeError(logits, floats["logits"]!)).toBeLessThan(tolerance)
        yield* tensors.free(model.frozen, model.weights)
      }).pipe(Effect.provide(engine))
    )

    it.effect("over a base in four bits, everything is what it is over the dequantised values (QLoRA)", () =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const { batch } = yield* golden
        const model = yield* opened
        const packed = yield* uploadQuantised(model.sources, "")
        const values = yield* uploadWeights(dequantised(model.sources))
        expect(Object.keys(packed).length).toBe(Object.keys(values).length + 2 * 12)
        for (const checkpoint of [false, true]) {
          const ours = yield* trained({ ...model, frozen: packed }, batch, checkpoint)
          const plain = yield* trained({ ...model, frozen: values }, batch, checkpoint)
          expect(relativeError([ours.value], [plain.value])).toBeLessThan(tolerance / 10)
          for (const [weight, gradient] of Object.entries(ours.arrays))
            expect(relativeError(gradient, plain.arrays[weight]!), weight).toBeLessThan(tolerance / 10)
        }
        yield* tensors.free(model.frozen, model.weights, packed, values)
      }).pipe(Effect.provide(engine))
    )

    it.effect("merged weights are those of peft (1e-6), and the merged model computes what the adapted one does", () =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const { batch, floats } = yield* golden
        const model = yield* opened
        const sources = merged(model.sources, model.weights, model.settings)
        let changed = 0
        for (const source of sources) {
          if (blockLinear(source.name) === undefined) continue
          changed++
          expect(relativeError(yield* source.read, floats[`merged.${source.name}`]!), source.name).toBeLessThan(1e-6)
        }
        expect(changed).toBe(12)
        const values = yield* Effect.forEach(sources, (source) =>
          Effect.map(source.read, (read) => ({ ...source, read: Effect.succeed(read) }))
        )
        const whole = yield* uploadWeights(values)
        expect(relativeError(yield* logitsOf({ config: model.config }, whole, batch), floats["logits"]!)).toBeLessThan(
          tolerance
        )
        yield* tensors.free(model.frozen, model.weights, whole)
      }).pipe(Effect.provide(engine))
    )
  })
