/**
 * LLaVA-Phi: from raw ShareGPT and CC-595K to a checkpoint that answers questions about pictures.
 *
 *     npx tsx pipelines/llava-phi.ts                       the sample: small models, the data that ships
 *     npx tsx pipelines/llava-phi.ts --preset paper --plan  the paper's recipe, on data and models you have
 *
 * The recipe is one value: `llavaPhi(settings, sources)` wires it, a preset is a literal table, nothing runs on import. It is
 * longer than other files because presets, sources and wiring are read side by side.
 * Numbers are those of Zhu et al., "LLaVA-Phi" (2024); where the authors' scripts differ, they are the preset `authors`.
 */

import { type CaptionSettings, expectedOfRules, expectedRows, ruleLines } from "../datasets/CaptionRules.ts"
import { credits, hubFields } from "../datasets/Credits.ts"
import { cc595k, cc595kSample } from "../datasets/cc595k.ts"
import { type Located, locate } from "../datasets/Dataset.ts"
import { llavaInstruct, llavaInstructSample, mix665k } from "../datasets/llavaInstruct.ts"
import { published, reported } from "../datasets/Sizes.ts"
import { shareGptSample } from "../datasets/shareGpt.ts"
import { run } from "../src/cli/Main.ts"
import { estimate, type Known } from "../src/cost/Estimate.ts"
import type { Costing } from "../src/dag/Costing.ts"
import { pathVariable, read } from "../src/dag/Environment.ts"
import { scope } from "../src/dag/Naming.ts"
import { type Ref, WiringError } from "../src/dag/Node.ts"
import { pipeline } from "../src/dag/Pipeline.ts"
import { source } from "../src/dag/Source.ts"
import type { Lora } from "../src/model/lora/Lora.ts"
import { adaptInstructions, adaptInstructionsOnFeatures } from "../src/nodes/AdaptInstructions.ts"
import { adaptLanguageModel } from "../src/nodes/AdaptLanguageModel.ts"
import * as A from "../src/nodes/Artifacts.ts"
import { cleanShareGpt } from "../src/nodes/CleanShareGpt.ts"
import { computeFeatures } from "../src/nodes/ComputeFeatures.ts"
import { dropDuplicates } from "../src/nodes/DropDuplicates.ts"
import { evaluate } from "../src/nodes/Evaluate.ts"
import { evaluationPage } from "../src/nodes/EvaluationPage.ts"
import { summarise } from "../src/nodes/EvaluationText.ts"
import { type exportCheckpoint, exportTrained } from "../src/nodes/ExportCheckpoint.ts"
import { extendTokenizer } from "../src/nodes/ExtendTokenizer.ts"
import { filterCaptions } from "../src/nodes/FilterCaptions.ts"
import { holdOut } from "../src/nodes/HoldOut.ts"
import { initLanguageModel, initVisionTower } from "../src/nodes/InitModels.ts"
import { dropRepeatedDigits, keepFormat } from "../src/nodes/KeepFormat.ts"
import { keepLanguages } from "../src/nodes/KeepLanguages.ts"
import { perplexity } from "../src/nodes/Perplexity.ts"
import { readCaptions, readInstructions, readQuestions } from "../src/nodes/ReadLlava.ts"
import { readShareGpt } from "../src/nodes/ReadShareGpt.ts"
import { splitConversations } from "../src/nodes/SplitConversations.ts"
import { tokenizeImages } from "../src/nodes/TokenizeImages.ts"
import { tokenizeConversations, tokenizePictured } from "../src/nodes/TokenizeText.ts"
import { trainLanguageModel } from "../src/nodes/TrainLanguageModel.ts"
import {
  trainProjector,
  trainProjectorOnFeatures,
  tuneInstructions,
  tuneInstructionsAndVision,
  tuneInstructionsOnFeatures
} from "../src/nodes/TrainVision.ts"
import { writeAnswers } from "../src/nodes/WriteAnswers.ts"
import { writeCard } from "../src/nodes/WriteCard.ts"
import { recipe } from "../src/run/Recipe.ts"
import * as Engine from "../src/tensor/Engine.ts"
import { numerics } from "../src/tensor/Fingerprint.ts"

