/**
 * What a LLaVA-Phi run adds to its report: losses of the stages, right answers by type, held-out images with what was
 * asked and answered, and variants side by side where the pipeline evaluates more than one.
 *
 * Not a node: it computes nothing, and reads what the run left in the store. Every part is absent that the run did not
 * reach.
 */
import { Effect, type Scope, Stream } from "effect"
import type { InputUnavailable } from "../dag/Artifact.ts"
import type { Card, Cell, Finished, Losses, Part, Picture, Section } from "../dag/Sections.ts"
import { PicturedConversations, Pixels, TrainingReport } from "./Artifacts.ts"
import { type Evaluation, EvaluationReport } from "./Evaluate.ts"
import { normaliseAnswer } from "./ExactMatch.ts"

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
const loss = (value: number | null | undefined): string =>
  value === null || value === undefined || !Number.isFinite(value) ? "-" : value.toFixed(3)
const mean = (values: ReadonlyArray<number>): number => values.reduce((sum, one) => sum + one, 0) / values.length

const stages = ["sft", "pretrain", "instruct"] as const

/** Stages whose training report is in the store, evaluated or not. */
const trained = Effect.fnUntraced(function* (run: Finished, target: string) {
  const found: Array<{
    readonly stage: string
    readonly node: string
    readonly log: typeof TrainingReport.schema.Type
  }> = []
  for (const stage of stages) {
    const made = yield* run.input(target, stage, TrainingReport)
    if (made !== undefined) found.push({ stage, node: made.node, log: made.value })
  }
  return found
})

const stageTable = (found: Effect.Success<ReturnType<typeof trained>>): Section => ({
  kind: "table",
  title: "Stages",
  about: "Mean loss of the first and the last tenth of the steps, and of rows that were held out.",
  columns: [
    { name: "stage" },
    ...["steps", "epochs", "examples", "first tenth", "last tenth", "held out", "cut examples"].map((name) => ({
      name,
      figures: true
    }))
  ],
  rows: found.map(({ log, stage }) => {
    const tenth = Math.max(1, Math.floor(log.losses.length / 10))
    return [
      stage,
      String(log.steps),
      String(log.epochs),
      String(log.rows),
      loss(mean(log.losses.slice(0, tenth))),
      loss(mean(log.losses.slice(-tenth))),
      loss(log.heldOutLoss),
      String(log.cutRows)
    ]
  })
})

const shareCell = (share: number): Cell => ({ text: percent(share), share })

const typeTable = (report: Evaluation): Section => {
  const types = Object.entries(report.byType).sort(([a], [b]) => (a < b ? -1 : 1))
  return {
    kind: "table",
    title: "Right answers by type",
    about:
      "Exact match on held-out questions. Blind is the same question about another scene's image: what the model gets by knowing which answers are likely." +
      (report.note === undefined ? "" : ` ${report.note}`),
    columns: [{ name: "type" }, ...["questions", "right", "blind", "gap"].map((name) => ({ name, figures: true }))],
    rows: [
      ...types.map(([type, { questions, right }]) => {
        const other = report.blindByType[type]
        const blind = other === undefined ? 0 : other.right / other.questions
        return [type, String(questions), shareCell(right / questions), shareCell(blind), gap(right / questions - blind)]
      }),
      [
        "all",
        String(report.questions),
        shareCell(report.accuracy),
        shareCell(report.blindAccuracy),
        gap(report.accuracy - report.blindAccuracy)
      ]
    ]
  }
}

const gap = (share: number): string => `${share < 0 ? "-" : "+"}${(100 * Math.abs(share)).toFixed(1)}`

