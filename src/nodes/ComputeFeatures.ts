/**
 * Runs the frozen vision tower over pixels once and stores its features, so that training steps need not.
 *
 * Only where they fit: 576 x 1024 floats are 2.4 MB an image, 1.4 TB for CC-595K, against 0.34 MB of pixels.
 */
import { Effect, Schema, Stream } from "effect"
import { broadcast } from "../dag/Artifact.ts"
import { sharded } from "../dag/Node.ts"
import { hiddenState } from "../model/clip/Config.ts"
import { clipFeatures } from "../model/clip/Model.ts"
import { clipPixels, pixelBytes, putPixels } from "../model/clip/Pixels.ts"
import { Tensors } from "../tensor/Tensors.ts"
import { Features, Pixels, VisionTower } from "./Artifacts.ts"
import { loadWeights, ModelFileError, openClip } from "./ModelFiles.ts"

/** Images that go through the tower together. */
const BATCH = 16

export const computeFeatures = sharded(
  {
    id: "computeFeatures",
    version: "2",
    about: "The vision tower's patch features of every image, computed once.",
    params: Schema.Struct({
      /** Which hidden state: -2 is the output of the last layer but one, as LLaVA takes it. It goes with the rows. */
      featureLayer: Schema.Int
    }),
    inputs: { pixels: Pixels, vision: broadcast(VisionTower) },
    outputs: { rows: Features },
    engine: true
  },
  ({ params, shard }) => ({
    rows: Stream.unwrap(
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const { config, sources } = yield* openClip(shard.vision)
        const weights = yield* loadWeights(sources)
        const { featureLayer } = params
        if (hiddenState(config, featureLayer) === undefined)
          return yield* new ModelFileError({
            path: shard.vision.path,
            message: `the tower has ${config.layers} layers and no hidden state ${featureLayer}`,
            hint: "Set `featureLayer` to 0 (the embeddings) up to the number of layers, or count from the end with -1."
          })
        const side = config.imageSize
        const bytes = pixelBytes(side)
        return shard.pixels.pipe(
          Stream.flatMap(Stream.fromIterable),
          Stream.grouped(BATCH),
          Stream.mapEffect((batch) =>
            Effect.gen(function* () {
              const bytes_BSSC = new Uint8Array(batch.length * bytes)
              for (const [i, row] of batch.entries()) putPixels(row, side, bytes_BSSC, i * bytes)
              const features = yield* tensors.run((c) =>
                clipFeatures(c, weights, config, clipPixels(c, bytes_BSSC, side), {
                  featureLayer,
                  recompute: false
                })
              )
              const values = (yield* tensors.read(features)) as Float32Array
              yield* tensors.free(features)
              const each = values.length / batch.length
              return batch.map((row, i) => ({
                id: row.id,
                featureLayer,
                features_PD: values.slice(i * each, (i + 1) * each)
              }))
            })
          )
        )
      })
    )
  })
)
