/**
 * The two stages that join picture and text: projector pretraining, and visual instruction tuning.
 *
 * Each exists over pixels (the frozen tower runs in every step) and over features computed before (when they fit the
 * disk); tuning also with the tower trained along, as the authors' scripts do. Pretraining trains the projector alone, on captions that hardly differ in length: plain shuffling. Tuning
 * trains projector and language model on rows of one image and hundreds of placeholders: LLaVA's length-grouped sampler,
 * because packing would gain little and grouping saves the padding.
 */
import { Effect, Schema } from "effect"
import type { Rows, Tree } from "../dag/Artifact.ts"
import { type FoldContext, fold } from "../dag/Fold.ts"
import type { CheckpointError } from "../model/Checkpoint.ts"
import { type ClipConfig, hiddenState } from "../model/clip/Config.ts"
import { clipShapes } from "../model/clip/Names.ts"
import { layersUsed } from "../model/Flops.ts"
import { type LlavaConfig, projectorOf } from "../model/llava/Config.ts"
import type { LlavaBatch } from "../model/llava/Model.ts"
import { freshLora, type Lora } from "../model/lora/Lora.ts"
import type { AppliedLora } from "../model/phi/Model.ts"
import type { ProjectorConfig } from "../model/projector/Config.ts"
import { projectorShapes } from "../model/projector/Names.ts"
import type { Recompute } from "../model/Recompute.ts"
import type { TensorSource } from "../model/Safetensors.ts"
import type { TokenBatch } from "../model/TokenBatch.ts"
import { llavaTrainable, type Trainable } from "../model/Trainable.ts"
import { prefixedSources, under, uploadWeights, type WeightSource } from "../model/Weights.ts"
import type { TensorError } from "../tensor/Errors.ts"
import type { Tensors } from "../tensor/Tensors.ts"
import { type BatchPlan, groupedPlan, shuffledPlan } from "../training/BatchPlan.ts"
import type { RowsOf } from "../training/Prefetch.ts"
import { type Trained, TrainingSettings } from "../training/Stage.ts"
import { trainingFold } from "../training/TrainingFold.ts"
import { applied, loadBase } from "./AdapterFiles.ts"
import {
  Examples,
  Features,
  LanguageModel,
  Pixels,
  Projector,
  TokenizerFile,
  TrainingReport,
  VisionTower
} from "./Artifacts.ts"
import { controlIds, loadTokenizer } from "./LoadTokenizer.ts"
import {
  fromEngine,
  fromSources,
  HeadBias,
  loadWeights,
  type ModelFile,
  ModelFileError,
  openClip,
  openPhi,
  openProjector,
  readClipConfig,
  writeClip,
  writePhi,
  writeProjector
} from "./ModelFiles.ts"
import { freshProjector } from "./ProjectorWeights.ts"
import {
  type Example,
  everyRow,
  type FeatureBatch,
  FeatureLayerMismatch,
  featurePictures,
  llavaOnFeatures,
  type Pictures,
  picturedBatch,
  pixelPictures,
  readLengths
} from "./TrainingData.ts"

export const stageParams = { ...TrainingSettings, headBias: HeadBias } as const
const params = Schema.Struct(stageParams)
type Params = typeof params.Type

const common = {
  model: LanguageModel,
  vision: VisionTower,
  tokenizer: TokenizerFile,
  data: Examples,
  heldOut: Examples
}
/** Which hidden state of the tower is seen where nothing says it: the last but one, as LLaVA takes it. */
const DEFAULT_LAYER = -2
export type Common = FoldContext<Params, typeof common>["inputs"]

/** What is left open between the two stages: which weights are trained, from where, in which order. */
export interface Kind {
  readonly projector: (config: LlavaConfig) => ReadonlyArray<WeightSource<CheckpointError>>
  readonly activation: ProjectorConfig["activation"]
  /** The hidden state that the projector is trained on; undefined where the pictures alone say it. */
  readonly featureLayer: number | undefined
  readonly isTrained: (name: string, config: LlavaConfig) => boolean
  readonly plan: (words: Int32Array, settings: Params) => BatchPlan
  /** Adapters of the language model, which is frozen then. */
  readonly lora?: Lora
}

/** How pictures reach the model: as pixels through the tower in every step, or as features. */
interface View<Row, Values extends Float32Array | Uint8Array, Batch extends TokenBatch> {
  readonly pictures: (vision: ClipConfig, featureLayer: number | undefined) => Pictures<Row, Values>
  /** The hidden state that pictures are given as; undefined for pixels, and where there is no picture. */
  readonly featureLayer: Effect.Effect<number | undefined>
  readonly batch: (batch: TokenBatch & { readonly images: number; readonly values: Values }) => Batch
  readonly model: (
    config: LlavaConfig,
    options: { readonly checkpoint: Recompute; readonly lora?: AppliedLora }
  ) => Trainable<Batch, any>
  readonly needsTower: boolean
}

