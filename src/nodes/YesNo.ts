/**
 * Scores answers to yes-or-no questions as POPE does: accuracy, precision, recall, F1 and the share of yes, by
 * category.
 *
 * Not a reader of minds: an answer is no where its first sentence has the word `No`, `no` or `not`, and yes otherwise,
 * as the scripts of POPE and LLaVA take it. So an empty answer is a yes; `neither` counts those in which neither word
 * stands. Positive is yes. A truth that is neither yes nor no is refused, where the scripts would take it for yes.
 */
import { Effect, Result, Schema, Stream } from "effect"
import { value } from "../dag/Artifact.ts"
import { whole } from "../dag/Node.ts"
import { type Answer, Answers } from "./Artifacts.ts"
import { normaliseAnswer, nothingToScore } from "./ExactMatch.ts"

/** A score of yes-or-no answers; shares are 0 to 1, and null where they would be divided by nothing. */
export const YesNoScore = Schema.Struct({
  questions: Schema.Number,
  truePositives: Schema.Number,
  falsePositives: Schema.Number,
  trueNegatives: Schema.Number,
  falseNegatives: Schema.Number,
  accuracy: Schema.Number,
  precision: Schema.NullOr(Schema.Number),
  recall: Schema.NullOr(Schema.Number),
  f1: Schema.NullOr(Schema.Number),
  /** Share of answers that are yes. */
  yesRatio: Schema.Number,
  /** Answers in which neither word stands; each counts as a yes. */
  neither: Schema.Number
})
export type YesNoScore = typeof YesNoScore.Type

export const YesNo = Schema.Struct({ all: YesNoScore, byCategory: Schema.Record(Schema.String, YesNoScore) })
export type YesNo = typeof YesNo.Type
export const YesNoReport = value("yes-no-report", YesNo)

/** The truth is neither yes nor no, or nobody says it. */
export class NotYesNo extends Schema.TaggedError<NotYesNo>()("NotYesNo", {
  id: Schema.String,
  truth: Schema.NullOr(Schema.String),
  hint: Schema.String
}) {}

/** Words of the first sentence, cut at blanks; commas are dropped. */
const wordsOf = (answer: string): ReadonlyArray<string> => answer.split(".")[0]!.replaceAll(",", "").split(" ")

/**
 * Whether an answer counts as yes.
 *
 * @example
 * isYes("No, there is none.") // false
 */
export const isYes = (answer: string): boolean => !wordsOf(answer).some((word) => ["No", "not", "no"].includes(word))

/** Whether an answer says yes or no at all, anywhere and in any case. */
const saysEither = (answer: string): boolean => /\b(?:yes|no|not)\b/i.test(answer)

/** What the truth says; undefined where it is neither. */
const truthOf = (truth: string | null): boolean | undefined => {
  const said = truth === null ? "" : normaliseAnswer(truth)
  return said === "yes" ? true : said === "no" ? false : undefined
}

/** One answer, judged. */
interface Judged {
  readonly category: string
  readonly said: boolean
  readonly truth: boolean
  readonly neither: boolean
}

const ratio = (part: number, of: number): number | null => (of === 0 ? null : part / of)

/** The score of at least one answer. */
export const scoreYesNo = (rows: ReadonlyArray<Omit<Judged, "category">>): YesNoScore => {
  const count = (said: boolean, truth: boolean) => rows.filter((row) => row.said === said && row.truth === truth).length
  const [truePositives, falsePositives] = [count(true, true), count(true, false)]
  const [trueNegatives, falseNegatives] = [count(false, false), count(false, true)]
  const precision = ratio(truePositives, truePositives + falsePositives)
  const recall = ratio(truePositives, truePositives + falseNegatives)
  return {
    questions: rows.length,
    truePositives,
    falsePositives,
    trueNegatives,
    falseNegatives,
    accuracy: (truePositives + trueNegatives) / rows.length,
    precision,
    recall,
    f1: precision === null || recall === null ? null : ratio(2 * precision * recall, precision + recall),
    yesRatio: (truePositives + falsePositives) / rows.length,
    neither: rows.filter((row) => row.neither).length
  }
}

/** A row with a truth that is yes or no, judged; undefined for any other. */
export const judge = ({ answer, category, truth }: typeof Answer.Type): Judged | undefined => {
  const right = truthOf(truth)
  return right === undefined ? undefined : { category, said: isYes(answer), truth: right, neither: !saysEither(answer) }
}

export const yesNo = whole(
  {
    id: "yesNo",
    version: "1",
    about: "Accuracy, precision, recall, F1 and share of yes of answers to yes-or-no questions, as POPE scores them.",
    params: Schema.Struct({}),
    inputs: { rows: Answers },
    outputs: { report: YesNoReport },
    refuses: [NotYesNo]
  },
  ({ flatMap, inputs }) =>
    Effect.succeed({
      report: Effect.gen(function* () {
        const judged = flatMap(inputs.rows.batches, (row) => {
          const { id, truth } = row
          const one = judge(row)
          return one === undefined
            ? Result.fail(
                new NotYesNo({
                  id,
                  truth,
                  hint: "The right answer must be yes or no: score such rows with exactMatch."
                })
              )
            : [one]
        })
        const rows = (yield* Stream.runCollect(judged)).flat()
        if (rows.length === 0) return yield* nothingToScore()
        const groups = [...Map.groupBy(rows, ({ category }) => category)]
        return {
          all: scoreYesNo(rows),
          byCategory: Object.fromEntries(groups.map(([category, some]) => [category, scoreYesNo(some)]))
        }
      })
    })
)
