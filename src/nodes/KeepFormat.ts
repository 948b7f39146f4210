/**
 * Two of FastChat's format rules: runs of one digit drop a conversation, lists that start over the part they stand in.
 */
import { Result, Schema } from "effect"
import { sharded } from "../dag/Node.ts"
import { BadFormat, checkDigits, checkLists } from "../text/FormatFilter.ts"
import { Conversations, Vicuna } from "./Artifacts.ts"

export const dropRepeatedDigits = sharded(
  {
    id: "dropRepeatedDigits",
    version: "1",
    about: "Drops conversations with a run of one digit.",
    params: Schema.Struct({
      /** Drop when one digit stands this often in a row; null keeps such rows. FastChat has nine, on request. */
      repeatedDigits: Schema.NullOr(Schema.Int.check(Schema.isGreaterThanOrEqualTo(2)))
    }),
    inputs: { rows: Conversations },
    outputs: { rows: Conversations },
    refuses: [BadFormat],
    runs: "worker"
  },
  ({ flatMap, params, shard }) => {
    if (params.repeatedDigits === null) return { rows: shard.rows }
    const check = checkDigits(params.repeatedDigits)
    return { rows: flatMap(shard.rows, (row) => Result.map(check(row), (kept) => [kept])) }
  }
)

/** After splitting, so that one bad list costs its part and not the conversation. */
export const keepFormat = sharded(
  {
    id: "keepFormat",
    version: "2",
    about: "Drops parts with a list numbered 1., 1.",
    params: Schema.Struct({}),
    inputs: { rows: Vicuna },
    outputs: { rows: Vicuna },
    refuses: [BadFormat],
    runs: "worker"
  },
  ({ flatMap, shard }) => ({
    rows: flatMap(shard.rows, (row) => Result.map(checkLists(row), (kept) => [kept]))
  })
)