export const overPixels = (
  images: Rows<typeof Pixels.schema.Type>,
  trainsVision = false
): View<typeof Pixels.schema.Type, Uint8Array, LlavaBatch> => ({
  pictures: (vision) => pixelPictures(images, vision),
  featureLayer: Effect.succeed(undefined),
  batch: (batch) => ({ ...batch, pixels: batch.values }),
  model: (config, options) => llavaTrainable(config, { ...options, trainsVision }),
  needsTower: true
})

export const overFeatures = (
  images: Rows<typeof Features.schema.Type>
): View<typeof Features.schema.Type, Float32Array, FeatureBatch> => ({
  pictures: (vision, featureLayer) => featurePictures(images, vision, featureLayer),
  featureLayer:
    images.length === 0 ? Effect.succeed(undefined) : Effect.map(images.get([0]), ([row]) => row!.featureLayer),
  batch: (batch) => ({ ...batch, features_MPD: batch.values }),
  model: llavaOnFeatures,
  needsTower: false
})

/** Opens what batches are made of: no weights, so that a thread without an engine can. */
const openBatches = Effect.fnUntraced(function* <
  Row,
  Values extends Float32Array | Uint8Array,
  Batch extends TokenBatch
>({ tokenizer: file, vision }: Common, view: View<Row, Values, Batch>) {
  const tokenizer = yield* loadTokenizer(file)
  const { imageId, padId } = yield* controlIds(tokenizer, file.path)
  const pictures = view.pictures(yield* readClipConfig(vision), yield* view.featureLayer)
  const load = (examples: Rows<Example>) => (rows: RowsOf) =>
    Effect.map(picturedBatch(examples, pictures, rows, { kind: "padded" }, padId), view.batch)
  return { imageId, load }
})

/** The stage's own way to load, for a loader's thread. */
export const loadOf = <Row, Values extends Float32Array | Uint8Array, Batch extends TokenBatch>(
  inputs: Common,
  view: View<Row, Values, Batch>
) => Effect.map(openBatches(inputs, view), ({ load }) => load(inputs.data))

/** The one hidden state of pictures and projector; fails where they differ, or where the tower has none such. */
const agreedLayer = (vision: ClipConfig, seen: number | undefined, trained: number | undefined) => {
  const layer = trained ?? seen ?? DEFAULT_LAYER
  const [state, other] = [layer, seen ?? layer].map((one) => hiddenState(vision, one))
  return state !== undefined && state === other
    ? Effect.succeed(layer)
    : Effect.fail(
        new FeatureLayerMismatch({
          message:
            state === other
              ? `the tower has ${vision.layers} layers and no hidden state ${layer}`
              : `the pictures' features are of hidden state ${seen}, the projector was trained on hidden state ${layer}`,
          hint: "Set `featureLayer` of `computeFeatures` to one value in both stages; a projector fits one hidden state alone."
        })
      )
}

/** Opens models and data of a stage. */
export const openStage = Effect.fnUntraced(function* <
  Row,
  Values extends Float32Array | Uint8Array,
  Batch extends TokenBatch
>(settings: Params, inputs: Common, view: View<Row, Values, Batch>, kind: Kind) {
  const { imageId, load } = yield* openBatches(inputs, view)
  const language = yield* openPhi(inputs.model, settings.headBias)
  const vision = yield* openClip(inputs.vision)
  const { lora } = kind
  const adapting = lora === undefined ? undefined : applied(language.config, lora, settings)
  const config: LlavaConfig = {
    vision: vision.config,
    text: adapting?.config ?? language.config,
    projectorActivation: kind.activation,
    imageToken: imageId,
    featureLayer: yield* agreedLayer(vision.config, yield* view.featureLayer, kind.featureLayer)
  }
  const projector = kind.projector(config)
  const fitting = projectorShapes(projectorOf(config))
  const odd = projector.find(({ name, shape }) => String(shape) !== String(fitting[name]))
  if (odd !== undefined)
    return yield* new ModelFileError({
      path: inputs.vision.path,
      message: `the projector's ${odd.name} is [${odd.shape.join(", ")}], between this tower and this language model it is [${fitting[odd.name]?.join(", ") ?? ""}]`,
      hint: "Give a projector that was trained between models of these widths."
    })
  const sources = [
    ...prefixedSources(projector, "projector."),
    ...prefixedSources(language.sources, "language."),
    ...prefixedSources(lora === undefined ? [] : freshLora(language.config, lora, settings.seed), "language."),
    ...(view.needsTower ? prefixedSources(vision.sources, "vision.") : [])
  ]
  const isTrained = ({ name }: { readonly name: string }) => kind.isTrained(name, config)
  const still = sources.filter((source) => !isTrained(source))
  const frozen = yield* lora === undefined ? loadWeights(still) : loadBase(still, lora, "language.")
  const { cut, words } = yield* readLengths(inputs.data)
  return {
    model: view.model(config, {
      checkpoint: settings.recompute,
      ...(adapting === undefined ? {} : { lora: adapting.lora })
    }),
    initial: uploadWeights(sources.filter(isTrained)),
    frozen,
    settings: adapting?.settings ?? settings,
    plan: kind.plan(words, settings),
    cut,
    load: load(inputs.data),
    heldOut: everyRow(inputs.heldOut, settings.microBatch).map(load(inputs.heldOut))
  }
})

