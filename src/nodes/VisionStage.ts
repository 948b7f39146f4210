/**
 * A training stage over images: opens models, images and examples, and says which weights learn.
 *
 * Not a node (`TrainVision.ts`) and not a loop (`training/TrainingFold.ts`). Weights of the three models are one list,
 * their names after `vision.`, `projector.` and `language.`.
 */
import { Effect, Schema } from "effect"
import { oneOf, type Rows } from "../dag/Artifact.ts"
import type { FoldContext } from "../dag/Fold.ts"
import type { CheckpointError } from "../model/Checkpoint.ts"
import { type ClipConfig, hiddenState } from "../model/clip/Config.ts"
import { isUsed } from "../model/Flops.ts"
import { type LlavaConfig, projectorOf } from "../model/llava/Config.ts"
import { freshLora, Lora } from "../model/lora/Lora.ts"
import type { ProjectorConfig } from "../model/projector/Config.ts"
import { projectorShapes } from "../model/projector/Names.ts"
import { llavaTrainable } from "../model/Trainable.ts"
import { prefixedSources, uploadWeights, type WeightSource } from "../model/Weights.ts"
import type { BatchPlan } from "../training/BatchPlan.ts"
import type { RowsOf } from "../training/Prefetch.ts"
import { TrainingSettings } from "../training/Stage.ts"
import { applied, loadBase } from "./AdapterFiles.ts"
import { Examples, Features, LanguageModel, Pixels, TokenizerFile, VisionTower } from "./Artifacts.ts"
import { controlIds, loadTokenizer } from "./LoadTokenizer.ts"
import { HeadBias, loadWeights, ModelFileError, openClip, openPhi, readClipConfig } from "./ModelFiles.ts"
import { type Example, everyRow, FeatureLayerMismatch, imageBatch, openImages, readLengths } from "./TrainingData.ts"

/** What a stage trains of the three models; the rest is frozen. */
export const Trains = Schema.Struct({
  projector: Schema.Boolean,
  /** `all` weights of the language model, LoRA adapters beside them, or `none`. */
  language: Schema.Union([Schema.Literals(["all", "none"]), Lora]),
  /** The weights of the vision tower that features depend on. Its images are pixels then. */
  vision: Schema.Boolean
}).check(
  Schema.makeFilter(({ language, projector, vision }) =>
    !projector && language === "none" && !vision
      ? "one of projector, language and vision must be trained"
      : vision && typeof language === "object"
        ? "adapters are trained beside a frozen tower: set vision to false, or language to all"
        : true
  )
)
export type Trains = typeof Trains.Type

/** The adapters that are trained, where it is adapters. */
export const adapterOf = ({ language }: Trains): Lora | undefined =>
  typeof language === "object" ? language : undefined

export const stageParams = { ...TrainingSettings, headBias: HeadBias } as const
const params = Schema.Struct(stageParams)
export type StageParams = typeof params.Type

/** Inputs of every stage over images. */
export const stageInputs = {
  model: LanguageModel,
  vision: VisionTower,
  tokenizer: TokenizerFile,
  data: Examples,
  heldOut: Examples,
  images: oneOf(Pixels, Features)
}
export type StageInputs = FoldContext<StageParams, typeof stageInputs>["inputs"]

/** What differs between stages: what is trained, where the projector comes from, and the order of examples. */
export interface StageSpec {
  readonly trains: Trains
  readonly projector: (config: LlavaConfig) => ReadonlyArray<WeightSource<CheckpointError>>
  readonly activation: ProjectorConfig["activation"]
  /** The hidden state that the projector takes; undefined where the images alone say it. */
  readonly featureLayer: number | undefined
  readonly plan: (words: Int32Array, settings: StageParams) => BatchPlan
}

/** The hidden state that is taken where nothing says one: the last but one, as LLaVA takes it. */
export const DEFAULT_LAYER = -2

/** Opens what batches are made of: no weights, so that a thread without an engine can. */
const openBatches = Effect.fnUntraced(function* ({ images: rows, tokenizer: file, vision }: StageInputs) {
  const tokenizer = yield* loadTokenizer(file)
  const { imageId, padId } = yield* controlIds(tokenizer, file.path)
  const images = yield* openImages(rows, yield* readClipConfig(vision))
  const load = (examples: Rows<Example>) => (wanted: RowsOf) =>
    imageBatch(examples, images, wanted, { kind: "padded" }, padId)
  return { imageId, images, load }
})