/** Where the recipe's raw material comes from; any reference of the right artifact fits. */
export interface Sources {
  readonly shareGpt: Ref<typeof A.ShareGptFile>
  readonly captions: Ref<typeof A.ChatFile>
  readonly captionImages: Ref<typeof A.ImageFiles>
  readonly instructions: Ref<typeof A.InstructFile>
  readonly instructionImages: Ref<typeof A.ImageFiles>
  readonly questions: Ref<typeof A.HeldOutFile>
  readonly questionImages: Ref<typeof A.ImageFiles>
  readonly tokenizer: Ref<typeof A.TokenizerFile>
  readonly languageModel: Ref<typeof A.LanguageModel>
  readonly vision: Ref<typeof A.VisionTower>
}

/** The optimiser of the paper: Adam, betas 0.9 / 0.98, eps 1e-7, weight decay 0.1, nothing clipped. */
const adam = { beta1: 0.9, beta2: 0.98, eps: 1e-7, weightDecay: 0.1, maxGradNorm: null } as const

const sample = {
  data: "sample",
  engine: "wasm",
  text: {
    values: "html",
    humanTurns: "reference",
    languages: ["en"],
    repeatedDigits: 9,
    maxTokens: 384,
    group: "sharegpt",
    shardRows: 512
  },
  captions: {
    shardRows: 256,
    seed: 0,
    minWords: 3,
    maxWords: 45,
    minDistinctShare: 0.3,
    maxRun: 2,
    dropDuplicates: true,
    minCount: 3,
    perPhrase: 100
  },
  images: { size: 42, minSide: 24, maxAspect: 3, misnamed: "refuse", features: true, featureLayer: -2 },
  folders: { captions: "", instructions: "train2017/", questions: "val2017/" },
  heldOut: { share: 0.04, seed: 0 },
  headBias: "drop",
  trainsVision: false,
  sft: {
    ...adam,
    weightDecay: 0,
    epochs: 6,
    lr: 1e-3,
    decay: "constant",
    warmupRatio: 0.03,
    batch: 2,
    microBatch: 1,
    dropout: false,
    recompute: false,
    seed: 0,
    lora: null
  },
  pretrain: {
    ...adam,
    weightDecay: 0,
    epochs: 8,
    lr: 2e-3,
    decay: "constant",
    warmupRatio: 0.03,
    batch: 4,
    microBatch: 2,
    dropout: false,
    recompute: false,
    seed: 0
  },
  instruct: {
    ...adam,
    weightDecay: 0,
    epochs: 6,
    lr: 1.6e-3,
    decay: "linear",
    warmupRatio: 0.03,
    batch: 16,
    microBatch: 8,
    dropout: false,
    recompute: false,
    seed: 0,
    lora: null
  },
  evaluate: {
    maxNewTokens: 8,
    batch: 50,
    samples: 24,
    note: "Scenes of four shapes in four colours, one shape a patch of the tower; 21 different questions, none of a scene seen in training. The vision tower is seeded and frozen, not pretrained."
  },
  export: { dtype: "float32", maxShardBytes: 5_000_000_000, name: "LLaVA-Phi sample" }
} as const

