/**
 * Reads huge JSON arrays (and JSON Lines) as a stream of batches of parsed rows, in bounded memory.
 *
 * Not a JSON parser: bytes are cut at top-level commas by `JsonSplitter`, and each element goes through `parseJson`,
 * which keeps whole numbers exact (bigints beyond 2^53) and takes Python's `NaN` and `Infinity` for null. Not a
 * validator of rows: a row is `unknown` until a node decodes it with a Schema.
 *
 * Units: `offset` and `length` are bytes of the (decompressed) file, `index` is the row, from 0, refused rows counted.
 * Memory: two read buffers of `chunkBytes`, one unfinished element of at most `maxRowBytes`, one batch of parsed rows.
 */
import { isUtf8 } from "node:buffer"
import { open } from "node:fs/promises"
import { basename } from "node:path"
import { Schema, Stream } from "effect"
import { sniffFile, type WrongFile, wrongFile } from "../dag/WrongFile.ts"
import { readCompressed } from "./Compressed.ts"
import { type JsonSpan, JsonSplitter, LineSplitter, type SplitterFault } from "./JsonSplitter.ts"
import { parseJson } from "./JsonText.ts"

/** The file as a whole cannot be read further: not an array, cut short, unreadable. */
export class JsonError extends Schema.TaggedError<JsonError>()("JsonError", {
  path: Schema.String,
  reason: Schema.Literals(["empty", "wrong-file", "not-an-array", "truncated", "trailing", "encoding", "unreadable"]),
  /** Bytes from the start of the (decompressed) file. */
  offset: Schema.Number,
  row: Schema.Number,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

/**
 * One element that is not JSON, or too large to be taken, although its borders are known; the rows around it are fine.
 */
export class BadJsonRow extends Schema.TaggedError<BadJsonRow>()("BadJsonRow", {
  path: Schema.String,
  row: Schema.Number,
  /** Bytes. */
  offset: Schema.Number,
  /** Bytes. */
  length: Schema.Number,
  reason: Schema.Literals(["syntax", "missing-value", "invalid-utf8", "too-large", "too-deep"]),
  message: Schema.String,
  hint: Schema.String
}) {}

/** One parsed element and where it came from. */
export interface JsonRow {
  readonly index: number
  /** Bytes from the start of the (decompressed) file. */
  readonly offset: number
  readonly value: unknown
}

/** Rows in file order, and the rows that had to be refused between them. */
export interface JsonBatch {
  readonly rows: ReadonlyArray<JsonRow>
  readonly refused: ReadonlyArray<BadJsonRow>
}

/** How to cut. Every field has a default. */
export interface JsonOptions {
  /**
   * `array` (one top-level array) or `lines` (JSON Lines). Default: by extension, `.jsonl`/`.ndjson` are lines, unless
   * the first character is `[`: a row is no array, and `datasets` reads such a file as the array that it is.
   */
  readonly layout?: "array" | "lines"
  /** Rows a batch at most. Default 1,024; a batch also ends with each chunk. */
  readonly batchRows?: number
  /** Bytes read at a time. Default 1 MiB: measured faster than 256 KiB and 4 MiB, at half the memory of the latter. */
  readonly chunkBytes?: number
  /** Bytes of one element at most; a larger one is refused. Default 64 MiB. */
  readonly maxRowBytes?: number
  /** Brackets inside of each other at most: beyond some 3,000 a value cannot be written again. Default 1,000. */
  readonly maxDepth?: number
}

const MIB = 1024 * 1024

const hints: Record<JsonError["reason"], string> = {
  empty: "The file holds no JSON; download it again and compare its size and digest.",
  "wrong-file": "Give a JSON file; download it again.",
  "not-an-array": "Expected one top-level `[...]`; a file of one object a line must be called .jsonl or .ndjson.",
  truncated:
    "The file ends inside the array; download it again. If it is complete, the named row has an unescaped quote or an unclosed bracket.",
  trailing: "Text follows the closing bracket; are two files concatenated?",
  encoding: "Convert the file to UTF-8 (for example `iconv -f UTF-16 -t UTF-8`).",
  unreadable: "Check that the file exists, may be read, and that its compression is intact."
}

const hasCode = (cause: unknown): cause is { readonly code: string; readonly message: string } =>
  typeof cause === "object" && cause !== null && "code" in cause && "message" in cause

/** Chunks of a plain file; the next chunk is read while the present one is parsed. A chunk dies with the next pull. */
async function* readPlain(path: string, chunkBytes: number): AsyncGenerator<Buffer> {
  const file = await open(path, "r")
  let pending: Promise<{ readonly bytesRead: number; readonly buffer: Buffer }> | undefined
  try {
    const buffers = [Buffer.allocUnsafe(chunkBytes), Buffer.allocUnsafe(chunkBytes)] as const
    pending = file.read(buffers[0], 0, chunkBytes, null)
    for (let turn = 1; ; turn++) {
      const { bytesRead, buffer } = await pending
      pending = undefined
      if (bytesRead === 0) return
      pending = file.read(buffers[(turn & 1) as 0 | 1], 0, chunkBytes, null)
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await pending?.catch(() => undefined) // the reader has gone: only the handle must outlive its last read
    await file.close()
  }
}

const wrongError = (path: string, { hint, message }: WrongFile): JsonError =>
  new JsonError({ path, reason: "wrong-file", offset: 0, row: 0, message: `${path}: ${message}`, hint })

/**
 * Bytes of a file, decompressed by extension (`.gz`, `.zst`), after a look at what it is. A chunk may be reused after
 * the next pull.
 */
async function* readChunks(path: string, chunkBytes: number): AsyncGenerator<Buffer> {
  const packed = /\.(gz|zst)$/i.exec(path)?.[1]?.toLowerCase() as "gz" | "zst" | undefined
  if (packed !== undefined) {
    const wrong = await sniffFile(path, packed === "gz" ? "gzip" : "zstd")
    // Of nothing at all the decompressor says that it is cut.
    if (wrong !== undefined && wrong.kind !== "empty") throw wrongError(path, wrong)
  }
  let looked = false
  for await (const chunk of packed === undefined
    ? readPlain(path, chunkBytes)
    : readCompressed(path, packed, chunkBytes)) {
    if (!looked) {
      looked = true
      const wrong = wrongFile(chunk, chunk.length, "json")
      if (wrong !== undefined) throw wrongError(path, wrong)
    }
    yield chunk
  }
}

const layoutOf = (path: string): "array" | "lines" => (/\.(jsonl|ndjson)(\.(gz|zst))?$/i.test(path) ? "lines" : "array")

/** Whether the first character is `[`, in the first chunk. */
const beginsArray = (bytes: Buffer): boolean => /^(?:\xef\xbb\xbf)?[\s]*\[/.test(bytes.toString("latin1", 0, 4096))

const faultError = (path: string, fault: SplitterFault): JsonError =>
  new JsonError({
    path,
    reason: fault.reason,
    offset: fault.offset,
    row: fault.row,
    message: `${path}: ${fault.message} (byte ${fault.offset}, row ${fault.row})`,
    hint: hints[fault.reason]
  })

const refuse = (path: string, span: JsonSpan, reason: BadJsonRow["reason"], detail: string): BadJsonRow => {
  const length = span.length ?? span.end - span.start
  const look = `tail -c +${span.offset + 1} FILE | head -c ${Math.min(Math.max(length, 1), 2000)}`
  return new BadJsonRow({
    path: basename(path), // kept beside artifacts, which hold no path of one machine
    row: span.index,
    offset: span.offset,
    length,
    reason,
    message: `${basename(path)}: row ${span.index} at byte ${span.offset}: ${detail}`,
    hint:
      reason === "too-large"
        ? `No row needs so much: look for an unescaped quote or an unclosed bracket with: ${look}`
        : `Look at it with: ${look}`
  })
}

/**
 * Cuts and parses chunks that come from anywhere; `path` only names them in errors.
 *
 * Chunks may be reused by their producer once the next one is asked for.
 *
 * Long: one loop over chunks, whose state is the row that is cut by their ends.
 */
export async function* parseChunks(
  chunks: AsyncIterable<Uint8Array>,
  path: string,
  options: JsonOptions = {}
): AsyncGenerator<JsonBatch> {
  const limits = { maxRowBytes: options.maxRowBytes ?? 64 * MIB, maxDepth: options.maxDepth ?? 1000 }
  const batchRows = Math.max(1, options.batchRows ?? 1024)
  const splitterFor = (layout: "array" | "lines") =>
    layout === "array" ? new JsonSplitter(limits) : new LineSplitter(limits)
  let splitter = splitterFor(options.layout ?? layoutOf(path))
  let undecided = options.layout === undefined && layoutOf(path) === "lines"
  let rows: Array<JsonRow> = []
  let refused: Array<BadJsonRow> = []
  const parse = (span: JsonSpan): void => {
    if (span.fault !== undefined) {
      const limit = span.fault === "too-large" ? `${limits.maxRowBytes} bytes` : `${limits.maxDepth} levels of brackets`
      refused.push(refuse(path, span, span.fault, `it has more than ${limit}`))
      return
    }
    if (span.start === span.end) {
      refused.push(refuse(path, span, "missing-value", "nothing stands between two commas"))
      return
    }
    const bytes = span.bytes.subarray(span.start, span.end)
    if (!isUtf8(bytes)) {
      refused.push(refuse(path, span, "invalid-utf8", "the bytes are not UTF-8"))
      return
    }
    let value: unknown
    try {
      value = parseJson(span.bytes.toString("utf8", span.start, span.end))
    } catch (cause) {
      refused.push(refuse(path, span, "syntax", cause instanceof Error ? cause.message : String(cause)))
      return
    }
    rows.push({ index: span.index, offset: span.offset, value })
  }
  const drain = function* (
    spans: Iterator<JsonSpan, SplitterFault | undefined>
  ): Generator<JsonBatch, JsonError | undefined> {
    for (;;) {
      const next = spans.next()
      if (next.done) {
        if (rows.length + refused.length > 0) yield { rows, refused }
        rows = []
        refused = []
        return next.value === undefined ? undefined : faultError(path, next.value)
      }
      parse(next.value)
      if (rows.length + refused.length >= batchRows) {
        yield { rows, refused }
        rows = []
        refused = []
      }
    }
  }
  try {
    for await (const chunk of chunks) {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      if (undecided) {
        undecided = false
        if (beginsArray(bytes)) splitter = splitterFor("array")
      }
      const error = yield* drain(splitter.push(bytes))
      if (error !== undefined) throw error
    }
    const error = yield* drain(splitter.end())
    if (error !== undefined) throw error
  } catch (cause) {
    if (cause instanceof JsonError) throw cause
    const truncated = hasCode(cause) && (cause.code === "Z_BUF_ERROR" || cause.code === "ZSTD_error_srcSize_wrong")
    throw new JsonError({
      path,
      reason: truncated ? "truncated" : "unreadable",
      offset: splitter.consumed,
      row: splitter.rows,
      message: `${path}: ${hasCode(cause) ? cause.message : String(cause)} (after byte ${splitter.consumed}, row ${splitter.rows})`,
      hint: truncated ? "The compressed file is cut short; download it again." : hints.unreadable,
      cause
    })
  }
}

/**
 * Streams a JSON array or JSON Lines file as batches of `{ index, offset, value }`; `.gz` and `.zst` are decompressed.
 *
 * Elements that do not parse arrive in `refused`, in row order, and cost nothing else. Fails with `JsonError` when the
 * file cannot be followed any further; rows before that point have been delivered.
 *
 * @example
 * ```ts
 * const rows = readJson("sharegpt.json").pipe(Stream.runFold(() => 0, (n, batch) => n + batch.rows.length))
 * ```
 */
export const readJson = (path: string, options: JsonOptions = {}): Stream.Stream<JsonBatch, JsonError> =>
  Stream.suspend(() =>
    Stream.fromAsyncIterable(parseChunks(readChunks(path, options.chunkBytes ?? MIB), path, options), (cause) =>
      cause instanceof JsonError
        ? cause
        : new JsonError({
            path,
            reason: "unreadable",
            offset: 0,
            row: 0,
            message: `${path}: ${String(cause)}`,
            hint: hints.unreadable,
            cause
          })
    )
  )
