/**
 * Scores answers by exact match: the share that is the truth, in all and by category.
 *
 * Not fuzzy: case, blanks and one final full stop are forgotten, and nothing else. Answers whose truth is not known are
 * refused, not counted as wrong.
 */
import { Effect, Result, Schema, Stream } from "effect"
import { value } from "../dag/Artifact.ts"
import { whole } from "../dag/Node.ts"
import { type Answer, Answers } from "./Artifacts.ts"

const Share = Schema.Struct({ questions: Schema.Number, right: Schema.Number })
export type Share = typeof Share.Type

/** Right answers of rows; shares are 0 to 1. */
export const Matches = Schema.Struct({
  questions: Schema.Number,
  right: Schema.Number,
  accuracy: Schema.Number,
  byCategory: Schema.Record(Schema.String, Share),
  /** The same of answers about another image; null where some were not asked that way. */
  blind: Schema.NullOr(
    Schema.Struct({ right: Schema.Number, accuracy: Schema.Number, byCategory: Schema.Record(Schema.String, Share) })
  )
})
export type Matches = typeof Matches.Type
export const MatchReport = value("match-report", Matches)

/** An answer that cannot be scored: nobody says what the right one is. */
export class NoTruth extends Schema.TaggedError<NoTruth>()("NoTruth", {
  id: Schema.String,
  hint: Schema.String
}) {}

/** All answers were refused, or there were none. */
export class NothingToScore extends Schema.TaggedError<NothingToScore>()("NothingToScore", {
  message: Schema.String,
  hint: Schema.String
}) {}

export const nothingToScore = () =>
  new NothingToScore({
    message: "no answer is left to score",
    hint: "The quarantines of this node and of those before it say where they went."
  })

/**
 * An answer as it is compared: lower case, blanks collapsed, one final full stop dropped.
 *
 * @example
 * normaliseAnswer(" Red. ") // "red"
 */
export const normaliseAnswer = (answer: string): string =>
  answer.trim().toLowerCase().replace(/\s+/g, " ").replace(/\.$/, "")

/** Right answers by category and in all, of pairs of category, answer and truth. */
export const countMatches = (
  rows: ReadonlyArray<{ readonly category: string; readonly answer: string; readonly truth: string }>
): { readonly right: number; readonly accuracy: number; readonly byCategory: Readonly<Record<string, Share>> } => {
  const shares = new Map<string, { questions: number; right: number }>()
  let right = 0
  for (const { answer, category, truth } of rows) {
    let share = shares.get(category)
    if (share === undefined) shares.set(category, (share = { questions: 0, right: 0 }))
    share.questions++
    if (normaliseAnswer(answer) !== normaliseAnswer(truth)) continue
    share.right++
    right++
  }
  return { right, accuracy: right / rows.length, byCategory: Object.fromEntries(shares) }
}

type Known = typeof Answer.Type & { readonly truth: string }

export const exactMatch = whole(
  {
    id: "exactMatch",
    version: "1",
    about: "Share of answers that are exactly the truth, by category, and of blind ones where they were asked.",
    params: Schema.Struct({}),
    inputs: { rows: Answers },
    outputs: { report: MatchReport },
    refuses: [NoTruth]
  },
  ({ flatMap, inputs }) =>
    Effect.succeed({
      report: Effect.gen(function* () {
        const known = flatMap(inputs.rows.batches, (row) =>
          row.truth === null
            ? Result.fail(new NoTruth({ id: row.id, hint: "Answers to such questions can be written, not scored." }))
            : [row as Known]
        )
        const rows = (yield* Stream.runCollect(known)).flat()
        if (rows.length === 0) return yield* nothingToScore()
        const blind = rows.flatMap((row) => (row.blind === null ? [] : [{ ...row, answer: row.blind }]))
        return {
          questions: rows.length,
          ...countMatches(rows),
          blind: blind.length < rows.length ? null : countMatches(blind)
        }
      })
    })
)
