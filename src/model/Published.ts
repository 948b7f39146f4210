/**
 * Shapes of the models that the full presets train, as published: for plans, benchmarks and random weights of true
 * size.
 *
 * Not read where a `config.json` is. Sources: the config.json of microsoft/phi-2 and of
 * openai/clip-vit-large-patch14-336.
 */
import type { ClipConfig } from "./clip/Config.ts"
import type { PhiConfig } from "./phi/Config.ts"

/** 2,779,683,840 parameters with the head's bias. */
export const phi2: PhiConfig = {
  vocabSize: 51_200,
  hiddenSize: 2560,
  intermediateSize: 10_240,
  layers: 32,
  heads: 32,
  maxPositions: 2048,
  partialRotaryFactor: 0.4,
  ropeTheta: 10_000,
  layerNormEps: 1e-5,
  residualDropout: 0.1,
  initializerRange: 0.02,
  activation: "tanh",
  headBias: true,
  bosToken: 50_256,
  eosToken: 50_256,
  padToken: null
}

/** 303,507,456 parameters. */
export const clipL336: ClipConfig = {
  hiddenSize: 1024,
  intermediateSize: 4096,
  layers: 24,
  heads: 16,
  imageSize: 336,
  patchSize: 14,
  channels: 3,
  layerNormEps: 1e-5,
  initializerRange: 0.02,
  projectionDim: 768,
  activation: "quick"
}
