/**
 * The formulas count what is computed: every product of a gradient pass is counted where it is asked for, by its
 * shapes, with every region made of plain operations.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { flopsOf } from "../../src/cost/Stages.ts"
import { phiShapes } from "../../src/model/phi/Names.ts"
import { lossTokens } from "../../src/model/TokenBatch.ts"
import { llavaTrainable, phiTrainable, type Trainable } from "../../src/model/Trainable.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { type Tensor, tf, type Weights } from "../../src/tensor/Ops.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { gradientOf } from "../../src/training/Gradient.ts"
import { splitTrained } from "../../src/training/Step.ts"
import { imageBatch, llavaShapes, textBatch, tinyLlava, tinyPhi, upload } from "../model/support.ts"

/** Counts multiplications and additions of all matrix products that `work` asks the engine for. */
const counted = <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    const engine = tf.engine() as unknown as {
      runKernel: (name: string, inputs: Record<string, Tensor>, attributes: Record<string, unknown>) => Tensor
    }
    const original = engine.runKernel
    let flops = 0
    const others = new Set<string>()
    engine.runKernel = function (name, inputs, attributes) {
      const out = original.call(this, name, inputs, attributes)
      if (name === "BatchMatMul") {
        const shape = inputs["a"]!.shape
        flops += 2 * out.size * (attributes["transposeA"] === true ? shape.at(-2)! : shape.at(-1)!)
      } else if (/conv|fused|matmul/i.test(name)) others.add(name)
      return out
    }
    const restore = Effect.sync(() => {
      engine.runKernel = original
    })
    return Effect.map(Effect.ensuring(work, restore), () => {
      expect([...others]).toEqual([])
      return flops
    })
  })

const grads = (model: Trainable<any, any>, trained: Weights, frozen: Weights, batch: any) =>
  Effect.gen(function* () {
    const { free } = yield* Tensors
    const { grads } = yield* gradientOf(model, trained, frozen, { batch, normaliser: lossTokens(batch) })
    yield* free(grads)
  })

/** Plain attention computes all pairs, not the half that a causal mask lets through. */
const amount = (batch: ReturnType<typeof textBatch>, images: number) => ({
  tokens: batch.rows * batch.time,
  labels: lossTokens(batch),
  pairs: batch.rows * batch.time ** 2,
  images
})

/** Within 1 %, as a ratio. */
const close = (counted: number, formula: number) => expect(Math.abs(counted / formula - 1)).toBeLessThan(0.01)

describe("operations by formula are those that are asked for", () => {
  for (const recompute of [false, true, 2])
    it.effect(`of a language model, recompute ${recompute}`, () =>
      Effect.gen(function* () {
        const batch = textBatch([14, 9, 16], 16)
        const weights = yield* upload(phiShapes(tinyPhi))
        const found = yield* counted(grads(phiTrainable(tinyPhi, { recompute }), weights, {}, batch))
        const llava = { ...tinyLlava, text: tinyPhi }
        close(found, flopsOf(llava, "language", "none", recompute, amount(batch, 0)).executed)
      }).pipe(Effect.provide(Engine.wasmPlain))
    )

  const stages = [
    ["projector", "frozen", (name: string) => name.startsWith("projector.")],
    ["both", "frozen", (name: string) => !name.startsWith("vision.")],
    ["all", "trained", (name: string) => !/^vision\.(post_layernorm|encoder\.layers\.2)\./.test(name)]
  ] as const
  for (const [trains, tower, isTrained] of stages)
    it.effect(`of a stage with pictures that trains ${trains}`, () =>
      Effect.gen(function* () {
        const batch = imageBatch([14, 16], 16)
        const { frozen, trained } = splitTrained(yield* upload(llavaShapes(tinyLlava)), isTrained)
        const model = llavaTrainable(tinyLlava, { trainsVision: tower === "trained" })
        const found = yield* counted(grads(model, trained, frozen, batch))
        close(found, flopsOf(tinyLlava, trains, tower, false, amount(batch, 2)).executed)
      }).pipe(Effect.provide(Engine.wasmPlain))
    )
})
