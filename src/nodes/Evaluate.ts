/**
 * Asks the exported model the held-out questions, with the right images and with images swapped between scenes.
 *
 * Not a benchmark suite: exact match of short answers, by question type. What an answer owes to the image shows in the
 * gap to the swapped run (the blind baseline): a model that only guesses well scores the same in both.
 */
import { Effect, Schema, Stream } from "effect"
import { value } from "../dag/Artifact.ts"
import { whole } from "../dag/Node.ts"
import {
  type Answer,
  Answers,
  Checkpoint,
  PicturedConversations,
  Pixels,
  Questions,
  TrainingLog,
  TrainingReport
} from "./Artifacts.ts"
import { AskingParams, NothingToAsk, openAlbum, openAsker } from "./Asking.ts"
import { countMatches, NoTruth } from "./ExactMatch.ts"

const Share = Schema.Struct({ questions: Schema.Number, right: Schema.Number })

/** One question as it was asked. */
const Asked = Schema.Struct({
  id: Schema.String,
  type: Schema.String,
  question: Schema.String,
  truth: Schema.String,
  answer: Schema.String,
  /** The answer to the same question about another scene's image. */
  blind: Schema.String
})

export const Evaluation = Schema.Struct({
  questions: Schema.Number,
  /** Questions that could not be asked because their image was refused; they are in no share. */
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

export const evaluate = whole(
  {
    id: "evaluate",
    version: "1",
    about: "Exact match on held-out questions by type, against the same with swapped images.",
    params: Schema.Struct({
      ...AskingParams,
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
    outputs: { rows: Answers, report: EvaluationReport },
    refuses: [NoTruth],
    engine: true
  },
  ({ inputs, params, refuse, report }) =>
    Effect.gen(function* () {
      const ask = yield* openAsker(inputs.model, params)
      const album = yield* openAlbum(inputs.pictured, inputs.pixels)
      const written = (yield* Stream.runCollect(inputs.questions.batches)).flat()
      for (const [row, { answer, id }] of written.entries())
        if (answer === null) refuse(row, new NoTruth({ id, hint: "Ask such questions with answerQuestions." }))
      const known = written.flatMap((row) => (row.answer === null ? [] : [{ ...row, answer: row.answer }]))
      const questions = known.filter(({ image }) => album.has(image))
      if (questions.length === 0 || album.count < 2)
        return yield* new NothingToAsk({
          message: `${questions.length} questions about ${album.count} images are left`,
          hint: "The quarantine of the held-out images says why they were refused."
        })
      const own = questions.map(({ image }) => album.own(image))
      const others = yield* Effect.forEach(questions, ({ image }) => album.other(image))

      const answerAll = Effect.fnUntraced(function* (images: ReadonlyArray<number>, done: number) {
        const answers: Array<string> = []
        for (let at = 0; at < questions.length; at += params.batch) {
          const asked = questions.slice(at, at + params.batch).map(({ question }) => question)
          answers.push(...(yield* ask(asked, yield* album.get(images.slice(at, at + params.batch)))))
          report({ questions: done + answers.length })
          yield* Effect.yieldNow
        }
        return answers
      })
      const answers = yield* answerAll(own, 0)
      const blind = yield* answerAll(others, questions.length)
      const rows = questions.map(
        ({ answer: truth, id, image, question, type }, i): typeof Answer.Type & { truth: string; blind: string } => ({
          id,
          image,
          category: type,
          question,
          answer: answers[i]!,
          truth,
          blind: blind[i]!
        })
      )
      const seen = countMatches(rows)
      const swapped = countMatches(rows.map((row) => ({ ...row, answer: row.blind })))
      const shown = rows.map(({ answer, blind, category, id, question, truth }) => ({
        id,
        type: category,
        question,
        truth,
        answer,
        blind
      }))
      const types = [...new Set(shown.map((one) => one.type))]
      const firsts = types.map((type) => shown.find((one) => one.type === type)!)
      const evaluation: Evaluation = {
        questions: questions.length,
        notAsked: known.length - questions.length,
        accuracy: seen.accuracy,
        blindAccuracy: swapped.accuracy,
        byType: seen.byCategory,
        blindByType: swapped.byCategory,
        samples: [...firsts, ...shown.filter((one) => !firsts.includes(one))].slice(0, params.samples),
        ...(params.note === undefined ? {} : { note: params.note }),
        stages: { sft: inputs.sft, pretrain: inputs.pretrain, instruct: inputs.instruct }
      }
      return { rows: Stream.make(rows), report: Effect.succeed(evaluation) }
    })
)
