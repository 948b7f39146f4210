/**
 * What every reader of row files shares: parameters, ids, the check for media that is not read, and how a row is
 * refused.
 *
 * Not a node. A row is an object with an id; which keys it is made from is the reader's matter. Nothing that a reader
 * makes holds half of a character: such a text cannot be written as UTF-8, and would change on the way.
 */
import { Schema, Stream } from "effect"
import type { Refusing } from "../dag/Node.ts"
import { cellName } from "../data/CellImages.ts"
import { type BadFileRow, type RowFileError, type RowFileOptions, readRowFiles, rowsUpTo } from "../data/RowFiles.ts"
import { idText, NO_ID } from "../data/RowId.ts"
import { isRow, type Row, type RowFault } from "../text/ChatRow.ts"
import { foreignMedia, type RowImage } from "../text/RowMedia.ts"
import { Positive } from "./Params.ts"

/** Parameters of every reader of rows. */
export const RowParams = {
  /** Rows a shard of the output. */
  shardRows: Positive,
  /**
   * Which split of a folder is read, by the name that Hugging Face `datasets` finds; needed where there are several.
   */
  split: Schema.optional(Schema.String),
  /**
   * What an image inside of a Parquet or Arrow file is called: the `path` beside its bytes (default), or its `cell`,
   * file and row, which is also the name of one without a path. Of use where several cells have one path.
   */
  images: Schema.optional(Schema.Literals(["path", "cell"])),
  /** Keys of rows and turns that are not looked at, though what they hold may be media or change what is trained. */
  ignore: Schema.optional(Schema.Array(Schema.String))
} as const

export interface RowParams {
  readonly split?: string | undefined
  readonly images?: "path" | "cell" | undefined
  readonly ignore?: ReadonlyArray<string> | undefined
}

/**
 * A row that is what it should be and holds what is not handled: a role or call of a tool, a kind of message part, a
 * weight of its own for a turn, a key of a turn that is not known, media, marks that do not fit the images, several
 * images, half of a character.
 * `row` counts from 0 in its file, or over a folder's parts.
 */
export class UnsupportedRow extends Schema.TaggedError<UnsupportedRow>()("UnsupportedRow", {
  row: Schema.Number,
  id: Schema.optional(Schema.String),
  reason: Schema.Literals([
    "role",
    "tools",
    "part",
    "loss",
    "turn-key",
    "media",
    "marks",
    "several-images",
    "half-character"
  ]),
  message: Schema.String,
  hint: Schema.String
}) {}

/** A row with its id, before its keys are looked at. */
export interface SourceRow {
  readonly id: string
  /** Its number, from 0. */
  readonly row: number
  readonly value: Row
  /** What an image of the row is called where images are read. */
  readonly nameOf: (image: RowImage) => string
  /** Keys that are not to be looked at. */
  readonly ignore: ReadonlyArray<string>
}

/** What a reader makes of a row. */
export interface RowReader<A, Bad> {
  readonly path: string
  readonly params: RowParams
  /** Keys that `make` looks at. */
  readonly keys: ReadonlySet<string>
  /** The first that is there is the row's id. */
  readonly idKeys?: ReadonlyArray<string>
  /**
   * The id of a row that has none of these keys, in a format whose rows have no id; such a row is refused otherwise.
   */
  readonly idOf?: (value: Row, row: number) => string | undefined
  readonly make: (row: SourceRow) => ReadonlyArray<A> | RowFault
  /** The refusal of a row that has not the right shape. */
  readonly misshaped: (given: {
    readonly row: number
    readonly id?: string
    readonly message: string
    readonly hint: string
  }) => Bad
  readonly refusing: Pick<Refusing<Bad | UnsupportedRow | BadFileRow>, "refuse" | "countRows">
  readonly layout?: RowFileOptions["layout"]
}

/** Images inside of a Parquet file: their paths are read, their bytes are not. */
const IMAGE_BYTES = ["image.bytes", "images.bytes"]

const hasHalfCharacter = (value: unknown): boolean => {
  if (typeof value === "string") return !value.isWellFormed()
  if (typeof value !== "object" || value === null) return false
  return Object.values(value).some(hasHalfCharacter)
}

const fixRow = "Fix or remove the row in the source; the other rows are not affected."

/**
 * A fault of a row's shape.
 *
 * @example
 * shapeFault("it names no image")
 */
export const shapeFault = (message: string, hint = fixRow): RowFault => ({ reason: "shape", message, hint })

/** Streams a file's rows, or a folder's, through `make`; what does not fit is refused where it stands. */
export const readRows = <A, Bad>(reader: RowReader<A, Bad>): Stream.Stream<ReadonlyArray<A>, RowFileError> => {
  const { idKeys = ["id"], keys, make, misshaped, params, path, refusing } = reader
  const { ignore = [], images, split } = params
  const known = new Set([...keys, ...idKeys])
  const read = (value: unknown, row: number, cell: string): ReadonlyArray<A> | RowFault => {
    if (!isRow(value)) return shapeFault("it is no object")
    const found = idOf(value, idKeys)
    const id = found === undefined ? reader.idOf?.(value, row) : idText(found)
    if (id === undefined) return shapeFault(NO_ID)
    const media = foreignMedia(value, known, ignore)
    if (media !== undefined)
      return {
        reason: "media",
        message: `its \`${media}\` may be media, which is not read`,
        hint: `Rows have images in \`image\` or \`images\`. If nothing is lost without it, name the key in \`ignore\`.`
      }
    const made = make({
      id,
      row,
      value,
      ignore,
      nameOf: ({ path }) => (path === undefined || images === "cell" ? cell : path)
    })
    return "reason" in made || !made.some(hasHalfCharacter)
      ? made
      : {
          reason: "half-character",
          message: "a text has half of a character (a lone surrogate), which no file can hold",
          hint: "Look for \\ud800 to \\udfff in the row: the text was cut inside of an emoji."
        }
  }
  return readRowFiles(path, {
    split,
    columns: [...keys],
    others: true,
    without: [...IMAGE_BYTES, ...ignore],
    ...(reader.layout === undefined ? {} : { layout: reader.layout })
  }).pipe(
    Stream.map((batch) => {
      for (const { error, index } of batch.refused) refusing.refuse(index, error)
      refusing.countRows(rowsUpTo(batch))
      const rows: Array<A> = []
      for (const { index: row, value } of batch.rows) {
        const made = read(value, row, cellName(batch.part, row - batch.before))
        if (!("reason" in made)) {
          for (const one of made) rows.push(one)
          continue
        }
        const { hint, message, reason } = made
        const id = isRow(value) ? idText(idOf(value, idKeys)) : undefined
        const at = { row, ...(id === undefined ? {} : { id }), message, hint }
        refusing.refuse(row, reason === "shape" ? misshaped(at) : new UnsupportedRow({ ...at, reason }))
      }
      return rows
    })
  )
}

const idOf = (value: Row, keys: ReadonlyArray<string>): unknown => {
  const key = keys.find((one) => value[one] !== undefined && value[one] !== null)
  return key === undefined ? undefined : value[key]
}
