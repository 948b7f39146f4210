/**
 * Reads files of one question a line: POPE's, with yes or no as label, and LLaVA's `question.jsonl`, with a label or without.
 *
 * Not the held-out scenes of the sample (`ReadLlava.ts`). Questions keep the file's ids and order, which LLaVA's scoring
 * scripts go by; pictures come once each, however many questions are about them.
 */
import { Effect, Schema } from "effect"
import { type Refusing, whole } from "../dag/Node.ts"
import { BadJsonRow } from "../data/JsonArray.ts"
import { ImageConversations, QuestionFile, Questions } from "./Artifacts.ts"
import { normaliseAnswer } from "./ExactMatch.ts"
import { Positive } from "./Params.ts"
import { BadRow, readRows } from "./ReadLlava.ts"

const params = Schema.Struct({
  /** Rows a shard of the output. */
  shardRows: Positive,
  /** Category of questions whose row names none: `popular`, say, of `coco_pope_popular.json`. */
  category: Schema.String,
  /** Put after each question, on a line of its own: "Answer the question using a single word or phrase.", say; null adds nothing. */
  instruction: Schema.NullOr(Schema.String)
})
type Params = typeof params.Type

const Row = Schema.Struct({
  question_id: Schema.Union([Schema.String, Schema.Number]),
  image: Schema.optional(Schema.NullOr(Schema.String)),
  text: Schema.String,
  label: Schema.optional(Schema.NullOr(Schema.String)),
  category: Schema.optional(Schema.NullOr(Schema.String))
})
type Row = typeof Row.Type

const outputs = { questions: Questions, scenes: ImageConversations }
const refuses = [BadRow, BadJsonRow] as const
const refuseAtMost = 0.5

/** POPE's files are called `.json`, and have a row a line all the same. */
const lines = { layout: "lines" } as const

/** Why a row is no question, or undefined; ids are told apart from those before. */
const checking = (needsLabel: boolean) => {
  const seen = new Set<string>()
  return ({ image, label, question_id }: Row): string | undefined => {
    const id = String(question_id)
    if (image === undefined || image === null) return "it names no picture"
    if (needsLabel && !["yes", "no"].includes(normaliseAnswer(label ?? "")))
      return label === undefined || label === null ? "it has no label" : `its label "${label}" is neither yes nor no`
    if (seen.has(id)) return `an earlier question is called ${id} too`
    seen.add(id)
    return undefined
  }
}

const read = (
  path: string,
  { category, instruction }: Params,
  needsLabel: boolean,
  refusing: Pick<Refusing<BadRow | BadJsonRow>, "refuse" | "saw">
) => {
  const checkQuestion = checking(needsLabel)
  const checkScene = checking(needsLabel)
  const pictures = new Set<string>()
  return {
    questions: readRows(
      path,
      Row,
      (row) =>
        checkQuestion(row) ?? [
          {
            id: String(row.question_id),
            image: row.image!,
            type: row.category ?? category,
            question: instruction === null ? row.text : `${row.text}\n${instruction}`,
            answer: row.label ?? null
          }
        ],
      refusing,
      lines
    ),
    scenes: readRows(
      path,
      Row,
      (row) => {
        const image = row.image!
        const bad = checkScene(row)
        if (bad !== undefined) return bad
        if (pictures.has(image)) return []
        pictures.add(image)
        return [{ id: image, image, conversations: [] }]
      },
      refusing,
      lines
    )
  }
}

export const readPope = whole(
  {
    id: "readPope",
    version: "1",
    about: "Reads POPE's yes-or-no questions, and each of their pictures once.",
    params,
    inputs: { file: QuestionFile },
    outputs,
    refuses,
    refuseAtMost
  },
  ({ inputs, params, refuse, saw }) => Effect.succeed(read(inputs.file.path, params, true, { refuse, saw }))
)

export const readQuestionLines = whole(
  {
    id: "readQuestionLines",
    version: "1",
    about: "Reads the questions of LLaVA's evaluation, labelled or not, and each of their pictures once.",
    params,
    inputs: { file: QuestionFile },
    outputs,
    refuses,
    refuseAtMost
  },
  ({ inputs, params, refuse, saw }) => Effect.succeed(read(inputs.file.path, params, false, { refuse, saw }))
)
