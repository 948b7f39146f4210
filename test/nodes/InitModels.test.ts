/** Fresh models are pure functions of sizes and seed, and a random tower distinguishes images. */
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { computeFeatures } from "../../src/nodes/ComputeFeatures.ts"
import { initLanguageModel, initVisionTower } from "../../src/nodes/InitModels.ts"
import { openClip, openPhi } from "../../src/nodes/ModelFiles.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { sampleVocabulary, scratch, tensorsOf, tiny, tinyTower, tokenizerPath } from "./support.ts"

const tower = Effect.fnUntraced(function* (params: Parameters<typeof initVisionTower>[1]) {
  return (yield* Node.run(initVisionTower, {}, params, { into: join(yield* scratch, "tower") })).out.model
})

describe("initVisionTower", () => {
  it.effect("starts every norm at one and every bias at zero", () =>
    Effect.gen(function* () {
      const { sources } = yield* openClip({ path: yield* tower(tinyTower) })
      for (const { name, read } of sources) {
        const values = new Set(yield* read)
        if (name.endsWith(".bias")) expect([...values], name).toEqual([0])
        else if (/norm\d?\.weight$/.test(name)) expect([...values], name).toEqual([1])
        else expect(values.size, name).toBeGreaterThan(5)
      }
    })
  )

  it.effect("gives equal bytes for equal seeds alone", () =>
    Effect.gen(function* () {
      const one = yield* tensorsOf(yield* tower(tinyTower))
      expect(yield* tensorsOf(yield* tower(tinyTower))).toEqual(one)
      expect(yield* tensorsOf(yield* tower({ ...tinyTower, seed: 9 }))).not.toEqual(one)
    })
  )

  it.effect("mixes its patch filters from low cosines where it is told to", () =>
    Effect.gen(function* () {
      const upTo = 3
      const { config, sources } = yield* openClip({
        path: yield* tower({ ...tinyTower, cosines: { upTo, lift: 1.5, std: 0.02 } })
      })
      const filters = yield* sources.find(({ name }) => name === "embeddings.patch_embedding.weight")!.read
      const P = config.patchSize
      const power = (plane: number, u: number, v: number) => {
        let sum = 0
        for (let x = 0; x < P; x++)
          for (let y = 0; y < P; y++)
            sum +=
              filters[(plane * P + x) * P + y]! *
              Math.cos((Math.PI * (2 * x + 1) * u) / (2 * P)) *
              Math.cos((Math.PI * (2 * y + 1) * v) / (2 * P))
        return Math.abs(sum)
      }
      for (const plane of [0, 1, 17])
        for (let u = 0; u < P; u++)
          for (let v = 0; v < P; v++)
            if (u + v <= upTo) expect(power(plane, u, v)).toBeGreaterThan(1e-4)
            else expect(power(plane, u, v)).toBeLessThan(1e-4)
    })
  )

  it.effect("measured from the paper, what differs between pictures is a tenth of the features and more", () =>
    Effect.gen(function* () {
      // A dark square on paper, in another corner and of another colour each time.
      const pictures = Array.from({ length: 8 }, (_, i) => ({
        id: `p${i}`,
        pixels_HWC: Uint8Array.from({ length: 28 * 28 * 3 }, (_, at) => {
          const [x, y] = [Math.floor(at / 3) % 28, Math.floor(at / 84)]
          const inside = x >= (i % 2) * 14 && x < (i % 2) * 14 + 10 && y >= (i >> 2) * 14 && y < (i >> 2) * 14 + 10
          return inside && at % 3 !== i % 3 ? 40 : 245
        })
      }))
      const shareOf = Effect.fnUntraced(function* (params: Parameters<typeof initVisionTower>[1]) {
        const vision = yield* tower(params)
        const { rows } = (yield* Node.run(computeFeatures, { pixels: pictures, vision }, { featureLayer: -2 })).out
        let [all, between] = [0, 0]
        for (let at = 0; at < rows[0]!.features_PD.length; at++) {
          const mean = rows.reduce((sum, row) => sum + row.features_PD[at]!, 0) / rows.length
          for (const row of rows) {
            all += row.features_PD[at]! ** 2
            between += (row.features_PD[at]! - mean) ** 2
          }
        }
        return between / all
      })
      const wide = { ...tinyTower, hidden: 64, std: 0.05 }
      const { paper: _, ...plain } = wide
      const [with_, without] = [yield* shareOf(wide), yield* shareOf(plain)]
      expect(with_).toBeGreaterThan(0.1)
      expect(with_).toBeGreaterThan(without)
    }).pipe(Effect.provide(Engine.wasm))
  )
})

describe("initLanguageModel", () => {
  it.effect("has the tokenizer's vocabulary and control tokens, and a head bias only where asked", () =>
    Effect.gen(function* () {
      const into = yield* scratch
      for (const headBias of ["keep", "drop"] as const) {
        const params = { ...tiny, headBias, seed: 0 }
        const at = { into: join(into, headBias) }
        const { model } = (yield* Node.run(initLanguageModel, { tokenizer: tokenizerPath }, params, at)).out
        const { config } = yield* openPhi({ path: model }, headBias)
        expect([config.vocabSize, config.eosToken, config.padToken]).toEqual([sampleVocabulary, 0, 2])
        expect("lm_head.bias" in (yield* tensorsOf(model))).toBe(headBias === "keep")
      }
    })
  )
})
