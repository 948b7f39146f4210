/**
 * Splits long conversations into parts that fit a model's context, whole question-and-reply pairs at a time.
 *
 * Not a tokenizer and no truncation: text is never cut. Pure over a function that counts tokens.
 *
 * FastChat's `split_long_conversation.py` loses the last pair when it overflows a part, keeps a pair that is too long
 * by itself and may write an empty part. Here every pair that fits is kept and each one that does not is refused.
 *
 * Units: lengths in tokens; a message counts `perMessage` more than its own, for its role and separators.
 */
import { Schema } from "effect"
import { type Conversation, ConversationTurn } from "./Conversation.ts"
import { groupField, groupOf } from "./Group.ts"

/**
 * `maxTokens`: most tokens in a part, overhead included. `perMessage`: overhead of one message. `perPart`: overhead of
 * a part, its system prompt (the original forgets it, and the last answer loses its end).
 */
export const SplitOptions = Schema.Struct({
  maxTokens: Schema.Number,
  perMessage: Schema.Number,
  perPart: Schema.Number
})
export type SplitOptions = typeof SplitOptions.Type

/**
 * Turns that no part can hold. `turn` is the first one's place in the conversation, from 0; `tokens` their length,
 * overhead included.
 */
export class SplitRefused extends Schema.TaggedError<SplitRefused>()("SplitRefused", {
  reason: Schema.Literals(["PairTooLong", "RolesOutOfOrder", "Unpaired"]),
  id: Schema.String,
  turn: Schema.Number,
  tokens: Schema.Number,
  turns: Schema.Array(ConversationTurn),
  hint: Schema.String
}) {}

/** Parts in order, then what was refused, in order. Together they hold every turn of the conversation once. */
export interface Split {
  readonly parts: ReadonlyArray<Conversation>
  readonly refused: ReadonlyArray<SplitRefused>
}

/**
 * Splits one conversation. Parts are greedy and contiguous: a refused pair ends the part before it. A part's id is
 * `{id}_{place of its first turn}`, also when there is only one part; its group is the conversation's.
 *
 * @example
 * ```ts
 * const options = { maxTokens: 2048, perMessage: 6, perPart: 0 }
 * splitConversation(conversation, (text) => tokenizer.encode(text).length, options)
 * // { parts: [{ id: "a_0", group: "a", ... }, { id: "a_4", group: "a", ... }], refused: [] }
 * ```
 */
export const splitConversation = (
  conversation: Conversation,
  countTokens: (text: string) => number,
  { maxTokens, perMessage, perPart }: SplitOptions
): Split => {
  const turns = conversation.conversations
  const group = groupOf(conversation)
  const parts: Array<Conversation> = []
  const refused: Array<SplitRefused> = []
  let start = 0
  let length = 0

  const close = (end: number): void => {
    const id = `${conversation.id}_${start}`
    if (end > start) parts.push({ id, ...groupField(id, group), conversations: turns.slice(start, end) })
    start = end
    length = 0
  }
  const refuse = (reason: SplitRefused["reason"], turn: number, end: number, tokens: number, hint: string): void => {
    close(turn)
    refused.push(new SplitRefused({ reason, id: conversation.id, turn, tokens, turns: turns.slice(turn, end), hint }))
    start = end
  }

  for (let i = 0; i < turns.length; i += 2) {
    const question = turns[i]!
    const reply = turns[i + 1]
    if (reply === undefined) {
      const tokens = countTokens(question.value) + perMessage
      refuse("Unpaired", i, i + 1, tokens, "A last turn without a reply teaches nothing; clean the conversation first.")
      break
    }
    const tokens = countTokens(question.value) + countTokens(reply.value) + 2 * perMessage
    if (question.from !== "human" || reply.from !== "gpt") {
      refuse(
        "RolesOutOfOrder",
        i,
        i + 2,
        tokens,
        "A pair is a human turn and a gpt turn; clean the conversation first."
      )
    } else if (perPart + tokens > maxTokens) {
      refuse(
        "PairTooLong",
        i,
        i + 2,
        tokens,
        `Raise \`maxTokens\` to ${perPart + tokens} if the model's context allows it.`
      )
    } else {
      if (perPart + length + tokens > maxTokens) close(i)
      length += tokens
    }
  }
  close(turns.length)
  return { parts, refused }
}
