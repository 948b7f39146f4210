/**
 * Writes the finished model as a folder that others open: `LlavaForConditionalGeneration`'s layout.
 *
 * Weights go through memory one tensor at a time, then the model is read back from the folder for `parity.safetensors`.
 * With a head bias the stock class would lose it, so a small custom class lies beside the weights and `auto_map` names
 * it; the card says so.
 *
 * Two definitions write the same files: `exportCheckpoint` of a model that came from anywhere, `exportTrained` of one
 * that the recipe trained, whose card says how and on what.
 */
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { whole } from "../dag/Node.ts"
import { imageKernels } from "../data/Images.ts"
import { llavaConfigJson } from "../model/llava/Config.ts"
import { llavaFileName } from "../model/llava/Names.ts"
import { writeCheckpoint } from "../model/Safetensors.ts"
import { prefixedSources } from "../model/Weights.ts"
import { adaptLanguageModel } from "./AdaptLanguageModel.ts"
import * as A from "./Artifacts.ts"
import { chatTemplate } from "./ChatTemplate.ts"
import { type CardRecord, exportCard } from "./ExportCard.ts"
import { generationJson, HEAD_CLASS, imageProcessorJson, processorJson, tokenizerJson } from "./ExportFiles.ts"
import { openParts, type Parts, parts } from "./ExportParts.ts"
import { fromSources, HeadBias, ModelDtype, writeTextFile } from "./ModelFiles.ts"
import { writeParity } from "./Parity.ts"
import { trainLanguageModel } from "./TrainLanguageModel.ts"
import { trainProjector, tuneInstructions } from "./TrainVision.ts"

/**
 * Names for the custom class. transformers 5 renames old layouts for its own classes only, so the head, which is the
 * custom class's, has the name that the class gives it; under the stock one it would be dropped with a warning and
 * start fresh.
 */
const customFileName = (name: string): string =>
  name.startsWith("language.lm_head.") ? name.slice("language.".length) : llavaFileName(name)

const params = {
  dtype: ModelDtype,
  headBias: HeadBias,
  /** A larger checkpoint is cut into shards with an index. */
  maxShardBytes: Schema.Int,
  /** Name in the card. */
  name: Schema.String
}
const Params = Schema.Struct(params)

/** Opens the parts and gives the function that fills the checkpoint's folder. */
const writer = Effect.fnUntraced(function* (inputs: Parts, params: typeof Params.Type, record?: CardRecord) {
  const { config, control, language, projector, tokenizer, vision } = yield* openParts(inputs, params.headBias)
  const tensors = fromSources(
    [
      ...prefixedSources(vision.sources, "vision."),
      ...prefixedSources(projector.sources, "projector."),
      ...prefixedSources(language.sources, "language.")
    ],
    params.dtype,
    config.text.headBias ? customFileName : llavaFileName
  )
  const files: ReadonlyArray<readonly [string, string | Readonly<Record<string, unknown>>]> = [
    ["config.json", llavaConfigJson(config, params.dtype)],
    ["generation_config.json", generationJson(config, control.padId)],
    ["tokenizer.json", tokenizer.json()],
    ["chat_template.jinja", chatTemplate],
    ["tokenizer_config.json", tokenizerJson(config)],
    ["preprocessor_config.json", imageProcessorJson(config)],
    ["processor_config.json", processorJson(config)],
    ["README.md", exportCard(params.name, config, params.dtype, record)],
    ...(config.text.headBias ? [["modeling_llava_phi.py", HEAD_CLASS] as const] : [])
  ]
  return Effect.fnUntraced(function* (folder: string) {
    yield* writeCheckpoint(folder, tensors, { maxShardBytes: params.maxShardBytes })
    yield* Effect.forEach(files, ([name, content]) => writeTextFile(join(folder, name), content), { discard: true })
    yield* writeParity(folder, tokenizer, control)
  })
})

export const exportCheckpoint = whole(
  {
    id: "exportCheckpoint",
    version: "3",
    about:
      "The model in LlavaForConditionalGeneration's layout, with tokenizer, processor, card and answers to compare.",
    params: Params,
    inputs: parts,
    outputs: { model: A.Checkpoint },
    assets: imageKernels,
    engine: true
  },
  ({ inputs, params }) => Effect.map(writer(inputs, params), (model) => ({ model }))
)

/** Whatever a stage may be trained by: their code is part of the digest that the card states. */
const trainers = new Map(
  [trainLanguageModel, adaptLanguageModel, trainProjector, tuneInstructions].map(({ spec }) => [spec.id, spec.version])
)

/**
 * What the recipe is made from beside the model's parts: only their digests are used. Rows as they were read, not
 * files, so that a row which is refused in any case does not change the model's folder.
 */
const material = {
  shareGpt: A.RawConversations,
  captions: A.Captions,
  captionImages: A.ImageFiles,
  instructions: A.ImageConversations,
  instructionImages: A.ImageFiles,
  languageModel: A.LanguageModel,
  startTower: A.VisionTower
}
const reports = { sft: A.TrainingReport, pretrain: A.TrainingReport, instruct: A.TrainingReport }

const names: Readonly<Record<keyof typeof material | "tokenizer", string>> = {
  shareGpt: "conversations",
  captions: "captions",
  captionImages: "images of captions",
  instructions: "instructions",
  instructionImages: "images of instructions",
  tokenizer: "tokenizer",
  languageModel: "language model before training",
  startTower: "vision tower before training"
}

export const exportTrained = whole(
  {
    id: "exportTrained",
    version: "1",
    about: "The trained model as exportCheckpoint writes it, with a card that says how it was made and of what.",
    params: Schema.Struct({
      ...params,
      /** Settings of each stage, as they stand in the card. */
      stages: Schema.Struct({
        sft: Schema.Record(Schema.String, Schema.Json),
        pretrain: Schema.Record(Schema.String, Schema.Json),
        instruct: Schema.Record(Schema.String, Schema.Json)
      }),
      /** The node that trained each stage. */
      trainedBy: Schema.Struct({ sft: Schema.String, pretrain: Schema.String, instruct: Schema.String }),
      /** Origin and licence by input, as they stand in the card. */
      credits: Schema.Record(Schema.String, Schema.String)
    }),
    inputs: { ...parts, ...material, ...reports },
    outputs: { model: A.Checkpoint },
    assets: imageKernels,
    engine: true
  },
  ({ inputs, origin, params }) =>
    Effect.gen(function* () {
      const ports = Object.keys(names) as ReadonlyArray<keyof typeof names>
      const record: CardRecord = {
        stages: (["sft", "pretrain", "instruct"] as const).map((name) => ({
          name,
          node: [params.trainedBy[name], trainers.get(params.trainedBy[name]) ?? []].flat().join(" "),
          settings: params.stages[name],
          log: inputs[name]
        })),
        data: ports.map((port) => ({
          name: names[port],
          digest: origin?.inputs[port],
          credit: params.credits[port]
        })),
        code: origin?.code
      }
      return { model: yield* writer(inputs, params, record) }
    })
)
