/**
 * The default shard format: one JSON document a line, encoded by the artifact's Schema.
 *
 * Not for tensors: bytes travel as base64 here, and -0 reads back as 0; pixels and features have `arrow/2`. Random
 * access reads the shard once to find its line starts (8 bytes a row stay in memory), then only the ranges asked for.
 */
import { Effect, Option, Schema, Stream } from "effect"
import { type RandomAccess, type ShardFormat, ShardFormatError } from "./Format.ts"

const BATCH_BYTES = 1 << 20
/** Small rows are encoded together up to this many UTF-16 units; joining long ones costs twice their encoding. */
const PIECE_UNITS = 1 << 12
const newline = 10

const damaged = (row: number, message: string, cause?: unknown) =>
  new ShardFormatError({
    format: "jsonl/1",
    message: `row ${row}: ${message}`,
    hint: "The shard's bytes are not what was written; `--verify` finds and recomputes damaged shards.",
    ...(cause === undefined ? {} : { cause })
  })

/** Byte offset of each line start, and the end of the last line. */
const lineStarts = (bytes: RandomAccess): Effect.Effect<Float64Array, ShardFormatError> =>
  Effect.gen(function* () {
    const starts: Array<number> = [0]
    for (let offset = 0; offset < bytes.size; offset += BATCH_BYTES) {
      const chunk = yield* bytes.read(offset, Math.min(BATCH_BYTES, bytes.size - offset))
      for (let i = chunk.indexOf(newline); i >= 0; i = chunk.indexOf(newline, i + 1)) starts.push(offset + i + 1)
    }
    if (starts[starts.length - 1] !== bytes.size)
      return yield* damaged(starts.length - 1, "the last line has no newline")
    return Float64Array.from(starts)
  })

/**
 * JSON lines of `schema`'s JSON encoding.
 *
 * @example
 * const format = jsonl(Schema.Struct({ id: Schema.String }))
 * format.encoder().append([{ id: "a" }]) // [bytes of {"id":"a"}\n]
 */
export const jsonl = <Row>(schema: Schema.Codec<Row, any>): ShardFormat<Row> => {
  const codec = Schema.toCodecJson(schema) as Schema.Codec<Row, unknown>
  const encode = Schema.encodeSync(codec)
  const decode = Schema.decodeUnknownSync(codec)
  /** Rows `from` on, as many as `ends` says; `bytes[ends[i]]` is the newline after the i-th. */
  const parse = (
    bytes: Uint8Array,
    from: number,
    ends: ReadonlyArray<number>
  ): Effect.Effect<ReadonlyArray<Row>, ShardFormatError> =>
    Effect.suspend(() => {
      const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      const rows: Array<Row> = []
      let start = 0
      try {
        for (const end of ends) {
          rows.push(decode(JSON.parse(text.toString("utf8", start, end))))
          start = end + 1
        }
      } catch (cause) {
        return Effect.fail(damaged(from + rows.length, cause instanceof Error ? cause.message : String(cause), cause))
      }
      return Effect.succeed(rows)
    })
  const pieces = (batch: ReadonlyArray<Row>): ReadonlyArray<Uint8Array> => {
    const out: Array<Uint8Array> = []
    let text = ""
    for (const row of batch) {
      text += JSON.stringify(encode(row)) + "\n"
      if (text.length < PIECE_UNITS) continue
      out.push(Buffer.from(text, "utf8"))
      text = ""
    }
    if (text !== "") out.push(Buffer.from(text, "utf8"))
    return out
  }
  return {
    id: "jsonl/1",
    extension: "jsonl",
    encoder: () => ({
      append: pieces,
      finish: () => []
    }),
    open: Effect.fnUntraced(function* (bytes: RandomAccess) {
      const starts = yield* lineStarts(bytes)
      const rows = starts.length - 1
      const line = Effect.fnUntraced(function* (row: number) {
        const size = starts[row + 1]! - starts[row]! - 1
        const [one] = yield* parse(yield* bytes.read(starts[row]!, size), row, [size])
        return one!
      })
      const batch = Effect.fnUntraced(function* (from: number) {
        let to = from
        while (to < rows && (to === from || starts[to + 1]! - starts[from]! <= BATCH_BYTES)) to++
        const base = starts[from]!
        const raw = yield* bytes.read(base, starts[to]! - base)
        const ends = Array.from(starts.subarray(from + 1, to + 1), (next) => next - base - 1)
        return [yield* parse(raw, from, ends), to] as const
      })
      return {
        rows,
        batches: Stream.paginate(0, (from) =>
          from >= rows
            ? Effect.succeed([[], Option.none<number>()] as const)
            : Effect.map(batch(from), ([out, to]) => [[out], Option.some(to)] as const)
        ),
        get: (indices) =>
          Effect.forEach(indices, (row) =>
            Number.isInteger(row) && row >= 0 && row < rows
              ? line(row)
              : Effect.fail(damaged(row, `no such row among ${rows}`))
          )
      }
    })
  }
}
