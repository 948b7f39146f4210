/** The report adds up, answers are compared as a reader would, and the blind run sees another scene's image. */
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { answerQuestions } from "../../src/nodes/AnswerQuestions.ts"
import { otherScene } from "../../src/nodes/Asking.ts"
import { evaluate } from "../../src/nodes/Evaluate.ts"
import { summarise, summariseVariants } from "../../src/nodes/EvaluationText.ts"
import { exactMatch, normaliseAnswer } from "../../src/nodes/ExactMatch.ts"
import { exportCheckpoint } from "../../src/nodes/ExportCheckpoint.ts"
import { trainProjector, tuneInstructions } from "../../src/nodes/TrainVision.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { settings, tinyModels, tinyPictured } from "./support.ts"

const log = { steps: 2, epochs: 1, rows: 4, lossTokens: 8, losses: [2, 1], cutRows: 0, cutTokens: 0, heldOutLoss: null }
const logs = { sft: log, pretrain: log, instruct: { ...log, heldOutLoss: 1.5 } }
const params = { maxNewTokens: 6, batch: 3, headBias: "drop", samples: 100 } as const

/** An exported tiny model that was tuned a little, so that its answers differ, and four scenes of two questions. */
const open = Effect.gen(function* () {
  const { into, ...models } = yield* tinyModels()
  const { pixels, v1 } = yield* tinyPictured(4)
  const at = (name: string) => ({ into: join(into, name) })
  const inputs = { ...models, data: v1, heldOut: [], images: pixels }
  const projector = (yield* Node.run(trainProjector, inputs, { ...settings, epochs: 0 }, at("projector"))).out.projector
  const long = { ...settings, epochs: 60, decay: "constant" } as const
  const tuned = (yield* Node.run(tuneInstructions, { ...inputs, projector }, long, at("tuned"))).out
  const exported = yield* Node.run(
    exportCheckpoint,
    { model: tuned.model, projector: tuned.projector, vision: models.vision, tokenizer: models.tokenizer },
    { dtype: "float32", headBias: "drop", maxShardBytes: 5_000_000_000, name: "Tiny" },
    at("exported")
  )
  const pictured = pixels.map(({ id }, i) => ({ id, image: `p${i}.png`, conversations: [] }))
  const questions = pixels.flatMap(({ id }, i) =>
    ["What colour?", "What is it?"].map((question, k) => ({
      id: `${id}/${k}`,
      image: `p${i}.png`,
      type: k === 0 ? "colour" : "thing",
      question,
      answer: "?"
    }))
  )
  return { ...logs, model: exported.out.model, pictured, pixels, questions }
})

describe("normaliseAnswer", () => {
  it("forgets case, blanks and one full stop, and nothing else", () => {
    expect(normaliseAnswer(" Red. ")).toBe("red")
    expect(normaliseAnswer("a\n b")).toBe("a b")
    expect(normaliseAnswer("No.")).toBe(normaliseAnswer("no"))
    expect(normaliseAnswer("1.5")).toBe("1.5")
    expect(normaliseAnswer("red!")).not.toBe(normaliseAnswer("red"))
  })
})

describe("otherScene", () => {
  const Scenes = Schema.Array(Schema.Struct({ image: Schema.NullOr(Schema.Literals(["a", "b", "c"])) }))
  it.prop("shows another picture wherever there is one, half the list away if it can", [Scenes], ([scenes]) => {
    for (const [i, { image }] of scenes.entries()) {
      const other = otherScene(scenes, i)
      const different = scenes.filter((one) => one.image !== image)
      if (different.length === 0) expect(other).toBe(-1)
      else expect(scenes[other]!.image).not.toBe(image)
      const half = (i + (scenes.length >> 1)) % scenes.length
      if (scenes[half]!.image !== image) expect(other).toBe(half)
    }
  })
})

