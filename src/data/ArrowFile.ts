/**
 * Finds the record batches of an Arrow IPC file and where each buffer lies, reading metadata only.
 *
 * Not a general Arrow reader: it takes uncompressed, little-endian files without dictionaries or nulls whose columns
 * are those that were declared, and says what is different otherwise. Everything read is checked against the file's
 * size before it is used. Format: https://arrow.apache.org/docs/format/Columnar.html, "IPC File Format".
 *
 * Units: bytes from the start of the file.
 */
import { Effect } from "effect"
import { type RandomAccess, ShardFormatError } from "../dag/Format.ts"
import type { Column } from "./ArrowColumn.ts"
import { FlatTable, FlatTableError } from "./FlatTable.ts"

/** A buffer of a batch; `length` may include padding. */
export interface BufferPlace {
  readonly offset: number
  readonly length: number
}

/** A record batch: its rows and, column by column, its buffers. */
export interface BatchPlace {
  readonly rows: number
  readonly columns: ReadonlyArray<ReadonlyArray<BufferPlace>>
}

export type AnyColumn = Column<any>

const MAGIC = "ARROW1"
/** Metadata of a footer or of a batch at most: 64 MiB, some 2.5 million batches. */
const MAX_METADATA = 1 << 26
const METADATA_V5 = 4
const RECORD_BATCH = 3

/** A shard that is damaged or of another kind. */
export const damaged = (message: string, cause?: unknown): ShardFormatError =>
  new ShardFormatError({
    format: "arrow/2",
    message,
    hint: "The shard is cut, damaged or of other columns; delete it and run again, the store recomputes it alone.",
    cause
  })

/** Runs a pure step over untrusted bytes. */
export const guarded = <A>(step: () => A): Effect.Effect<A, ShardFormatError> =>
  Effect.try({
    try: step,
    catch: (cause) =>
      cause instanceof ShardFormatError ? cause : damaged(cause instanceof Error ? cause.message : String(cause), cause)
  })

/** The canonical name of a field's type, as `Column.name` has it. */
const typeName = (field: FlatTable, depth = 0): string => {
  const type = field.table(3)
  if (type === undefined) throw new FlatTableError("a field without a type")
  const children = field.tables(5)
  const item = children.length === 1 && depth < 2 ? typeName(children[0]!, depth + 1) : "?"
  switch (field.u8(2)) {
    case 2:
      return `${type.u8(1) === 1 ? "int" : "uint"}${type.i32(0)}`
    case 3:
      return `float${16 << type.i16(0)}`
    case 5:
      return "utf8"
    case 6:
      return "bool"
    case 15:
      return `fixedBytes(${type.i32(0)})`
    case 12:
      return `list(${item})`
    case 16:
      return item === "float32" ? `fixedFloats(${type.i32(0)})` : "fixedSizeList"
    default:
      return `type ${field.u8(2)}`
  }
}

/** Compares the file's schema with what was declared. */
const checkSchema = (schema: FlatTable | undefined, columns: ReadonlyArray<readonly [string, AnyColumn]>): void => {
  if (schema === undefined) throw damaged("the footer has no schema")
  if (schema.i16(0) !== 0) throw damaged("the file is big-endian")
  const found = schema.tables(1).map((field) => `${field.string(0)}: ${typeName(field)}`)
  const wanted = columns.map(([name, column]) => `${name}: ${column.name}`)
  if (found.join("\n") !== wanted.join("\n")) {
    throw damaged(`the file has columns { ${found.join(", ")} }, declared are { ${wanted.join(", ")} }`)
  }
}

interface Block {
  readonly offset: number
  readonly metadata: number
  readonly body: number
}

const blocksOf = (footer: FlatTable, end: number): ReadonlyArray<Block> => {
  if (footer.i16(0) !== METADATA_V5) throw damaged(`metadata version ${footer.i16(0) + 1} is not 5`)
  if (footer.vector(2, 24).length > 0) throw damaged("the file has dictionaries")
  const { at, length } = footer.vector(3, 24)
  return Array.from({ length }, (_, i) => {
    const offset = footer.sizeAt(at + i * 24)
    const metadata = footer.view.getInt32(at + i * 24 + 8, true)
    const body = footer.sizeAt(at + i * 24 + 16)
    const fits = offset >= 8 && metadata >= 16 && metadata <= MAX_METADATA && offset + metadata + body <= end
    if (!fits) throw damaged(`record batch ${i} (${offset}+${metadata}+${body}) lies outside of ${end} bytes`)
    return { offset, metadata, body }
  })
}

