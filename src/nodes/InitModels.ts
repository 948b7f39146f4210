/**
 * Small models with seeded weights, for recipes that start from nothing: the sample's language model and vision tower.
 *
 * Not pretraining: the tower stays as random as it is made here. Real recipes take folders as sources instead.
 */
import { Effect, Schema } from "effect"
import { whole } from "../dag/Node.ts"
import { decodePhiConfig, phiConfigJson } from "../model/phi/Config.ts"
import { phiShapes } from "../model/phi/Names.ts"
import { initialWeights } from "../model/Weights.ts"
import { LanguageModel, TokenizerFile, VisionTower } from "./Artifacts.ts"
import { controlIds, loadTokenizer } from "./LoadTokenizer.ts"
import { fromSources, HeadBias, writeClip, writePhi } from "./ModelFiles.ts"
import { freshTower } from "./TowerWeights.ts"

export const initLanguageModel = whole(
  {
    id: "initLanguageModel",
    version: "1",
    about: "A Phi of any size with seeded weights, its vocabulary the tokenizer's.",
    params: Schema.Struct({
      hidden: Schema.Int,
      layers: Schema.Int,
      heads: Schema.Int,
      ffn: Schema.Int,
      maxPositions: Schema.Int,
      /** Share of each head's dimensions that turn; Phi-2: 0.4. */
      rotary: Schema.Number,
      /** Dropout after attention and MLP while training; Phi-2: 0.1. */
      dropout: Schema.Number,
      headBias: HeadBias,
      /** Deviation of fresh weights; Phi-2: 0.02. */
      std: Schema.Number,
      seed: Schema.Int
    }),
    inputs: { tokenizer: TokenizerFile },
    outputs: { model: LanguageModel }
  },
  ({ inputs, params }) =>
    Effect.gen(function* () {
      const tokenizer = yield* loadTokenizer(inputs.tokenizer)
      const { eosId, padId } = yield* controlIds(tokenizer, inputs.tokenizer.path)
      const config = {
        vocabSize: tokenizer.vocabSize,
        hiddenSize: params.hidden,
        intermediateSize: params.ffn,
        layers: params.layers,
        heads: params.heads,
        maxPositions: params.maxPositions,
        partialRotaryFactor: params.rotary,
        ropeTheta: 10_000,
        layerNormEps: 1e-5,
        residualDropout: params.dropout,
        initializerRange: params.std,
        activation: "tanh" as const,
        headBias: params.headBias === "keep",
        bosToken: eosId,
        eosToken: eosId,
        padToken: padId
      }
      // Sizes that no reader would take are refused here, before anything is trained on them.
      yield* decodePhiConfig(phiConfigJson(config), { headBias: config.headBias })
      const weights = initialWeights(phiShapes(config), params.seed, params.std)
      return { model: (folder: string) => writePhi(folder, config, fromSources(weights, "float32")) }
    })
)

export const initVisionTower = whole(
  {
    id: "initVisionTower",
    version: "3",
    about: "A CLIP vision tower of any size with seeded weights; frozen as it is.",
    params: Schema.Struct({
      hidden: Schema.Int,
      layers: Schema.Int,
      heads: Schema.Int,
      ffn: Schema.Int,
      /** Pixels a side, and pixels a patch. */
      imageSize: Schema.Int,
      patchSize: Schema.Int,
      std: Schema.Number,
      /** Deviation of position embeddings; `std` when left out. */
      positionStd: Schema.optional(Schema.Number),
      /** Red, green and blue, 0 to 255, of what most images are drawn on: it is taken off, see `TowerWeights`. */
      paper: Schema.optional(Schema.Tuple([Schema.Int, Schema.Int, Schema.Int])),
      /** Patch filters that are mixtures of low cosines, not noise: see `TowerWeights`. */
      cosines: Schema.optional(
        Schema.Struct({
          upTo: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
          lift: Schema.Number,
          std: Schema.Number
        })
      ),
      seed: Schema.Int
    }),
    inputs: {},
    outputs: { model: VisionTower }
  },
  ({ params }) => {
    const config = {
      hiddenSize: params.hidden,
      intermediateSize: params.ffn,
      layers: params.layers,
      heads: params.heads,
      imageSize: params.imageSize,
      patchSize: params.patchSize,
      channels: 3,
      layerNormEps: 1e-5,
      initializerRange: params.std,
      projectionDim: params.hidden,
      activation: "quick" as const
    }
    const weights = freshTower(config, params)
    return Effect.succeed({ model: (folder: string) => writeClip(folder, config, fromSources(weights, "float32")) })
  }
)