describe("evaluate", () => {
  it.effect("counts right answers by type, and swaps pictures between scenes for the blind run", () =>
    Effect.gen(function* () {
      const inputs = yield* open
      const first = (yield* Node.run(evaluate, inputs, params)).out.report
      expect([first.questions, first.accuracy, first.samples.length]).toEqual([8, 0, 8])
      // Truth taken from the answers themselves, written otherwise: three of four colours, one thing.
      const answered = new Map(first.samples.map((one) => [one.id, one]))
      const right = new Set(["r0/0", "r1/0", "r2/0", "r3/1"])
      const questions = inputs.questions.map((question) =>
        right.has(question.id)
          ? { ...question, answer: ` ${answered.get(question.id)!.answer.toUpperCase().replace(/\.$/, "")}.` }
          : question
      )
      const { report } = (yield* Node.run(evaluate, { ...inputs, questions }, params)).out
      expect(report.accuracy).toBe(0.5)
      expect(report.byType).toEqual({ colour: { questions: 4, right: 3 }, thing: { questions: 4, right: 1 } })
      const blind = report.samples.filter((one) => normaliseAnswer(one.blind) === normaliseAnswer(one.truth)).length
      expect(report.blindAccuracy).toBe(blind / 8)
      expect(Object.values(report.blindByType).reduce((sum, { right }) => sum + right, 0)).toBe(blind)
      expect(report.stages).toEqual(logs)
      // With images moved on by half the scenes, seeing and blind change places.
      const swapped = [...inputs.pixels.slice(2), ...inputs.pixels.slice(0, 2)]
      const other = (yield* Node.run(evaluate, { ...inputs, pixels: swapped }, params)).out.report
      for (const one of other.samples) {
        expect(one.answer).toBe(answered.get(one.id)!.blind)
        expect(one.blind).toBe(answered.get(one.id)!.answer)
      }
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("asks in batches of any size, shows each type first, and leaves out scenes whose picture was refused", () =>
    Effect.gen(function* () {
      const inputs = yield* open
      const all = (yield* Node.run(evaluate, inputs, params)).out.report
      const one = (yield* Node.run(evaluate, inputs, { ...params, batch: 1, samples: 2 })).out.report
      expect(one.samples.map(({ type }) => type)).toEqual(["colour", "thing"])
      expect({ ...one, samples: [] }).toEqual({ ...all, samples: [] })
      const fewer = { ...inputs, pictured: inputs.pictured.slice(1), pixels: inputs.pixels.slice(1) }
      expect((yield* Node.run(evaluate, fewer, params)).out.report.questions).toBe(6)
      const none = { ...inputs, pictured: [], pixels: [] }
      expect((yield* Effect.flip(Node.run(evaluate, none, params)))._tag).toBe("NothingToAsk")
    }).pipe(Effect.provide(Engine.wasm))
  )
})

describe("answerQuestions", () => {
  it.effect("keeps the answers that evaluate scores, blind ones where asked, and refuses what has no picture", () =>
    Effect.gen(function* () {
      const { model, pictured, pixels, questions, ...logs } = yield* open
      const asked = { model, pictured, pixels, questions }
      const { samples: _, ...asking } = params
      const evaluated = yield* Node.run(evaluate, { ...asked, ...logs }, params)
      const both = yield* Node.run(answerQuestions, asked, { ...asking, blind: true })
      expect(both.out.rows).toEqual(evaluated.out.rows)
      expect(evaluated.out.rows.map(({ answer, id }) => [id, answer])).toEqual(
        questions.map(({ id }) => [id, evaluated.out.report.samples.find((one) => one.id === id)?.answer])
      )
      const scored = (yield* Node.run(exactMatch, { rows: both.out.rows }, {})).out.report
      expect(scored.accuracy).toBe(evaluated.out.report.accuracy)
      expect(scored.blind?.accuracy).toBe(evaluated.out.report.blindAccuracy)
      // Without its image, and in batches of another size.
      const fewer = { ...asked, pictured: pictured.slice(1), pixels: pixels.slice(1) }
      const { out, refused } = yield* Node.run(answerQuestions, fewer, { ...asking, batch: 2, blind: false })
      expect(out.rows).toEqual(both.out.rows.slice(2).map((row) => ({ ...row, blind: null })))
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual([
        [0, "ImageNotHere"],
        [1, "ImageNotHere"]
      ])
      // Truths that nobody knows are answered, and in no score.
      const open0 = questions.map((row, i) => (i === 0 ? { ...row, answer: null } : row))
      const part = yield* Node.run(evaluate, { ...asked, ...logs, questions: open0 }, params)
      expect([part.out.report.questions, part.refused.map(({ reason }) => reason)]).toEqual([7, ["NoTruth"]])
    }).pipe(Effect.provide(Engine.wasm))
  )
})

describe("summarise", () => {
  it("gives one figure a stage, held out where there is one, and nothing for a run that was cut short", () => {
    const share = { colour: { questions: 4, right: 2 } }
    const report = {
      questions: 4,
      accuracy: 0.5,
      blindAccuracy: 0.25,
      byType: share,
      blindByType: {},
      samples: [],
      stages: { ...logs, pretrain: { ...log, losses: [] } }
    }
    const { lines, metrics } = summarise({ report })
    expect(metrics).toEqual({
      accuracy: 0.5,
      blindAccuracy: 0.25,
      heldOutLoss: { sft: null, pretrain: null, instruct: 1.5 }
    })
    expect(lines.join("\n")).not.toContain("NaN")
    expect(lines.join("\n")).not.toContain("The tower")
    const note = "The tower is made up."
    expect(summarise({ report: { ...report, note } }).lines).toContain(`  ${note}`)
    expect(summariseVariants({ whole: { ...report, note }, less: { ...report, note, accuracy: 0.25 } })).toEqual({
      metrics: { whole: { accuracy: 0.5, blindAccuracy: 0.25 }, less: { accuracy: 0.25, blindAccuracy: 0.25 } },
      lines: [
        "Held-out questions right, and with images swapped between scenes",
        "  whole  50.0 %  blind 25.0 %",
        "  less   25.0 %  blind 25.0 %",
        `  ${note}`
      ]
    })
    expect(summarise({})).toEqual({ metrics: {}, lines: [] })
  })
})
