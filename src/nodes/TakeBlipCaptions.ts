/**
 * Gives CC-595K's images the captions that BLIP wrote for them, from `metadata.json`, in place of the raw ones or
 * beside them.
 *
 * Not a reader of `chat.json`, and no filter. Rows meet by id, be it text or a number, in whatever order the two files
 * have theirs; the request of a row stays as it is. Memory: BLIP's captions as UTF-8 and some 40 bytes a row of
 * metadata, nothing else of either file.
 */
import { Effect, Result, Schema, Stream } from "effect"
import { DigestTable } from "../dag/DigestTable.ts"
import { whole } from "../dag/Node.ts"
import { Utf8List } from "../dag/Utf8List.ts"
import { BadJsonRow } from "../data/JsonArray.ts"
import { BadParquetRow } from "../data/ParquetError.ts"
import { readRowFiles } from "../data/RowFiles.ts"
import { idText, NO_ID } from "../data/RowId.ts"
import { extend, stream } from "../tensor/Random.ts"
import { IMAGE_MARK } from "../text/Template.ts"
import { type Caption, Captions, MetadataFile } from "./Artifacts.ts"
import { Positive } from "./Params.ts"

/** A row has no caption by BLIP: `metadata.json` does not name it, or names it without one. */
export class NoBlipCaption extends Schema.TaggedError<NoBlipCaption>()("NoBlipCaption", {
  reason: Schema.Literals(["NotInMetadata", "NoCaption"]),
  id: Schema.String,
  hint: Schema.String
}) {}

/** A row of `metadata.json` that cannot be used. `row` counts from 0 in that file. */
export class BadMetadataRow extends Schema.TaggedError<BadMetadataRow>()("BadMetadataRow", {
  row: Schema.Number,
  id: Schema.optional(Schema.String),
  message: Schema.String,
  hint: Schema.String
}) {}

const MetadataRow = Schema.Struct({ id: Schema.Unknown, blip_caption: Schema.optional(Schema.NullOr(Schema.String)) })
const decode = Schema.decodeUnknownResult(MetadataRow)
const root = stream(0, "metadata")
const idOf = (value: unknown): { readonly id?: string } =>
  typeof value === "object" && value !== null && "id" in value ? { id: String(value.id) } : {}

type CaptionRow = typeof Caption.Type

/** A row that says `caption`. */
const saying = (row: CaptionRow, id: string, caption: string): CaptionRow => ({
  ...row,
  id,
  caption,
  conversations: row.conversations.map((turn) => (turn.from === "gpt" ? { ...turn, value: caption } : turn))
})

export const takeBlipCaptions = whole(
  {
    id: "takeBlipCaptions",
    version: "2",
    about: "Gives captioned images BLIP's captions from metadata.json, in place of the raw ones or beside them.",
    params: Schema.Struct({
      /** Rows a shard of the output. */
      shardRows: Positive,
      /** `only`: BLIP's caption in place of the raw one. `beside`: a second row, its id the first's with `/blip`. */
      blip: Schema.Literals(["only", "beside"]),
      /**
       * What becomes of a row that BLIP has no caption for (one in ten): it goes to quarantine, or keeps its raw one.
       */
      missing: Schema.Literals(["refuse", "raw"]),
      /** Which split of a folder of metadata is read; needed where there are several. */
      split: Schema.optional(Schema.String)
    }),
    inputs: { rows: Captions, metadata: MetadataFile },
    outputs: { rows: Captions },
    refuses: [NoBlipCaption, BadMetadataRow, BadJsonRow, BadParquetRow]
  },
  ({ flatMap, inputs, params, refuse }) => {
    const ids = new DigestTable(inputs.rows.length)
    const captions = new Utf8List()
    const read = Stream.runForEach(
      readRowFiles(inputs.metadata.path, { columns: ["id", "blip_caption"], split: params.split }),
      (batch) =>
        Effect.sync(() => {
          for (const { error, index } of batch.refused) refuse(index, error)
          for (const { index: row, value } of batch.rows) {
            const bad = (message: string) =>
              refuse(
                row,
                new BadMetadataRow({
                  row,
                  ...idOf(value),
                  message: `metadata.json: ${message}`,
                  hint: "Fix or remove the row in metadata.json; its image is treated as one without metadata."
                })
              )
            const decoded = decode(value)
            if (Result.isFailure(decoded)) {
              bad(decoded.failure.message)
              continue
            }
            const { blip_caption } = decoded.success
            const id = idText(decoded.success.id)
            const caption = blip_caption?.trim() ?? ""
            const fault =
              id === undefined
                ? NO_ID
                : caption.includes(IMAGE_MARK)
                  ? `its caption has ${IMAGE_MARK} in it`
                  : caption.isWellFormed()
                    ? undefined
                    : "its caption has half of a character (a lone surrogate)"
            if (id === undefined || fault !== undefined) {
              bad(fault ?? NO_ID)
              continue
            }
            const { high, low } = extend(root, id)
            if (ids.add(low, high) < captions.size) bad(`an earlier row is called ${id} too`)
            else captions.push(caption)
          }
        })
    )
    const joined = flatMap(inputs.rows.batches, (row) => {
      const { high, low } = extend(root, row.id)
      const number = ids.find(low, high)
      const caption = number < 0 ? "" : captions.at(number)
      if (caption !== "")
        return params.blip === "only" ? [saying(row, row.id, caption)] : [row, saying(row, `${row.id}/blip`, caption)]
      if (params.missing === "raw") return [row]
      return Result.fail(
        new NoBlipCaption({
          reason: number < 0 ? "NotInMetadata" : "NoCaption",
          id: row.id,
          hint: 'Set `missing` of takeBlipCaptions to "raw" to keep such rows with their raw caption.'
        })
      )
    })
    return Effect.as(read, { rows: joined })
  }
)