const paper = {
  data: "paper",
  engine: "auto",
  text: {
    values: "html",
    humanTurns: "reference",
    languages: ["en"],
    repeatedDigits: null,
    maxTokens: 2048,
    group: "sharegpt",
    shardRows: 4096
  },
  // CC-595K is what LLaVA's balance left of CC-3M: it is taken as published. No rule takes a caption or a small picture.
  captions: {
    shardRows: 4096,
    seed: 0,
    minWords: 1,
    maxWords: null,
    minDistinctShare: 0,
    maxRun: null,
    dropDuplicates: false,
    minCount: 3,
    perPhrase: null
  },
  images: { size: 336, minSide: 1, maxAspect: 1e6, misnamed: "accept", features: false, featureLayer: -2 },
  folders: { captions: "", instructions: "train2017/", questions: "" },
  heldOut: { share: 0.002, seed: 0 },
  headBias: "keep",
  trainsVision: false,
  sft: {
    ...adam,
    epochs: 2,
    lr: 3e-5,
    decay: "linear",
    warmupRatio: 0,
    batch: 128,
    microBatch: 4,
    dropout: true,
    recompute: true,
    seed: 0,
    lora: null
  },
  pretrain: {
    ...adam,
    epochs: 1,
    lr: 1e-3,
    decay: "linear",
    warmupRatio: 0,
    batch: 256,
    microBatch: 16,
    dropout: true,
    recompute: true,
    seed: 0
  },
  instruct: {
    ...adam,
    epochs: 1,
    lr: 2e-5,
    decay: "linear",
    warmupRatio: 0,
    batch: 256,
    microBatch: 4,
    dropout: true,
    recompute: true,
    seed: 0,
    lora: null
  },
  evaluate: { maxNewTokens: 32, batch: 16, samples: 24 },
  export: { dtype: "bfloat16", maxShardBytes: 5_000_000_000, name: "LLaVA-Phi" }
} as const

/** What the authors' scripts ask of the Trainer; betas and eps are its own, as they name none. */
const scripted = { decay: "cosine", warmupRatio: 0.03, weightDecay: 0, beta2: 0.999, eps: 1e-8 } as const

/** The authors' scripts: cosine with warm-up, no weight decay, the 665K mixture; batch 128 and the tower unfrozen in stage 3. */
const authors = {
  ...paper,
  data: "authors",
  folders: { captions: "", instructions: "", questions: "" },
  trainsVision: true,
  sft: { ...paper.sft, ...scripted },
  pretrain: { ...paper.pretrain, ...scripted },
  instruct: { ...paper.instruct, ...scripted, batch: 128 }
} as const

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

/** The parameters of a node, as it takes them. */
type ParamsOf<Node extends (inputs: never, params: never) => unknown> = Parameters<Node>[1]
type Stage = Omit<ParamsOf<typeof trainLanguageModel>, "maxTokens" | "headBias">
/** A stage that trains the language model: all of its weights, or adapters beside them. */
type LanguageStage = Stage & { readonly lora: Lora | null }

/** Every number of the recipe that a preset chooses; a preset is one such table, and a table of your own fits as well. */
export interface Settings {
  /** Whose sources `run` wires to it; a caller of `llavaPhi` brings its own. */
  readonly data: "sample" | "paper" | "authors"
  /** What computes where `--engine` says nothing. */
  readonly engine: Engine.EngineName
  readonly text: Pick<ParamsOf<typeof cleanShareGpt>, "values" | "humanTurns"> &
    ParamsOf<typeof keepLanguages> &
    ParamsOf<typeof dropRepeatedDigits> &
    Pick<ParamsOf<typeof splitConversations>, "maxTokens"> &
    ParamsOf<typeof readShareGpt> &
    Required<Pick<ParamsOf<typeof readShareGpt>, "group">>
  readonly captions: ParamsOf<typeof readCaptions> & ParamsOf<typeof filterCaptions>
  /** `features`: run the frozen tower once instead of in every step. */
  readonly images: Omit<ParamsOf<typeof tokenizeImages>, "fit" | "folder"> & {
    readonly features: boolean
    /** Which hidden state of the tower is seen; the projector and the exported model remember it. */
    readonly featureLayer: number
  }
  /** Folder inside each archive before every name. */
  readonly folders: { readonly captions: string; readonly instructions: string; readonly questions: string }
  readonly heldOut: ParamsOf<typeof holdOut>
  readonly headBias: ParamsOf<typeof trainLanguageModel>["headBias"]
  /** Whether instruction tuning unfreezes the vision tower; its features are computed in every step then. Not with adapters. */
  readonly trainsVision: boolean
  readonly sft: LanguageStage
  readonly pretrain: Stage
  readonly instruct: LanguageStage
  readonly evaluate: Omit<ParamsOf<typeof evaluate>, "headBias">
  readonly export: Omit<ParamsOf<typeof exportCheckpoint>, "headBias">
}

