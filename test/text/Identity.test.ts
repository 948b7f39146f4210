import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { checkLists } from "../../src/text/FormatFilter.ts"
import { type Identity, identityConversations } from "../../src/text/Identity.ts"

const identity: Identity = {
  name: "Mill",
  org: "the Race",
  otherModels: ["GPT-4", "Vicuna"],
  otherMakers: ["OpenAI"],
  answersPerQuestion: 2,
  seed: 0
}
const Answers = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 8 }))

describe("identityConversations", () => {
  it.prop("gives each question that many different answers, each with the name or the maker", [Answers], ([wanted]) => {
    const rows = identityConversations({ ...identity, answersPerQuestion: wanted })
    const byQuestion = Map.groupBy(rows, (row) => row.conversations[0]!.value)
    for (const [question, all] of byQuestion) {
      const answers = all.map((row) => row.conversations[1]!.value)
      expect(new Set(answers).size).toBe(answers.length)
      expect(answers.length === wanted || (answers.length < wanted && answers.length >= 4)).toBe(true)
      for (const answer of answers) {
        expect(answer).toMatch(/Mill|the Race/)
        if (/GPT-4|Vicuna|OpenAI/.test(question)) expect(answer).toMatch(/^No\b/)
        expect(answer).not.toMatch(/GPT-4|Vicuna|OpenAI/)
      }
    }
    expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length)
    expect(rows.every((row) => checkLists(row)._tag === "Success")).toBe(true)
  })

  it("is the same for a seed, another for another, and asks about every name", () => {
    expect(identityConversations(identity)).toEqual(identityConversations({ ...identity }))
    expect(identityConversations({ ...identity, seed: 1 })).not.toEqual(identityConversations(identity))
    const questions = identityConversations(identity).map((row) => row.conversations[0]!.value)
    for (const other of ["GPT-4", "Vicuna", "OpenAI"])
      expect(questions.filter((question) => question.includes(other)).length).toBe(8)
  })
})
