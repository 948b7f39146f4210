/**
 * Traffic lights that ship for fine-tuning: files as described, nothing asked that was trained on, answers that are
 * true.
 */
import { readFileSync } from "node:fs"
import { Result, Schema } from "effect"
import { expect, it } from "vitest"
import { sampleFolder } from "../../datasets/Dataset.ts"
import { signals } from "../../datasets/generate/Signals.ts"
import type { RawQuestionRow } from "../../datasets/pope.ts"
import made from "../../datasets/sample/files.json" with { type: "json" }
import { signalsSample } from "../../datasets/signals.ts"
import { entriesOf } from "./Archive.ts"

const read = (path: string): Buffer => readFileSync(new URL(path, sampleFolder))
const { images, questions, rows } = signalsSample.files
const trainRows = JSON.parse(read(rows.path).toString("utf8")) as ReadonlyArray<{ readonly image: string }>
const asked = read(questions.path)
  .toString("utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as RawQuestionRow)

it("files have the sizes, digests, counts and rows that their description states", () => {
  for (const file of Object.values(signalsSample.files))
    expect(made[file.path as keyof typeof made]).toEqual({ bytes: file.bytes, sha256: file.sha256 })
  expect(trainRows).toHaveLength(signalsSample.rows!)
  for (const [schema, all] of [
    [rows.row, trainRows],
    [questions.row, asked]
  ] as const)
    for (const row of all)
      expect(Result.isSuccess(Schema.decodeUnknownResult(schema as Schema.Codec<unknown>)(row))).toBe(true)
})

it("are what the generator makes for seed 0", () => {
  const part = signals(0)
  expect(part.rows).toEqual(trainRows)
  expect(part.questions).toEqual(asked)
})

it("images are those of rows and questions, and none is in both", () => {
  const names = [...entriesOf(read(images.path)).keys()]
  const trained = new Set(trainRows.map(({ image }) => image))
  const held = new Set(asked.map(({ image }) => image))
  expect([...trained, ...held].toSorted()).toEqual(names.toSorted())
  expect([...trained].filter((name) => held.has(name))).toEqual([])
})

it("answers say which lamps are lit in the pixels", () => {
  const { pictures, rows } = signals(3)
  const lamps = { Red: [226, 30, 36], Yellow: [252, 204, 0], Green: [26, 166, 72] } as const
  for (const [i, { conversations }] of rows.entries()) {
    const { pixels_HWC } = pictures[i]!
    const shows = Object.entries(lamps).flatMap(([name, [r, g, b]]) => {
      let found = 0
      for (let at = 0; at < pixels_HWC.length; at += 3)
        if (pixels_HWC[at] === r && pixels_HWC[at + 1] === g && pixels_HWC[at + 2] === b) found++
      return found > 20 ? [name.toLowerCase()] : []
    })
    const turn = conversations.findIndex(({ value }) => value.endsWith("Which light is on?"))
    expect(conversations[turn + 1]!.value.toLowerCase()).toBe(`${shows.join(" and ")}.`)
  }
})