export const reportOf = (params: Params, rows: number, { log }: Trained) =>
  Effect.succeed({ ...log, epochs: params.epochs, rows })

/** What a stage that goes on with a projector writes beside its weights: what it was. */
export const projectorConfigOf = Effect.fnUntraced(function* (inputs: { readonly projector: Tree }) {
  return (yield* openProjector(inputs.projector)).config
})

// ---- pretraining: the projector alone, from seeded weights

const pretraining = (seed: number, featureLayer?: number): Kind => ({
  projector: (config) => freshProjector(projectorOf(config), seed),
  activation: "erf",
  featureLayer,
  isTrained: (name) => name.startsWith("projector."),
  plan: (words, settings) => shuffledPlan(words.length, settings)
})

const pretrainDeclaration = {
  version: "3",
  about: "Trains the projector on captions; language model and vision tower stay as they are.",
  outputs: { projector: Projector, report: TrainingReport },
  engine: true
} as const

const finishPretraining = Effect.fnUntraced(function* (
  context: { readonly params: Params; readonly inputs: Common },
  trained: Trained,
  featureLayer: number
) {
  const language = yield* openPhi(context.inputs.model, context.params.headBias)
  const vision = yield* openClip(context.inputs.vision)
  const projector: ProjectorConfig = {
    inputSize: vision.config.hiddenSize,
    outputSize: language.config.hiddenSize,
    activation: "erf",
    featureLayer
  }
  return {
    projector: (folder: string) =>
      writeProjector(folder, projector, fromEngine(under(trained.weights, "projector."), "float32")),
    report: reportOf(context.params, context.inputs.data.length, trained)
  }
})

const pixelParams = Schema.Struct({
  ...stageParams,
  /** Which hidden state of the tower is seen; -2, the last layer but one, when left out. The projector remembers it. */
  featureLayer: Schema.optionalKey(Schema.Int)
})

const pretrainOnPixels = { ...common, images: Pixels }
export const trainProjector = fold(
  { id: "trainProjector", inputs: pretrainOnPixels, params: pixelParams, ...pretrainDeclaration },
  trainingFold(
    ({ inputs, params }: FoldContext<typeof pixelParams.Type, typeof pretrainOnPixels>) =>
      openStage(params, inputs, overPixels(inputs.images), pretraining(params.seed, params.featureLayer)),
    (context, trained) => finishPretraining(context, trained, context.params.featureLayer ?? DEFAULT_LAYER),
    ({ inputs }) => loadOf(inputs, overPixels(inputs.images))
  )
)

const pretrainOnFeatures = { ...common, images: Features }
export const trainProjectorOnFeatures = fold(
  { id: "trainProjectorOnFeatures", inputs: pretrainOnFeatures, params, ...pretrainDeclaration },
  trainingFold(
    ({ inputs, params }: FoldContext<Params, typeof pretrainOnFeatures>) =>
      openStage(params, inputs, overFeatures(inputs.images), pretraining(params.seed)),
    Effect.fnUntraced(function* (context: FoldContext<Params, typeof pretrainOnFeatures>, trained: Trained) {
      const seen = yield* overFeatures(context.inputs.images).featureLayer
      return yield* finishPretraining(context, trained, seen ?? DEFAULT_LAYER)
    }),
    ({ inputs }) => loadOf(inputs, overFeatures(inputs.images))
  )
)

// ---- instruction tuning: projector and language model

