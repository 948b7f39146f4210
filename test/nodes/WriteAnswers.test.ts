/** Lines are what LLaVA's scripts read, in the order of the questions, and equal answers give equal files. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { writeAnswers } from "../../src/nodes/WriteAnswers.ts"
import { scratch, shuffled } from "./support.ts"

const question = (id: string) => ({ id, image: "p.png", type: "popular", question: `Is it ${id}?`, answer: "yes" })
const answerTo = (id: string, answer: string) => ({
  ...{ id, image: "p.png", category: "popular", question: `Is it ${id}?`, answer },
  ...{ truth: "yes", blind: null }
})
const params = { model: "tiny", ids: "number", unanswered: "fail" } as const
const linesOf = (folder: string) =>
  readFileSync(join(folder, "answers.jsonl"), "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line))

describe("writeAnswers", () => {
  const texts = Arbitrary.array(Arbitrary.schema(Schema.String), { minLength: 1, maxLength: 9 })

  it.effect.prop("writes every answer once, in the order of the questions, with LLaVA's fields", [texts], ([texts]) =>
    Effect.gen(function* () {
      const into = yield* scratch
      const answers = texts.map((text, i) => answerTo(String(i), text))
      const questions = shuffled(texts.map((_, i) => question(String(i))))
      const write = (rows: typeof answers, name: string) =>
        Node.run(writeAnswers, { questions, answers: rows }, params, { into: join(into, name) })
      const { files } = (yield* write(answers, "one")).out
      const lines = linesOf(files)
      expect(
        lines.map(({ question_id, prompt, text, model_id, metadata }) => [
          question_id,
          prompt,
          text,
          model_id,
          metadata
        ])
      ).toEqual(questions.map(({ id, question }) => [Number(id), question, texts[Number(id)], "tiny", {}]))
      expect(Object.keys(lines[0])).toEqual(["question_id", "prompt", "text", "answer_id", "model_id", "metadata"])
      expect(new Set(lines.map(({ answer_id }) => answer_id)).size).toBe(lines.length)
      for (const { answer_id } of lines) expect(answer_id).toMatch(/^[0-9a-f]{22}$/)
      const again = (yield* write(shuffled(answers, 1), "two")).out.files
      expect(readFileSync(join(again, "answers.jsonl"))).toEqual(readFileSync(join(files, "answers.jsonl")))
    }).pipe(Effect.scoped)
  )

  it.effect("writes ids with all their digits, and questions of one id as questions of their own", () =>
    Effect.gen(function* () {
      const into = yield* scratch
      const ids = ["9007199254740992", "9007199254740993", "18446744073709551615", "-7"]
      const asked = ids.flatMap((id) => ["a", "b"].map((text) => ({ ...question(id), question: text })))
      const answers = asked.map(({ id, question }) => ({ ...answerTo(id, `${id} ${question}`), question }))
      const { files } = (yield* Node.run(writeAnswers, { questions: asked, answers: shuffled(answers) }, params, {
        into
      })).out
      const lines = readFileSync(join(files, "answers.jsonl"), "utf8").split("\n").slice(0, -1)
      for (const [i, { id, question }] of asked.entries()) {
        expect(lines[i]).toContain(`{"question_id":${id},"prompt":"${question}","text":"${id} ${question}",`)
      }
      expect(lines.length).toBe(asked.length)
      const open = yield* Effect.flip(
        Node.run(writeAnswers, { questions: asked, answers: answers.slice(1) }, params, { into })
      )
      expect(open).toMatchObject({ _tag: "BadAnswers", ids: [ids[0]] })
    }).pipe(Effect.scoped)
  )

  it.effect("fails on a question without an answer unless it may be left out, and on ids that are no numbers", () =>
    Effect.gen(function* () {
      const into = yield* scratch
      const questions = ["3", "1", "2/0"].map(question)
      const answers = ["1", "2/0"].map((id) => answerTo(id, "No."))
      const run = (some: object) =>
        Node.run(writeAnswers, { questions, answers }, { ...params, ...some } as typeof params, { into })
      expect(yield* Effect.flip(run({}))).toMatchObject({ _tag: "BadAnswers", ids: ["3"] })
      expect(yield* Effect.flip(run({ unanswered: "leaveOut" }))).toMatchObject({ _tag: "BadAnswers", ids: ["2/0"] })
      const { files } = (yield* run({ unanswered: "leaveOut", ids: "text" })).out
      expect(linesOf(files).map((line) => line.question_id)).toEqual(["1", "2/0"])
    }).pipe(Effect.scoped)
  )
})
