import { describe, expect, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { BadRow, decodeRow } from "../../src/text/Conversation.ts"

const turns = [
  { from: "human", value: "Hi" },
  { from: "gpt", value: "<p>Hello</p>" }
]

describe("decodeRow", () => {
  it("reads a row as it is, ignoring other keys", () => {
    const row = decodeRow({ id: "a", conversations: turns, model: null, plugins: ["browser"], lang: "en" }, 0)
    expect(Result.getOrThrow(row)).toEqual({ id: "a", conversations: turns, plugins: ["browser"] })
  })

  it("accepts a numeric id and any role", () => {
    const row = decodeRow({ id: 7, conversations: [{ from: "system", value: "" }] }, 0)
    expect(Result.getOrThrow(row)).toEqual({ id: "7", conversations: [{ from: "system", value: "" }] })
  })

  it.each([
    ["no object", 3, undefined],
    ["null", null, undefined],
    ["no id", { conversations: turns }, undefined],
    ["no list", { id: "a", conversations: null }, "a"],
    ["no text", { id: "a", conversations: [{ from: "human", value: null }] }, "a"],
    ["no role", { id: "a", conversations: [{ value: "x" }] }, "a"]
  ])("says which row is none: %s", (_, value, id) => {
    const row = decodeRow(value, 41)
    expect(Result.isFailure(row) && row.failure.row).toBe(41)
    expect(Result.isFailure(row) && row.failure.id).toBe(id)
  })

  it("fails with an error that can be stored", () => {
    const row = decodeRow({ id: "a", conversations: [{ from: "human" }] }, 1)
    const failure = Result.isFailure(row) ? row.failure : undefined
    expect(failure?.message).toContain("value")
    expect(JSON.stringify(Schema.encodeUnknownSync(Schema.toCodecJson(BadRow))(failure))).toContain('"row":1')
  })
})
