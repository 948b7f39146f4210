import { Effect, Schema } from "effect"
import { value } from "../dag/Artifact.ts"
import { whole } from "../dag/Node.ts"
import { llavaTrainable, phiTrainable } from "../model/Trainable.ts"
import { type Measured, measureHeldOut } from "../training/HeldOut.ts"
import { Checkpoint, Examples, LanguageModel, Pixels } from "./Artifacts.ts"
import { HeadBias, loadWeights, openLlava, openPhi } from "./ModelFiles.ts"
import { Positive } from "./Params.ts"
import { everyRow, imageBatch, openImages, textBatch } from "./TrainingData.ts"

export const Perplexity = Schema.Struct({
  rows: Schema.Number,
  /** Tokens that carry loss. */
  tokens: Schema.Number,
  /** Their mean loss, in nats; null over no token. */
  loss: Schema.NullOr(Schema.Number),
  perplexity: Schema.NullOr(Schema.Number)
})
export type Perplexity = typeof Perplexity.Type
export const PerplexityReport = value("perplexity-report", Perplexity)

const params = Schema.Struct({
  /** Examples computed together. */
  batch: Positive,
  headBias: HeadBias
})

const padded = { kind: "padded" } as const

const reportOf = (rows: number, { loss, tokens }: Measured) => ({
  report: Effect.succeed({ rows, tokens, loss, perplexity: loss === null ? null : Math.exp(loss) })
})

export const perplexity = whole(
  {
    id: "perplexity",
    version: "1",
    about: "A language model's perplexity on tokenised conversations.",
    params,
    inputs: { model: LanguageModel, data: Examples },
    outputs: { report: PerplexityReport },
    engine: true
  },
  ({ inputs: { data, model }, params }) =>
    Effect.gen(function* () {
      const { config, sources } = yield* openPhi(model, params.headBias)
      const weights = yield* loadWeights(sources)
      // What fills a row is in no segment: any id will do.
      const batches = everyRow(data, params.batch).map((rows) => textBatch(data, rows, padded, 0))
      return reportOf(data.length, yield* measureHeldOut(phiTrainable(config), weights, batches, 0))
    })
)

export const picturedPerplexity = whole(
  {
    id: "picturedPerplexity",
    version: "1",
    about: "An exported model's perplexity on tokenised conversations about images.",
    params,
    inputs: { model: Checkpoint, data: Examples, images: Pixels },
    outputs: { report: PerplexityReport },
    engine: true
  },
  ({ inputs: { data, images, model }, params }) =>
    Effect.gen(function* () {
      const { config, sources } = yield* openLlava(model, params.headBias)
      const weights = yield* loadWeights(sources)
      const input = yield* openImages(images, config.vision)
      // Any id but that of an image.
      const fill = config.imageToken === 0 ? 1 : 0
      const batches = everyRow(data, params.batch).map((rows) => imageBatch(data, input, rows, padded, fill))
      return reportOf(data.length, yield* measureHeldOut(llavaTrainable(config), weights, batches, 0))
    })
)
