/**
 * Reads conversations into rows: ShareGPT's format, OpenAI's messages and others (`ChatRow.ts`), JSON or Parquet, a
 * file or a folder of its parts; a row that is no conversation is refused, not fatal.
 *
 * Not a cleaner: order of turns, HTML and dirt stay as found; a role comes out as `human`, `gpt` or `system`, whatever
 * the file calls it. Text alone: a row with an image, or with any other media, is refused. Bounded memory. In a folder
 * the files are read in name order, and row numbers count on from file to file.
 */
import { Effect, Schema } from "effect"
import { whole } from "../dag/Node.ts"
import { BadJsonRow } from "../data/JsonArray.ts"
import { withDigits } from "../data/JsonText.ts"
import { BadParquetRow } from "../data/ParquetError.ts"
import { idText } from "../data/RowId.ts"
import { CHAT_KEYS, type Row, readChat } from "../text/ChatRow.ts"
import { BadRow } from "../text/Conversation.ts"
import { GroupRule, groupField, groupOfId } from "../text/Group.ts"
import { IMAGE_KEYS, imagesOf } from "../text/RowMedia.ts"
import { RawConversations, ShareGptFile } from "./Artifacts.ts"
import { RowParams, readRows, type SourceRow, shapeFault, UnsupportedRow } from "./RowReader.ts"

/** Ids by the names that collections of conversations have for them. */
export const CHAT_IDS = ["id", "conversation_id", "conversation_hash", "prompt_id", "uuid"]

/**
 * Rows of messages have no id in OpenAI's format: they are known by their number. ShareGPT's must have one.
 *
 * @example
 * messagesId({ messages: [] }, 7) // "row-7"
 */
export const messagesId = (value: Row, row: number): string | undefined =>
  value["conversations"] === undefined || value["conversations"] === null ? `row-${row}` : undefined

const make = ({ id, ignore, value }: SourceRow, rule: GroupRule) => {
  const chat = readChat(value, ignore)
  if (chat._tag === "Failure") return chat.failure
  const images = imagesOf(value)
  if (images._tag === "Failure" || images.success.length + chat.success.images.length > 0)
    return {
      reason: "media" as const,
      message: "it has an image, and conversations are trained as text alone here",
      hint: "Read such rows with readInstructions, or name the key in `ignore`."
    }
  const group = typeof rule === "string" ? groupOfId(id, rule) : idText(value[rule.field])
  if (group === undefined)
    return shapeFault(
      `its \`${typeof rule === "string" ? "id" : rule.field}\`, which names its group, is neither text nor a number`,
      "Give `group` another field, or a rule on ids."
    )
  const { plugins } = value
  const row = { id, ...groupField(id, group), conversations: chat.success.turns }
  return [plugins === undefined ? row : { ...row, plugins: withDigits(plugins) as Schema.Json }]
}

const fieldsOf = (rule: GroupRule): ReadonlyArray<string> => (typeof rule === "string" ? [] : [rule.field])

export const readShareGpt = whole(
  {
    id: "readShareGpt",
    version: "3",
    about: "Reads conversations (ShareGPT, OpenAI messages) row by row; rows that are none are refused.",
    params: Schema.Struct({
      ...RowParams,
      /**
       * Which rows are parts of one conversation, as the data set says it (`text/Group.ts`): no split tears them apart.
       */
      group: GroupRule.pipe(Schema.withConstructorDefault(Effect.succeed<GroupRule>("sharegpt")))
    }),
    inputs: { file: ShareGptFile },
    outputs: { rows: RawConversations },
    refuses: [BadRow, UnsupportedRow, BadJsonRow, BadParquetRow],
    refuseAtMost: 0.5
  },
  ({ inputs, params, refuse, countRows }) =>
    Effect.succeed({
      rows: readRows({
        path: inputs.file.path,
        params,
        keys: new Set([...CHAT_KEYS, ...IMAGE_KEYS, ...fieldsOf(params.group)]),
        idKeys: CHAT_IDS,
        idOf: messagesId,
        make: (row) => make(row, params.group),
        misshaped: (given) => new BadRow(given),
        refusing: { refuse, countRows }
      })
    })
)
