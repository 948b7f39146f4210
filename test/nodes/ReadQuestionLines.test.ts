/** Questions keep their ids and order, each image is given once, and other lines are refused with their number. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { RawPopeRow, RawQuestionRow } from "../../datasets/pope.ts"
import * as Node from "../../src/dag/RunNode.ts"
import { readPope, readQuestionLines } from "../../src/nodes/ReadQuestionLines.ts"
import { scratch } from "./support.ts"

const params = { shardRows: 10, category: "popular", instruction: null } as const
const row = (question_id: unknown, image: string, label?: string, more: object = {}) => ({
  ...{ question_id, image, text: `Is there a cup in ${image}?` },
  ...(label === undefined ? {} : { label }),
  ...more
})
const fileOf = Effect.fnUntraced(function* (lines: ReadonlyArray<unknown>) {
  const path = join(yield* scratch, "coco_pope_popular.json")
  writeFileSync(path, lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join(""))
  return path
})

describe("readPope", () => {
  it.effect(
    "gives questions with their ids and each image once, and refuses lines that are no yes-or-no question",
    () =>
      Effect.gen(function* () {
        const lines = [
          row(0, "b.jpg", "yes", { image_id: 7 }),
          row(1, "b.jpg", "no"),
          row(2, "a.jpg", "perhaps"),
          row(3, "a.jpg", "no", { category: "random" }),
          row(1, "b.jpg", "yes"),
          row(5, "c.jpg"),
          { question_id: 6, text: "Is there?", label: "no" },
          row(7, "b.jpg", "yes")
        ]
        const { out, refused } = yield* Node.run(readPope, { file: yield* fileOf(lines) }, params)
        expect(out.questions.map(({ id, image, type, answer }) => [id, image, type, answer])).toEqual([
          ["0", "b.jpg", "popular", "yes"],
          ["1", "b.jpg", "popular", "no"],
          ["3", "a.jpg", "random", "no"],
          ["7", "b.jpg", "popular", "yes"]
        ])
        expect(out.questions[0]!.question).toBe("Is there a cup in b.jpg?")
        expect(out.scenes).toEqual(["b.jpg", "a.jpg"].map((image) => ({ id: image, image, conversations: [] })))
        expect(refused.map(({ error, row }) => [row, (error as { message: string }).message])).toEqual([
          [2, 'its label "perhaps" is neither yes nor no'],
          [4, "an earlier question is called 1 too, with the same image and text"],
          [5, "it has no label"],
          [6, "it names no image"]
        ])
      }).pipe(Effect.scoped)
  )

  it("describes its rows as the originals have them", () => {
    const original = {
      question_id: 0,
      image: "COCO_val2014_000000548882.jpg",
      image_id: 548882,
      text: "Is there a dining table in the image?",
      label: "yes"
    }
    expect(Schema.decodeUnknownSync(RawPopeRow)(original).label).toBe("yes")
    expect(Schema.decodeUnknownSync(RawQuestionRow)(original).question_id).toBe(0)
  })
})

describe("readQuestionLines", () => {
  it.effect("knows a question by its picture and text where ids repeat, and keeps every digit of an id", () =>
    Effect.gen(function* () {
      const big = (line: object, id: string) => JSON.stringify(line).replace('"#"', id)
      const file = yield* fileOf([
        row("#0", "a.jpg"),
        { ...row("#0", "a.jpg"), text: "Another?" },
        row("#0", "a.jpg"),
        big(row("#", "b.jpg"), "9007199254740993"),
        big(row("#", "b.jpg"), "9007199254740992"),
        big(row("#", "b.jpg"), "1e300"),
        { ...row(8, "c.jpg"), text: "<image>\n<image>\nWhich?" },
        { ...row(9, "c.jpg"), image: ["c.jpg", "d.jpg"] },
        { ...row(10, "c.jpg"), video: "c.mp4" }
      ])
      const { out, refused } = yield* Node.run(readQuestionLines, { file }, params)
      expect(out.questions.map(({ id, question }) => [id, question])).toEqual([
        ["#0", "Is there a cup in a.jpg?"],
        ["#0", "Another?"],
        ["9007199254740993", "Is there a cup in b.jpg?"],
        ["9007199254740992", "Is there a cup in b.jpg?"]
      ])
      expect(out.scenes.map(({ id }) => id)).toEqual(["a.jpg", "b.jpg"])
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual([
        [2, "BadLlavaRow"],
        [5, "BadLlavaRow"],
        [6, "UnsupportedRow: marks"],
        [7, "UnsupportedRow: several-images"],
        [8, "UnsupportedRow: media"]
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("takes questions without a label, adds how to answer, and says which line is no question", () =>
    Effect.gen(function* () {
      const file = yield* fileOf([row("q1", "a.jpg"), "{oops", row(2, "a.jpg", "Two.")])
      const asked = { ...params, instruction: "Answer the question using a single word or phrase." }
      const { out, refused } = yield* Node.run(readQuestionLines, { file }, asked)
      expect(out.questions.map(({ answer, id, question }) => [id, question, answer])).toEqual([
        ["q1", "Is there a cup in a.jpg?\nAnswer the question using a single word or phrase.", null],
        ["2", "Is there a cup in a.jpg?\nAnswer the question using a single word or phrase.", "Two."]
      ])
      expect(refused.map(({ reason, row }) => [row, reason])).toEqual([[1, "BadJsonRow: syntax"]])
    }).pipe(Effect.scoped)
  )
})
