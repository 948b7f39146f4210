/** What a person wants to know at the end of a LLaVA-Phi run, from the evaluation's value alone. Pure text. */
import type { Evaluation } from "./Evaluate.ts"
import type { Perplexity } from "./Perplexity.ts"
import type { YesNo, YesNoScore } from "./YesNo.ts"

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
const loss = (value: number | null | undefined): string =>
  value === null || value === undefined || Number.isNaN(value) ? "-" : value.toFixed(3)

/**
 * Losses by stage. A step's loss is the mean over its tokens; told is the mean of those of the first and of the last
 * tenth of the steps, each step alike. Beside it the mean over all held-out tokens.
 */
const stageLines = ({ stages }: Evaluation): ReadonlyArray<string> =>
  (["sft", "pretrain", "instruct"] as const).map((stage) => {
    const log = stages[stage]
    const tenth = Math.max(1, Math.floor(log.losses.length / 10))
    const mean = (values: ReadonlyArray<number>) => values.reduce((sum, one) => sum + one, 0) / values.length
    const first = loss(mean(log.losses.slice(0, tenth)))
    const last = loss(mean(log.losses.slice(-tenth)))
    return `  ${stage.padEnd(9)} ${first} -> ${last}  held out ${loss(log.heldOutLoss)}  (${log.steps} steps${log.cutRows === 0 ? "" : `, ${log.cutRows} examples cut at the context's end`})`
  })

/** Right answers of a type with and without the right image. */
const typeLines = (report: Evaluation): ReadonlyArray<string> =>
  Object.entries(report.byType)
    .sort()
    .map(([type, { questions, right }]) => {
      const blind = report.blindByType[type]
      return `  ${type.padEnd(9)} ${percent(right / questions)}  blind ${percent(blind === undefined ? 0 : blind.right / blind.questions)}`
    })

/** What tuning on images has cost in conversations; nothing where none was held out. */
const perplexityLines = ({ stages }: Evaluation, after: Perplexity | undefined): ReadonlyArray<string> => {
  const before = stages.sft.heldOutLoss
  if (after === undefined || after.perplexity === null || before === null) return []
  return [
    `Perplexity on held-out conversations: ${loss(Math.exp(before))} after sft, ${loss(after.perplexity)} after all stages`
  ]
}

/**
 * The lines of a yes-or-no score: all answers, then each category.
 *
 * @example
 * yesNoLines(report)[1] // "  all      accuracy 85.0 %  precision 90.1 %  recall 78.9 %  f1 84.1 %  yes 43.8 %  of 3000"
 */
export const yesNoLines = ({ all, byCategory }: YesNo): ReadonlyArray<string> => {
  const rows: ReadonlyArray<readonly [string, YesNoScore]> = [["all", all], ...Object.entries(byCategory).sort()]
  const width = Math.max(...rows.map(([name]) => name.length))
  const share = (value: number | null) => (value === null ? "-" : percent(value))
  return [
    "Yes-or-no questions",
    ...rows.map(
      ([name, { accuracy, f1, precision, questions, recall, yesRatio }]) =>
        `  ${name.padEnd(width)}  accuracy ${percent(accuracy)}  precision ${share(precision)}  recall ${share(recall)}  f1 ${share(f1)}  yes ${percent(yesRatio)}  of ${questions}`
    ),
    ...(all.neither === 0 ? [] : [`  answers that say neither, and count as yes: ${all.neither}`])
  ]
}

/**
 * The lines and figures that a run ends with.
 *
 * @example
 * summarise({ report: evaluation }).metrics // { accuracy: 0.5, blindAccuracy: 0.2, heldOutLoss: { sft: 1.2, ... } }
 */
export const summarise = (values: Readonly<Record<string, unknown>>) => {
  const report = values["report"] as Evaluation | undefined
  if (report === undefined) return { metrics: {}, lines: [] }
  const { instruct, pretrain, sft } = report.stages
  const after = values["perplexity"] as Perplexity | undefined
  return {
    metrics: {
      accuracy: report.accuracy,
      blindAccuracy: report.blindAccuracy,
      // Null where nothing was held out: no other loss stands in for it.
      heldOutLoss: { sft: sft.heldOutLoss, pretrain: pretrain.heldOutLoss, instruct: instruct.heldOutLoss },
      ...(after === undefined ? {} : { perplexity: after.perplexity })
    },
    lines: [
      "Loss, mean of the steps (first tenth of them -> last tenth)",
      ...stageLines(report),
      ...perplexityLines(report, after),
      "",
      `Held-out questions right: ${percent(report.accuracy)} of ${report.questions}; with images swapped between scenes: ${percent(report.blindAccuracy)}`,
      ...(report.notAsked === 0 ? [] : [`  ${report.notAsked} questions were not asked: their images were refused`]),
      ...typeLines(report),
      ...(report.note === undefined ? [] : [`  ${report.note}`]),
      "",
      ...report.samples
        .slice(0, 3)
        .flatMap((one) => [`  ${one.question}`, `    answered "${one.answer}", true is "${one.truth}"`])
    ]
  }
}

/**
 * The lines and figures of a pipeline that evaluates several variants, a line each, under their targets' names.
 *
 * @example
 * summariseVariants({ recipe: evaluation, withoutSft: another }).lines
 */
export const summariseVariants = (values: Readonly<Record<string, unknown>>) => {
  const variants = Object.entries(values as Readonly<Record<string, Evaluation>>)
  const width = Math.max(0, ...variants.map(([name]) => name.length))
  return {
    metrics: Object.fromEntries(
      variants.map(([name, { accuracy, blindAccuracy }]) => [name, { accuracy, blindAccuracy }] as const)
    ),
    lines: [
      "Held-out questions right, and with images swapped between scenes",
      ...variants.map(
        ([name, report]) =>
          `  ${name.padEnd(width)}  ${percent(report.accuracy)}  blind ${percent(report.blindAccuracy)}`
      ),
      ...new Set(variants.flatMap(([, { note }]) => (note === undefined ? [] : [`  ${note}`])))
    ]
  }
}
