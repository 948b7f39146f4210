/** The statistics say what a plain count over the rows says. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { conversationStatistics, measureConversations } from "../../src/nodes/ConversationStatistics.ts"
import { loadTokenizer } from "../../src/nodes/LoadTokenizer.ts"
import { statisticsLines, statisticsSections } from "../../src/nodes/StatisticsText.ts"
import { conversation, conversations, inShards, tokenizerPath } from "./support.ts"

const raw = (count: number) => Array.from({ length: count }, (_, i) => ({ id: `r${i}`, conversations: [] }))

describe("conversationStatistics", () => {
  it.effect.prop("counts pairs, tokens and characters of every row", [conversations], ([given]) =>
    Effect.gen(function* () {
      const { count } = yield* loadTokenizer({ path: tokenizerPath })
      const rows = inShards(given, [2, 3])
      const measured = yield* Node.run(measureConversations, { rows, tokenizer: tokenizerPath }, {})
      const { out } = yield* Node.run(
        conversationStatistics,
        { read: raw(given.length + 3), kept: given, lengths: measured.out.lengths },
        {}
      )
      const { report } = out
      expect(report.rows).toEqual({ read: given.length + 3, kept: given.length, made: given.length })
      const turns = given.flatMap((row) => row.conversations)
      const tokens = (role: string) => turns.filter(({ from }) => from === role).map(({ value }) => count(value))
      const sum = (values: ReadonlyArray<number>) => values.reduce((total, value) => total + value, 0)
      expect(report.pairs.sum).toBe(turns.length / 2)
      expect(report.questionTokens).toMatchObject({ count: turns.length / 2, sum: sum(tokens("human")) })
      expect(report.replyTokens).toMatchObject({ count: turns.length / 2, sum: sum(tokens("gpt")) })
      expect(report.tokens).toMatchObject({ count: given.length, sum: sum(turns.map(({ value }) => count(value))) })
      expect(report.characters.sum).toBe(sum(turns.map(({ value }) => value.length)))
    })
  )

  it.effect("reads as a table and a histogram, with no rows too", () =>
    Effect.gen(function* () {
      const rows = [
        conversation("a", [["one", "one two three"]]),
        conversation("b", [
          ["one", "one"],
          ["two", "three"]
        ])
      ]
      const { lengths } = (yield* Node.run(measureConversations, { rows, tokenizer: tokenizerPath }, {})).out
      const { report } = (yield* Node.run(conversationStatistics, { read: raw(4), kept: rows, lengths }, {})).out
      const lines = statisticsLines(report)
      expect(lines[0]).toBe("4 conversations read, 2 kept (50.0 %), 2 rows made of them")
      expect(lines[2]).toMatch(/^pairs a row +3 +1\.5 +1 +1 +1 +2 +2 +2$/)
      expect(lines.at(-1)).toMatch(/^ {2}below \d+ +[12] +#+$/)
      expect(statisticsSections(report).map(({ title }) => title)).toEqual(["Conversations", "Tokens a row"])

      const none = yield* Node.run(conversationStatistics, { read: [], kept: [], lengths: [] }, {})
      expect(none.out.report.tokens).toMatchObject({ count: 0, mean: 0, max: 0, histogram: [] })
      expect(statisticsLines(none.out.report)[0]).toContain("0 conversations read, 0 kept (100.0 %)")
      expect(statisticsSections(none.out.report)).toHaveLength(2)
    })
  )
})
