/** Weights that nothing trains take two bytes each in bfloat16, and compute what wide ones compute. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { writeModel } from "../../../scripts/random-weights.ts"
import { phiFiles } from "../../../scripts/weights/Models.ts"
import { phiShapes } from "../../../src/model/phi/Names.ts"
import type { TokenBatch } from "../../../src/model/TokenBatch.ts"
import { llavaTrainable, phiTrainable, type Trainable } from "../../../src/model/Trainable.ts"
import { initialWeights, uploadWeights, type WeightSource } from "../../../src/model/Weights.ts"
import * as Engine from "../../../src/tensor/Engine.ts"
import type { tf } from "../../../src/tensor/Ops.ts"
import { Tensors } from "../../../src/tensor/Tensors.ts"
import { folder } from "../../model/pickle/support.ts"
import { downloadWeights, imageBatch, llavaShapes, textBatch, tinyLlava, tinyPhi } from "../../model/support.ts"
import { loading, medium, weightBytes } from "../../scripts/weights/Loading.ts"
import { values } from "../support.ts"
import { missing } from "./built.ts"

describe.skipIf(missing !== "")(`frozen weights${missing}`, () => {
  for (const [name, engine, bytes] of [
    ["f32", Engine.torch, 4],
    ["bf16", Engine.torchBf16, 2]
  ] as const)
    it.effect(`take ${bytes} bytes each in ${name}, before and after they were used`, () =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const [rows, columns] = [1024, 512] as const
        const x = yield* tensors.upload(values(columns, 1), [1, columns])
        const before = yield* tensors.memory
        const w = yield* tensors.uploadFrozen(values(rows * columns, 2), [rows, columns])
        const after = yield* tensors.memory
        expect(after.engineBytes - before.engineBytes).toBe(bytes * rows * columns)
        yield* tensors.free(yield* tensors.run((c) => c.linear(x, w)))
        expect((yield* tensors.memory).engineBytes).toBe(after.engineBytes)
        yield* tensors.free(w, x)
      }).pipe(Effect.provide(engine))
    )

  /** Loss and gradients where `isTrained` are trained and the rest is frozen, narrow or wide. */
  const measured = <Batch extends TokenBatch, Prepared extends tf.TensorContainer>(
    model: Trainable<Batch, Prepared>,
    batch: Batch,
    sources: ReadonlyArray<WeightSource>,
    isTrained: RegExp,
    frozen: boolean
  ) =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const [still, trained] = [false, true].map((wanted) =>
        sources.filter(({ name }) => isTrained.test(name) === wanted)
      )
      const others = yield* uploadWeights(still!, { frozen })
      const variables = yield* uploadWeights(trained!)
      const prepared = yield* tensors.run((c) => model.prepare(c, others, batch))
      const { grads, value } = yield* tensors.valueAndGrad(
        (c, w) => model.loss(c, { ...others, ...w }, prepared, { normaliser: 9 }),
        variables
      )
      return { value, grads: yield* downloadWeights(grads) }
    })

  it.effect("give Phi in bfloat16 the bits that wide ones give", () =>
    Effect.gen(function* () {
      const sources = initialWeights(phiShapes(tinyPhi), 0, 0.3)
      const loss = (frozen: boolean) =>
        measured(
          phiTrainable(tinyPhi, { recompute: true }),
          textBatch([9, 6], 9),
          sources,
          /layers\.0\..*q_proj/,
          frozen
        )
      const narrow = yield* loss(true)
      expect(narrow).toEqual(yield* loss(false))
      expect(Object.values(narrow.grads).every((gradient) => gradient.some((x) => x !== 0))).toBe(true)
    }).pipe(Effect.provide(Engine.torchBf16))
  )

  it.effect("give a LLaVA the loss of wide ones but for the tower's position table, which is rounded once more", () =>
    Effect.gen(function* () {
      const sources = initialWeights(llavaShapes(tinyLlava), 0, 0.3)
      const lossOf = (frozen: boolean) =>
        measured(llavaTrainable(tinyLlava), imageBatch([9, 6], 9), sources, /^projector\./, frozen)
      const [narrow, wide] = [yield* lossOf(true), yield* lossOf(false)]
      expect(Math.abs(narrow.value - wide.value) / wide.value).toBeLessThan(0.005)
    }).pipe(Effect.provide(Engine.torchBf16))
  )

  for (const [format, dtype] of [
    ["safetensors", "F16"],
    ["bin", "BF16"]
  ] as const)
    it.effect(`${format} in ${dtype}: a checkpoint loads in its size and a tenth`, () =>
      Effect.gen(function* () {
        const dir = yield* folder
        yield* writeModel(dir, phiFiles(medium, dtype, 0), format, 100_000_000)
        const told = yield* loading("phi", "frozen", dir)
        const size = weightBytes(dir)
        expect(size).toBeGreaterThan(200_000_000)
        expect(told.grown).toBeLessThan(size * 1.1)
      })
    )
})
