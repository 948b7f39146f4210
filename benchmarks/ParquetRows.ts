/** The one place that names our Parquet reader. */
import { zstdDecompressSync } from "node:zlib"
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from "hyparquet"

/** Rows of a Parquet file as objects, a row group at a time. */
export async function* parquetBatches(path: string): AsyncGenerator<ReadonlyArray<unknown>> {
  const file = await asyncBufferFromFile(path)
  const metadata = await parquetMetadataAsync(file)
  const compressors = { ZSTD: (input: Uint8Array) => new Uint8Array(zstdDecompressSync(input)) }
  let rowStart = 0
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows)
    yield await parquetReadObjects({ file, metadata, compressors, rowStart, rowEnd })
    rowStart = rowEnd
  }
}
