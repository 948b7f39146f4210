/** Phi's promises beyond the goldens: packing, padding, supervised rows, recomputing, cache, dropout. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { greedyText } from "../../../src/model/Generate.ts"
import { phiEmbed, phiHidden, phiLogits, phiLoss, prepareTokens } from "../../../src/model/phi/Model.ts"
import { positionsOf, supervised, type TokenBatch } from "../../../src/model/TokenBatch.ts"
import { phiTrainable } from "../../../src/model/Trainable.ts"
import * as Engine from "../../../src/tensor/Engine.ts"
import type { tf, Weights } from "../../../src/tensor/Ops.ts"
import { Tensors } from "../../../src/tensor/Tensors.ts"
import { relativeError } from "../../tensor/support.ts"
import { downloadWeights, textBatch, tinyPhi, uploadPhi } from "../support.ts"

const logitsOf = (w: Weights, batch: TokenBatch) =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const logits = yield* tensors.run((c) => {
      const { ids_BT, layout } = prepareTokens(tinyPhi, batch, 2 ** 22)
      return phiLogits(c, w, phiHidden(c, w, tinyPhi, phiEmbed(c, w, ids_BT), layout))
    })
    const values = yield* tensors.read(logits)
    yield* tensors.free(logits)
    return values as Float32Array
  })

const gradientsOf = (w: Weights, batch: TokenBatch, recompute: boolean, step = 3) =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const model = phiTrainable(tinyPhi, { recompute })
    const prepared = yield* tensors.run((c) => model.prepare(c, w, batch))
    const rows = Array.from({ length: batch.rows }, (_, i) => i)
    const { value, grads } = yield* tensors.valueAndGrad(
      (c, variables) => model.loss(c, variables, prepared, { normaliser: 10, dropout: { seed: 1, step, rows } }),
      w
    )
    const arrays: Record<string, Float32Array> = {}
    for (const [name, g] of Object.entries(grads)) arrays[name] = (yield* tensors.read(g)) as Float32Array
    yield* tensors.free(
      grads,
      prepared.ids_BT,
      ...Object.values(prepared.layout),
      ...prepared.targets.flatMap(Object.values<tf.Tensor>)
    )
    return { value, arrays }
  })

describe("Phi", () => {
  it.effect("conversations packed into one row compute what they compute alone", () =>
    Effect.gen(function* () {
      const w = yield* uploadPhi
      const [one, two] = [textBatch([5], 5, 1), textBatch([8], 8, 2)]
      const packed: TokenBatch = {
        rows: 1,
        time: 16,
        ids_BT: Int32Array.of(...one.ids_BT, ...two.ids_BT, 1, 1, 1),
        segments_BT: Int32Array.of(1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0),
        labels_BT: Int32Array.of(...one.labels_BT, ...two.labels_BT, -100, -100, -100)
      }
      const all = yield* logitsOf(w, packed)
      const v = tinyPhi.vocabSize
      expect(relativeError(all.slice(0, 5 * v), yield* logitsOf(w, one))).toBeLessThan(1e-6)
      expect(relativeError(all.slice(5 * v, 13 * v), yield* logitsOf(w, two))).toBeLessThan(1e-6)
      // No label is predicted across the seam.
      expect(supervised(packed).positions).toEqual(Int32Array.of(0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11))
      expect(positionsOf(packed.segments_BT, 1, 16)).toEqual(
        Int32Array.of(0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7, 13, 14, 15)
      )
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("a row computes the same whatever padding follows it", () =>
    Effect.gen(function* () {
      const w = yield* uploadPhi
      const short = yield* logitsOf(w, textBatch([6], 6, 4))
      const batch = textBatch([6], 6, 4)
      const grow = (xs: Int32Array, fill: number) => Int32Array.of(...xs, ...new Array<number>(5).fill(fill))
      const padded = yield* logitsOf(w, {
        rows: 1,
        time: 11,
        ids_BT: grow(batch.ids_BT, 1),
        segments_BT: grow(batch.segments_BT, 0),
        labels_BT: grow(batch.labels_BT, -100)
      })
      expect(relativeError(padded.slice(0, short.length), short)).toBeLessThan(1e-6)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("recomputing changes no bit of the loss or of any gradient, dropout included, and nothing leaks", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const w = yield* uploadPhi
      const batch = textBatch([9, 5, 12], 12, 5)
      yield* gradientsOf(w, batch, true)
      const before = yield* tensors.memory
      const kept = yield* gradientsOf(w, batch, false)
      const replayed = yield* gradientsOf(w, batch, true)
      const after = yield* tensors.memory
      expect(replayed).toEqual(kept)
      expect(after.tensors).toBe(before.tensors)
      const otherStep = yield* gradientsOf(w, batch, true, 4)
      expect(otherStep.value).not.toBe(kept.value)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("decoding with a cache, batched over prompts of different lengths, equals recomputing every prompt", () =>
    Effect.gen(function* () {
      const w = yield* uploadPhi
      const lengths = [3, 7, 5]
      const batch = textBatch(lengths, 7, 6)
      const made = yield* greedyText(w, tinyPhi, batch.ids_BT, lengths, { maxNewTokens: 6 })
      for (const [row, length] of lengths.entries()) {
        const ids = [...batch.ids_BT.slice(row * 7, row * 7 + length)]
        for (let step = 0; step < 6; step++) {
          const n = ids.length
          const logits = yield* logitsOf(w, {
            rows: 1,
            time: n,
            ids_BT: Int32Array.from(ids),
            segments_BT: new Int32Array(n).fill(1),
            labels_BT: new Int32Array(n).fill(-100)
          })
          const last = logits.slice(-tinyPhi.vocabSize)
          ids.push(last.indexOf(Math.max(...last)))
        }
        expect(made[row]).toEqual(ids.slice(length))
      }
      const end = made[0]![2]!
      const stopped = yield* greedyText(w, tinyPhi, batch.ids_BT, lengths, { maxNewTokens: 6, endToken: end })
      expect(stopped[0]).toEqual(made[0]!.slice(0, made[0]!.indexOf(end) + 1))
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("a head cut into runs has the loss and gradients of the whole", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const w = yield* uploadPhi
      const batch = textBatch([9, 5, 12], 12, 5)
      const run = (maxLogits: number) =>
        Effect.gen(function* () {
          const { targets, ids_BT, layout } = yield* tensors.run(() => ({
            ...prepareTokens(tinyPhi, batch, maxLogits)
          }))
          const { value, grads } = yield* tensors.valueAndGrad(
            (c, v) => phiLoss(c, v, phiHidden(c, v, tinyPhi, phiEmbed(c, v, ids_BT), layout), targets, 23),
            w
          )
          return { value, runs: targets.length, grads: yield* downloadWeights(grads) }
        })
      const [whole, cut] = [yield* run(2 ** 22), yield* run(4 * tinyPhi.vocabSize)]
      expect([whole.runs, cut.runs]).toEqual([1, 6])
      expect(Math.abs(cut.value - whole.value)).toBeLessThan(1e-6)
      for (const [name, g] of Object.entries(whole.grads))
        if (Math.hypot(...g) > 1e-6) expect(relativeError(cut.grads[name]!, g), name).toBeLessThan(1e-5)
    }).pipe(Effect.provide(Engine.wasm))
  )
})
