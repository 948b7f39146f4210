/**
 * Cleans conversations as FastChat does: HTML to markdown, turns at the ends, banned words; each drop with its reason.
 */
import { Result, Schema } from "effect"
import { sharded } from "../dag/Node.ts"
import { CleanOptions, cleanConversation, Dropped } from "../text/Clean.ts"
import { makeSpecialTokenBreaker } from "../text/FormatFilter.ts"
import { Conversations, RawConversations } from "./Artifacts.ts"

export const cleanShareGpt = sharded(
  {
    id: "cleanShareGpt",
    version: "2",
    about: "HTML to markdown and FastChat's cleaning rules; literal control tokens in the text are broken up.",
    params: Schema.Struct({
      ...CleanOptions.fields,
      /** Texts that a tokenizer would take for control tokens. */
      specialTokens: Schema.Array(Schema.String).check(
        Schema.makeFilter((tokens) => {
          const made = makeSpecialTokenBreaker(tokens)
          return Result.isSuccess(made) ? undefined : `${made.failure.token}: ${made.failure.message}`
        })
      )
    }),
    inputs: { rows: RawConversations },
    outputs: { rows: Conversations },
    refuses: [Dropped],
    runs: "worker"
  },
  ({ flatMap, params, shard }) => {
    const { specialTokens, ...rules } = params
    // The parameter's schema has checked them.
    const breakTokens = Result.getOrThrow(makeSpecialTokenBreaker(specialTokens))
    return {
      rows: flatMap(shard.rows, (row) =>
        Result.map(cleanConversation(row, rules), (clean) => [
          {
            id: clean.id,
            ...(row.group === undefined ? {} : { group: row.group }),
            conversations: clean.conversations.map(({ from, value }) => ({ from, value: breakTokens(value) }))
          }
        ])
      )
    }
  }
)
