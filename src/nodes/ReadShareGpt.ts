/**
 * Reads a ShareGPT file into rows, in bounded memory; an element that is no conversation is refused, not fatal.
 *
 * Not a cleaner: roles, HTML and dirt stay as found.
 */
import { Effect, Result, Schema, Stream } from "effect"
import { whole } from "../dag/Node.ts"
import { BadJsonRow, readJson } from "../data/JsonArray.ts"
import { BadRow, decodeRow } from "../text/Conversation.ts"
import { RawConversations, ShareGptFile } from "./Artifacts.ts"
import { Positive } from "./Params.ts"

export const readShareGpt = whole(
  {
    id: "readShareGpt",
    version: "1",
    about: "Reads the ShareGPT JSON array element by element; elements that are no conversation are refused.",
    params: Schema.Struct({
      /** Rows a shard of the output. */
      shardRows: Positive
    }),
    inputs: { file: ShareGptFile },
    outputs: { rows: RawConversations },
    refuses: [BadRow, BadJsonRow],
    refuseAtMost: 0.5
  },
  ({ inputs, refuse }) =>
    Effect.succeed({
      rows: readJson(inputs.file.path).pipe(
        Stream.map((batch) => {
          for (const bad of batch.refused) refuse(bad.row, bad)
          return batch.rows.flatMap(({ index, value }) => {
            const row = decodeRow(value, index)
            if (Result.isSuccess(row)) return [row.success]
            refuse(index, row.failure)
            return []
          })
        })
      )
    })
)