/** Checks that each buffer is inside of the body and as large as the rows need. */
const placesOf = (message: Uint8Array, block: Block, columns: ReadonlyArray<AnyColumn>): BatchPlace => {
  const prefix = new DataView(message.buffer, message.byteOffset, message.byteLength)
  const bytes = prefix.getInt32(4, true)
  if (prefix.getInt32(0, true) !== -1 || bytes < 8 || bytes > message.byteLength - 8) {
    throw damaged(`no message starts at byte ${block.offset}`)
  }
  const root = FlatTable.root(message.subarray(8, 8 + bytes))
  const batch = root.table(2)
  if (root.u8(1) !== RECORD_BATCH || batch === undefined) throw damaged(`no record batch at byte ${block.offset}`)
  if (batch.table(3) !== undefined) throw damaged("the record batch is compressed")
  const rows = batch.size(0)
  const nodes = batch.vector(1, 16)
  const buffers = batch.vector(2, 16)
  const wantedNodes = columns.reduce((n, column) => n + column.nodes, 0)
  const wantedBuffers = columns.reduce((n, column) => n + column.buffers, 0)
  if (nodes.length !== wantedNodes || buffers.length !== wantedBuffers || rows > 0x7fffffff) {
    throw damaged(
      `the batch at byte ${block.offset} has ${nodes.length} nodes, ${buffers.length} buffers, ${rows} rows`
    )
  }
  for (let i = 0; i < nodes.length; i++) {
    if (batch.sizeAt(nodes.at + i * 16 + 8) !== 0) throw damaged(`the batch at byte ${block.offset} has nulls`)
  }
  const start = block.offset + block.metadata
  let next = 0
  const places = columns.map((column) =>
    Array.from({ length: column.buffers }, () => {
      const at = buffers.at + next++ * 16
      const offset = batch.sizeAt(at)
      const length = batch.sizeAt(at + 8)
      if (offset + length > block.body) throw damaged(`a buffer of the batch at byte ${block.offset} leaves its body`)
      return { offset: start + offset, length }
    })
  )
  columns.forEach(({ layout, name }, i) => {
    const data = places[i]![layout.data]!.length
    const short =
      layout.kind === "fixed"
        ? data < rows * layout.width
        : layout.kind === "bits"
          ? data * 8 < rows
          : rows > 0 && places[i]![layout.offsets]!.length < (rows + 1) * 4
    if (short) throw damaged(`a ${name} column of the batch at byte ${block.offset} is too short for ${rows} rows`)
  })
  return { rows, columns: places }
}

/** Reads footer and batch metadata; one small read a batch. */
export const openArrowFile = Effect.fnUntraced(function* (
  bytes: RandomAccess,
  columns: ReadonlyArray<readonly [string, AnyColumn]>
): Effect.fn.Return<ReadonlyArray<BatchPlace>, ShardFormatError> {
  if (bytes.size < 8 + 10) return yield* damaged(`${bytes.size} bytes are too few for an Arrow file`)
  const head = yield* bytes.read(0, 8)
  const tail = yield* bytes.read(bytes.size - 10, 10)
  const footerBytes = new DataView(tail.buffer, tail.byteOffset, tail.byteLength).getInt32(0, true)
  const isMagic = (at: Uint8Array): boolean => String.fromCharCode(...at) === MAGIC
  if (!isMagic(head.subarray(0, 6)) || !isMagic(tail.subarray(4))) {
    return yield* damaged("the file does not start and end with ARROW1")
  }
  if (footerBytes < 8 || footerBytes > MAX_METADATA || footerBytes > bytes.size - 18) {
    return yield* damaged(`a footer of ${footerBytes} bytes cannot be`)
  }
  const footerAt = bytes.size - 10 - footerBytes
  const footer = yield* bytes.read(footerAt, footerBytes)
  const blocks = yield* guarded(() => {
    const table = FlatTable.root(footer)
    checkSchema(table.table(1), columns)
    return blocksOf(table, footerAt)
  })
  const types = columns.map(([, column]) => column)
  const batches: Array<BatchPlace> = []
  for (const block of blocks) {
    const message = yield* bytes.read(block.offset, block.metadata)
    batches.push(yield* guarded(() => placesOf(message, block, types)))
  }
  return batches
})
