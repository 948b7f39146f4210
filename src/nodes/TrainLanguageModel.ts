/**
 * Tunes a language model on conversations: all parameters, packed rows.
 *
 * Packed, not padded: conversations differ widely in length, and rows packed to the context (block-diagonal attention,
 * positions from zero in each part) leave almost no padding.
 */
import { Effect, Schema } from "effect"
import { type FoldContext, fold } from "../dag/Fold.ts"
import { phiTrainable } from "../model/Trainable.ts"
import { uploadWeights } from "../model/Weights.ts"
import { packedPlan } from "../training/BatchPlan.ts"
import type { RowsOf } from "../training/Prefetch.ts"
import { TrainingSettings } from "../training/Stage.ts"
import { trainingFold } from "../training/TrainingFold.ts"
import { Examples, LanguageModel, TokenizerFile, TrainingReport } from "./Artifacts.ts"
import { controlIds, loadTokenizer } from "./LoadTokenizer.ts"
import { fromEngine, HeadBias, openPhi, writePhi } from "./ModelFiles.ts"
import { ExampleTooLong, everyRow, readLengths, textBatch } from "./TrainingData.ts"

export const textInputs = { model: LanguageModel, tokenizer: TokenizerFile, data: Examples, heldOut: Examples }
export const textParams = {
  ...TrainingSettings,
  /** Tokens of a packed row. */
  maxTokens: Schema.Int,
  headBias: HeadBias
} as const
const params = Schema.Struct(textParams)
type Params = typeof params.Type
type Context = FoldContext<Params, typeof textInputs>

/** Opens what batches are made of: no weights, so that a thread without an engine can. */
const openBatches = Effect.fnUntraced(function* ({ inputs, params }: Pick<Context, "inputs" | "params">) {
  const tokenizer = yield* loadTokenizer(inputs.tokenizer)
  const { padId } = yield* controlIds(tokenizer, inputs.tokenizer.path)
  const packed = { kind: "packed", tokens: params.maxTokens } as const
  return {
    load: (rows: RowsOf) => textBatch(inputs.data, rows, packed, padId),
    loadHeldOut: (rows: RowsOf) => textBatch(inputs.heldOut, rows, { kind: "padded" }, padId)
  }
})

/** The stage's own way to load, for a loader's thread. */
export const loadText = (context: Pick<Context, "inputs" | "params">) =>
  Effect.map(openBatches(context), ({ load }) => load)

/** Opens the data of a stage over text: everything but what is trained. */
export const openText = Effect.fnUntraced(function* ({ inputs, params }: Pick<Context, "inputs" | "params">) {
  const { maxTokens, ...settings } = params
  const { data, heldOut } = inputs
  const { load, loadHeldOut } = yield* openBatches({ inputs, params })
  const { cut, tokens } = yield* readLengths(data)
  const plan = packedPlan(tokens, { tokens: maxTokens, ...settings })
  if (plan.refused.length > 0)
    return yield* new ExampleTooLong({
      examples: (yield* data.get(plan.refused.slice(0, 5))).map((row) => row.id),
      maxTokens,
      hint: "Tokenise with the same maxTokens as rows are packed to."
    })
  return { settings, plan, cut, load, heldOut: everyRow(heldOut, settings.microBatch).map(loadHeldOut) }
})

export const trainLanguageModel = fold(
  {
    id: "trainLanguageModel",
    version: "1",
    about: "Supervised fine-tuning of all parameters on packed conversations.",
    params,
    inputs: textInputs,
    outputs: { model: LanguageModel, report: TrainingReport },
    engine: true
  },
  trainingFold(
    Effect.fnUntraced(function* (context: Context) {
      const { config, sources } = yield* openPhi(context.inputs.model, context.params.headBias)
      return {
        ...(yield* openText(context)),
        model: phiTrainable(config, { recompute: context.params.recompute }),
        initial: uploadWeights(sources),
        frozen: {}
      }
    }),
    Effect.fnUntraced(function* (context, { log, weights }) {
      const { config } = yield* openPhi(context.inputs.model, context.params.headBias)
      return {
        model: (folder: string) => writePhi(folder, config, fromEngine(weights, "float32")),
        report: Effect.succeed({ ...log, epochs: context.params.epochs, rows: context.inputs.data.length })
      }
    }),
    loadText
  )
)