/** The sample's vision tower: patch filters that are mixtures of cosines, everything else noise; nobody trains it. */
export const sampleTower = {
  hidden: 192,
  layers: 2,
  heads: 3,
  ffn: 384,
  imageSize: 42,
  patchSize: 14,
  std: 0.05,
  positionStd: 1,
  paper: [245, 245, 245],
  cosines: { upTo: 6, lift: 1.5, std: 0.022 },
  seed: 0
} as const

/** The sample's raw material: files that ship, and small models whose weights are drawn from `seed`. */
export const sampleSources = (seed = 0): Sources => {
  const tokenizer = source(A.TokenizerFile, { ...locate(shareGptSample, "tokenizer"), id: "sources/tokenizer" })
  return {
    shareGpt: source(A.ShareGptFile, { ...locate(shareGptSample, "rows"), id: "sources/sharegpt" }).out.files,
    captions: source(A.ChatFile, { ...locate(cc595kSample, "chat"), id: "sources/captions" }).out.files,
    captionImages: source(A.ImageFiles, { ...locate(cc595kSample, "images"), id: "sources/caption-images" }).out.files,
    instructions: source(A.InstructFile, { ...locate(llavaInstructSample, "rows"), id: "sources/instructions" }).out
      .files,
    instructionImages: source(A.ImageFiles, {
      ...locate(llavaInstructSample, "images"),
      id: "sources/instruction-images"
    }).out.files,
    questions: source(A.HeldOutFile, { ...locate(llavaInstructSample, "heldOut"), id: "sources/questions" }).out.files,
    questionImages: source(A.ImageFiles, {
      ...locate(llavaInstructSample, "heldOutImages"),
      id: "sources/question-images"
    }).out.files,
    tokenizer: tokenizer.out.files,
    languageModel: initLanguageModel(
      { tokenizer: tokenizer.out.files },
      {
        hidden: 96,
        layers: 3,
        heads: 3,
        ffn: 384,
        maxPositions: 512,
        rotary: 0.4,
        dropout: 0.1,
        headBias: "drop",
        std: 0.1,
        seed
      }
    ).out.model,
    vision: initVisionTower({}, { ...sampleTower, seed }).out.model
  }
}

/**
 * A model's folder: `variable` names it, on disk or as an hf:// address, of which these files are fetched; else it lies with
 * the data.
 */
const modelFolder = (variable: string, otherwise: string, files: ReadonlyArray<string>) => {
  const location = read(pathVariable(variable, "A model of the recipe")) ?? otherwise
  return location.startsWith("hf://") ? { location, files } : { location }
}

/** Data and models on your disk: a folder with the files under the originals' names (`datasets/` describes them). */
const fullSources = (folder: string, instruct: Located, instructImages: string): Sources => {
  const hint =
    "Set MILLRACE_DATA to the folder that holds them (or use ./data); docs/swap-the-dataset.md lists what belongs there."
  const phi2 = (files: ReadonlyArray<string>) => modelFolder("MILLRACE_PHI2", `${folder}/phi-2`, files)
  const phi2Weights = phi2(["config.json", "*.safetensors", "model.safetensors.index.json"])
  const tokenizer = source(A.TokenizerFile, { id: "sources/tokenizer", ...phi2(["tokenizer.json"]), hint }).out.files
  const captions = { ...locate(cc595k, "chat", `${folder}/cc595k`), id: "sources/captions", hint }
  const captionImages = { ...locate(cc595k, "images", `${folder}/cc595k`), id: "sources/caption-images", hint }
  const images = { id: "sources/instruction-images", location: instructImages, hint }
  const questions = { id: "sources/questions", location: `${folder}/held-out/heldout.json`, hint }
  const questionImages = { id: "sources/question-images", location: `${folder}/held-out/images`, hint }
  const clipFolder = `${folder}/clip-vit-large-patch14-336`
  const clip = modelFolder("MILLRACE_CLIP", clipFolder, ["config.json", "pytorch_model.bin"])
  return {
    shareGpt: source(A.ShareGptFile, { id: "sources/sharegpt", location: `${folder}/sharegpt`, hint }).out.files,
    captions: source(A.ChatFile, captions).out.files,
    captionImages: source(A.ImageFiles, captionImages).out.files,
    instructions: source(A.InstructFile, { ...instruct, id: "sources/instructions", hint }).out.files,
    instructionImages: source(A.ImageFiles, images).out.files,
    questions: source(A.HeldOutFile, questions).out.files,
    questionImages: source(A.ImageFiles, questionImages).out.files,
    tokenizer: extendTokenizer({ tokenizer }, { tokens: { "<image>": 50295, "<pad>": 50296 } }).out.tokenizer,
    languageModel: source(A.LanguageModel, { id: "sources/phi-2", ...phi2Weights, hint }).out.files,
    vision: source(A.VisionTower, { id: "sources/clip", ...clip, hint }).out.files
  }
}

