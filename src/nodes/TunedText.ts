/** What a person wants to know at the end of a fine-tuning run, from its values alone. Pure text; not a node. */
import type { TrainingReport } from "./Artifacts.ts"
import type { Matches } from "./ExactMatch.ts"

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
const loss = (value: number | null): string => (value === null || !Number.isFinite(value) ? "-" : value.toFixed(3))
const mean = (values: ReadonlyArray<number>): number => values.reduce((sum, one) => sum + one, 0) / values.length

const lossLine = ({ heldOutLoss, losses, steps }: typeof TrainingReport.schema.Type): string => {
  const tenth = Math.max(1, Math.floor(losses.length / 10))
  const [first, last] = [mean(losses.slice(0, tenth)), mean(losses.slice(-tenth))]
  return `Loss, mean of the first and of the last tenth of ${steps} steps: ${loss(first)} -> ${loss(last)}, held out ${loss(heldOutLoss)}`
}

const scoreLines = (score: Matches, before: Matches | undefined): ReadonlyArray<string> => {
  const names = Object.keys(score.byCategory).toSorted()
  const width = Math.max(...names.map((name) => name.length))
  const share = ({ byCategory }: Matches, name: string) => {
    const found = byCategory[name]
    return found === undefined ? "-" : percent(found.right / found.questions)
  }
  return [
    [
      `Questions right: ${percent(score.accuracy)} of ${score.questions}`,
      ...(score.blind === null ? [] : [`with another image: ${percent(score.blind.accuracy)}`]),
      ...(before === undefined ? [] : [`before tuning: ${percent(before.accuracy)}`])
    ].join("; "),
    ...names.map((name) =>
      [
        `  ${name.padEnd(width)}  ${share(score, name)}`,
        ...(before === undefined ? [] : [`before ${share(before, name)}`])
      ].join("  ")
    )
  ]
}

/**
 * The lines and figures that a fine-tuning run ends with; a value that the run did not reach is left out.
 *
 * @example
 * tunedSummary({ score: { questions: 2, right: 1, accuracy: 0.5, byCategory: {}, blind: null } }).lines[0] // "Questions right: 50.0 % of 2"
 */
export const tunedSummary = (values: Readonly<Record<string, unknown>>) => {
  const training = values["training"] as typeof TrainingReport.schema.Type | undefined
  const score = values["score"] as Matches | undefined
  const before = values["score-before"] as Matches | undefined
  return {
    metrics: {
      ...(training === undefined ? {} : { heldOutLoss: training.heldOutLoss }),
      ...(score === undefined ? {} : { accuracy: score.accuracy, blindAccuracy: score.blind?.accuracy ?? null }),
      ...(before === undefined ? {} : { accuracyBefore: before.accuracy })
    },
    lines: [
      ...(training === undefined ? [] : [lossLine(training)]),
      ...(score === undefined ? [] : scoreLines(score, before))
    ]
  }
}
