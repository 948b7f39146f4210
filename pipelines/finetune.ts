/**
 * Fine-tunes a LLaVA with Phi on your images: rows in LLaVA's format in, a checkpoint that answers about them out.
 *
 *     npx tsx pipelines/finetune.ts                                  the example that ships, on the sample's model
 *     npx tsx pipelines/finetune.ts --preset lora --model DIR --data rows.json --images DIR --plan
 *     npx tsx pipelines/chat.ts --image FILE                         talk with the result
 *
 * The example's model is the sample of `llava-phi.ts`: what its store holds is taken from it, the rest is trained
 * first. docs/tutorial-own-images.md walks through it with data of your own.
 */
import { locate } from "../datasets/Dataset.ts"
import { signalsSample } from "../datasets/signals.ts"
import { run } from "../src/cli/Main.ts"
import { estimate } from "../src/cost/Estimate.ts"
import { scope } from "../src/dag/InstanceScope.ts"
import type { Ref } from "../src/dag/Node.ts"
import { pipeline } from "../src/dag/Pipeline.ts"
import { source } from "../src/dag/Source.ts"
import { isGiven } from "../src/dag/SourceOverrides.ts"
import { answerQuestions } from "../src/nodes/AnswerQuestions.ts"
import * as A from "../src/nodes/Artifacts.ts"
import { computeFeatures } from "../src/nodes/ComputeFeatures.ts"
import { exactMatch } from "../src/nodes/ExactMatch.ts"
import { exportCheckpoint } from "../src/nodes/ExportCheckpoint.ts"
import { extendTokenizer } from "../src/nodes/ExtendTokenizer.ts"
import { heldOutQuestions } from "../src/nodes/HeldOutQuestions.ts"
import { holdOut } from "../src/nodes/HoldOut.ts"
import { importLlava, importOriginal } from "../src/nodes/ImportModels.ts"
import { readInstructions } from "../src/nodes/ReadLlava.ts"
import { readQuestionLines } from "../src/nodes/ReadQuestionLines.ts"
import { tokenizeImages } from "../src/nodes/TokenizeImages.ts"
import { tokenizePictured } from "../src/nodes/TokenizeText.ts"
import { tuneInstructions } from "../src/nodes/TrainVision.ts"
import { tunedSummary } from "../src/nodes/TunedText.ts"
import { recipe } from "../src/run/Recipe.ts"
import * as Engine from "../src/tensor/Engine.ts"
import { numerics } from "../src/tensor/Fingerprint.ts"
import { presets, type Settings } from "./finetune-presets.ts"
import { llavaPhi, presets as llavaPhiPresets, sampleSources } from "./llava-phi.ts"

export { presets, type Settings } from "./finetune-presets.ts"

/** What is tuned: the parts of a LLaVA, and the whole of it where questions are to be asked before. */
interface Base {
  readonly model: Ref<typeof A.LanguageModel>
  readonly projector: Ref<typeof A.Projector>
  readonly vision: Ref<typeof A.VisionTower>
  readonly tokenizer: Ref<typeof A.TokenizerFile>
  readonly checkpoint?: Ref<typeof A.Checkpoint>
}

/** Of a folder that may hold other weights as well. */
const MODEL_FILES = ["*.json", "*.safetensors"]

/** A folder in LLaVA's own layout holds no tower and no placeholder token: these are those of LLaVA-Phi. */
const original = (params: { readonly headBias: "keep" | "drop"; readonly dtype: "float32" }): Base => {
  const folder = source(A.OriginalLlava, { id: "llava", location: "llava", hint: "Give it with `--llava`." })
  const phi2 = { id: "tokenizer", location: "hf://microsoft/phi-2/", files: ["tokenizer.json"] }
  const clip = {
    id: "clip",
    location: "hf://openai/clip-vit-large-patch14-336/",
    files: ["config.json", "pytorch_model.bin"]
  }
  const { model, projector } = importOriginal({ files: folder.out.files }, params).out
  const tokens = { "<image>": 50295, "<pad>": 50296 }
  const { tokenizer } = extendTokenizer({ tokenizer: source(A.TokenizerFile, phi2).out.files }, { tokens }).out
  return { model, projector, tokenizer, vision: source(A.VisionTower, clip).out.files }
}

/** The model that is tuned: `--model` or `--llava`; without either the sample's own, which is trained if it must be. */
const base = (settings: Settings): Base => {
  const params = { headBias: settings.headBias, dtype: "float32" } as const
  if (isGiven("llava")) return scope("base", () => original(params))
  if (settings.data === "example" && !isGiven("model")) {
    const { exported } = scope("base", () => llavaPhi(llavaPhiPresets.sample, sampleSources()))
    const checkpoint = exported.out.model
    return { ...importLlava.named("importModel")({ files: checkpoint }, params).out, checkpoint }
  }
  const hint = "Give a LLaVA with Phi: `--model` for transformers' layout, `--llava` for LLaVA's own."
  const checkpoint = source(A.Checkpoint, { id: "model", location: "model", files: MODEL_FILES, hint }).out.files
  return { ...importLlava.named("importModel")({ files: checkpoint }, params).out, checkpoint }
}

