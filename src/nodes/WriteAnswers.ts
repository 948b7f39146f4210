/**
 * Writes answers as LLaVA's own evaluation does, a line each, for its scoring scripts: `eval_pope.py`,
 * `eval_science_qa.py` and what reads the same.
 *
 * Not a score. Lines are in the order of the questions: `eval_pope.py` matches answers and labels by position, so a
 * question without an answer fails the node unless it may be left out. A question is known by its id, its image and its
 * text, since TextVQA has one id for several questions about an image (`eval_textvqa.py` goes by id and text). Ids are
 * written with all their digits. `answer_id` is a digest of the line's content, not drawn.
 */
import { createWriteStream } from "node:fs"
import { join } from "node:path"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { Effect, Schema, Stream } from "effect"
import { tree } from "../dag/Artifact.ts"
import { sha256 } from "../dag/Canonical.ts"
import { whole } from "../dag/Node.ts"
import { type Answer, Answers, Questions } from "./Artifacts.ts"
import { ModelFileError } from "./ModelFiles.ts"

/** A folder with `answers.jsonl`. */
export const AnswersFile = tree("answers-file")

/** Questions that have no answer, or an id that does not fit; `ids` are the first five. */
export class BadAnswers extends Schema.TaggedError<BadAnswers>()("BadAnswers", {
  message: Schema.String,
  ids: Schema.Array(Schema.String),
  hint: Schema.String
}) {}

const params = Schema.Struct({
  /** What the answers are said to come from: `model_id` of each line. */
  model: Schema.String,
  /** `question_id` as text, or as the number that POPE's and most of LLaVA's question files have. */
  ids: Schema.Literals(["text", "number"]),
  /** What becomes of questions without an answer. */
  unanswered: Schema.Literals(["fail", "leaveOut"])
})

/**
 * One line, without its end.
 *
 * @example
 * answerLine({ id: "7", question: "Is it red?", answer: "No." }, { model: "mine", ids: "number" })
 */
export const answerLine = (
  { answer, id, question }: Pick<typeof Answer.Type, "answer" | "id" | "question">,
  { ids, model }: Pick<typeof params.Type, "ids" | "model">
): string => {
  // A number stands as its digits: as a double it may be another one.
  const question_id = ids === "number" ? id : JSON.stringify(id)
  const said = `"question_id":${question_id},"prompt":${JSON.stringify(question)},"text":${JSON.stringify(answer)}`
  // As long as the ids that LLaVA draws.
  const answer_id = sha256(`[{${said}},${JSON.stringify(model)}]`).slice(0, 22)
  return `{${said},"answer_id":${JSON.stringify(answer_id)},"model_id":${JSON.stringify(model)},"metadata":{}}`
}

const isWholeNumber = (id: string): boolean => /^(?:0|-?[1-9]\d*)$/.test(id)

/** What a question is known by: an id alone may be of several. */
const identityOf = ({ id, image, question }: Pick<typeof Answer.Type, "id" | "image" | "question">): string =>
  JSON.stringify([id, image, question])

export const writeAnswers = whole(
  {
    id: "writeAnswers",
    version: "2",
    about: "Answers as JSON lines in LLaVA's format, in the order of the questions.",
    params,
    inputs: { questions: Questions, answers: Answers },
    outputs: { files: AnswersFile }
  },
  ({ inputs, params }) =>
    Effect.succeed({
      files: Effect.fnUntraced(function* (folder: string) {
        const questions = (yield* Stream.runCollect(inputs.questions.batches)).flat()
        const answers = new Map<string, typeof Answer.Type>()
        yield* Stream.runForEach(inputs.answers.batches, (batch) =>
          Effect.sync(() => {
            for (const row of batch) answers.set(identityOf(row), row)
          })
        )
        const bad = (what: string, some: ReadonlyArray<{ readonly id: string }>, hint: string) =>
          new BadAnswers({
            message: `${some.length} of ${questions.length} questions ${what}`,
            ids: some.slice(0, 5).map(({ id }) => id),
            hint
          })
        const open = questions.filter((question) => !answers.has(identityOf(question)))
        if (open.length > 0 && params.unanswered === "fail")
          return yield* bad(
            "have no answer",
            open,
            "The quarantine of the answers says why. With `unanswered` leaveOut they have no line: eval_pope.py then needs labels without them."
          )
        const wrong = params.ids === "number" ? questions.filter(({ id }) => !isWholeNumber(id)) : []
        if (wrong.length > 0) return yield* bad("have ids that are no numbers", wrong, "Write them with `ids` text.")
        const path = join(folder, "answers.jsonl")
        const lines = function* () {
          for (const question of questions) {
            const row = answers.get(identityOf(question))
            if (row !== undefined) yield `${answerLine(row, params)}\n`
          }
        }
        yield* Effect.tryPromise({
          try: () => pipeline(Readable.from(lines()), createWriteStream(path)),
          catch: (cause) =>
            new ModelFileError({
              path,
              message: cause instanceof Error ? cause.message : String(cause),
              hint: "Check the folder, its permissions and the free space.",
              cause
            })
        })
      })
    })
)
