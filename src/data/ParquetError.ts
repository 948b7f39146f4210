/**
 * What can go wrong with a Parquet file, read or written, as one typed error. Pure.
 *
 * Bytes that cannot be trusted end the file; a value that cannot be, in pages that can, costs its row
 * (`BadParquetRow`). A row of the wrong shape is its node's matter.
 */
import { Schema } from "effect"

export class ParquetError extends Schema.TaggedError<ParquetError>()("ParquetError", {
  path: Schema.String,
  reason: Schema.Literals([
    "not-parquet",
    "truncated",
    "damaged",
    "unsupported",
    "no-column",
    "out-of-range",
    "no-form",
    "bad-value",
    "too-large",
    "unreadable",
    "unwritable"
  ]),
  /** The column, with dots for what lies inside of it; absent where the whole file is meant. */
  column: Schema.optional(Schema.String),
  /** Row group from 0; absent where none is meant. */
  rowGroup: Schema.optional(Schema.Number),
  /** Row from 0 in the file; absent where no single row is meant. */
  row: Schema.optional(Schema.Number),
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/**
 * One row of a file with a value that stands for nothing, or with more values than a row may have; the others are fine.
 */
export class BadParquetRow extends Schema.TaggedError<BadParquetRow>()("BadParquetRow", {
  path: Schema.String,
  row: Schema.Number,
  column: Schema.String,
  reason: Schema.Literals(["value", "too-large"]),
  message: Schema.String,
  hint: Schema.String
}) {}

type Reason = ParquetError["reason"]

const hints: Record<Reason, string> = {
  "not-parquet": "Give a Parquet file; for JSON the name must end in .json or .jsonl.",
  truncated: "The file is cut short; download it again and compare its size and digest.",
  damaged: "The bytes are not what was written; download the file again and compare its digest.",
  unsupported: "Leave the column out with `ignore`, or write the file again without it.",
  "no-column": "Check the spelling; what lies inside of a column is named with dots, such as image.path.",
  "out-of-range": 'Read the file with int64: "bigint", or leave the column out with `ignore`.',
  "no-form": "Map the rows to a schema of texts, numbers, booleans, bytes, lists and structs first.",
  "too-large": "The file claims more than its bytes can hold; download it again and compare its digest.",
  "bad-value": "The rows are not what their schema says; fix the node that makes them.",
  unreadable: "Check that the file exists and may be read.",
  unwritable: "Check the disk's free space and the folder's permissions, then run again."
}

/** What a step knows before it knows file, column or row; turned into a `ParquetError` by whoever does. */
export class ParquetFault extends Error {
  override readonly name = "ParquetFault"
  readonly reason: Reason
  readonly column: string | undefined
  readonly hint: string | undefined

  constructor(
    reason: Reason,
    message: string,
    options: { readonly column?: string | undefined; readonly hint?: string; readonly cause?: unknown } = {}
  ) {
    super(message, { cause: options.cause })
    this.reason = reason
    this.column = options.column
    this.hint = options.hint
  }
}

/** Bytes that are not what the format says. */
export const damaged = (message: string, column?: string): ParquetFault =>
  new ParquetFault("damaged", message, { column })

/**
 * A value that its bytes do not stand for, in a page that is sound: text that is not UTF-8, a time of day of 30 hours.
 */
export class CellFault extends ParquetFault {
  constructor(message: string, options: { readonly column?: string; readonly cause?: unknown } = {}) {
    super("damaged", message, options)
  }
}

const words = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

const place = ({ row, rowGroup }: { readonly row?: number; readonly rowGroup?: number }): string =>
  row === undefined ? "" : ` (${rowGroup === undefined ? "" : `row group ${rowGroup}, `}row ${row})`

/** Any failure as a `ParquetError` of this file; what a decoder throws over untrusted bytes is damage. */
export const errorOf = (
  path: string,
  cause: unknown,
  at: {
    readonly reason?: Reason
    readonly column?: string | undefined
    readonly row?: number
    readonly rowGroup?: number
  } = {}
): ParquetError => {
  if (cause instanceof ParquetError) return cause
  const fault = cause instanceof ParquetFault ? cause : undefined
  const reason = fault?.reason ?? at.reason ?? "damaged"
  const column = fault?.column ?? at.column
  return new ParquetError({
    path,
    reason,
    ...(column === undefined ? {} : { column }),
    ...(at.rowGroup === undefined ? {} : { rowGroup: at.rowGroup }),
    ...(at.row === undefined ? {} : { row: at.row }),
    message: `${path}: ${column === undefined ? "" : `column ${column}: `}${words(cause)}${place(at)}`,
    hint: fault?.hint ?? hints[reason],
    cause: fault?.cause ?? cause
  })
}
