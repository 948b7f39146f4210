/**
 * LLaVA-Phi: from raw ShareGPT and CC-595K to a checkpoint that answers questions about images.
 *
 *     npx tsx pipelines/llava-phi.ts                       the sample: small models, the data that ships
 *     npx tsx pipelines/llava-phi.ts --preset paper --plan  the paper's recipe, on data and models you have
 *
 * The recipe is one value: `llavaPhi(settings, sources)` wires it, and nothing runs on import. Its numbers are in
 * `llava-phi-presets.ts`, its data and models in `llava-phi-sources.ts`.
 */
import { type CaptionSettings, expectedOfRules, expectedRows, ruleLines } from "../datasets/CaptionRules.ts"
import { credits, hubFields } from "../datasets/Credits.ts"
import { published, reported } from "../datasets/Sizes.ts"
import { run } from "../src/cli/Main.ts"
import { estimate, type Known } from "../src/cost/Estimate.ts"
import type { Costing } from "../src/dag/Costing.ts"
import { scope } from "../src/dag/InstanceScope.ts"
import type { Ref } from "../src/dag/Node.ts"
import { pipeline } from "../src/dag/Pipeline.ts"
import { adaptLanguageModel } from "../src/nodes/AdaptLanguageModel.ts"
import type * as A from "../src/nodes/Artifacts.ts"
import { cleanShareGpt } from "../src/nodes/CleanShareGpt.ts"
import { computeFeatures } from "../src/nodes/ComputeFeatures.ts"
import { dropDuplicates } from "../src/nodes/DropDuplicates.ts"
import { evaluate } from "../src/nodes/Evaluate.ts"
import { evaluationPage } from "../src/nodes/EvaluationPage.ts"
import { summarise } from "../src/nodes/EvaluationText.ts"
import { exportTrained } from "../src/nodes/ExportCheckpoint.ts"
import { filterCaptions } from "../src/nodes/FilterCaptions.ts"
import { holdOut } from "../src/nodes/HoldOut.ts"
import { dropRepeatedDigits, keepFormat } from "../src/nodes/KeepFormat.ts"
import { keepLanguages } from "../src/nodes/KeepLanguages.ts"
import { perplexity } from "../src/nodes/Perplexity.ts"
import { readCaptions, readInstructions, readQuestions } from "../src/nodes/ReadLlava.ts"
import { readShareGpt } from "../src/nodes/ReadShareGpt.ts"
import { splitConversations } from "../src/nodes/SplitConversations.ts"
import { tokenizeImages } from "../src/nodes/TokenizeImages.ts"
import { tokenizeConversations, tokenizePictured } from "../src/nodes/TokenizeText.ts"
import { trainLanguageModel } from "../src/nodes/TrainLanguageModel.ts"
import { trainProjector, tuneInstructions } from "../src/nodes/TrainVision.ts"
import { writeAnswers } from "../src/nodes/WriteAnswers.ts"
import { writeCard } from "../src/nodes/WriteCard.ts"
import { recipe } from "../src/run/Recipe.ts"
import * as Engine from "../src/tensor/Engine.ts"
import { numerics } from "../src/tensor/Fingerprint.ts"
import { presets, type Settings } from "./llava-phi-presets.ts"
import { type Sources, sources } from "./llava-phi-sources.ts"

export { presets, type Settings } from "./llava-phi-presets.ts"
export { type Sources, sampleSources, sampleTower } from "./llava-phi-sources.ts"

/** Cleaned conversations, as FastChat makes Vicuna's data. */
const conversations = ({ text }: Settings, { shareGpt, tokenizer }: Sources) => {
  const { bannedWords, humanTurns, minCharacters, notices, specialTokens, values } = text
  const rules = { values, humanTurns, bannedWords, notices, minCharacters, specialTokens }
  const raw = readShareGpt({ file: shareGpt }, { shardRows: text.shardRows, group: text.group })
  const clean = cleanShareGpt({ rows: raw.out.rows }, rules)
  const distinct = dropDuplicates({ rows: clean.out.rows }, { shardRows: text.shardRows })
  const english = keepLanguages({ rows: distinct.out.rows }, { languages: text.languages })
  const counted = dropRepeatedDigits({ rows: english.out.rows }, { repeatedDigits: text.repeatedDigits })
  const { maxTokens, perMessage } = text
  const parts = splitConversations({ rows: counted.out.rows, tokenizer }, { maxTokens, perMessage })
  return { raw, clean, distinct, english, counted, parts, vicuna: keepFormat({ rows: parts.out.rows }, {}) }
}

