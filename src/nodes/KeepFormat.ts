/** Drops conversations with lists that start over, or a digit repeated many times. */
import { Result, Schema } from "effect"
import { sharded } from "../dag/Node.ts"
import { BadFormat, checkFormat } from "../text/FormatFilter.ts"
import { Conversations } from "./Artifacts.ts"

export const keepFormat = sharded(
  {
    id: "keepFormat",
    version: "1",
    about: "Drops lists numbered 1., 1., and runs of one digit.",
    params: Schema.Struct({
      /** Drop when one digit stands this often in a row; null keeps such rows. */
      repeatedDigits: Schema.NullOr(Schema.Int.check(Schema.isGreaterThanOrEqualTo(2)))
    }),
    inputs: { rows: Conversations },
    outputs: { rows: Conversations },
    refuses: [BadFormat],
    runs: "worker"
  },
  ({ flatMap, params, shard }) => ({
    rows: flatMap(shard.rows, (row) => Result.map(checkFormat(row, params), (kept) => [kept]))
  })
)
