/**
 * Asks the exported model the held-out questions, with the right pictures and with pictures swapped between scenes.
 *
 * Not a benchmark suite: exact match of short answers, by question type. What an answer owes to the picture shows in the
 * gap to the swapped run (the blind baseline): a model that only guesses well scores the same in both.
 */

import { join } from "node:path"
import { Effect, Schema, Stream } from "effect"
import { type Rows, value } from "../dag/Artifact.ts"
import { whole } from "../dag/Node.ts"
import { openCheckpoint } from "../model/Checkpoint.ts"
import { patchCount } from "../model/clip/Config.ts"
import { pixelBytes, putPixels } from "../model/clip/Pixels.ts"
import { greedyLlava } from "../model/Generate.ts"
import { decodeLlavaConfig } from "../model/llava/Config.ts"
import { llavaSources } from "../model/llava/Names.ts"
import { segmentsOfLengths } from "../model/TokenBatch.ts"
import { promptFor } from "../text/Template.ts"
import { Checkpoint, PicturedConversations, Pixels, Questions, TrainingLog, TrainingReport } from "./Artifacts.ts"
import { controlIds, loadTokenizer } from "./LoadTokenizer.ts"
import { HeadBias, loadWeights, readJsonFile } from "./ModelFiles.ts"

const Share = Schema.Struct({ questions: Schema.Number, right: Schema.Number })

/** One question as it was asked. */
const Asked = Schema.Struct({
  id: Schema.String,
  type: Schema.String,
  question: Schema.String,
  truth: Schema.String,
  answer: Schema.String,
  /** The answer to the same question about another scene's picture. */
  blind: Schema.String
})

export const Evaluation = Schema.Struct({
  questions: Schema.Number,
  /** Questions that could not be asked because their picture was refused; they are in no share. */
  notAsked: Schema.Number,
  /** Shares of exact matches, 0 to 1. */
  accuracy: Schema.Number,
  blindAccuracy: Schema.Number,
  byType: Schema.Record(Schema.String, Share),
  blindByType: Schema.Record(Schema.String, Share),
  /** One question of each type, then more, as examples. */
  samples: Schema.Array(Asked),
  /** What a reader of the figures must know; the parameter of that name. */
  note: Schema.optional(Schema.String),
  stages: Schema.Struct({ sft: TrainingLog, pretrain: TrainingLog, instruct: TrainingLog })
})
export type Evaluation = typeof Evaluation.Type
export const EvaluationReport = value("evaluation-report", Evaluation)

/** The exported model and the held-out data do not fit together. */
export class NothingToAsk extends Schema.TaggedError<NothingToAsk>()("NothingToAsk", {
  message: Schema.String,
  hint: Schema.String
}) {}

/**
 * An answer as it is compared: lower case, blanks collapsed, one final full stop dropped.
 *
 * @example
 * normaliseAnswer(" Red. ") // "red"
 */
export const normaliseAnswer = (answer: string): string =>
  answer.trim().toLowerCase().replace(/\s+/g, " ").replace(/\.$/, "")

type Question = typeof Questions.schema.Type

const allRows = <Row>(rows: Rows<Row>) =>
  Effect.map(Stream.runCollect(rows.batches), (batches) => batches.flat() as ReadonlyArray<Row>)

