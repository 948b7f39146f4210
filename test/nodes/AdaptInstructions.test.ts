/** Instruction tuning by adapters trains projector and adapters, the same over pixels and over features. */
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { defaultLora } from "../../src/model/lora/Lora.ts"
import { computeFeatures } from "../../src/nodes/ComputeFeatures.ts"
import { tuneInstructions } from "../../src/nodes/TrainVision.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { initialProjector, settings, tensorsOf, tinyModels, tinyPictured } from "./support.ts"

const lora = { ...defaultLora, rank: 4 }

describe("tuneInstructions by adapters", () => {
  for (const quantise of ["none", "nf4"] as const)
    it.effect(`with quantise ${quantise}: over pixels and over features the losses are alike (1e-4), and fall`, () =>
      Effect.gen(function* () {
        const { into, ...models } = yield* tinyModels()
        const projector = yield* initialProjector(into)
        const { pixels, v1 } = yield* tinyPictured(8, (i) => i === 3)
        const inputs = { ...models, projector, data: v1, heldOut: v1 }
        const own = {
          ...settings,
          epochs: 12,
          microBatch: 3,
          recompute: true,
          trains: {
            projector: true,
            language: { ...lora, quantise, mergeInto: "original" as const },
            vision: false
          }
        }
        const over = yield* Node.run(tuneInstructions, { ...inputs, images: pixels }, own, {
          into: join(into, "pixels")
        })
        const features = yield* Node.run(computeFeatures, { pixels, vision: models.vision }, { featureLayer: -2 })
        const stored = yield* Node.run(tuneInstructions, { ...inputs, images: features.out.rows }, own, {
          into: join(into, "features")
        })
        const { losses } = over.out.report
        for (const [step, loss] of stored.out.report.losses.entries())
          expect(Math.abs(loss - losses[step]!)).toBeLessThan(1e-4)
        expect(losses[losses.length - 1]!).toBeLessThan(losses[0]! - 0.3)
        const before = yield* tensorsOf(models.model)
        const after = yield* tensorsOf(over.out.model)
        const changed = Object.keys(before).filter((name) => before[name] !== after[name])
        expect(changed.length).toBe(2 * 6)
        expect(changed.every((name) => /\.(self_attn|mlp)\..*\.weight$/.test(name))).toBe(true)
        const [fresh, tuned] = [yield* tensorsOf(projector), yield* tensorsOf(over.out.projector)]
        expect(Object.keys(fresh).filter((name) => fresh[name] === tuned[name])).toEqual([])
        expect(yield* tensorsOf(over.out.vision)).toEqual(yield* tensorsOf(models.vision))
        expect(Object.keys(yield* tensorsOf(over.out.adapter)).every((name) => name.includes(".lora_"))).toBe(true)
      }).pipe(Effect.provide(Engine.wasm))
    )
})
