/**
 * Reads files of one question a line: POPE's, with yes or no as label, and LLaVA's `question.jsonl`, with a label or
 * without.
 *
 * Not the held-out scenes of the sample (`ReadLlava.ts`). Questions keep the file's ids and order, which LLaVA's
 * scoring scripts go by; images come once each, however many questions are about them. Several questions may have one
 * id, as TextVQA's have: each is known by its image and its text as well, as `eval_textvqa.py` looks them up.
 */
import { Effect, Schema } from "effect"
import { type Refusing, whole } from "../dag/Node.ts"
import { BadJsonRow } from "../data/JsonArray.ts"
import { BadParquetRow } from "../data/ParquetError.ts"
import type { RowFault } from "../text/ChatRow.ts"
import { IMAGE_KEYS } from "../text/RowMedia.ts"
import { IMAGE_MARK, marksIn } from "../text/Template.ts"
import { ImageConversations, QuestionFile, Questions } from "./Artifacts.ts"
import { normaliseAnswer } from "./ExactMatch.ts"
import { BadRow, oneImage } from "./ReadLlava.ts"
import { RowParams, readRows, type SourceRow, shapeFault, UnsupportedRow } from "./RowReader.ts"

const params = Schema.Struct({
  ...RowParams,
  /** Category of questions whose row names none: `popular`, say, of `coco_pope_popular.json`. */
  category: Schema.String,
  /**
   * Put after each question, on a line of its own: "Answer the question using a single word or phrase.", say; null adds
   * nothing.
   */
  instruction: Schema.NullOr(Schema.String)
})
type Params = typeof params.Type

const decode = Schema.decodeUnknownResult(
  Schema.Struct({
    text: Schema.String,
    label: Schema.optional(Schema.NullOr(Schema.String)),
    category: Schema.optional(Schema.NullOr(Schema.String))
  })
)
const KEYS: ReadonlySet<string> = new Set(["text", "label", "category", ...IMAGE_KEYS])

const outputs = { questions: Questions, scenes: ImageConversations }
const refuses = [BadRow, UnsupportedRow, BadJsonRow, BadParquetRow] as const
const refuseAtMost = 0.5

/** A line as a question, or why it is none; questions are told apart from those before. */
const checking = (needsLabel: boolean) => {
  const seen = new Set<string>()
  return (row: SourceRow) => {
    const { id, value } = row
    const image = oneImage(row)
    if (typeof image !== "string") return image
    const decoded = decode(value)
    if (decoded._tag === "Failure") return shapeFault(decoded.failure.message)
    const { category, label, text } = decoded.success
    if (needsLabel && !["yes", "no"].includes(normaliseAnswer(label ?? "")))
      return shapeFault(
        label === undefined || label === null ? "it has no label" : `its label "${label}" is neither yes nor no`
      )
    const marks = marksIn(text)
    if (marks > 1)
      return {
        reason: "marks" as const,
        message: `its text has ${marks} marks ${IMAGE_MARK}`,
        hint: "Write one, or none."
      }
    const known = JSON.stringify([id, image, text])
    if (seen.has(known)) return shapeFault(`an earlier question is called ${id} too, with the same image and text`)
    seen.add(known)
    return { id, image, text, label: label ?? null, category: category ?? null }
  }
}

const read = (
  path: string,
  params: Params,
  needsLabel: boolean,
  refusing: Pick<Refusing<BadRow | UnsupportedRow | BadJsonRow | BadParquetRow>, "refuse" | "countRows">
) => {
  const { category, instruction } = params
  const rows = <B>(
    make: (question: Exclude<ReturnType<ReturnType<typeof checking>>, RowFault>) => ReadonlyArray<B>
  ) => {
    const check = checking(needsLabel)
    return readRows({
      ...{ path, params, keys: KEYS, idKeys: ["question_id"], refusing },
      // POPE's files are called `.json`, and have a row a line all the same.
      layout: "lines",
      make: (row) => {
        const question = check(row)
        return "reason" in question ? question : make(question)
      },
      misshaped: (given) => new BadRow(given)
    })
  }
  const images = new Set<string>()
  return {
    questions: rows(({ category: own, id, image, label: answer, text }) => [
      {
        ...{ id, image, type: own ?? category },
        question: instruction === null ? text : `${text}\n${instruction}`,
        answer
      }
    ]),
    scenes: rows(({ image }) => {
      if (images.has(image)) return []
      images.add(image)
      return [{ id: image, image, conversations: [] }]
    })
  }
}

export const readPope = whole(
  {
    id: "readPope",
    version: "2",
    about: "Reads POPE's yes-or-no questions, and each of their images once.",
    params,
    inputs: { file: QuestionFile },
    outputs,
    refuses,
    refuseAtMost
  },
  ({ inputs, params, refuse, countRows }) => Effect.succeed(read(inputs.file.path, params, true, { refuse, countRows }))
)

export const readQuestionLines = whole(
  {
    id: "readQuestionLines",
    version: "2",
    about: "Reads the questions of LLaVA's evaluation, labelled or not, and each of their images once.",
    params,
    inputs: { file: QuestionFile },
    outputs,
    refuses,
    refuseAtMost
  },
  ({ inputs, params, refuse, countRows }) =>
    Effect.succeed(read(inputs.file.path, params, false, { refuse, countRows }))
)
