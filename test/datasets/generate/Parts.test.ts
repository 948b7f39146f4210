import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { sampleFolder } from "../../../datasets/Dataset.ts"
import { tile } from "../../../datasets/generate/Board.ts"
import { corpus, jsonFiles, parts } from "../../../datasets/generate/Parts.ts"
import { questionsOf } from "../../../datasets/generate/Questions.ts"
import { colours, shapes, signature } from "../../../datasets/generate/Scene.ts"
import { specialTokens, vocabSize } from "../../../datasets/generate/Write.ts"
import { presets } from "../../../pipelines/llava-phi.ts"
import { trainBpe } from "../../../src/text/bpe/Train.ts"

const all = parts(0)

describe("the parts of seed 0", () => {
  it("give the very bytes of the JSON files that ship", () => {
    for (const [path, text] of Object.entries(jsonFiles(all))) {
      expect([path, readFileSync(new URL(path, sampleFolder), "utf8") === text]).toEqual([path, true])
    }
  })

  it("give the tokenizer that ships", () => {
    const tokenizer = trainBpe(corpus(all), { vocabSize, specialTokens })
    expect(readFileSync(new URL("tokenizer.json", sampleFolder), "utf8")).toBe(`${JSON.stringify(tokenizer)}\n`)
  })

  it("give a tokenizer to which each thing on a board is one token", () => {
    const { model } = JSON.parse(readFileSync(new URL("tokenizer.json", sampleFolder), "utf8"))
    const words = colours.flatMap((colour) => shapes.map((shape) => tile({ colour, shape })))
    expect([...words, "-"].filter((word) => !(`\u0120${word}` in model.vocab))).toEqual([])
  })

  it("show no held-out scene in any other part", () => {
    const heldOut = all.heldOut.signatures
    expect(heldOut.size).toBe(all.heldOut.rows.length)
    const seen = [
      ...all.shareGpt.signatures,
      ...all.instruct.signatures,
      ...all.instruct.pictures.map((p) => signature(p.scene)),
      ...all.captions.pictures.map((p) => signature(p.scene))
    ]
    expect(seen.filter((s) => heldOut.has(s))).toEqual([])
  })

  it("hold out scenes by what questions can see: another size or paper does not make another scene", () => {
    for (const { scene } of all.heldOut.pictures.slice(0, 50)) {
      const things = scene.things.map((t) => ({ ...t, size: t.size === "small" ? "large" : "small" }) as const)
      const other = { things, frame: { ...scene.frame, background: "pale pink" } } as const
      expect(signature(other)).toBe(signature(scene))
      expect(questionsOf(other)).toEqual(questionsOf(scene))
    }
  })

  it("hold scenes as the preset's note beside the accuracy says", () => {
    const note = presets.sample.evaluate.note
    const texts = new Set(all.heldOut.rows.flatMap((row) => row.questions.map(({ question }) => question)))
    expect(note).toContain(`${texts.size} different questions`)
    expect([shapes.length, colours.length]).toEqual([4, 4])
    expect(note).toContain("four shapes in four colours")
  })

  it("serve the site's notice as text and as HTML", () => {
    const noted = new Set(all.shareGpt.ledger.rules()["rate-limit-notice"])
    const replies = all.shareGpt.rows
      .filter((row) => noted.has(row.id as string))
      .map((row) => (row.conversations as ReadonlyArray<{ readonly value: string }>)[3]!.value)
    expect(replies.some((reply) => reply.startsWith("<div"))).toBe(true)
    expect(replies.some((reply) => reply.startsWith("!"))).toBe(true)
  })

  it("ask each held-out picture one question of every evaluated type", () => {
    for (const row of all.heldOut.rows) {
      expect(row.questions.map((q) => q.type)).toEqual(["colour", "shape", "count", "position"])
    }
  })
})

describe("another seed", () => {
  it("gives other rows of the same make", () => {
    const other = parts(1)
    expect(other.shareGpt.rows.length).toBe(all.shareGpt.rows.length)
    expect(jsonFiles(other)["cc595k/chat.json"]).not.toBe(jsonFiles(all)["cc595k/chat.json"])
    expect(Object.keys(other.shareGpt.ledger.rules())).toEqual(Object.keys(all.shareGpt.ledger.rules()))
  })
})