/** Stage 1: the language model learns to converse, with all of its weights or by adapters. */
const sftStage = (settings: Settings, { languageModel, tokenizer }: Sources, vicuna: Ref<typeof A.Vicuna>) =>
  scope("sft", () => {
    const { maxTokens } = settings.text
    const examples = tokenizeConversations({ rows: vicuna, tokenizer }, { maxTokens })
    const sftExamples = holdOut({ rows: examples.out.rows }, settings.heldOut)
    const { heldOut, train: data } = sftExamples.out
    const { lora, ...stage } = settings.sft
    const inputs = { model: languageModel, tokenizer, data, heldOut }
    const params = { ...stage, maxTokens, headBias: settings.headBias }
    if (lora === null) return { sftExamples, sft: trainLanguageModel.named("train")(inputs, params), sftAdapter: {} }
    const sft = adaptLanguageModel.named("train")(inputs, { ...params, lora })
    return { sftExamples, sft, sftAdapter: { "sft-adapter": sft.out.adapter } }
  })

type SftStage = ReturnType<typeof sftStage>

/** Images as a stage takes them: pixels, or features that the frozen tower gives for them once. */
const imagesFor = (settings: Settings, { vision }: Sources, pixels: Ref<typeof A.Pixels>, trainsVision: boolean) =>
  settings.images.features && !trainsVision
    ? computeFeatures({ pixels, vision }, { featureLayer: settings.images.featureLayer }).out.rows
    : pixels

/** Stage 2: the projector learns what the vision tower says, from balanced captions. */
const pretrainStage = (settings: Settings, sources: Sources, { sft }: SftStage) => {
  const { headBias } = settings
  const { tokenizer, vision } = sources
  const captions = readCaptions({ file: sources.captions }, { shardRows: settings.captions.shardRows })
  const balanced = filterCaptions({ rows: captions.out.rows }, settings.captions)
  return scope("pretrain", () => {
    const { featureLayer, maxAspect, minSide, misnamed, size } = settings.images
    const pretrainImages = tokenizeImages(
      { rows: balanced.out.rows, images: sources.captionImages },
      { size, misnamed, minSide, maxAspect, fit: "crop", folder: settings.folders.captions }
    )
    const tokens = tokenizePictured(
      { rows: pretrainImages.out.rows, tokenizer, vision },
      { template: "plain", maxTokens: settings.text.maxTokens }
    )
    const pretrainExamples = holdOut({ rows: tokens.out.rows }, settings.heldOut)
    const { heldOut, train: data } = pretrainExamples.out
    const images = imagesFor(settings, sources, pretrainImages.out.pixels, false)
    const pretrain = trainProjector.named("train")(
      { model: sft.out.model, vision, tokenizer, data, heldOut, images },
      { ...settings.pretrain, headBias, featureLayer }
    )
    return { captions, balanced, pretrainImages, pretrainExamples, pretrain }
  })
}

/** Small and narrow images are left out of the captions only: instructions and questions keep all of theirs. */
const wholeImages = ({ images: { misnamed, size } }: Settings, folder: string) =>
  ({ size, misnamed, minSide: 1, maxAspect: 1e6, fit: "pad", folder }) as const

type PretrainStage = ReturnType<typeof pretrainStage>

/** Stage 3: projector and language model learn to answer about images; `trains` says what of them, and the tower. */
const instructStage = (
  settings: Settings,
  sources: Sources,
  { pretrain, sft }: SftStage & Pick<PretrainStage, "pretrain">
) => {
  const { tokenizer, vision } = sources
  const instructions = readInstructions({ file: sources.instructions }, { shardRows: settings.captions.shardRows })
  return scope("instruct", () => {
    const instructImages = tokenizeImages(
      { rows: instructions.out.rows, images: sources.instructionImages },
      wholeImages(settings, settings.folders.instructions)
    )
    const tokens = tokenizePictured(
      { rows: instructImages.out.rows, tokenizer, vision },
      { template: "v1", maxTokens: settings.text.maxTokens }
    )
    const instructExamples = holdOut({ rows: tokens.out.rows }, settings.heldOut)
    const { heldOut, train: data } = instructExamples.out
    const images = imagesFor(settings, sources, instructImages.out.pixels, settings.instruct.trains.vision)
    const instruct = tuneInstructions.named("train")(
      { model: sft.out.model, projector: pretrain.out.projector, vision, tokenizer, data, heldOut, images },
      { ...settings.instruct, headBias: settings.headBias }
    )
    const adapter = typeof settings.instruct.trains.language === "object"
    const instructAdapter = adapter ? { "instruct-adapter": instruct.out.adapter } : {}
    return { instructions, instructImages, instructExamples, instruct, instructAdapter }
  })
}

type Trained = ReturnType<typeof conversations> & SftStage & PretrainStage & ReturnType<typeof instructStage>