/** Rows, images, and questions if there are any. */
const sources = (settings: Settings) => {
  const isExample = settings.data === "example"
  const rows = isExample ? locate(signalsSample, "rows") : { location: "rows.json", hint: "Give it with `--data`." }
  const images = isExample ? locate(signalsSample, "images") : { location: "images", hint: "Give it with `--images`." }
  const questions = isExample && !isGiven("data") ? locate(signalsSample, "questions") : { location: "questions.jsonl" }
  return {
    rows: source(A.InstructFile, { ...rows, id: "data" }).out.files,
    images: source(A.ImageFiles, { ...images, id: "images" }).out.files,
    ...((isExample && !isGiven("data")) || isGiven("questions")
      ? { questions: source(A.QuestionFile, { ...questions, id: "questions" }).out.files }
      : {})
  }
}

/** Questions about images, and their pixels: those of `--questions`, or of the rows that are held out. */
const questionsOf = (
  settings: Settings,
  { images, questions }: ReturnType<typeof sources>,
  pictured: ReturnType<typeof tokenizeImages>
) => {
  if (questions === undefined)
    return {
      questions: heldOutQuestions({ rows: pictured.out.rows }, settings.heldOut).out.questions,
      pictured: pictured.out.rows,
      pixels: pictured.out.pixels
    }
  const read = readQuestionLines({ file: questions }, { shardRows: settings.shardRows, ...settings.questions })
  const asked = scope("questions", () => tokenizeImages({ rows: read.out.scenes, images }, settings.images))
  return { questions: read.out.questions, pictured: asked.out.rows, pixels: asked.out.pixels }
}

/**
 * The whole pipeline: parts of the model, rows as tokens, tuning, export, answers before and after.
 *
 * @example
 * const { pipeline } = finetune(presets.lora)
 */
export const finetune = (settings: Settings) => {
  const start = base(settings)
  const given = sources(settings)
  const { tokenizer, vision } = start
  const { headBias } = settings
  const rows = readInstructions({ file: given.rows }, { shardRows: settings.shardRows })
  const pictured = tokenizeImages({ rows: rows.out.rows, images: given.images }, settings.images)
  const tokens = tokenizePictured(
    { rows: pictured.out.rows, tokenizer, vision },
    { template: "v1", maxTokens: settings.maxTokens }
  )
  const { heldOut, train: data } = holdOut({ rows: tokens.out.rows }, settings.heldOut).out
  const { pixels } = pictured.out
  const images = settings.features
    ? computeFeatures({ pixels, vision }, { featureLayer: settings.featureLayer }).out.rows
    : pixels
  const tuned = tuneInstructions.named("train")(
    { model: start.model, projector: start.projector, vision, tokenizer, data, heldOut, images },
    { ...settings.train, headBias }
  )
  const { model, projector, report } = tuned.out
  const exported = exportCheckpoint({ model, projector, vision: tuned.out.vision, tokenizer }, settings.export)
  const asked = questionsOf(settings, given, pictured)
  const score = (name: string, checkpoint: Ref<typeof A.Checkpoint>) =>
    scope(name, () => {
      const answers = answerQuestions({ ...asked, model: checkpoint }, { ...settings.ask, headBias, blind: true })
      return { answers: answers.out.rows, score: exactMatch({ rows: answers.out.rows }, {}).out.report }
    })
  const after = score("after", exported.out.model)
  const before = settings.asksBefore && start.checkpoint !== undefined ? score("before", start.checkpoint) : undefined
  const adapter = typeof settings.train.trains.language === "object" ? { adapter: tuned.out.adapter } : {}
  return {
    ...after,
    exported,
    tuned,
    pipeline: pipeline("finetune", {
      checkpoint: exported.out.model,
      ...after,
      training: report,
      ...(before === undefined ? {} : { "score-before": before.score }),
      ...adapter
    })
  }
}

const finetuneRecipe = recipe({
  name: "finetune",
  presets: presets as { readonly [preset: string]: Settings },
  build: finetune,
  engines: Engine.engineNames,
  engine: (settings) => settings.engine,
  services: Engine.layer,
  numerics,
  sourceFlags: {
    data: "Rows in LLaVA's format: a .json, .jsonl or .parquet file, or a folder of them",
    images: "Their images: a folder, a zip or a tar",
    questions: "Questions a line (question_id, image, text, label); default: those of the rows held out",
    model: "The LLaVA that is tuned, in transformers' layout: a folder or hf://OWNER/NAME/",
    llava: "The same in LLaVA's own layout"
  },
  summary: tunedSummary,
  cost: (_, asked) => estimate(asked, {})
})
export default finetuneRecipe

run(import.meta, finetuneRecipe)
