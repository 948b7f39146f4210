/** What a fine-tuning run ends with, also where it did not reach everything. */
import { expect, it } from "vitest"
import { tunedSummary } from "../../src/nodes/TunedText.ts"

const score = (right: number) => ({
  questions: 10,
  right,
  accuracy: right / 10,
  byCategory: { rule: { questions: 4, right: 1 }, light: { questions: 6, right: right - 1 } },
  blind: { right: 2, accuracy: 0.2, byCategory: {} }
})

it("states losses, right answers, the blind baseline and what the model answered before", () => {
  const training = { losses: [4, 2, 1], steps: 3, heldOutLoss: 0.5, epochs: 1, rows: 3, cutRows: 0 }
  const told = tunedSummary({ training, score: score(7), "score-before": score(3) })
  expect(told.lines).toEqual([
    "Loss, mean of the first and of the last tenth of 3 steps: 4.000 -> 1.000, held out 0.500",
    "Questions right: 70.0 % of 10; with another image: 20.0 %; before tuning: 30.0 %",
    "  light  100.0 %  before 33.3 %",
    "  rule   25.0 %  before 25.0 %"
  ])
  expect(told.metrics).toEqual({ heldOutLoss: 0.5, accuracy: 0.7, blindAccuracy: 0.2, accuracyBefore: 0.3 })
})

it("leaves out what was not reached", () => {
  expect(tunedSummary({})).toEqual({ metrics: {}, lines: [] })
  expect(tunedSummary({ score: { ...score(7), blind: null } }).lines[0]).toBe("Questions right: 70.0 % of 10")
})