/** Several evaluations in one pipeline are variants of the recipe: one row each. */
const variantTable = (evaluations: ReadonlyArray<readonly [name: string, report: Evaluation]>): Section => ({
  kind: "table",
  title: "Ablation",
  about: "The same questions put to each variant of the recipe.",
  columns: [
    { name: "variant" },
    ...["questions", "right", "blind", "gap", "held-out loss"].map((name) => ({ name, figures: true }))
  ],
  rows: evaluations.map(([name, report]) => [
    name,
    String(report.questions),
    shareCell(report.accuracy),
    shareCell(report.blindAccuracy),
    gap(report.accuracy - report.blindAccuracy),
    loss(report.stages.instruct.heldOutLoss)
  ])
})

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`

/** The scene that a question is about: question ids are `{scene}/{number}`. */
const sceneOf = (id: string): string => id.slice(0, id.lastIndexOf("/"))

/** Images of scenes: the k-th row with an image belongs to the k-th row of pixels. */
const imagesOf = Effect.fnUntraced(function* (run: Finished, target: string, scenes: ReadonlySet<string>) {
  const images = new Map<string, Picture>()
  const pictured = yield* run.input(target, "pictured", PicturedConversations)
  const pixels = yield* run.input(target, "pixels", Pixels)
  if (pictured === undefined || pixels === undefined) return images
  const places = new Map<string, number>()
  let count = 0
  yield* Stream.runForEach(pictured.value.batches, (batch) =>
    Effect.sync(() => {
      for (const { id, image } of batch) {
        if (image === null) continue
        if (scenes.has(id)) places.set(id, count)
        count++
      }
    })
  )
  const rows = yield* pixels.value.get([...places.values()])
  for (const [i, scene] of [...places.keys()].entries()) {
    const { pixels_HWC } = rows[i]!
    const side = Math.round(Math.sqrt(pixels_HWC.length / 3))
    images.set(scene, { width: side, height: side, pixels_HWC })
  }
  return images
})

const cards = (report: Evaluation, images: ReadonlyMap<string, Picture>): Section => {
  const scenes = new Map<string, Array<Evaluation["samples"][number]>>()
  for (const sample of report.samples) {
    const scene = sceneOf(sample.id)
    scenes.set(scene, [...(scenes.get(scene) ?? []), sample])
  }
  const wrong = report.samples.filter((one) => normaliseAnswer(one.answer) !== normaliseAnswer(one.truth)).length
  return {
    kind: "cards",
    title: "Held-out images",
    about: `${count(report.samples.length, "question")} about ${count(scenes.size, "image")} that no stage has seen, ${count(wrong, "wrong answer")}. Images are shown as the model gets them.`,
    cards: [...scenes].map(([scene, samples]): Card => {
      const image = images.get(scene)
      return {
        title: scene,
        ...(image === undefined ? {} : { picture: image }),
        columns: ["question", "answer", "truth", "blind"].map((name) => ({ name })),
        rows: samples.map(({ answer, blind, question, truth }) => [
          question,
          { text: answer, mark: normaliseAnswer(answer) === normaliseAnswer(truth) ? "right" : "wrong" },
          truth,
          blind
        ])
      }
    })
  }
}

/**
 * The recipe's part of the report, from as much as the run reached.
 *
 * @example
 * recipe({ ..., report: evaluationPage })
 */
export const evaluationPage = (run: Finished): Effect.Effect<Part, InputUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const targets = run.targets(EvaluationReport)
    const first = targets[0]
    if (first === undefined) return { figures: [], losses: [], sections: [] }
    const found = yield* trained(run, first)
    const losses: ReadonlyArray<Losses> = found.map(({ log, node }) => ({
      node,
      losses: log.losses,
      heldOut: log.heldOutLoss,
      ...(log.evaluations === undefined ? {} : { evaluations: log.evaluations }),
      ...(log.keptStep === undefined ? {} : { keptStep: log.keptStep })
    }))
    const evaluations: Array<readonly [string, Evaluation]> = []
    for (const target of targets) {
      const made = yield* run.output(target, EvaluationReport)
      if (made !== undefined) evaluations.push([target, made.value])
    }
    const sections: Array<Section> = found.length === 0 ? [] : [stageTable(found)]
    const report = evaluations.find(([name]) => name === first)?.[1]
    if (evaluations.length > 1) sections.push(variantTable(evaluations))
    if (report === undefined) return { figures: [], losses, sections }
    const scenes = new Set(report.samples.map(({ id }) => sceneOf(id)))
    sections.push(typeTable(report), cards(report, yield* imagesOf(run, first, scenes)))
    return {
      figures: [
        { name: "held-out questions right", text: percent(report.accuracy) },
        { name: "blind: images swapped", text: percent(report.blindAccuracy) },
        { name: "questions", text: String(report.questions) },
        ...(report.notAsked === 0 ? [] : [{ name: "not asked: image refused", text: String(report.notAsked) }])
      ],
      losses,
      sections
    }
  })
