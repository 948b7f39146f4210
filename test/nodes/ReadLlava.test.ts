/**
 * LLaVA's files become rows; a row of the wrong shape is refused once, with its position, however often the file is
 * read.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { makeRefusals } from "../../src/dag/Refusals.ts"
import * as Node from "../../src/dag/RunNode.ts"
import { readCaptions, readInstructions, readQuestions } from "../../src/nodes/ReadLlava.ts"
import { readShareGpt } from "../../src/nodes/ReadShareGpt.ts"
import { duckDb } from "../data/DuckDb.ts"
import { scratch } from "./support.ts"

const write = Effect.fnUntraced(function* (rows: ReadonlyArray<unknown> | string) {
  const file = join(yield* scratch, "rows.json")
  writeFileSync(file, typeof rows === "string" ? rows : JSON.stringify(rows))
  return { file }
})
const shards = { shardRows: 4 }
const turns = [
  { from: "human", value: "<image>\nWhat?" },
  { from: "gpt", value: "A kettle." }
]
const spoken = [
  { from: "human", value: "What?" },
  { from: "gpt", value: "A kettle." }
]
const positions = (refused: ReadonlyArray<{ readonly row: number; readonly reason: string }>) =>
  refused.map(({ reason, row }) => [row, reason])

describe("readCaptions", () => {
  it.effect("takes the answer as the caption and refuses rows without one", () =>
    Effect.gen(function* () {
      const rows = [
        { id: "a", image: "a.jpg", conversations: turns },
        { id: "b", conversations: turns },
        { id: "c", image: "c.jpg", conversations: turns.slice(0, 1) },
        { id: "d", image: "d.jpg", conversations: [{ from: "robot", value: "beep" }] },
        { id: "e", image: "e.jpg", conversations: "none" },
        { id: 7, image: "f.jpg", conversations: turns }
      ]
      const { out, refused } = yield* Node.run(readCaptions, yield* write(rows), shards)
      expect(out.rows).toEqual([
        { id: "a", image: "a.jpg", caption: "A kettle.", conversations: turns },
        { id: "7", image: "f.jpg", caption: "A kettle.", conversations: turns }
      ])
      expect(positions(refused)).toEqual([
        [1, "UnsupportedRow: marks"],
        [2, "BadLlavaRow"],
        [3, "UnsupportedRow: role"],
        [4, "BadLlavaRow"]
      ])
      expect(refused.map(({ error }) => (error as { id: string }).id)).toEqual(["b", "c", "d", "e"])
    })
  )
})

describe("readInstructions", () => {
  it.effect("knows text alone with and without the key, and ids that are numbers", () =>
    Effect.gen(function* () {
      const rows = [
        { id: 7, image: "coco/a.jpg", conversations: turns },
        { id: "b", model: "", conversations: spoken },
        { id: "c", image: null, conversations: spoken },
        { id: "d", image: ["a.jpg", "b.jpg"], conversations: turns }
      ]
      const { out, refused } = yield* Node.run(readInstructions, yield* write(rows), shards)
      expect(out.rows.map(({ id, image }) => [id, image])).toEqual([
        ["7", "coco/a.jpg"],
        ["b", null],
        ["c", null]
      ])
      expect(positions(refused)).toEqual([[3, "UnsupportedRow: several-images"]])
    })
  )

  it.effect("fails with a typed error on files that are no array, cut short or missing", () =>
    Effect.gen(function* () {
      const fails = (file: string) => Effect.flip(Node.run(readInstructions, { file }, shards))
      expect((yield* fails((yield* write("")).file)).reason).toBe("empty")
      expect((yield* fails((yield* write("{}")).file)).reason).toBe("not-an-array")
      expect((yield* fails((yield* write('[{"id":"a"')).file)).reason).toBe("truncated")
      expect((yield* fails("/nowhere.json")).reason).toBe("unreadable")
    })
  )
})

describe("readInstructions, marks and pictures", () => {
  const said = (value: string, more: object = {}) => ({
    id: "a",
    conversations: [
      { from: "human", value },
      { from: "gpt", value: "Red." }
    ],
    ...more
  })
  const one = "<image>\nWhat colour?"

  it.effect("takes one picture with one mark, wherever the row names it", () =>
    Effect.gen(function* () {
      const part = { role: "user", content: [{ type: "image" }, { type: "text", text: "What colour?" }] }
      const reply = { role: "assistant", content: [{ type: "text", text: "Red." }] }
      const rows = [
        said(one, { image: "k.jpg" }),
        said(one, { images: ["k.jpg"] }),
        said(one, { images: [{ path: "k.jpg", bytes: null }], videos: [] }),
        { id: "d", messages: [part, reply], images: ["k.jpg"] },
        { id: "e", messages: [{ role: "user", content: [{ type: "image", path: "k.jpg" }, "What colour?"] }, reply] },
        said(one, {
          image: "k.jpg",
          conversations: [{ from: "system", value: "Be brief." }, ...said(one).conversations]
        })
      ]
      const { out, refused } = yield* Node.run(readInstructions, yield* write(rows), shards)
      expect(refused).toEqual([])
      for (const { conversations, image } of out.rows) {
        expect([image, conversations]).toEqual(["k.jpg", said(one).conversations])
      }
      expect(out.rows.length).toBe(rows.length)
    })
  )

  it.effect("refuses marks and pictures that do not agree, and never trains a mark as text", () =>
    Effect.gen(function* () {
      const rows = [
        said(one),
        said("What colour?", { image: "k.jpg" }),
        said(`<image>\n${one}`, { image: "k.jpg" }),
        said(`<image>\n${one}`, { images: ["k.jpg", "l.jpg"] }),
        said(one, { images: ["k.jpg", "l.jpg"] }),
        said(one, {
          image: "k.jpg",
          conversations: [
            ...said(one).conversations,
            ...said("b", {}).conversations.slice(0, 1),
            { from: "gpt", value: "an <image>" }
          ]
        }),
        said("What colour?", {
          conversations: [
            { from: "human", value: "a" },
            { from: "gpt", value: "an <image>" }
          ]
        }),
        said("What?", {
          conversations: [
            { from: "human", value: "a" },
            { from: "gpt", value: "b" },
            { from: "human", value: one }
          ],
          image: "k.jpg"
        }),
        said("What?", { audio: "a.wav" }),
        said(one, { image: "https://example.org/k.jpg" })
      ]
      const { out, refused } = yield* Node.run(readInstructions, yield* write(rows), shards)
      expect(out.rows).toEqual([])
      expect(refused.map(({ reason }) => reason.replace("UnsupportedRow: ", ""))).toEqual([
        ...["marks", "marks", "marks", "several-images", "several-images"],
        ...["marks", "marks", "marks", "media", "media"]
      ])
    })
  )
})

describe("readQuestions", () => {
  it.effect("gives questions and scenes of the same rows, and counts a bad row once", () =>
    Effect.gen(function* () {
      const question = { type: "colour", question: "Which?", answer: "Red." }
      const rows = `[${JSON.stringify({ id: "a", image: "a.jpg", questions: [question, question] })}, {"id":"b"}, {bad}, ${JSON.stringify({ id: "a", image: "other.jpg", questions: [question] })}]`
      const { out, refused } = yield* Node.run(readQuestions, yield* write(rows), shards)
      expect(out.questions.map(({ id }) => id)).toEqual(["a/0", "a/1"])
      expect(out.scenes.map(({ conversations, id }) => [id, conversations.length])).toEqual([["a", 4]])
      expect(positions(refused)).toEqual([
        [1, "BadLlavaRow"],
        [2, "BadJsonRow: syntax"],
        [3, "BadLlavaRow"]
      ])
      expect(refused[2]!.error).toMatchObject({ id: "a", message: "an earlier scene is called a too" })
    })
  )
})

describe("Parquet", () => {
  const TURNS = "[{'from': 'human', 'value': '<image>\\nWhat?'}, {'from': 'gpt', 'value': 'A kettle.'}]"
  const SPOKEN = "[{'from': 'human', 'value': 'What?'}, {'from': 'gpt', 'value': 'A kettle.'}]"
  const copied = Effect.fnUntraced(function* (sql: string) {
    const file = join(yield* scratch, "rows.parquet")
    yield* (yield* duckDb).rows(`COPY (${sql}) TO '${file}' (FORMAT parquet)`)
    return file
  })

  it.effect(
    "names images by their path, or by file and row where an image column has none; its bytes are not read",
    () =>
      Effect.gen(function* () {
        const plain = yield* copied(
          `SELECT 'a' AS id, 'a.jpg' AS image, ${TURNS.replaceAll("\\n", "\n")} AS conversations`
        )
        const { out } = yield* Node.run(readCaptions, { file: plain }, shards)
        expect(out.rows).toEqual([{ id: "a", image: "a.jpg", caption: "A kettle.", conversations: turns }])
        const inside = yield* copied(`
        SELECT i AS id, CASE WHEN i = 2 THEN NULL
          ELSE {'bytes': '\\xFF\\xD8'::BLOB, 'path': CASE WHEN i = 1 THEN NULL ELSE 'p' || i || '.jpg' END} END AS image,
          CASE WHEN i = 2 THEN ${SPOKEN} ELSE ${TURNS.replaceAll("\\n", "\n")} END AS conversations, 'llava' AS data_source
        FROM range(4) t(i)`)
        const read = yield* Node.run(readInstructions, { file: inside }, shards)
        expect(read.out.rows.map(({ id, image }) => [id, image])).toEqual([
          ["0", "p0.jpg"],
          ["1", "rows.parquet#1"],
          ["2", null],
          ["3", "p3.jpg"]
        ])
        expect(read.out.rows[0]!.conversations).toEqual(turns)
        expect(read.refused).toEqual([])
      }).pipe(Effect.scoped)
  )

  it.effect("gives held-out questions of a file as of JSON", () =>
    Effect.gen(function* () {
      const file = yield* copied(
        "SELECT 'a' AS id, 'a.jpg' AS image, [{'type': 'colour', 'question': 'Which?', 'answer': 'Red.'}] AS questions"
      )
      const { out } = yield* Node.run(readQuestions, { file }, shards)
      expect(out.questions).toEqual([{ id: "a/0", image: "a.jpg", type: "colour", question: "Which?", answer: "Red." }])
      expect(out.scenes.length).toBe(1)
    }).pipe(Effect.scoped)
  )
})

it.effect("readers tell how many rows they looked at: what is refused is a share of these, not of the rows made", () =>
  Effect.gen(function* () {
    const question = { type: "colour", question: "Which?", answer: "Red." }
    const rows = [
      { id: "a", image: "a.jpg", conversations: turns, questions: [question, question, question] },
      { id: "b" },
      '{ "id": }',
      { id: "d", image: "d.jpg", conversations: turns, questions: [question] },
      { id: "e" }
    ]
    const { file } = yield* write(
      `[${rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row))).join(",")}]`
    )
    for (const [node, bad] of [
      [readShareGpt, 5],
      [readCaptions, 3],
      [readInstructions, 3],
      [readQuestions, 3]
    ] as const) {
      const { spec } = node
      const refusals = makeRefusals(spec.refuses ?? [])
      const params = spec.params.make(shards)
      const context = { params, inputs: { file: { path: file } }, report: () => undefined, ...refusals }
      const run = spec.run as (given: typeof context) => Effect.Effect<Record<string, Stream.Stream<unknown, unknown>>>
      for (const rows of Object.values(yield* run(context))) yield* Stream.runDrain(rows)
      expect([spec.id, refusals.seen(), refusals.waiting()]).toEqual([spec.id, 5, bad])
    }
  }).pipe(Effect.scoped)
)
