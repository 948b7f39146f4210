/** Stored features are the tower's own, image by image, however many there are. */
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { clipFeatures } from "../../src/model/clip/Model.ts"
import { clipPixels } from "../../src/model/clip/Pixels.ts"
import { computeFeatures } from "../../src/nodes/ComputeFeatures.ts"
import { initVisionTower } from "../../src/nodes/InitModels.ts"
import { loadWeights, openClip } from "../../src/nodes/ModelFiles.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { PATCHES, pixelsOf, scratch, tinyTower } from "./support.ts"

describe("computeFeatures", () => {
  it.effect("equals the tower run on one picture at a time (1e-5), in order, and leaves no tensor behind", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const into = join(yield* scratch, "vision")
      const vision = (yield* Node.run(initVisionTower, {}, tinyTower, { into })).out.model
      const pixels = Array.from({ length: 19 }, (_, i) => ({ id: `r${i}`, pixels_HWC: pixelsOf(28, 28, i) }))
      const before = yield* tensors.memory
      const { out } = yield* Node.run(computeFeatures, { pixels, vision }, { featureLayer: -2 })
      expect((yield* tensors.memory).tensors).toBe(before.tensors)
      expect(out.rows.map(({ id }) => id)).toEqual(pixels.map(({ id }) => id))
      const { config, sources } = yield* openClip({ path: vision })
      const weights = yield* loadWeights(sources)
      for (const [i, row] of pixels.entries()) {
        const alone = yield* tensors.run((c) => clipFeatures(c, weights, config, clipPixels(c, row.pixels_HWC, 28)))
        const expected = yield* tensors.read(alone)
        const found = out.rows[i]!.features_PD
        expect(found.length).toBe(PATCHES * tinyTower.hidden)
        for (const [at, value] of found.entries()) expect(Math.abs(value - expected[at]!)).toBeLessThan(1e-5)
      }
    }).pipe(Effect.provide(Engine.wasm))
  )
})
