/**
 * Visual instruction tuning by adapters: projector and adapters are trained, language model and vision tower are frozen.
 *
 * The same stage as in `TrainVision.ts` but for what is trained. Over pixels, or over features computed before.
 */
import { Effect, Schema } from "effect"
import type { Tree } from "../dag/Artifact.ts"
import { type FoldContext, fold } from "../dag/Fold.ts"
import { Lora } from "../model/lora/Lora.ts"
import type { ProjectorConfig } from "../model/projector/Config.ts"
import { under } from "../model/Weights.ts"
import type { Trained } from "../training/Stage.ts"
import { trainingFold } from "../training/TrainingFold.ts"
import { learned } from "./AdapterFiles.ts"
import { Adapter, LanguageModel, Projector, TrainingReport } from "./Artifacts.ts"
import { fromEngine, type ModelFile, openPhi, openProjector, writeProjector } from "./ModelFiles.ts"
import {
  type Common,
  type Kind,
  loadOf,
  openStage,
  overFeatures,
  overPixels,
  projectorConfigOf,
  reportOf,
  stageParams,
  tuneOnFeatures,
  tuneOnPixels,
  tuning
} from "./TrainVision.ts"

const params = Schema.Struct({ ...stageParams, lora: Lora })
type Params = typeof params.Type

const adapting = (projector: ModelFile<ProjectorConfig>, lora: Lora): Kind => ({
  ...tuning(projector),
  isTrained: (name) => name.startsWith("projector.") || /\.lora_[AB]\.weight$/.test(name),
  lora
})

const declaration = {
  version: "2",
  about: "Trains projector and LoRA adapters of the language model on questions about pictures; the rest is frozen.",
  params,
  outputs: { model: LanguageModel, adapter: Adapter, projector: Projector, report: TrainingReport },
  engine: true
} as const

const finish = Effect.fnUntraced(function* (
  { inputs, params }: { readonly params: Params; readonly inputs: Common & { readonly projector: Tree } },
  trained: Trained
) {
  const projector = yield* projectorConfigOf(inputs)
  const language = yield* openPhi(inputs.model, params.headBias)
  return {
    ...learned(language, params.lora, under(trained.weights, "language.")),
    projector: (folder: string) =>
      writeProjector(folder, projector, fromEngine(under(trained.weights, "projector."), "float32")),
    report: reportOf(params, inputs.data.length, trained)
  }
})

export const adaptInstructions = fold(
  { id: "adaptInstructions", inputs: tuneOnPixels, ...declaration },
  trainingFold(
    Effect.fnUntraced(function* ({ inputs, params }: FoldContext<Params, typeof tuneOnPixels>) {
      const projector = yield* openProjector(inputs.projector)
      return yield* openStage(params, inputs, overPixels(inputs.images), adapting(projector, params.lora))
    }),
    finish,
    ({ inputs }) => loadOf(inputs, overPixels(inputs.images))
  )
)

export const adaptInstructionsOnFeatures = fold(
  {
    id: "adaptInstructionsOnFeatures",
    inputs: tuneOnFeatures,
    ...declaration,
    about: "The same, on features that were computed once."
  },
  trainingFold(
    Effect.fnUntraced(function* ({ inputs, params }: FoldContext<Params, typeof tuneOnFeatures>) {
      const projector = yield* openProjector(inputs.projector)
      return yield* openStage(params, inputs, overFeatures(inputs.images), adapting(projector, params.lora))
    }),
    finish,
    ({ inputs }) => loadOf(inputs, overFeatures(inputs.images))
  )
)
