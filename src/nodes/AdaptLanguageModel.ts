/**
 * Tunes a language model on conversations by adapters: packed rows, LoRA or QLoRA, the model itself frozen.
 *
 * The same stage as `TrainLanguageModel.ts` but for what is trained: no gradient and no moment of the model's own
 * weights. Besides the adapter there is the merged model, so that what comes after takes either stage's.
 */
import { Effect, Schema } from "effect"
import { type FoldContext, fold } from "../dag/Fold.ts"
import { whole } from "../dag/Node.ts"
import { AdapterError, openAdapter } from "../model/lora/Adapter.ts"
import { freshLora, Lora, loraTargets } from "../model/lora/Lora.ts"
import type { PhiConfig } from "../model/phi/Config.ts"
import { phiTrainable } from "../model/Trainable.ts"
import { uploadWeights, type WeightSource } from "../model/Weights.ts"
import { Tensors } from "../tensor/Tensors.ts"
import type { Trained } from "../training/Stage.ts"
import { trainingFold } from "../training/TrainingFold.ts"
import { applied, learned, loadBase } from "./AdapterFiles.ts"
import { Adapter, LanguageModel, TrainingReport } from "./Artifacts.ts"
import { HeadBias, type LoadError, type ModelFile, openPhi } from "./ModelFiles.ts"
import { loadText, openText, textInputs, textParams } from "./TrainLanguageModel.ts"

const params = Schema.Struct({ ...textParams, lora: Lora })
type Context = Pick<FoldContext<typeof params.Type, typeof textInputs>, "inputs" | "params">

/** Opens a stage whose adapters start from `start`. */
const openStage = <E extends LoadError | AdapterError, R>(
  context: Context,
  start: (language: ModelFile<PhiConfig>) => Effect.Effect<ReadonlyArray<WeightSource<any>>, E, R>
) =>
  Effect.gen(function* () {
    const { inputs, params } = context
    const language = yield* openPhi(inputs.model, params.headBias)
    const initial = yield* start(language)
    const text = yield* openText(context)
    const { config, lora, settings } = applied(language.config, params.lora, text.settings)
    return {
      ...text,
      settings,
      model: phiTrainable(config, { recompute: params.recompute, lora }),
      initial: uploadWeights(initial),
      frozen: yield* loadBase(language.sources, params.lora)
    }
  })

const finish = Effect.fnUntraced(function* ({ inputs, params }: Context, { log, weights }: Trained) {
  return {
    ...learned(yield* openPhi(inputs.model, params.headBias), params.lora, weights),
    report: Effect.succeed({ ...log, epochs: params.epochs, rows: inputs.data.length })
  }
})

const declaration = {
  version: "1",
  params,
  outputs: { model: LanguageModel, adapter: Adapter, report: TrainingReport },
  engine: true
} as const

export const adaptLanguageModel = fold(
  {
    id: "adaptLanguageModel",
    ...declaration,
    about: "Supervised fine-tuning by LoRA adapters on packed conversations; the model is frozen.",
    inputs: textInputs
  },
  trainingFold(
    (context: Context) =>
      openStage(context, ({ config }) => Effect.succeed(freshLora(config, context.params.lora, context.params.seed))),
    finish,
    loadText
  )
)

/** The settings' adapter is that of the folder, so far as a folder says. */
const checkSame = (path: string, wanted: Lora, found: Lora): Effect.Effect<void, AdapterError> => {
  const said = ({ alpha, rank, targets }: Lora): string =>
    `rank ${rank}, alpha ${alpha}, ${loraTargets.filter((target) => targets.includes(target)).join(" ")}`
  return said(wanted) === said(found)
    ? Effect.void
    : Effect.fail(
        new AdapterError({
          path,
          message: `the adapter has ${said(found)}; the parameters say ${said(wanted)}`,
          hint: "Take the adapter's own rank, alpha and targets, or merge it and start a new one."
        })
      )
}

const withAdapter = { ...textInputs, adapter: Adapter }

export const continueAdapter = fold(
  {
    id: "continueAdapter",
    ...declaration,
    about: "The same, from an adapter in PEFT's layout instead of a fresh one.",
    inputs: withAdapter
  },
  trainingFold(
    (context: FoldContext<typeof params.Type, typeof withAdapter>) =>
      openStage(context, ({ config }) =>
        Effect.gen(function* () {
          const { path } = context.inputs.adapter
          const { lora, sources } = yield* openAdapter(path, config)
          yield* checkSame(path, context.params.lora, lora)
          return sources
        })
      ),
    finish,
    loadText
  )
)

export const mergeAdapter = whole(
  {
    id: "mergeAdapter",
    version: "1",
    about: "Merges a LoRA adapter in PEFT's layout into the language model it belongs to.",
    params: Schema.Struct({ headBias: HeadBias }),
    inputs: { model: LanguageModel, adapter: Adapter },
    outputs: { model: LanguageModel },
    engine: true
  },
  ({ inputs, params }) =>
    Effect.gen(function* () {
      const language = yield* openPhi(inputs.model, params.headBias)
      const { lora, sources } = yield* openAdapter(inputs.adapter.path, language.config)
      const tensors = yield* Tensors
      const weights = yield* Effect.acquireRelease(uploadWeights(sources), (made) => tensors.free(made))
      return { model: learned(language, lora, weights).model }
    })
)