export const tuning = ({ config, sources }: ModelFile<ProjectorConfig>): Kind => ({
  projector: () => sources,
  activation: config.activation,
  featureLayer: config.featureLayer,
  isTrained: (name) => !name.startsWith("vision."),
  plan: (words, settings) => groupedPlan(words, settings)
})

const tuneDeclaration = {
  version: "2",
  about: "Trains projector and language model on questions about pictures; the vision tower stays as it is.",
  params,
  outputs: { model: LanguageModel, projector: Projector, report: TrainingReport },
  engine: true
} as const

const finishTuning = Effect.fnUntraced(function* (
  context: { readonly params: Params; readonly inputs: Common & { readonly projector: Tree } },
  trained: Trained
) {
  const language = yield* openPhi(context.inputs.model, context.params.headBias)
  const projector = yield* projectorConfigOf(context.inputs)
  return {
    model: (folder: string) =>
      writePhi(folder, language.config, fromEngine(under(trained.weights, "language."), "float32")),
    projector: (folder: string) =>
      writeProjector(folder, projector, fromEngine(under(trained.weights, "projector."), "float32")),
    report: reportOf(context.params, context.inputs.data.length, trained)
  }
})

export const tuneOnPixels = { ...common, projector: Projector, images: Pixels }
export const tuneInstructions = fold(
  { id: "tuneInstructions", inputs: tuneOnPixels, ...tuneDeclaration },
  trainingFold(
    Effect.fnUntraced(function* ({ inputs, params }: FoldContext<Params, typeof tuneOnPixels>) {
      const projector = yield* openProjector(inputs.projector)
      return yield* openStage(params, inputs, overPixels(inputs.images), tuning(projector))
    }),
    finishTuning,
    ({ inputs }) => loadOf(inputs, overPixels(inputs.images))
  )
)

export const tuneOnFeatures = { ...common, projector: Projector, images: Features }
export const tuneInstructionsOnFeatures = fold(
  { id: "tuneInstructionsOnFeatures", inputs: tuneOnFeatures, ...tuneDeclaration },
  trainingFold(
    Effect.fnUntraced(function* ({ inputs, params }: FoldContext<Params, typeof tuneOnFeatures>) {
      const projector = yield* openProjector(inputs.projector)
      return yield* openStage(params, inputs, overFeatures(inputs.images), tuning(projector))
    }),
    finishTuning,
    ({ inputs }) => loadOf(inputs, overFeatures(inputs.images))
  )
)

// ---- instruction tuning that unfreezes the tower

/** Weights of the tower that no feature depends on: layers above the one that is read, and the last norm. */
const isUnused = (name: string, { featureLayer, vision }: LlavaConfig): boolean => {
  const layer = /^encoder\.layers\.(\d+)\./.exec(name)?.[1]
  return name.startsWith("post_layernorm.") || Number(layer ?? -1) >= layersUsed(vision, featureLayer)
}

/** All weights but the unused ones, which weight decay alone would move. */
const tuningAll = (projector: ModelFile<ProjectorConfig>): Kind => ({
  ...tuning(projector),
  isTrained: (name, config) => !name.startsWith("vision.") || !isUnused(name.slice("vision.".length), config)
})

export const tuneInstructionsAndVision = fold(
  {
    id: "tuneInstructionsAndVision",
    inputs: tuneOnPixels,
    ...tuneDeclaration,
    about: "Trains projector, language model and vision tower on questions about pictures.",
    outputs: { ...tuneDeclaration.outputs, vision: VisionTower }
  },
  trainingFold(
    Effect.fnUntraced(function* ({ inputs, params }: FoldContext<Params, typeof tuneOnPixels>) {
      const projector = yield* openProjector(inputs.projector)
      return yield* openStage(params, inputs, overPixels(inputs.images, true), tuningAll(projector))
    }),
    Effect.fnUntraced(function* (context: FoldContext<Params, typeof tuneOnPixels>, trained: Trained) {
      const { config, sources } = yield* openClip(context.inputs.vision)
      const tuned = under(trained.weights, "vision.")
      const unused = sources.filter((source) => !(source.name in tuned))
      const place = new Map(Object.keys(clipShapes(config)).map((name, i) => [name, i]))
      const tensors: Array<TensorSource<TensorError | CheckpointError, Tensors>> = [
        ...fromEngine(tuned, "float32"),
        ...fromSources(unused, "float32")
      ]
      tensors.sort((a, b) => place.get(a.name)! - place.get(b.name)!)
      return {
        ...(yield* finishTuning(context, trained)),
        vision: (folder: string) => writeClip(folder, config, tensors)
      }
    }),
    ({ inputs }) => loadOf(inputs, overPixels(inputs.images))
  )
)
