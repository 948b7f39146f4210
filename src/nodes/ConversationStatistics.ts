/**
 * What a set of conversations looks like: rows that were read, kept and made; pairs, tokens and characters a row.
 *
 * Two nodes. `measureConversations` counts tokens in worker threads, `conversationStatistics` draws the numbers
 * together.
 *
 * Not a count of drops by reason: a node's result is a function of the rows it is given, and rows that an earlier node
 * refused are in that node's quarantine. The report of a run and `quarantine` count those by reason.
 *
 * Memory: 12 bytes a row and 8 a pair.
 */
import { Effect, Schema, Stream } from "effect"
import { broadcast, rows, value } from "../dag/Artifact.ts"
import { sharded, whole } from "../dag/Node.ts"
import { arrowRows, list } from "../data/ArrowShard.ts"
import { Spread, Spreading } from "../text/Statistics.ts"
import { Conversations, RawConversations, TokenizerFile, Vicuna } from "./Artifacts.ts"
import { loadTokenizer } from "./LoadTokenizer.ts"

/** Tokens of each question and of each reply, without the prompt around them; `characters` in UTF-16 units. */
export const ConversationLengths = rows(
  "conversation-lengths",
  Schema.Struct({
    id: Schema.String,
    questions: Schema.instanceOf(Int32Array),
    replies: Schema.instanceOf(Int32Array),
    characters: Schema.Number
  }),
  { format: arrowRows({ id: "utf8", questions: list("int32"), replies: list("int32"), characters: "int32" }) }
)

export const Statistics = Schema.Struct({
  /** Conversations in the file, without elements that are none; after all filters; rows made of them. */
  rows: Schema.Struct({ read: Schema.Number, kept: Schema.Number, made: Schema.Number }),
  /** Question-and-reply pairs a row. */
  pairs: Spread,
  /** Tokens of all text of a row. */
  tokens: Spread,
  questionTokens: Spread,
  replyTokens: Spread,
  /** UTF-16 units a row. */
  characters: Spread
})
export type Statistics = typeof Statistics.Type
export const StatisticsReport = value("conversation-statistics", Statistics)

export const measureConversations = sharded(
  {
    id: "measureConversations",
    version: "1",
    about: "Tokens of each question and reply of conversations.",
    params: Schema.Struct({}),
    inputs: { rows: Vicuna, tokenizer: broadcast(TokenizerFile) },
    outputs: { lengths: ConversationLengths },
    runs: "worker"
  },
  ({ shard }) => ({
    lengths: Stream.unwrap(
      Effect.map(loadTokenizer(shard.tokenizer), (tokenizer) =>
        Stream.map(shard.rows, (batch) =>
          batch.map(({ conversations, id }) => {
            const tokensOf = (role: "human" | "gpt") =>
              Int32Array.from(
                conversations.filter(({ from }) => from === role),
                (turn) => tokenizer.count(turn.value)
              )
            return {
              id,
              questions: tokensOf("human"),
              replies: tokensOf("gpt"),
              characters: conversations.reduce((sum, turn) => sum + turn.value.length, 0)
            }
          })
        )
      )
    )
  })
)

export const conversationStatistics = whole(
  {
    id: "conversationStatistics",
    version: "1",
    about: "Rows read, kept and made; pairs, tokens and characters a row with percentiles and histograms.",
    params: Schema.Struct({}),
    inputs: { read: RawConversations, kept: Conversations, lengths: ConversationLengths },
    outputs: { report: StatisticsReport }
  },
  ({ inputs }) =>
    Effect.succeed({
      report: Effect.gen(function* () {
        const spreads = {
          pairs: new Spreading(),
          tokens: new Spreading(),
          questionTokens: new Spreading(),
          replyTokens: new Spreading(),
          characters: new Spreading()
        }
        yield* Stream.runForEach(inputs.lengths.batches, (batch) =>
          Effect.sync(() => {
            for (const { characters, questions, replies } of batch) {
              let tokens = 0
              for (const count of questions) {
                spreads.questionTokens.add(count)
                tokens += count
              }
              for (const count of replies) {
                spreads.replyTokens.add(count)
                tokens += count
              }
              spreads.pairs.add(replies.length)
              spreads.tokens.add(tokens)
              spreads.characters.add(characters)
            }
          })
        )
        return {
          rows: { read: inputs.read.length, kept: inputs.kept.length, made: inputs.lengths.length },
          pairs: spreads.pairs.spread(),
          tokens: spreads.tokens.spread(),
          questionTokens: spreads.questionTokens.spread(),
          replyTokens: spreads.replyTokens.spread(),
          characters: spreads.characters.spread()
        }
      })
    })
)
