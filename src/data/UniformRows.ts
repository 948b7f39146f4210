/**
 * Arrow shards whose fixed width is known only once the first row is: pixels or features of a size that is a parameter.
 *
 * Same bytes as `arrowRows` with that width written out. An empty shard has width 1 and no rows. Rows of one shard must
 * all have the width of its first.
 */
import { Effect } from "effect"
import type { RandomAccess, ShardFormat } from "../dag/Format.ts"
import { damaged, guarded } from "./ArrowFile.ts"
import { arrowRows, fixedBytes, fixedFloats } from "./ArrowShard.ts"
import { FlatTable } from "./FlatTable.ts"

const FIXED_BYTES = 15
const FIXED_LIST = 16

/** The width of the named fixed-size column of an Arrow file: bytes of a binary, items of a list. */
const widthOf = Effect.fnUntraced(function* (bytes: RandomAccess, column: string) {
  if (bytes.size < 18) return yield* damaged(`${bytes.size} bytes are too few for an Arrow file`)
  const tail = yield* bytes.read(bytes.size - 10, 10)
  const length = new DataView(tail.buffer, tail.byteOffset, tail.byteLength).getInt32(0, true)
  if (length < 8 || length > bytes.size - 18) return yield* damaged(`a footer of ${length} bytes cannot be`)
  const footer = yield* bytes.read(bytes.size - 10 - length, length)
  return yield* guarded(() => {
    const fields = FlatTable.root(footer).table(1)?.tables(1) ?? []
    const field = fields.find((one) => one.string(0) === column)
    const width = field?.table(3)?.i32(0) ?? 0
    if (field === undefined || ![FIXED_BYTES, FIXED_LIST].includes(field.u8(2)) || width < 1)
      throw damaged(`there is no fixed-size column ${column}`)
    return width
  })
})

const uniform = <Row>(
  id: string,
  column: keyof Row & string,
  widthOfRow: (row: Row) => number,
  format: (width: number) => ShardFormat<Row>
): ShardFormat<Row> => ({
  id,
  extension: "arrow",
  encoder: () => {
    let inner: ReturnType<ShardFormat<Row>["encoder"]> | undefined
    return {
      append: (batch) => {
        const first = batch[0]
        if (first === undefined) return []
        inner ??= format(widthOfRow(first)).encoder()
        return inner.append(batch)
      },
      finish: () => (inner ?? format(1).encoder()).finish()
    }
  },
  open: (bytes) => Effect.flatMap(widthOf(bytes, column), (width) => format(width).open(bytes))
})

/** A row of `id` and pixels: S * S * 3 bytes, height, width, channel. */
export interface PixelRow {
  readonly id: string
  readonly pixels_HWC: Uint8Array
}

/**
 * Pixels of one size, any size.
 *
 * @example
 * rows("pixels", PixelRow, { format: pixelRows })
 */
export const pixelRows: ShardFormat<PixelRow> = uniform(
  "arrow/2",
  "pixels_HWC",
  (row) => row.pixels_HWC.length,
  (width) => arrowRows({ id: "utf8", pixels_HWC: fixedBytes(width) })
)

/** A row of `id` and features: P * D floats, patch by patch, of the tower's hidden state `featureLayer`. */
export interface FeatureRow {
  readonly id: string
  readonly featureLayer: number
  readonly features_PD: Float32Array
}

/** Image features of one size, any size. */
export const featureRows: ShardFormat<FeatureRow> = uniform(
  // The first form had no column of layers.
  "arrow/3",
  "features_PD",
  (row) => row.features_PD.length,
  (width) => arrowRows({ id: "utf8", featureLayer: "int32", features_PD: fixedFloats(width) })
)