/** The checkpoint that others open, what it answers, and its card. */
const exportAndEvaluate = (settings: Settings, sources: Sources, trained: Trained) => {
  const { headBias } = settings
  const { captions, instruct, instructions, pretrain, raw, sft, sftExamples } = trained
  const { captionImages, instructionImages, languageModel, tokenizer, vision } = sources
  const inherited = { captionImages, instructionImages, tokenizer, languageModel, startTower: vision }
  const origins = {
    ...inherited,
    shareGpt: sources.shareGpt,
    captions: sources.captions,
    instructions: sources.instructions
  }
  const reports = { sft: sft.out.report, pretrain: pretrain.out.report, instruct: instruct.out.report }
  const exported = exportTrained.named("exportCheckpoint")(
    {
      model: instruct.out.model,
      projector: instruct.out.projector,
      vision: instruct.out.vision,
      ...inherited,
      shareGpt: raw.out.rows,
      captions: captions.out.rows,
      instructions: instructions.out.rows,
      ...reports
    },
    {
      ...settings.export,
      headBias,
      stages: { sft: settings.sft, pretrain: settings.pretrain, instruct: settings.instruct },
      trainedBy: {
        sft: reports.sft.node.spec.id,
        pretrain: reports.pretrain.node.spec.id,
        instruct: reports.instruct.node.spec.id
      },
      credits: Object.fromEntries(
        Object.entries(origins).flatMap(([part, { node }]) => {
          const credit = credits[settings.data][node.id]
          return credit === undefined ? [] : [[part, credit]]
        })
      )
    }
  )
  const questions = readQuestions({ file: sources.questions }, { shardRows: settings.captions.shardRows })
  const evaluationImages = scope("evaluate", () =>
    tokenizeImages(
      { rows: questions.out.scenes, images: sources.questionImages },
      wholeImages(settings, settings.folders.questions)
    )
  )
  const { pixels, rows: pictured } = evaluationImages.out
  const evaluated = evaluate.named("evaluate/answers")(
    { model: exported.out.model, questions: questions.out.questions, pictured, pixels, ...reports },
    { ...settings.evaluate, headBias }
  )
  // The same folder once more: its card says what the model was found to do.
  const described = writeCard(
    { model: exported.out.model, evaluation: evaluated.out.report, questions: questions.out.questions },
    {
      name: settings.export.name,
      ...hubFields(
        settings.data,
        Object.values(origins).map(({ node }) => node.id)
      ),
      measuredOn:
        credits[settings.data][sources.questions.node.id] ?? "the held-out questions of whoever ran the recipe"
    }
  )
  // For LLaVA's own scoring scripts; and what tuning on images has cost in conversations.
  const answers = writeAnswers.named("evaluate/write")(
    { questions: questions.out.questions, answers: evaluated.out.rows },
    { model: settings.export.name, ids: "text", unanswered: "leaveOut" }
  )
  const conversationPerplexity = perplexity.named("evaluate/perplexity")(
    { model: instruct.out.model, data: sftExamples.out.heldOut },
    { batch: settings.sft.microBatch, headBias }
  )
  return { exported, questions, evaluationImages, evaluated, described, answers, conversationPerplexity }
}

/**
 * The whole recipe. Returns every stage by name beside the pipeline, so that one can stop after a stage, swap a dataset
 * or hang another node onto it.
 *
 * @example
 * const { instruct } = llavaPhi(presets.sample, { ...sources, instructions: mine.out.files })
 */
export const llavaPhi = (settings: Settings, sources: Sources) => {
  const cleaned = conversations(settings, sources)
  const sft = sftStage(settings, sources, cleaned.vicuna.out.rows)
  const pretrain = pretrainStage(settings, sources, sft)
  const instruct = instructStage(settings, sources, { ...sft, ...pretrain })
  const trained = { ...cleaned, ...sft, ...pretrain, ...instruct }
  const results = exportAndEvaluate(settings, sources, trained)
  return {
    ...trained,
    ...results,
    pipeline: pipeline("llava-phi", {
      checkpoint: results.described.out.model,
      report: results.evaluated.out.report,
      answers: results.answers.out.files,
      perplexity: results.conversationPerplexity.out.report,
      // Adapters are merged into the checkpoint; apart they are outputs of their own.
      ...sft.sftAdapter,
      ...instruct.instructAdapter
    })
  }
}

/** What is known of data that is not here: published sizes, less what the plan's caption rules are expected to take. */
const knownOf = (data: "paper" | "authors", asked: Costing): Known => {
  const paramsOf = (id: string) => asked.nodes.find((node) => node.id === id)?.params
  const captions = paramsOf("filterCaptions") as CaptionSettings["captions"] | undefined
  const images = paramsOf("pretrain/tokenizeImages") as CaptionSettings["images"] | undefined
  if (captions === undefined || images === undefined) return { published: published[data], reported }
  const rules = expectedOfRules({ captions, images })
  const pretrain = { ...published[data]["pretrain/train"], examples: expectedRows(rules) }
  return { published: { ...published[data], "pretrain/train": pretrain }, reported, expected: ruleLines(rules) }
}

const llavaPhiRecipe = recipe({
  name: "llava-phi",
  presets: presets as { readonly [preset: string]: Settings },
  build: (settings) => llavaPhi(settings, sources[settings.data]()),
  engines: Engine.engineNames,
  engine: (settings) => settings.engine,
  resolveEngine: Engine.resolve,
  distributed: ["torch", "torch-bf16"],
  services: Engine.layer,
  numerics,
  summary: summarise,
  report: evaluationPage,
  cost: ({ data }, asked) => estimate(asked, data === "sample" ? {} : knownOf(data, asked))
})
export default llavaPhiRecipe

run(import.meta, llavaPhiRecipe)