/**
 * The whole recipe. Returns every stage by name beside the pipeline, so that one can stop after a stage, swap a dataset or
 * hang another node onto it.
 *
 * @example
 * const { instruct } = llavaPhi(presets.sample, { ...sources, instructions: mine.out.files })
 */
export const llavaPhi = (settings: Settings, sources: Sources) => {
  const { captions: balance, export: exporting, folders, headBias, heldOut, images, text } = settings
  const { languageModel, tokenizer, vision } = sources
  const { shardRows } = text
  const { featureLayer, maxAspect, minSide, misnamed, size } = images
  // Small and narrow pictures are left out of the captions only: instructions and questions keep all of theirs.
  const whole = { size, misnamed, minSide: 1, maxAspect: 1e6, fit: "pad" } as const

  // Conversations: as FastChat makes Vicuna's data.
  const raw = readShareGpt({ file: sources.shareGpt }, { shardRows, group: text.group })
  const clean = cleanShareGpt(
    { rows: raw.out.rows },
    {
      values: text.values,
      humanTurns: text.humanTurns,
      bannedWords: ["openai", "chatgpt"],
      notices: ["Too many requests in 1 hour. Try again later.", "!Too many requests in 1 hour. Try again later."],
      minCharacters: 16,
      specialTokens: ["<|endoftext|>", "<image>", "<pad>"]
    }
  )
  const distinct = dropDuplicates({ rows: clean.out.rows }, { shardRows })
  const english = keepLanguages({ rows: distinct.out.rows }, { languages: text.languages })
  const counted = dropRepeatedDigits({ rows: english.out.rows }, { repeatedDigits: text.repeatedDigits })
  const parts = splitConversations({ rows: counted.out.rows, tokenizer }, { maxTokens: text.maxTokens, perMessage: 6 })
  const vicuna = keepFormat({ rows: parts.out.rows }, {})

  // Stage 1: the language model learns to converse.
  const talk = scope("sft", () =>
    holdOut(
      { rows: tokenizeConversations({ rows: vicuna.out.rows, tokenizer }, { maxTokens: text.maxTokens }).out.rows },
      heldOut
    )
  )
  const { lora: sftLora, ...sftStage } = settings.sft
  const sftInputs = { model: languageModel, tokenizer, data: talk.out.train, heldOut: talk.out.heldOut }
  const sftParams = { ...sftStage, maxTokens: text.maxTokens, headBias }
  const adaptedSft =
    sftLora === null ? undefined : adaptLanguageModel.named("sft/train")(sftInputs, { ...sftParams, lora: sftLora })
  const sft = adaptedSft ?? trainLanguageModel.named("sft/train")(sftInputs, sftParams)

  // Stage 2: the projector learns what the vision tower says, from balanced captions.
  const captions = readCaptions({ file: sources.captions }, { shardRows: balance.shardRows })
  const balanced = filterCaptions({ rows: captions.out.rows }, balance)
  const { pretrainImages, captionText, pretrain } = scope("pretrain", () => {
    const pretrainImages = tokenizeImages(
      { rows: balanced.out.rows, images: sources.captionImages },
      { size, misnamed, minSide, maxAspect, fit: "crop", folder: folders.captions }
    )
    const tokens = tokenizePictured(
      { rows: pretrainImages.out.rows, tokenizer, vision },
      { template: "plain", maxTokens: text.maxTokens }
    )
    const captionText = holdOut({ rows: tokens.out.rows }, heldOut)
    const inputs = {
      model: sft.out.model,
      vision,
      tokenizer,
      data: captionText.out.train,
      heldOut: captionText.out.heldOut
    }
    const pixels = pretrainImages.out.pixels
    const pretrain = images.features
      ? trainProjectorOnFeatures.named("train")(
          { ...inputs, images: computeFeatures({ pixels, vision }, { featureLayer }).out.rows },
          { ...settings.pretrain, headBias }
        )
      : trainProjector.named("train")({ ...inputs, images: pixels }, { ...settings.pretrain, headBias, featureLayer })
    return { pretrainImages, captionText, pretrain }
  })

  // Stage 3: projector and language model learn to answer about pictures.
  const instructions = readInstructions({ file: sources.instructions }, { shardRows: balance.shardRows })
  const { instructImages, questionText, instruct, adapter, tower } = scope("instruct", () => {
    const instructImages = tokenizeImages(
      { rows: instructions.out.rows, images: sources.instructionImages },
      { ...whole, folder: folders.instructions }
    )
    const tokens = tokenizePictured(
      { rows: instructImages.out.rows, tokenizer, vision },
      { template: "v1", maxTokens: text.maxTokens }
    )
    const questionText = holdOut({ rows: tokens.out.rows }, heldOut)
    const inputs = {
      model: sft.out.model,
      projector: pretrain.out.projector,
      vision,
      tokenizer,
      data: questionText.out.train,
      heldOut: questionText.out.heldOut
    }
    const pixels = instructImages.out.pixels
    const { lora, ...stage } = settings.instruct
    const params = { ...stage, headBias }
    const features = () => computeFeatures({ pixels, vision }, { featureLayer }).out.rows
    if (settings.trainsVision && lora !== null)
      throw new WiringError({
        node: "instruct/train",
        place: "instruct.lora",
        message: "adapters are trained beside a frozen tower, and trainsVision is true",
        hint: "Set trainsVision to false, or instruct.lora to null."
      })
    const withTower = settings.trainsVision
      ? tuneInstructionsAndVision.named("train")({ ...inputs, images: pixels }, params)
      : undefined
    const withAdapters =
      lora === null
        ? undefined
        : images.features
          ? adaptInstructionsOnFeatures.named("train")({ ...inputs, images: features() }, { ...params, lora })
          : adaptInstructions.named("train")({ ...inputs, images: pixels }, { ...params, lora })
    const instruct =
      withTower ??
      withAdapters ??
      (images.features
        ? tuneInstructionsOnFeatures.named("train")({ ...inputs, images: features() }, params)
        : tuneInstructions.named("train")({ ...inputs, images: pixels }, params))
    return {
      instructImages,
      questionText,
      instruct,
      adapter: withAdapters?.out.adapter,
      tower: withTower?.out.vision ?? vision
    }
  })

  // What others open, and what it can do.
  const { captionImages, instructionImages } = sources
  const others = { captionImages, instructionImages, tokenizer, languageModel, startTower: vision }
  const origins = {
    ...others,
    shareGpt: sources.shareGpt,
    captions: sources.captions,
    instructions: sources.instructions
  }
  const exported = exportTrained.named("exportCheckpoint")(
    {
      model: instruct.out.model,
      projector: instruct.out.projector,
      vision: tower,
      ...others,
      shareGpt: raw.out.rows,
      captions: captions.out.rows,
      instructions: instructions.out.rows,
      sft: sft.out.report,
      pretrain: pretrain.out.report,
      instruct: instruct.out.report
    },
    {
      ...exporting,
      headBias,
      stages: { sft: settings.sft, pretrain: settings.pretrain, instruct: settings.instruct },
      trainedBy: {
        sft: sft.out.report.node.spec.id,
        pretrain: pretrain.out.report.node.spec.id,
        instruct: instruct.out.report.node.spec.id
      },
      credits: Object.fromEntries(
        Object.entries(origins).flatMap(([part, { node }]) => {
          const credit = credits[settings.data][node.id]
          return credit === undefined ? [] : [[part, credit]]
        })
      )
    }
  )
  const questions = readQuestions({ file: sources.questions }, { shardRows: balance.shardRows })
  const asked = scope("evaluate", () =>
    tokenizeImages(
      { rows: questions.out.scenes, images: sources.questionImages },
      { ...whole, folder: folders.questions }
    )
  )
  const evaluated = evaluate.named("evaluate/answers")(
    {
      model: exported.out.model,
      questions: questions.out.questions,
      pictured: asked.out.rows,
      pixels: asked.out.pixels,
      sft: sft.out.report,
      pretrain: pretrain.out.report,
      instruct: instruct.out.report
    },
    { ...settings.evaluate, headBias }
  )
  // The same folder once more: its card says what the model was found to do.
  const described = writeCard(
    { model: exported.out.model, evaluation: evaluated.out.report, questions: questions.out.questions },
    {
      name: exporting.name,
      ...hubFields(
        settings.data,
        Object.values(origins).map(({ node }) => node.id)
      ),
      measuredOn:
        credits[settings.data][sources.questions.node.id] ?? "the held-out questions of whoever ran the recipe"
    }
  )
  // For LLaVA's own scoring scripts; and what tuning on pictures has cost in conversations.
  const answers = writeAnswers.named("evaluate/write")(
    { questions: questions.out.questions, answers: evaluated.out.rows },
    { model: exporting.name, ids: "text", unanswered: "leaveOut" }
  )
  const talked = perplexity.named("evaluate/perplexity")(
    { model: instruct.out.model, data: talk.out.heldOut },
    { batch: settings.sft.microBatch, headBias }
  )

  // Adapters are merged into the checkpoint; apart they are outputs of their own.
  const adapters = {
    ...(adaptedSft === undefined ? {} : { "sft-adapter": adaptedSft.out.adapter }),
    ...(adapter === undefined ? {} : { "instruct-adapter": adapter })
  }

  return {
    raw,
    clean,
    distinct,
    english,
    counted,
    parts,
    vicuna,
    talk,
    sft,
    captions,
    balanced,
    pretrainImages,
    captionText,
    pretrain,
    instructions,
    instructImages,
    questionText,
    instruct,
    exported,
    questions,
    asked,
    evaluated,
    described,
    answers,
    talked,
    pipeline: pipeline("llava-phi", {
      checkpoint: described.out.model,
      report: evaluated.out.report,
      answers: answers.out.files,
      perplexity: talked.out.report,
      ...adapters
    })
  }
}

