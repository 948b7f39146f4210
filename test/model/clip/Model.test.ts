/** CLIP's features: patches are what the convolution sees, and unused layers are neither computed nor needed. */
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { clipFeatures, patchify } from "../../../src/model/clip/Model.ts"
import { clipShapes } from "../../../src/model/clip/Names.ts"
import * as Engine from "../../../src/tensor/Engine.ts"
import { tf } from "../../../src/tensor/Ops.ts"
import { Tensors } from "../../../src/tensor/Tensors.ts"
import { values } from "../../tensor/support.ts"
import { tinyLlava, upload } from "../support.ts"

const config = { ...tinyLlava.vision, imageSize: 12, patchSize: 4 }

it.effect("a patch is its pixels, channel by channel and row by row", () =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const pixels = values(2 * 3 * 12 * 12, 1)
    const patches = yield* tensors.read(yield* tensors.run(() => patchify(config, tf.tensor4d(pixels, [2, 3, 12, 12]))))
    let at = 0
    for (let b = 0; b < 2; b++)
      for (let gy = 0; gy < 3; gy++)
        for (let gx = 0; gx < 3; gx++)
          for (let c = 0; c < 3; c++)
            for (let y = 0; y < 4; y++)
              for (let x = 0; x < 4; x++)
                expect(patches[at++]).toBe(pixels[((b * 3 + c) * 12 + gy * 4 + y) * 12 + gx * 4 + x])
  }).pipe(Effect.provide(Engine.wasm))
)

it.effect("features need no weight of the last layer, and a wrong size is refused", () =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const needed = Object.fromEntries(
      Object.entries(clipShapes(config)).filter(([name]) => !/layers\.2\.|post_layernorm/.test(name))
    )
    const w = yield* upload(needed)
    const features = yield* tensors.run((c) => clipFeatures(c, w, config, tf.zeros([2, 3, 12, 12])))
    expect(features.shape).toEqual([2, 9, 12])
    const error = yield* Effect.flip(tensors.run((c) => clipFeatures(c, w, config, tf.zeros([2, 3, 8, 8]))))
    expect(error._tag).toBe("ShapeMismatch")
  }).pipe(Effect.provide(Engine.wasm))
)