export const evaluate = whole(
  {
    id: "evaluate",
    version: "1",
    about: "Exact match on held-out questions by type, against the same with swapped pictures.",
    params: Schema.Struct({
      /** Tokens of an answer at most. */
      maxNewTokens: Schema.Int,
      /** Questions answered together. */
      batch: Schema.Int,
      headBias: HeadBias,
      /** Questions shown in the report. */
      samples: Schema.Int,
      /** What is said beside the figures wherever they are shown: for instance that the tower is not pretrained. */
      note: Schema.optional(Schema.String)
    }),
    inputs: {
      model: Checkpoint,
      questions: Questions,
      pictured: PicturedConversations,
      pixels: Pixels,
      sft: TrainingReport,
      pretrain: TrainingReport,
      instruct: TrainingReport
    },
    outputs: { report: EvaluationReport },
    engine: true
  },
  ({ inputs, params, report }) =>
    Effect.gen(function* () {
      const tokenizer = yield* loadTokenizer(inputs.model)
      const { eosId, imageId, padId } = yield* controlIds(tokenizer, inputs.model.path)
      const config = yield* decodeLlavaConfig(yield* readJsonFile(join(inputs.model.path, "config.json")), {
        headBias: params.headBias === "keep"
      })
      const weights = yield* loadWeights(yield* llavaSources(yield* openCheckpoint(inputs.model.path), config))
      const patches = patchCount(config.vision)
      const side = config.vision.imageSize

      const scenes = (yield* allRows(inputs.pictured)).filter((row) => row.image !== null)
      const pictureOf = new Map(scenes.map((row, i) => [row.id, i]))
      const written = yield* allRows(inputs.questions)
      const questions = written.filter((question) => pictureOf.has(sceneOf(question)))
      if (questions.length === 0 || scenes.length < 2)
        return yield* new NothingToAsk({
          message: `${questions.length} questions about ${scenes.length} pictures are left`,
          hint: "The quarantine of the held-out pictures says why they were refused."
        })
      const others = scenes.map((_, i) => otherScene(scenes, i))
      if (others.includes(-1))
        return yield* new NothingToAsk({
          message: `all ${scenes.length} scenes show the picture ${scenes[0]!.image}`,
          hint: "The blind baseline needs at least two different pictures."
        })

      const answerAll = Effect.fnUntraced(function* (pictureFor: (scene: number) => number, done: number) {
        const answers: Array<string> = []
        for (let at = 0; at < questions.length; at += params.batch) {
          const asked = questions.slice(at, at + params.batch)
          const prompts = yield* Effect.forEach(asked, ({ question }) =>
            Effect.fromResult(
              promptFor(
                tokenizer,
                { turns: [{ from: "human", value: question }], image: true },
                { template: "v1", imageTokens: patches, imageTokenId: imageId, eosId }
              )
            )
          )
          const lengths = prompts.map(({ ids }) => ids.length)
          const time = Math.max(...lengths)
          const ids_BT = new Int32Array(asked.length * time).fill(padId)
          for (const [row, { ids }] of prompts.entries()) ids_BT.set(ids, row * time)
          const pictures = yield* inputs.pixels.get(
            asked.map((question) => pictureFor(pictureOf.get(sceneOf(question))!))
          )
          const bytes = pixelBytes(side)
          const bytes_MSSC = new Uint8Array(pictures.length * bytes)
          for (const [i, row] of pictures.entries()) putPixels(row, side, bytes_MSSC, i * bytes)
          const made = yield* greedyLlava(
            weights,
            config,
            {
              rows: asked.length,
              time,
              ids_BT,
              segments_BT: segmentsOfLengths(lengths, time),
              labels_BT: new Int32Array(asked.length * time).fill(-100),
              images: pictures.length,
              pixels: bytes_MSSC
            },
            lengths,
            { maxNewTokens: params.maxNewTokens, endToken: eosId }
          )
          for (const ids of made) answers.push(tokenizer.decode(ids, { skipSpecial: true }).trim())
          report({ questions: done + answers.length })
          yield* Effect.yieldNow
        }
        return answers
      })
      const answers = yield* answerAll((scene) => scene, 0)
      const blind = yield* answerAll((scene) => others[scene]!, questions.length)
      const score = (given: ReadonlyArray<string>) => {
        const byType: Record<string, { questions: number; right: number }> = {}
        let right = 0
        for (const [i, { answer, type }] of questions.entries()) {
          byType[type] ??= { questions: 0, right: 0 }
          const share = byType[type]
          share.questions++
          if (normaliseAnswer(given[i]!) !== normaliseAnswer(answer)) continue
          share.right++
          right++
        }
        return { byType, accuracy: right / questions.length }
      }
      const seen = score(answers)
      const swapped = score(blind)
      const shown = questions.map(({ answer, id, question, type }, i) => ({
        id,
        type,
        question,
        truth: answer,
        answer: answers[i]!,
        blind: blind[i]!
      }))
      const types = [...new Set(shown.map((one) => one.type))]
      const firsts = types.map((type) => shown.find((one) => one.type === type)!)
      const evaluation: Evaluation = {
        questions: questions.length,
        notAsked: written.length - questions.length,
        accuracy: seen.accuracy,
        blindAccuracy: swapped.accuracy,
        byType: seen.byType,
        blindByType: swapped.byType,
        samples: [...firsts, ...shown.filter((one) => !firsts.includes(one))].slice(0, params.samples),
        ...(params.note === undefined ? {} : { note: params.note }),
        stages: { sft: inputs.sft, pretrain: inputs.pretrain, instruct: inputs.instruct }
      }
      return { report: Effect.succeed(evaluation) }
    })
)

/** The scene half the list away, or the next one after it that shows another picture; -1 where there is none. */
export const otherScene = (scenes: ReadonlyArray<{ readonly image: string | null }>, scene: number): number => {
  const count = scenes.length
  for (let step = 0; step < count; step++) {
    const other = (scene + (count >> 1) + step) % count
    if (scenes[other]!.image !== scenes[scene]!.image) return other
  }
  return -1
}

/** The scene that a question is about: question ids are `{scene}/{number}`. */
const sceneOf = (question: Question): string => question.id.slice(0, question.id.lastIndexOf("/"))
