/** The page shows each scene's own image, marks what is wrong, and holds for a run that stopped anywhere. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Artifact } from "../../src/dag/Artifact.ts"
import { fromArray } from "../../src/dag/Rows.ts"
import type { Cell, Finished, Section } from "../../src/dag/Sections.ts"
import type { Evaluation } from "../../src/nodes/Evaluate.ts"
import { evaluationPage } from "../../src/nodes/EvaluationPage.ts"

const log = { steps: 2, epochs: 1, rows: 4, lossTokens: 8, losses: [2, 1], cutRows: 0, cutTokens: 0, heldOutLoss: null }
const sample = (id: string, answer: string, truth: string) => ({
  id,
  type: "colour",
  question: `What is ${id}?`,
  truth,
  answer,
  blind: "Blue."
})
const evaluation: Evaluation = {
  questions: 4,
  notAsked: 1,
  accuracy: 0.5,
  blindAccuracy: 0.25,
  byType: { colour: { questions: 2, right: 2 }, shape: { questions: 2, right: 0 } },
  blindByType: { colour: { questions: 2, right: 1 }, shape: { questions: 2, right: 0 } },
  samples: [
    sample("b/x/0", "Red.", "red"),
    sample("b/x/1", "Red.", "Green."),
    sample("a/0", "one", "One."),
    sample("gone/0", "?", "!")
  ],
  stages: { sft: log, pretrain: log, instruct: { ...log, heldOutLoss: 1.5 } }
}
const row = (id: string, image: string | null) => ({ id, image, conversations: [] })
const pixels = (id: string, value: number) => ({ id, pixels_HWC: new Uint8Array(2 * 2 * 3).fill(value) })

/** What `names` of a run's artifacts left. */
const left = (made: Readonly<Record<string, unknown>>, targets: ReadonlyArray<string> = ["report"]): Finished => {
  const look = (name: string) => Effect.succeed(name in made ? ({ node: name, value: made[name] } as never) : undefined)
  return {
    targets: (artifact: Artifact) => (artifact.tag === "evaluation-report" ? targets : []),
    output: (target) => look(target),
    input: (_, port) => look(port)
  }
}
const whole = {
  report: evaluation,
  sft: log,
  pretrain: log,
  instruct: log,
  pictured: fromArray([row("a", "a.png"), row("text alone", null), row("b/x", "b.png")]),
  pixels: fromArray([pixels("a", 1), pixels("b/x", 2)])
}
const titled = (sections: ReadonlyArray<Section>, title: string): Section => {
  const found = sections.find((one) => one.title === title)
  if (found === undefined) throw new Error(`no section "${title}"`)
  return found
}
const page = (run: Finished) => Effect.scoped(evaluationPage(run))

describe("the page of an evaluation", () => {
  it.effect(
    "groups questions by scene, each with its image, and marks answers by the comparison that scores them",
    () =>
      Effect.gen(function* () {
        const { sections } = yield* page(left(whole))
        const section = titled(sections, "Held-out images")
        const cards = section.kind === "cards" ? section.cards : []
        expect(cards.map((card) => [card.title, card.picture?.pixels_HWC[0], card.picture?.width])).toEqual([
          ["b/x", 2, 2],
          ["a", 1, 2],
          ["gone", undefined, undefined]
        ])
        expect(cards.map((card) => card.rows.map((cells) => (cells[1] as Cell).mark))).toEqual([
          ["right", "wrong"],
          ["right"],
          ["wrong"]
        ])
        expect(cards[0]!.rows[1]).toEqual(["What is b/x/1?", { text: "Red.", mark: "wrong" }, "Green.", "Blue."])
        expect(section.about).toContain("4 questions about 3 images")
        expect(section.about).toContain("2 wrong answers")
      })
  )

  it.effect("puts right answers beside blind ones, by type and in all", () =>
    Effect.gen(function* () {
      const { figures, losses, sections } = yield* page(left(whole))
      const table = titled(sections, "Right answers by type")
      expect(table.kind === "table" ? table.rows.map((cells) => [cells[0], cells[4]]) : []).toEqual([
        ["colour", "+50.0"],
        ["shape", "+0.0"],
        ["all", "+25.0"]
      ])
      expect(figures.map((one) => one.text)).toEqual(["50.0 %", "25.0 %", "4", "1"])
      expect(losses.map((one) => [one.node, one.losses])).toEqual([
        ["sft", [2, 1]],
        ["pretrain", [2, 1]],
        ["instruct", [2, 1]]
      ])
      expect(sections.map((one) => one.title)).not.toContain("Ablation")
    })
  )

  it.effect("compares variants where the pipeline evaluates several", () =>
    Effect.gen(function* () {
      const worse = { ...evaluation, accuracy: 0.25 }
      const run = left({ ...whole, "without sft": worse }, ["report", "without sft"])
      const table = titled((yield* page(run)).sections, "Ablation")
      expect(table.kind === "table" ? table.rows.map((cells) => [cells[0], cells[4], cells[5]]) : []).toEqual([
        ["report", "+25.0", "1.500"],
        ["without sft", "+0.0", "1.500"]
      ])
    })
  )

  it.effect("holds for a run that stopped anywhere", () =>
    Effect.gen(function* () {
      const { report: _, ...unasked } = whole
      expect((yield* page(left(unasked))).sections.map((one) => one.title)).toEqual(["Stages"])
      expect((yield* page(left({ sft: log }))).losses).toHaveLength(1)
      expect(yield* page(left({}))).toEqual({ figures: [], losses: [], sections: [] })
      expect(yield* page(left({}, []))).toEqual({ figures: [], losses: [], sections: [] })
      const { pixels: __, ...blind } = whole
      const cards = titled((yield* page(left(blind))).sections, "Held-out images")
      expect(cards.kind === "cards" ? cards.cards.map((card) => card.picture) : []).toEqual([
        undefined,
        undefined,
        undefined
      ])
    })
  )
})
