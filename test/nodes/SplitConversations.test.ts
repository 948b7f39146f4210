/** No pair is lost: it is in one part that fits, or refused with its text. */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { loadTokenizer } from "../../src/nodes/LoadTokenizer.ts"
import { splitConversations } from "../../src/nodes/SplitConversations.ts"
import { conversation, conversations, tokenizerPath } from "./support.ts"

const limit = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 14, maximum: 120 })))

describe("splitConversations", () => {
  it.effect.prop(
    "parts and refusals hold every turn once, in order; parts fit",
    [conversations, limit],
    ([rows, maxTokens]) =>
      Effect.gen(function* () {
        const tokenizer = yield* loadTokenizer({ path: tokenizerPath })
        const inputs = { rows, tokenizer: tokenizerPath }
        const { out, refused } = yield* Node.run(splitConversations, inputs, { maxTokens, perMessage: 6 })
        for (const [i, row] of rows.entries()) {
          const pieces = [
            ...out.rows
              .filter(({ id }) => id.slice(0, id.lastIndexOf("_")) === row.id)
              .map((part) => ({
                turn: Number(part.id.slice(part.id.lastIndexOf("_") + 1)),
                turns: part.conversations
              })),
            ...refused
              .filter((one) => one.row === i)
              .map((one) => one.error as unknown as { turn: number; turns: typeof row.conversations })
          ].sort((a, b) => a.turn - b.turn)
          expect(pieces.flatMap(({ turns }) => turns)).toEqual(row.conversations)
        }
        for (const { conversations: turns } of out.rows)
          expect(turns.reduce((sum, { value }) => sum + tokenizer.count(value) + 6, 0)).toBeLessThanOrEqual(maxTokens)
        expect(new Set(out.rows.map(({ id }) => id)).size).toBe(out.rows.length)
      })
  )

  it.effect("fails with a typed error when the tokenizer is none", () =>
    Effect.gen(function* () {
      const rows = [conversation("a", [["Hi.", "Hello."]])]
      const bad = (tokenizer: string) =>
        Effect.flip(Node.run(splitConversations, { rows, tokenizer }, { maxTokens: 9, perMessage: 6 }))
      expect((yield* bad("/nowhere/tokenizer.json"))._tag).toBe("BadTokenizer")
      expect((yield* bad(new URL(import.meta.url).pathname))._tag).toBe("BadTokenizer")
    })
  )
})