/** Data and models for the full presets lie in `$MILLRACE_DATA`, or in `./data`. */
const dataFolder = read(pathVariable("MILLRACE_DATA", "The folder of data and models")) ?? "data"
const sources = {
  sample: sampleSources,
  paper: () =>
    fullSources(
      dataFolder,
      locate(llavaInstruct, "rows", `${dataFolder}/llava-instruct`),
      `${dataFolder}/llava-instruct/train2017.zip`
    ),
  // The mixture's rows name pictures by folder: coco/train2017/..., gqa/images/..., as LLaVA's own scripts lay them out.
  authors: () =>
    fullSources(dataFolder, locate(mix665k, "rows", `${dataFolder}/llava-instruct`), `${dataFolder}/mix665k`)
}

export const presets = { sample, paper, authors } satisfies { readonly [preset: string]: Settings }

const llavaPhiRecipe = recipe({
  name: "llava-phi",
  presets: presets as { readonly [preset: string]: Settings },
  build: (settings) => llavaPhi(settings, sources[settings.data]()),
  engines: Engine.engineNames,
  engine: (settings) => settings.engine,
  resolveEngine: Engine.resolve,
  together: ["torch", "torch-bf16"],
  services: Engine.layer,
  numerics,
  summary: summarise,
  report: evaluationPage,
  cost: ({ data }, asked) => estimate(asked, data === "sample" ? {} : knownOf(data, asked))
})
export default llavaPhiRecipe

run(import.meta, llavaPhiRecipe)
