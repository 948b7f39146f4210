/**
 * Reads LLaVA's files into rows: CC-595K's captions, instruction data, held-out questions. JSON or Parquet, one file or a
 * folder of parts.
 *
 * Not a filter. A row of the wrong shape is refused with its position; a picture's name is not looked at here. Where a
 * Parquet file has its pictures inside (`image` is a struct of `bytes` and `path`), rows name them by their path, and the
 * bytes are not read.
 */
import { Effect, Result, Schema, Stream } from "effect"
import type { Refusing } from "../dag/Node.ts"
import { whole } from "../dag/Node.ts"
import { BadJsonRow } from "../data/JsonArray.ts"
import { type RowFileError, readRowFiles, rowsUpTo } from "../data/RowFiles.ts"
import { Captions, ChatFile, HeldOutFile, ImageConversations, InstructFile, Questions } from "./Artifacts.ts"
import { Positive } from "./Params.ts"

/** A row that does not have the format's shape. `row` counts from 0 in its file. */
export class BadRow extends Schema.TaggedError<BadRow>()("BadLlavaRow", {
  row: Schema.Number,
  id: Schema.optional(Schema.String),
  message: Schema.String,
  hint: Schema.String
}) {}

const params = Schema.Struct({
  /** Rows a shard of the output. */
  shardRows: Positive
})
const refuses = [BadRow, BadJsonRow] as const
/** A file most of whose rows do not fit is the wrong file. */
const refuseAtMost = 0.5

const Turn = Schema.Struct({ from: Schema.Literals(["human", "gpt"]), value: Schema.String })
const ChatRow = Schema.Struct({ id: Schema.String, image: Schema.String, conversations: Schema.Array(Turn) })
const InstructRow = Schema.Struct({
  id: Schema.Union([Schema.String, Schema.Number]),
  image: Schema.optional(Schema.NullOr(Schema.String)),
  conversations: Schema.Array(Turn)
})
const HeldOutRow = Schema.Struct({
  id: Schema.String,
  image: Schema.String,
  questions: Schema.Array(Schema.Struct({ type: Schema.String, question: Schema.String, answer: Schema.String }))
})

/** What is read of a Parquet file. */
const columns = ["id", "image", "conversations", "questions", "question_id", "text", "label", "category"]
const without = ["image.bytes"]

const idOf = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return undefined
  return "id" in value ? value.id : "question_id" in value ? value.question_id : undefined
}

const isNameless = (value: unknown): boolean =>
  typeof value === "object" &&
  value !== null &&
  "image" in value &&
  typeof value.image === "object" &&
  value.image !== null &&
  "path" in value.image

/** The row with its picture's path in place of the struct that a Parquet file has there. */
const withPath = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null || !("image" in value)) return value
  const { image } = value
  return typeof image === "object" && image !== null && "path" in image && typeof image.path === "string"
    ? { ...value, image: image.path }
    : value
}

/** Streams a file's rows through a schema; what does not fit is refused. */
export const readRows = <A, B>(
  path: string,
  schema: Schema.Codec<A, any>,
  make: (row: A) => ReadonlyArray<B> | string,
  { refuse, saw }: Pick<Refusing<BadRow | BadJsonRow>, "refuse" | "saw">,
  wanted: { readonly layout?: "lines" } = {}
): Stream.Stream<ReadonlyArray<B>, RowFileError> => {
  const decode = Schema.decodeUnknownResult(schema)
  const bad = (row: number, value: unknown, message: string) => {
    const found = idOf(value)
    const id = typeof found === "string" || typeof found === "number" ? String(found) : undefined
    refuse(
      row,
      new BadRow({
        row,
        ...(id === undefined ? {} : { id }),
        message,
        hint: isNameless(value)
          ? "The picture lies in the Parquet file and has no path: write pictures to a folder or zip, and paths to the rows."
          : "Mend or remove the row in the source; the other rows are not affected."
      })
    )
    return []
  }
  return readRowFiles(path, { columns, without, ...wanted }).pipe(
    Stream.map((batch) => {
      for (const { error, index } of batch.refused) refuse(index, error)
      saw(rowsUpTo(batch))
      return batch.rows.flatMap(({ index, value }) => {
        const row = decode(withPath(value))
        if (Result.isFailure(row)) return bad(index, value, row.failure.message)
        const made = make(row.success)
        return typeof made === "string" ? bad(index, value, made) : made
      })
    })
  )
}

export const readCaptions = whole(
  {
    id: "readCaptions",
    version: "1",
    about: "Reads CC-595K's chat.json: one request and one caption a picture.",
    params,
    inputs: { file: ChatFile },
    outputs: { rows: Captions },
    refuses,
    refuseAtMost
  },
  ({ inputs, refuse, saw }) =>
    Effect.succeed({
      rows: readRows(
        inputs.file.path,
        ChatRow,
        (row) => {
          const caption = row.conversations.find((turn) => turn.from === "gpt")?.value
          return caption === undefined ? "no caption: there is no gpt turn" : [{ ...row, caption }]
        },
        { refuse, saw }
      )
    })
)

/** Without a leading reply and a trailing question, as LLaVA's own reader has it: neither teaches anything. */
const trimTurns = (turns: ReadonlyArray<typeof Turn.Type>): ReadonlyArray<typeof Turn.Type> => {
  const from = turns[0]?.from === "gpt" ? 1 : 0
  const to = turns[turns.length - 1]?.from === "human" ? turns.length - 1 : turns.length
  return turns.slice(from, Math.max(from, to))
}

export const readInstructions = whole(
  {
    id: "readInstructions",
    version: "1",
    about: "Reads LLaVA-Instruct rows: several questions and answers about one picture, or text alone.",
    params,
    inputs: { file: InstructFile },
    outputs: { rows: ImageConversations },
    refuses,
    refuseAtMost
  },
  ({ inputs, refuse, saw }) =>
    Effect.succeed({
      rows: readRows(
        inputs.file.path,
        InstructRow,
        (row) => [{ id: String(row.id), image: row.image ?? null, conversations: trimTurns(row.conversations) }],
        { refuse, saw }
      )
    })
)

/** Says of a scene whose id came before why it cannot be taken: questions and pictures meet by that id. */
const firstOnly = <A extends { readonly id: string }, B>(make: (row: A) => ReadonlyArray<B>) => {
  const seen = new Set<string>()
  return (row: A): ReadonlyArray<B> | string => {
    if (seen.has(row.id)) return `an earlier scene is called ${row.id} too`
    seen.add(row.id)
    return make(row)
  }
}

export const readQuestions = whole(
  {
    id: "readQuestions",
    version: "2",
    about: "Reads held-out scenes: their questions, and the scenes as conversations for their pictures and loss.",
    params,
    inputs: { file: HeldOutFile },
    outputs: { questions: Questions, scenes: ImageConversations },
    refuses,
    refuseAtMost
  },
  ({ inputs, refuse, saw }) =>
    Effect.succeed({
      questions: readRows(
        inputs.file.path,
        HeldOutRow,
        firstOnly((row) =>
          row.questions.map((question, i) => ({ id: `${row.id}/${i}`, image: row.image, ...question }))
        ),
        { refuse, saw }
      ),
      scenes: readRows(
        inputs.file.path,
        HeldOutRow,
        firstOnly((row) => [
          {
            id: row.id,
            image: row.image,
            conversations: row.questions.flatMap(({ answer, question }) => [
              { from: "human" as const, value: question },
              { from: "gpt" as const, value: answer }
            ])
          }
        ]),
        { refuse, saw }
      )
    })
)
