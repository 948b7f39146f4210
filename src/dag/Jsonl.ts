/**
 * The default shard format: one JSON document a line, encoded by the artifact's Schema.
 *
 * Not for tensors: bytes travel as base64 here, and -0 reads back as 0; pixels and features have `arrow/2`. Random access reads the shard once
 * to find its line starts (8 bytes a row stay in memory), then only the ranges asked for.
 */
import { Effect, Option, Schema, Stream } from "effect"
import { type RandomAccess, type ShardFormat, ShardFormatError } from "./Format.ts"

const BATCH_BYTES = 1 << 20
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
  const text = new TextEncoder()
  const parse = (bytes: Uint8Array, row: number): Effect.Effect<Row, ShardFormatError> =>
    Effect.try({
      try: () => decode(JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"))),
      catch: (cause) => damaged(row, cause instanceof Error ? cause.message : String(cause), cause)
    })
  return {
    id: "jsonl/1",
    extension: "jsonl",
    encoder: () => ({
      append: (batch) => [text.encode(batch.map((row) => JSON.stringify(encode(row)) + "\n").join(""))],
      finish: () => []
    }),
    open: Effect.fnUntraced(function* (bytes: RandomAccess) {
      const starts = yield* lineStarts(bytes)
      const rows = starts.length - 1
      const line = (row: number) =>
        Effect.flatMap(bytes.read(starts[row]!, starts[row + 1]! - starts[row]! - 1), (raw) => parse(raw, row))
      const batch = Effect.fnUntraced(function* (from: number) {
        let to = from
        while (to < rows && (to === from || starts[to + 1]! - starts[from]! <= BATCH_BYTES)) to++
        const base = starts[from]!
        const raw = yield* bytes.read(base, starts[to]! - base)
        const out: Array<Row> = []
        for (let row = from; row < to; row++) {
          out.push(yield* parse(raw.subarray(starts[row]! - base, starts[row + 1]! - base - 1), row))
        }
        return [out as ReadonlyArray<Row>, to] as const
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
