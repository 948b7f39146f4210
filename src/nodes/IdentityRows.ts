/** Rows that say who the model is, and a node that puts them, or any second set of conversations, behind the first. */
import { Effect, Schema, Stream } from "effect"
import { whole } from "../dag/Node.ts"
import { identityConversations } from "../text/Identity.ts"
import { Conversations } from "./Artifacts.ts"
import { Positive, Seed } from "./Params.ts"

export const identityRows = whole(
  {
    id: "identityRows",
    version: "1",
    about: "Questions and answers about the model's own name and maker, made from parameters.",
    params: Schema.Struct({
      name: Schema.NonEmptyString,
      /** Who made the model. */
      org: Schema.NonEmptyString,
      /** Models and makers that the model says it is not. */
      otherModels: Schema.Array(Schema.NonEmptyString),
      otherMakers: Schema.Array(Schema.NonEmptyString),
      /** Rows a question, each with another answer; all answers there are (four or five) when larger. */
      answersPerQuestion: Positive,
      seed: Seed,
      shardRows: Positive
    }),
    inputs: {},
    outputs: { rows: Conversations }
  },
  ({ params }) => Effect.succeed({ rows: Stream.make(identityConversations(params)) })
)

export const mergeConversations = whole(
  {
    id: "mergeConversations",
    version: "1",
    about: "All rows of the first input, then all rows of the second.",
    params: Schema.Struct({ shardRows: Positive }),
    inputs: { first: Conversations, second: Conversations },
    outputs: { rows: Conversations }
  },
  ({ inputs }) => Effect.succeed({ rows: Stream.concat(inputs.first.batches, inputs.second.batches) })
)
