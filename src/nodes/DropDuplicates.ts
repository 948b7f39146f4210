/**
 * Drops conversations whose id, or whose first question and reply, was seen before; the first one stays.
 *
 * Memory: two 16-byte digests a row that stays, 40 to 60 bytes with the tables' free places, not the rows: 0.6 GB at
 * most for ten million conversations.
 */
import { Effect, Result, Schema, Stream } from "effect"
import { whole } from "../dag/Node.ts"
import { DigestSet, digestOf } from "../data/DigestSet.ts"
import { duplicateKeys } from "../text/Clean.ts"
import { Conversations } from "./Artifacts.ts"
import { Positive } from "./Params.ts"

/** The row repeats an earlier one. */
export class Duplicate extends Schema.TaggedError<Duplicate>()("Duplicate", {
  reason: Schema.Literals(["SameId", "SameFirstPair"]),
  id: Schema.String,
  hint: Schema.String
}) {}

export const dropDuplicates = whole(
  {
    id: "dropDuplicates",
    version: "1",
    about: "Keeps the first of rows with equal ids or an equal first question and reply.",
    params: Schema.Struct({ shardRows: Positive }),
    inputs: { rows: Conversations },
    outputs: { rows: Conversations },
    refuses: [Duplicate]
  },
  ({ flatMap, inputs }) =>
    Effect.succeed({
      // What was seen belongs to one pass, so that the stream may be run again.
      rows: Stream.suspend(() => {
        const ids = new DigestSet()
        const pairs = new DigestSet()
        return flatMap(inputs.rows.batches, (row) => {
          const keys = duplicateKeys(row)
          const id = digestOf(keys.id)
          const pair = digestOf(keys.opening)
          const drop = (reason: Duplicate["reason"], hint: string) =>
            Result.fail(new Duplicate({ reason, id: row.id, hint }))
          if (ids.has(id)) return drop("SameId", "Give the rows different ids in the source to keep both.")
          if (pairs.has(pair)) return drop("SameFirstPair", "Such rows are copies of one another; nothing to do.")
          ids.add(id)
          pairs.add(pair)
          return Result.succeed([row])
        })
      })
    })
)
