/** The parts of a model that is to be exported, opened together: what every layout is written from. Not a node. */
import { Effect } from "effect"
import type { Tree } from "../dag/Artifact.ts"
import { hiddenState } from "../model/clip/Config.ts"
import type { LlavaConfig } from "../model/llava/Config.ts"
import * as A from "./Artifacts.ts"
import { controlIds, loadTokenizer } from "./LoadTokenizer.ts"
import { type HeadBias, ModelFileError, openClip, openPhi, openProjector } from "./ModelFiles.ts"

/** The inputs of an export node. */
export const parts = {
  model: A.LanguageModel,
  projector: A.Projector,
  vision: A.VisionTower,
  tokenizer: A.TokenizerFile
}
export type Parts = { readonly [part in keyof typeof parts]: Tree }

/** Opens all four; fails where they do not fit each other. Files are closed with the scope. */
export const openParts = Effect.fnUntraced(function* (inputs: Parts, headBias: HeadBias) {
  const tokenizer = yield* loadTokenizer(inputs.tokenizer)
  const control = yield* controlIds(tokenizer, inputs.tokenizer.path)
  const language = yield* openPhi(inputs.model, headBias)
  const projector = yield* openProjector(inputs.projector)
  const vision = yield* openClip(inputs.vision)
  const { featureLayer, inputSize, outputSize } = projector.config
  if (inputSize !== vision.config.hiddenSize || outputSize !== language.config.hiddenSize)
    return yield* new ModelFileError({
      path: inputs.projector.path,
      message: `the projector is ${inputSize} to ${outputSize} wide, between a tower of ${vision.config.hiddenSize} and a language model of ${language.config.hiddenSize}`,
      hint: "Give the projector that was trained between these two."
    })
  if (hiddenState(vision.config, featureLayer) === undefined)
    return yield* new ModelFileError({
      path: inputs.projector.path,
      message: `the projector was trained on hidden state ${featureLayer}, and the tower has ${vision.config.layers} layers`,
      hint: "Give the tower that the projector was trained behind."
    })
  if (tokenizer.vocabSize > language.config.vocabSize)
    return yield* new ModelFileError({
      path: inputs.tokenizer.path,
      message: `the tokenizer has ids up to ${tokenizer.vocabSize - 1}, the language model ${language.config.vocabSize} rows`,
      hint: "Give the tokenizer that the model was trained with."
    })
  const config: LlavaConfig = {
    vision: vision.config,
    text: language.config,
    projectorActivation: projector.config.activation,
    imageToken: control.imageId,
    featureLayer
  }
  return { tokenizer, control, language, projector, vision, config }
})
