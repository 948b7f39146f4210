/**
 * Reads a ShareGPT file, or a folder of its parts, into rows; an element that is no conversation is refused, not fatal.
 *
 * Not a cleaner: roles, HTML and dirt stay as found. Bounded memory. In a folder the files are read in name order, and
 * row numbers count on from file to file.
 */
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Result, Schema, Stream } from "effect"
import { whole } from "../dag/Node.ts"
import { BadJsonRow, readJson } from "../data/JsonArray.ts"
import { BadRow, decodeRow } from "../text/Conversation.ts"
import { RawConversations, ShareGptFile } from "./Artifacts.ts"
import { Positive } from "./Params.ts"

/** A folder without a JSON file. */
export class NoConversations extends Schema.TaggedError<NoConversations>()("NoConversations", {
  path: Schema.String,
  reason: Schema.Literals(["no-files"]),
  message: Schema.String,
  hint: Schema.String
}) {}

const PART = /\.(json|jsonl|ndjson)(\.gz|\.zst)?$/

/** The JSON files of a folder in name order; anything else is one file, which its reader opens or refuses. */
const partsOf = Effect.fnUntraced(function* (path: string) {
  const names = yield* Effect.promise(() => readdir(path).catch(() => undefined))
  if (names === undefined) return [path]
  const parts = names
    .filter((name) => PART.test(name))
    .sort()
    .map((name) => join(path, name))
  if (parts.length > 0) return parts
  return yield* new NoConversations({
    path,
    reason: "no-files",
    message: `${path} holds no JSON file`,
    hint: "Give a ShareGPT JSON file, or a folder that holds such files."
  })
})

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
    Effect.map(partsOf(inputs.file.path), (parts) => ({
      rows: Stream.suspend(() => {
        let rowsBefore = 0
        const readPart = (path: string) =>
          Stream.suspend(() => {
            const first = rowsBefore
            return Stream.map(readJson(path), (batch) => {
              rowsBefore += batch.rows.length + batch.refused.length
              for (const bad of batch.refused) refuse(first + bad.row, bad)
              return batch.rows.flatMap(({ index, value }) => {
                const row = decodeRow(value, first + index)
                if (Result.isSuccess(row)) return [row.success]
                refuse(first + index, row.failure)
                return []
              })
            })
          })
        return Stream.flatMap(Stream.fromIterable(parts), readPart)
      })
    }))
)
