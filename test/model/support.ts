/** Small models and batches for the model and training tests. */
import { Effect } from "effect"
import { clipShapes } from "../../src/model/clip/Names.ts"
import { type LlavaConfig, projectorOf } from "../../src/model/llava/Config.ts"
import type { LlavaBatch } from "../../src/model/llava/Model.ts"
import type { PhiConfig } from "../../src/model/phi/Config.ts"
import { phiShapes } from "../../src/model/phi/Names.ts"
import { projectorShapes } from "../../src/model/projector/Names.ts"
import { segmentsOfLengths, type TokenBatch } from "../../src/model/TokenBatch.ts"
import { initialWeights, prefixed, type Shapes, uploadWeights } from "../../src/model/Weights.ts"
import type { TensorError } from "../../src/tensor/Errors.ts"
import type { Weights } from "../../src/tensor/Ops.ts"
import { fillUniform, stream } from "../../src/tensor/Random.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"

export const tinyPhi: PhiConfig = {
  vocabSize: 61,
  hiddenSize: 24,
  intermediateSize: 40,
  layers: 2,
  heads: 2,
  maxPositions: 64,
  partialRotaryFactor: 0.5,
  ropeTheta: 10000,
  layerNormEps: 1e-5,
  residualDropout: 0.1,
  initializerRange: 0.02,
  activation: "tanh",
  headBias: true,
  bosToken: null,
  eosToken: 0,
  padToken: 1
}

export const tinyLlava: LlavaConfig = {
  vision: {
    hiddenSize: 12,
    intermediateSize: 20,
    layers: 3,
    heads: 2,
    imageSize: 8,
    patchSize: 4,
    channels: 3,
    layerNormEps: 1e-5,
    initializerRange: 0.02,
    projectionDim: 8,
    activation: "quick"
  },
  text: { ...tinyPhi, headBias: false },
  projectorActivation: "erf",
  imageToken: 60,
  featureLayer: -2
}

/** Names and shapes of all of a LLaVA's weights. */
export const llavaShapes = (config: LlavaConfig): Shapes => ({
  ...prefixed(clipShapes(config.vision), "vision."),
  ...prefixed(projectorShapes(projectorOf(config)), "projector."),
  ...prefixed(phiShapes(config.text), "language.")
})

/** Reads every tensor back, by name. */
export const downloadWeights = (weights: Weights): Effect.Effect<Record<string, Float32Array>, TensorError, Tensors> =>
  Effect.gen(function* () {
    const tensors = yield* Tensors
    const values: Record<string, Float32Array> = {}
    for (const [name, tensor] of Object.entries(weights)) values[name] = (yield* tensors.read(tensor)) as Float32Array
    return values
  })

/** Fresh weights, uploaded; a larger deviation than the recipe's makes small models say something. */
export const upload = (shapes: Shapes, seed = 0) => uploadWeights(initialWeights(shapes, seed, 0.3))
export const uploadPhi = Effect.suspend(() => upload(phiShapes(tinyPhi)))
export const uploadLlava = Effect.suspend(() => upload(llavaShapes(tinyLlava)))

/** Right-padded rows of tokens 2.., labels everywhere but the first token and padding. */
export const textBatch = (lengths: ReadonlyArray<number>, time: number, seed = 0): TokenBatch => {
  const segments_BT = segmentsOfLengths(lengths, time)
  const random = fillUniform(stream(seed, "batch"), new Float32Array(segments_BT.length))
  const ids_BT = Int32Array.from(random, (x, i) => (segments_BT[i] === 0 ? 1 : 2 + Math.floor(x * 57)))
  const labels_BT = ids_BT.map((id, i) => (segments_BT[i] === 0 ? -100 : id))
  return { rows: lengths.length, time, ids_BT, segments_BT, labels_BT }
}

/** The same with one image of four patches after the first token of each row. */
export const imageBatch = (lengths: ReadonlyArray<number>, time: number, seed = 0): LlavaBatch => {
  const text = textBatch(lengths, time, seed)
  for (let row = 0; row < text.rows; row++) {
    text.ids_BT.fill(tinyLlava.imageToken, row * time + 1, row * time + 5)
    text.labels_BT.fill(-100, row * time, row * time + 5)
  }
  return {
    ...text,
    images: lengths.length,
    pixels: fillUniform(stream(seed, "pixels"), new Float32Array(lengths.length * 3 * 64), { low: -1, high: 1 })
  }
}

/** Rows `first..end` of a batch, numbered as in the whole. */
export const slice = (batch: LlavaBatch, first: number, end: number): LlavaBatch => {
  const cut = (xs: Int32Array) => xs.slice(first * batch.time, end * batch.time)
  const pixels = batch.pixels.length / batch.rows
  return {
    rows: end - first,
    time: batch.time,
    ids_BT: cut(batch.ids_BT),
    segments_BT: cut(batch.segments_BT),
    labels_BT: cut(batch.labels_BT),
    rowNumbers: Array.from({ length: end - first }, (_, i) => first + i),
    images: end - first,
    pixels: batch.pixels.slice(first * pixels, end * pixels)
  }
}
