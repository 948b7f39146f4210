import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { type Conversation, ConversationTurn } from "../../src/text/Conversation.ts"
import { groupOf } from "../../src/text/Group.ts"
import { splitConversation as split } from "../../src/text/Split.ts"

/** One token a character. */
const count = (text: string): number => text.length

const splitConversation = (
  given: Conversation,
  tokens: typeof count,
  options: Partial<Parameters<typeof split>[2]> = {}
) => split(given, tokens, { maxTokens: 2048, perMessage: 6, perPart: 0, ...options })

const talk = (...lengths: ReadonlyArray<number>): Conversation => ({
  id: "a",
  conversations: lengths.map((length, i) => ({ from: i % 2 === 0 ? "human" : "gpt", value: "x".repeat(length) }))
})

const ids = (conversation: Conversation, maxTokens: number) =>
  splitConversation(conversation, count, { maxTokens }).parts.map((part) => [part.id, part.conversations.length])

describe("splitConversation", () => {
  it("keeps a conversation that just fits in one part: six tokens more for each message", () => {
    expect(ids(talk(10, 18), 40)).toEqual([["a_0", 2]])
    expect(ids(talk(10, 19), 40)).toEqual([])
  })

  it("fills parts greedily and names them after their first turn", () => {
    expect(ids(talk(4, 4, 4, 4, 4, 4), 40)).toEqual([
      ["a_0", 4],
      ["a_4", 2]
    ])
  })

  it("keeps the last pair when it overflows a part, which the original loses", () => {
    expect(ids(talk(4, 4, 10, 10), 40)).toEqual([
      ["a_0", 2],
      ["a_2", 2]
    ])
  })

  it("refuses a pair too long by itself and splits around it", () => {
    const { parts, refused } = splitConversation(talk(4, 4, 40, 4, 4, 4), count, { maxTokens: 40 })
    expect(parts.map((part) => part.id)).toEqual(["a_0", "a_4"])
    expect(refused.map(({ reason, tokens, turn, turns }) => [reason, tokens, turn, turns.length])).toEqual([
      ["PairTooLong", 56, 2, 2]
    ])
  })

  it("counts every turn once, however many parts it makes", () => {
    const counted: Array<string> = []
    const long = { id: "a", conversations: talk(...Array.from({ length: 2000 }, () => 9)).conversations }
    const turns = long.conversations.map((turn, i) => ({ ...turn, value: `${turn.value}${i}` }))
    const { parts } = splitConversation(
      { id: "a", conversations: turns },
      (text) => {
        counted.push(text)
        return text.length
      },
      { maxTokens: 100 }
    )
    expect(parts.length).toBeGreaterThan(300)
    expect(counted).toEqual(turns.map(({ value }) => value))
  })

  it("refuses a last turn without a reply and pairs out of order", () => {
    expect(splitConversation(talk(4), count).refused.map((one) => one.reason)).toEqual(["Unpaired"])
    const [first, second] = talk(4, 4).conversations
    const swapped = { id: "a", conversations: [second!, first!] }
    expect(splitConversation(swapped, count).refused.map((one) => one.reason)).toEqual(["RolesOutOfOrder"])
  })

  it("fills a part to its last token", () => {
    expect(splitConversation(talk(1018, 1018), count).parts.length).toBe(1)
    expect(splitConversation(talk(1018, 1019), count).parts.length).toBe(0)
  })

  it("gives every part the group of its conversation: what its reader said, else what a ShareGPT id says", () => {
    const groups = (given: Partial<Conversation>) =>
      splitConversation({ ...talk(4, 4, 10, 10), ...given }, count, { maxTokens: 40 }).parts.map(groupOf)
    expect(groups({})).toEqual(["a", "a"])
    expect(groups({ id: "wgByO4Y" })).toEqual(["wgByO4Y", "wgByO4Y"])
    expect(groups({ id: "wgByO4Y_8" })).toEqual(["wgByO4Y", "wgByO4Y"])
    expect(groups({ id: "wgByO4Y_8", group: "other" })).toEqual(["other", "other"])
  })

  const turn = Arbitrary.schema(ConversationTurn)
  const tidy = Arbitrary.map(Arbitrary.array(Arbitrary.schema(Schema.String), { maxLength: 16 }), (texts) =>
    texts.map((value, i): ConversationTurn => ({ from: i % 2 === 0 ? "human" : "gpt", value }))
  )
  const limit = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 80 })))

  for (const [name, turns] of [
    ["clean", tidy],
    ["any", Arbitrary.array(turn, { maxLength: 9 })]
  ] as const) {
    it.prop(
      `loses no pair of ${name} conversations, repeats none, and keeps every part within the limit`,
      [turns, limit],
      ([conversations, maxTokens]) => {
        const { parts, refused } = splitConversation({ id: "a", conversations }, count, { maxTokens })
        const pieces = [
          ...parts.map((part) => ({ turn: Number(part.id.slice(2)), turns: part.conversations })),
          ...refused
        ].sort((a, b) => a.turn - b.turn)
        expect(pieces.flatMap((piece) => piece.turns)).toEqual(conversations)
        for (const { conversations: kept } of parts) {
          expect(kept.length % 2).toBe(0)
          expect(kept.length).toBeGreaterThan(0)
          expect(kept.reduce((sum, one) => sum + count(one.value) + 6, 0)).toBeLessThanOrEqual(maxTokens)
        }
        for (const one of refused) if (one.reason === "PairTooLong") expect(one.tokens).toBeGreaterThan(maxTokens)
      },
      { arbitrary: { runs: 500 } }
    )
  }
})

describe("perPart", () => {
  const turns = (words: number) => "w ".repeat(words).trim()
  const count = (text: string) => text.split(" ").length
  const pair = (words: number) => [
    { from: "human" as const, value: turns(words) },
    { from: "gpt" as const, value: turns(words) }
  ]

  it("leaves room for the system prompt, so that no part loses its end", () => {
    const conversation = { id: "a", conversations: [...pair(10), ...pair(10)] }
    const options = { maxTokens: 40, perMessage: 0, perPart: 0 }
    expect(splitConversation(conversation, count, options).parts.map((part) => part.id)).toEqual(["a_0"])
    const roomy = splitConversation(conversation, count, { ...options, perPart: 5 })
    expect(roomy.parts.map((part) => part.id)).toEqual(["a_0", "a_2"])
    const tight = splitConversation(conversation, count, { ...options, perPart: 25 })
    expect([tight.parts.length, tight.refused.map((one) => one.reason)]).toEqual([0, ["PairTooLong", "PairTooLong"]])
  })
})