/** The stage's own way to load, for a loader's thread. */
export const loadStage = ({ inputs }: { readonly inputs: StageInputs }) =>
  Effect.map(openBatches(inputs), ({ load }) => load(inputs.data))

/** The one hidden state of images and projector; fails where they differ, or where the tower has none such. */
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
              : `the images' features are of hidden state ${seen}, the projector was trained on hidden state ${layer}`,
          hint: "Set `featureLayer` of `computeFeatures` to one value in both stages; a projector fits one hidden state alone."
        })
      )
}

/** The hidden state that the images of a stage are taken from. */
export const layerOf = (inputs: StageInputs, trained: number | undefined) =>
  Effect.flatMap(readClipConfig(inputs.vision), (vision) =>
    Effect.flatMap(openImages(inputs.images, vision), ({ featureLayer }) => agreedLayer(vision, featureLayer, trained))
  )

/** Whether a weight is trained. Those that no feature depends on are not: weight decay alone would move them. */
const isTrained = (name: string, { language, projector, vision }: Trains, config: LlavaConfig): boolean =>
  name.startsWith("projector.")
    ? projector
    : name.startsWith("vision.")
      ? vision && isUsed(name.slice("vision.".length), config)
      : language === "all" || (language !== "none" && /\.lora_[AB]\.weight$/.test(name))

/** Fails unless the projector fits between the tower and the language model. */
const checkFit = (projector: ReadonlyArray<WeightSource<CheckpointError>>, config: LlavaConfig, path: string) => {
  const fitting = projectorShapes(projectorOf(config))
  const odd = projector.find(({ name, shape }) => String(shape) !== String(fitting[name]))
  if (odd === undefined) return Effect.void
  const wanted = fitting[odd.name]?.join(", ") ?? ""
  return Effect.fail(
    new ModelFileError({
      path,
      message: `the projector's ${odd.name} is [${odd.shape.join(", ")}], between this tower and this language model it is [${wanted}]`,
      hint: "Give a projector that was trained between models of these widths."
    })
  )
}

/** Opens models and data of a stage. */
export const openStage = Effect.fnUntraced(function* (params: StageParams, inputs: StageInputs, spec: StageSpec) {
  const { imageId, images, load } = yield* openBatches(inputs)
  const { trains } = spec
  if (trains.vision && !images.needsTower)
    return yield* new FeatureLayerMismatch({
      message: "the vision tower is to be trained, and the images are features that a frozen one gave",
      hint: "Give the stage pixels, or leave the tower out of `trains`."
    })
  const language = yield* openPhi(inputs.model, params.headBias)
  const vision = yield* openClip(inputs.vision)
  const lora = adapterOf(trains)
  const adapting = lora === undefined ? undefined : applied(language.config, lora, params)
  const settings = adapting?.settings ?? params
  const config: LlavaConfig = {
    vision: vision.config,
    text: adapting?.config ?? language.config,
    projectorActivation: spec.activation,
    imageToken: imageId,
    featureLayer: yield* agreedLayer(vision.config, images.featureLayer, spec.featureLayer)
  }
  const projector = spec.projector(config)
  yield* checkFit(projector, config, inputs.vision.path)
  const sources = [
    ...prefixedSources(projector, "projector."),
    ...prefixedSources(language.sources, "language."),
    ...prefixedSources(lora === undefined ? [] : freshLora(language.config, lora, params.seed), "language."),
    ...(images.needsTower ? prefixedSources(vision.sources, "vision.") : [])
  ]
  const trained = sources.filter(({ name }) => isTrained(name, trains, config))
  const frozen = sources.filter((source) => !trained.includes(source))
  const { cut, words } = yield* readLengths(inputs.data)
  return {
    model: llavaTrainable(config, {
      recompute: params.recompute,
      trainsVision: trains.vision,
      ...(adapting === undefined ? {} : { lora: adapting.lora })
    }),
    initial: uploadWeights(trained),
    frozen: yield* lora === undefined ? loadWeights(frozen) : loadBase(frozen, lora, "language."),
    settings,
    plan: spec.plan(words, params),
    cut,
    load: load(inputs.data),
    heldOut: everyRow(inputs.heldOut, params.microBatch).map(load(inputs.heldOut))
  }
})
