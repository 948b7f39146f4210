/** Splits long conversations into parts that fit the context; a pair that fits nowhere is refused. */
import { Effect, Schema, Stream } from "effect"
import { broadcast } from "../dag/Artifact.ts"
import { sharded } from "../dag/Node.ts"
import { SplitRefused, splitConversation } from "../text/Split.ts"
import { VICUNA_SYSTEM } from "../text/Template.ts"
import { Conversations, TokenizerFile, Vicuna } from "./Artifacts.ts"
import { loadTokenizer } from "./LoadTokenizer.ts"
import { Positive } from "./Params.ts"

export const splitConversations = sharded(
  {
    id: "splitConversations",
    version: "3",
    about: "Cuts conversations into parts of at most maxTokens, whole question-and-reply pairs at a time.",
    params: Schema.Struct({
      maxTokens: Positive,
      /** Tokens a message costs beside its own, for role and separators. */
      perMessage: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
    }),
    inputs: { rows: Conversations, tokenizer: broadcast(TokenizerFile) },
    outputs: { rows: Vicuna },
    refuses: [SplitRefused],
    runs: "worker"
  },
  ({ flatMap, params, refuse, shard }) => ({
    rows: Stream.unwrap(
      Effect.map(loadTokenizer(shard.tokenizer), (tokenizer) =>
        flatMap(shard.rows, (row, at) => {
          const options = { ...params, perPart: tokenizer.count(`${VICUNA_SYSTEM} `) }
          const { parts, refused } = splitConversation(row, (text) => tokenizer.count(text), options)
          for (const one of refused) refuse(at, one)
          return parts
        })
      )
    )
  })
)
