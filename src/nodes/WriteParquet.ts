/**
 * Makes a node that writes rows of one artifact as Parquet files, for whatever reads Parquet.
 *
 * Not a shard format: rows between nodes stay as they are, and this is for the end of a pipeline. Columns follow from
 * the artifact's Schema (`ParquetForm.ts`); a Schema that has no Parquet form is an error before any row is read. A row
 * with a value that no file can hold (half of a character, an integer that its column has no room for) is refused, and
 * the others are written.
 */
import { join } from "node:path"
import { Effect, Schema, Stream } from "effect"
import type { Rows, RowsArtifact } from "../dag/Artifact.ts"
import { tree } from "../dag/Artifact.ts"
import { sha256 } from "../dag/Canonical.ts"
import { whole } from "../dag/Node.ts"
import { formOf } from "../data/ParquetForm.ts"
import { openParquetSink } from "../data/ParquetWriter.ts"
import { Positive } from "./Params.ts"

/** A folder of Parquet files of equal columns: `part-00000.parquet` and on. */
export const ParquetFiles = tree("parquet-files")

/** A row that cannot be written: `row` counts from 0 in the input. */
export class UnwritableRow extends Schema.TaggedError<UnwritableRow>()("UnwritableRow", {
  row: Schema.Number,
  id: Schema.optional(Schema.String),
  /** With dots for what lies inside of one. */
  column: Schema.optional(Schema.String),
  message: Schema.String,
  hint: Schema.String
}) {}

/** The columns are part of the version, so that another Schema over the same rows is another result. */
const versionOf = (schema: Schema.Codec<any, any>): string =>
  `2, columns ${sha256(JSON.stringify(formOf(schema).elements)).slice(0, 12)}`

/**
 * A node for rows of `artifact`: `writeParquet(Captions)` is a definition like any other. Throws `ParquetFault` where
 * the artifact's Schema has no Parquet form.
 *
 * @example
 * ```ts
 * const files = writeParquet(Captions)({ rows: captions.out.rows }, { fileRows: 100_000, groupRows: 10_000 })
 * ```
 */
export const writeParquet = <const Tag extends string, Row>(artifact: RowsArtifact<Tag, Row>) =>
  whole(
    {
      id: "writeParquet",
      version: versionOf(artifact.schema),
      about: `Writes ${artifact.tag} as Parquet files, zstd, nested lists included.`,
      params: Schema.Struct({
        /** Rows a file. */
        fileRows: Positive,
        /** Rows a row group at most; one of 64 MiB ends sooner. */
        groupRows: Positive
      }),
      inputs: { rows: artifact },
      outputs: { files: ParquetFiles },
      refuses: [UnwritableRow]
    },
    ({ inputs, params, refuse }) =>
      Effect.succeed({
        files: Effect.fnUntraced(function* (folder: string) {
          const { fileRows, groupRows } = params
          const open = (file: number) =>
            openParquetSink(join(folder, `part-${String(file).padStart(5, "0")}.parquet`), artifact.schema, {
              groupRows
            })
          let file = 0
          let left = fileRows
          let sink = yield* open(file)
          let seen = 0
          const take = Effect.fnUntraced(function* (batch: ReadonlyArray<Row>) {
            for (let at = 0; at < batch.length; ) {
              if (left === 0) {
                yield* sink.finish
                sink = yield* open(++file)
                left = fileRows
              }
              const rows = batch.slice(at, at + left)
              const first = seen + at
              left -= yield* sink.write(rows, (i, { cause, column }) => {
                const row = first + i
                const { id } = rows[i] as { readonly id?: unknown }
                const named = typeof id === "string" && id.isWellFormed() ? { id } : {}
                const message = cause instanceof Error ? cause.message : String(cause)
                refuse(
                  row,
                  new UnwritableRow({ row, ...named, ...(column === undefined ? {} : { column }), message, hint })
                )
              })
              at += rows.length
            }
            seen += batch.length
          })
          // `Handle` of a generic artifact is not resolved by the compiler; it is this.
          yield* Stream.runForEach((inputs.rows as Rows<Row>).batches, take)
          yield* sink.finish
        })
      })
  )

const hint = "Fix the value in the source; the other rows are written."
