/**
 * Reads ShareGPT into rows: a JSON or Parquet file, or a folder of its parts; a row that is no conversation is refused,
 * not fatal.
 *
 * Not a cleaner: roles, HTML and dirt stay as found. Bounded memory. In a folder the files are read in name order, and
 * row numbers count on from file to file.
 */
import { Effect, Result, Schema, Stream } from "effect"
import { whole } from "../dag/Node.ts"
import { BadJsonRow } from "../data/JsonArray.ts"
import { readRowFiles, rowsUpTo } from "../data/RowFiles.ts"
import { BadRow, decodeRow } from "../text/Conversation.ts"
import { RawConversations, ShareGptFile } from "./Artifacts.ts"
import { Positive } from "./Params.ts"

/** Of a Parquet file; its turns are structs of `from` and `value`, as in JSON. */
const columns = ["id", "conversations", "model", "plugins"]

export const readShareGpt = whole(
  {
    id: "readShareGpt",
    version: "1",
    about: "Reads ShareGPT's JSON or Parquet row by row; rows that are no conversation are refused.",
    params: Schema.Struct({
      /** Rows a shard of the output. */
      shardRows: Positive
    }),
    inputs: { file: ShareGptFile },
    outputs: { rows: RawConversations },
    refuses: [BadRow, BadJsonRow],
    refuseAtMost: 0.5
  },
  ({ inputs, refuse, saw }) =>
    Effect.succeed({
      rows: Stream.map(readRowFiles(inputs.file.path, { columns }), (batch) => {
        for (const { error, index } of batch.refused) refuse(index, error)
        saw(rowsUpTo(batch))
        return batch.rows.flatMap(({ index, value }) => {
          const row = decodeRow(value, index)
          if (Result.isSuccess(row)) return [row.success]
          refuse(index, row.failure)
          return []
        })
      })
    })
)
