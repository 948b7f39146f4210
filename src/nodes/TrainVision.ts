/**
 * The two stages that join image and text: projector pretraining, and visual instruction tuning.
 *
 * Both take images as pixels, which go through the tower in each step, or as features computed before, where they fit
 * the disk. Pretraining trains a fresh projector alone, on captions that hardly differ in length: plain shuffling.
 * Tuning goes on from a projector and trains what `trains` says, on rows of one image and hundreds of placeholders:
 * LLaVA's length-grouped sampler, because packing would gain little and grouping saves the padding.
 */
import { Effect, Schema } from "effect"
import { type FoldContext, fold } from "../dag/Fold.ts"
import type { CheckpointError } from "../model/Checkpoint.ts"
import { clipShapes } from "../model/clip/Names.ts"
import { projectorOf } from "../model/llava/Config.ts"
import type { PhiConfig } from "../model/phi/Config.ts"
import type { ProjectorConfig } from "../model/projector/Config.ts"
import type { TensorSource } from "../model/Safetensors.ts"
import { under } from "../model/Weights.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Weights } from "../tensor/Ops.ts"
import type { Tensors } from "../tensor/Tensors.ts"
import { groupedPlan, shuffledPlan } from "../training/BatchPlan.ts"
import type { Trained } from "../training/Stage.ts"
import { trainingFold } from "../training/TrainingFold.ts"
import { learned } from "./AdapterFiles.ts"
import { Adapter, LanguageModel, Projector, TrainingReport, VisionTower } from "./Artifacts.ts"
import {
  fromEngine,
  fromSources,
  type ModelFile,
  openClip,
  openPhi,
  openProjector,
  writeClip,
  writePhi,
  writeProjector
} from "./ModelFiles.ts"
import { freshProjector } from "./ProjectorWeights.ts"
import {
  adapterOf,
  layerOf,
  loadStage,
  openStage,
  type StageParams,
  type StageSpec,
  stageInputs,
  stageParams,
  Trains
} from "./VisionStage.ts"

const reportOf = (params: StageParams, rows: number, { log }: Trained) =>
  Effect.succeed({ ...log, epochs: params.epochs, rows })

// ---- pretraining: a projector alone, from seeded weights

const pretrainParams = Schema.Struct({
  ...stageParams,
  /**
   * Which hidden state of the tower pixels are taken from; -2, the last layer but one, when left out. Features know
   * their own, which this must be. The projector remembers it.
   */
  featureLayer: Schema.optionalKey(Schema.Int)
})
type PretrainContext = FoldContext<typeof pretrainParams.Type, typeof stageInputs>

const pretraining = ({ featureLayer, seed }: PretrainContext["params"]): StageSpec => ({
  trains: { projector: true, language: "none", vision: false },
  projector: (config) => freshProjector(projectorOf(config), seed),
  activation: "erf",
  featureLayer,
  plan: (words, settings) => shuffledPlan(words.length, settings)
})

export const trainProjector = fold(
  {
    id: "trainProjector",
    version: "4",
    about: "Trains the projector on captions, over pixels or features; language model and vision tower are frozen.",
    params: pretrainParams,
    inputs: stageInputs,
    outputs: { projector: Projector, report: TrainingReport },
    engine: true
  },
  trainingFold(
    ({ inputs, params }: PretrainContext) => openStage(params, inputs, pretraining(params)),
    Effect.fnUntraced(function* ({ inputs, params }, trained) {
      const config: ProjectorConfig = {
        inputSize: (yield* openClip(inputs.vision)).config.hiddenSize,
        outputSize: (yield* openPhi(inputs.model, params.headBias)).config.hiddenSize,
        activation: "erf",
        featureLayer: yield* layerOf(inputs, params.featureLayer)
      }
      const weights = under(trained.weights, "projector.")
      return {
        projector: (folder: string) => writeProjector(folder, config, fromEngine(weights, "float32")),
        report: reportOf(params, inputs.data.length, trained)
      }
    }),
    loadStage
  )
)

// ---- instruction tuning: from a projector, whatever `trains` says

const tuneInputs = { ...stageInputs, projector: Projector }
const tuneParams = Schema.Struct({
  ...stageParams,
  /** What learns; as LLaVA's second stage where left out: the projector and all of the language model. */
  trains: Trains.pipe(
    Schema.withConstructorDefault(Effect.succeed<Trains>({ projector: true, language: "all", vision: false }))
  )
})
type TuneContext = FoldContext<typeof tuneParams.Type, typeof tuneInputs>

const tuning = (trains: Trains, { config, sources }: ModelFile<ProjectorConfig>): StageSpec => ({
  trains,
  projector: () => sources,
  activation: config.activation,
  featureLayer: config.featureLayer,
  plan: (words, settings) => groupedPlan(words, settings)
})

type Tensor = TensorSource<TensorError | CheckpointError, Tensors>

/** All tensors of a model in the order of `names`: trained ones from the engine, the others from its file. */
const tensorsOf = (
  names: ReadonlyArray<string>,
  { sources }: Pick<ModelFile<unknown>, "sources">,
  trained: Weights
): ReadonlyArray<Tensor> => {
  const places = new Map(names.map((name, i) => [name, i]))
  const untouched = sources.filter(({ name }) => !(name in trained))
  const tensors: Array<Tensor> = [...fromEngine(trained, "float32"), ...fromSources(untouched, "float32")]
  return tensors.sort((a, b) => places.get(a.name)! - places.get(b.name)!)
}

/**
 * The language model with what was learned, and its adapter apart; no file is in the adapter's folder where there is
 * none.
 */
const languageOf = (language: ModelFile<PhiConfig>, trains: Trains, trained: Weights) => {
  const lora = adapterOf(trains)
  if (lora !== undefined) return learned(language, lora, trained)
  const names = language.sources.map(({ name }) => name)
  return {
    model: (folder: string) => writePhi(folder, language.config, tensorsOf(names, language, trained)),
    adapter: () => Effect.void
  }
}

export const tuneInstructions = fold(
  {
    id: "tuneInstructions",
    version: "3",
    about:
      "Trains projector, language model or its adapters, and vision tower, as `trains` says, on questions about images.",
    params: tuneParams,
    inputs: tuneInputs,
    outputs: {
      model: LanguageModel,
      projector: Projector,
      vision: VisionTower,
      adapter: Adapter,
      report: TrainingReport
    },
    engine: true
  },
  trainingFold(
    Effect.fnUntraced(function* ({ inputs, params }: TuneContext) {
      const projector = yield* openProjector(inputs.projector)
      const { trains, ...settings } = params
      return yield* openStage(settings, inputs, tuning(trains, projector))
    }),
    Effect.fnUntraced(function* ({ inputs, params }, trained) {
      const { weights } = trained
      const language = yield* openPhi(inputs.model, params.headBias)
      const projector = yield* openProjector(inputs.projector)
      const vision = yield* openClip(inputs.vision)
      const projected = projector.sources.map(({ name }) => name)
      const tower = Object.keys(clipShapes(vision.config))
      return {
        ...languageOf(language, params.trains, under(weights, "language.")),
        projector: (folder: string) =>
          writeProjector(folder, projector.config, tensorsOf(projected, projector, under(weights, "projector."))),
        vision: (folder: string) =>
          writeClip(folder, vision.config, tensorsOf(tower, vision, under(weights, "vision."))),
        report: reportOf(params, inputs.data.length, trained)
      }
    }),
    loadStage
  )
)
