/**
 * Where LLaVA-Phi's raw material comes from: files that ship and seeded models, or data and models on your disk.
 *
 * Nothing is read here: a source is a reference, and its files are looked at when a run plans.
 */
import { cc595k, cc595kSample } from "../datasets/cc595k.ts"
import { type Located, locate } from "../datasets/Dataset.ts"
import { llavaInstruct, llavaInstructSample, mix665k } from "../datasets/llavaInstruct.ts"
import { shareGptSample } from "../datasets/shareGpt.ts"
import { pathVariable, read } from "../src/dag/Environment.ts"
import type { Ref } from "../src/dag/Node.ts"
import { source } from "../src/dag/Source.ts"
import * as A from "../src/nodes/Artifacts.ts"
import { extendTokenizer } from "../src/nodes/ExtendTokenizer.ts"
import { initLanguageModel, initVisionTower } from "../src/nodes/InitModels.ts"
import type { Settings } from "./llava-phi-presets.ts"

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

/**
 * The sample's vision tower: patch filters that are mixtures of cosines, everything else noise; it is never trained.
 */
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
 * A model's folder: `variable` names it, on disk or as an hf:// address, of which these files are fetched; else it lies
 * with the data.
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

/** Data and models for the full presets lie in `$MILLRACE_DATA`, or in `./data`. */
const dataFolder = read(pathVariable("MILLRACE_DATA", "The folder of data and models")) ?? "data"
export const sources: { readonly [data in Settings["data"]]: () => Sources } = {
  sample: sampleSources,
  paper: () =>
    fullSources(
      dataFolder,
      locate(llavaInstruct, "rows", `${dataFolder}/llava-instruct`),
      `${dataFolder}/llava-instruct/train2017.zip`
    ),
  // The mixture's rows name images by folder: coco/train2017/..., gqa/images/..., as LLaVA's own scripts lay them out.
  authors: () =>
    fullSources(dataFolder, locate(mix665k, "rows", `${dataFolder}/llava-instruct`), `${dataFolder}/mix665k`)
}
