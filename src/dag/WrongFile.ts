/**
 * Says what a file is when it is not what its reader expected: a Git LFS pointer, a web page saved under the name of
 * the data, a server's error, a packed file by another name, nothing at all.
 *
 * Not a reader and no judge of a right file: a reader asks only for what it does not recognise, and says what of its
 * own is truncated or damaged. One function for every reader, so that the same wrong file gets the same words
 * everywhere.
 *
 * Pure, but for `sniffFile` and `readJsonDocument`. Units: bytes. Sources: each format's own magic number; the answers
 * of the Hugging Face hub, S3 and Azure as they are saved by a download that ignores the status.
 */
import { open, readFile } from "node:fs/promises"

/** What a reader wanted: it recognises these itself, so that they are not wrong for it. */
export type Wanted = "json" | "parquet" | "arrow" | "zip" | "tar" | "safetensors" | "torch" | "image" | "gzip" | "zstd"

/** What a file is instead, for a message (`path: is ...`), and what to do about it. */
export interface WrongFile {
  readonly kind: string
  readonly message: string
  readonly hint: string
}

/** Bytes of a file's beginning that are enough for `wrongFile`. */
export const HEAD_BYTES = 4096

/** A wrong file as something to throw; readers put `message` and `hint` into their own error. */
export class WrongFileFault extends Error {
  override readonly name = "WrongFileFault"
  readonly kind: string
  readonly hint: string

  constructor({ hint, kind, message }: WrongFile, cause?: unknown) {
    super(message, { cause })
    this.kind = kind
    this.hint = hint
  }
}

const again = "Download it again, and look at what the server answers (`curl -I URL`)."

const named = (kind: string, what: string, hint: string): WrongFile => ({ kind, message: `is ${what}`, hint })

/** Kinds known by their first bytes, as latin-1. `is`: what a reader that wants it calls it. */
const magics: ReadonlyArray<{
  readonly at?: number
  readonly magic: string
  readonly is?: Wanted | "picture"
  readonly kind: string
  readonly what: string
  readonly hint: string
}> = [
  packed("gzip", "\x1f\x8b", "gunzip", "gzip"),
  packed("zstd", "\x28\xb5\x2f\xfd", "zstd -d", "zstd"),
  packed("bzip2", "1AY&SY", "bunzip2", undefined, 4),
  packed("xz", "\xfd7zXZ\0", "unxz"),
  packed("lz4", "\x04\x22\x4d\x18", "lz4 -d"),
  packed("7z", "7z\xbc\xaf\x27\x1c", "7z x"),
  packed("rar", "Rar!\x1a\x07", "unrar x"),
  data("parquet", "PAR1", "a Parquet file", ".parquet", "parquet"),
  data("arrow", "ARROW1", "an Arrow file", ".arrow", "arrow"),
  data("hdf5", "\x89HDF\r\n\x1a\n", "an HDF5 file", ".h5"),
  data("sqlite", "SQLite format 3\0", "an SQLite database", ".sqlite"),
  data("numpy", "\x93NUMPY", "a NumPy array", ".npy"),
  data("gguf", "GGUF", "a GGUF file of llama.cpp", ".gguf"),
  data("tar", "ustar", "a tar archive", ".tar", "tar", 257),
  data("pdf", "%PDF", "a PDF document", ".pdf", "picture"),
  data("jpeg", "\xff\xd8\xff", "a JPEG image", ".jpg", "picture"),
  data("png", "\x89PNG\r\n\x1a\n", "a PNG image", ".png", "picture"),
  data("gif", "GIF8", "a GIF image", ".gif", "picture")
]

function packed(kind: string, magic: string, command: string, is?: Wanted, at = 0) {
  return {
    kind,
    magic,
    at,
    what: `packed with ${kind}`,
    hint: `Unpack it (\`${command} FILE\`), or give it the name that says so.`,
    ...(is === undefined ? {} : { is })
  }
}

function data(kind: string, magic: string, what: string, ending: string, is?: Wanted | "picture", at = 0) {
  const hint = `Give it a name that ends in ${ending} where such files are read, or check the path.`
  return { kind, magic, at, what, hint, ...(is === undefined ? {} : { is }) }
}

/** Short answers of the hub and of web servers, saved as they came. */
const ANSWER =
  /^(invalid (username|credentials)|(repository|entry|revision|file|page|model|dataset) not found|not found|unauthori[sz]ed|forbidden|access (to|denied)|too many requests|rate limit|internal server error|bad gateway|service unavailable|gateway time-?out|error \d{3}|\d{3}[: ]+[a-z]|<?(no such key|access denied))/i

const oneLine = (text: string): string => {
  const line = text.replace(/\s+/g, " ").trim()
  return line.length > 100 ? `${line.slice(0, 100)}...` : line
}

/** `{"error": "Repository not found"}` and its like: an object that speaks of an error and holds nothing else. */
const errorIn = (text: string): string | undefined => {
  if (!/^\{\s*"(error|errors|message|detail|code|status|statusCode)"/.test(text)) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const known = new Set(["error", "errors", "message", "detail", "code", "status", "statusCode", "requestId", "url"])
  const keys = Object.keys(value as object)
  const isError = keys.some((key) => key === "error" || key === "errors" || key === "message" || key === "detail")
  return isError && keys.every((key) => known.has(key)) ? oneLine(text) : undefined
}

/** Zip: encrypted or not, as its first entry says. */
const zipKind = (head: Buffer, wanted: Wanted): WrongFile | undefined => {
  const signature = head.toString("latin1", 0, 4)
  if (signature !== "PK\x03\x04" && signature !== "PK\x05\x06" && signature !== "PK\x07\x08") return undefined
  const encrypted = signature === "PK\x03\x04" && head.length > 8 && (head.readUInt16LE(6) & 1) === 1
  if (encrypted)
    return named("encrypted-zip", "an encrypted zip", "Decrypt the archive first (`unzip` asks for the password).")
  if (wanted === "zip" || wanted === "torch") return undefined
  return named(
    "zip",
    "a zip archive (or made of one, as torch and office files are)",
    "Unpack it (`unzip FILE`), or give it where a zip is read."
  )
}

const textKind = (head: Buffer, size: number, wanted: Wanted): WrongFile | undefined => {
  const text = head.toString("utf8").replace(/^\ufeff/, "")
  const from = text.trimStart()
  if (from.startsWith("version https://git-lfs") || from.startsWith("version https://hawser")) {
    return named(
      "lfs-pointer",
      "a Git LFS pointer, not the file itself",
      "Fetch the real file (`git lfs pull`, or download it)."
    )
  }
  const markup = from.replace(/^(<\?xml[^>]*\?>|<!--[\s\S]*?-->|\s)+/, "")
  if (/^<(!doctype\s+html|html|head|body|title|meta|script)\b/i.test(markup)) {
    const title = /<title[^>]*>([^<]*)/i.exec(markup)?.[1]
    const said = title === undefined || title.trim() === "" ? "" : ` (${oneLine(title)})`
    return named("html", `a web page${said}, not the file itself`, `A log-in or error page was saved. ${again}`)
  }
  if (/^<(\w+:)?(Error|ErrorResponse|Fault)\b/.test(markup)) {
    const code = /<Code>([^<]*)/.exec(markup)?.[1]
    return named(
      "xml-error",
      `a storage server's error${code === undefined ? "" : ` (${oneLine(code)})`}, not the file itself`,
      again
    )
  }
  const error = size > HEAD_BYTES ? undefined : errorIn(from)
  if (error !== undefined) return named("error-json", `a server's error, not the file itself: ${error}`, again)
  if (size <= HEAD_BYTES && ANSWER.test(from)) {
    return named("error-text", `a server's answer, not the file itself: ${oneLine(from)}`, again)
  }
  if (wanted === "json" || !/^[[{]/.test(from)) return undefined
  return named(
    "json",
    "JSON",
    "Give it a name that ends in .json or .jsonl where such files are read, or check the path."
  )
}

/**
 * What a file of `size` bytes that begins with `head` is, for a reader that wants something else; `undefined` where
 * nothing is known against it. `head` are its first `HEAD_BYTES`, or all of it.
 *
 * @example
 * ```ts
 * wrongFile(Buffer.from("<html>404</html>"), 16, "zip")?.message // "is a web page, not the file itself"
 * ```
 */
export const wrongFile = (bytes: Uint8Array, size: number, wanted: Wanted): WrongFile | undefined => {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, HEAD_BYTES))
  if (size === 0 || head.length === 0)
    return named("empty", "empty", "The download was cut at once: download it again.")
  const latin = head.toString("latin1")
  for (const { at = 0, hint, is, kind, magic, what } of magics) {
    if (!latin.startsWith(magic, at)) continue
    return is === wanted || (is === "picture" && wanted === "image") ? undefined : named(kind, what, hint)
  }
  const zip = zipKind(head, wanted)
  if (zip !== undefined) return zip
  if (!head.some((byte) => byte !== 0)) {
    const what = head.length < size ? `zeros at least up to byte ${head.length} of ${size}` : `${size} zeros`
    return named("zeros", what, "A download reserved the room and never filled it: download it again.")
  }
  if (wanted !== "safetensors" && /^[\s\S]{8}\{/.test(latin) && isSafetensors(head, size)) {
    return named("safetensors", "a safetensors file", "Give it where weights are read, or check the path.")
  }
  if (wanted !== "torch" && /^\x80[\x02-\x05]/.test(latin)) {
    return named(
      "pickle",
      "a Python pickle",
      "Pickles are read of torch's state dicts alone; save it as another format."
    )
  }
  return textKind(head, size, wanted)
}

const isSafetensors = (head: Buffer, size: number): boolean => {
  const length = head.readBigUInt64LE(0)
  return length >= 2n && length + 8n <= BigInt(size)
}

/** Looks at a file's beginning. `undefined` also where it cannot be read, which its reader says better. */
export const sniffFile = async (path: string, wanted: Wanted): Promise<WrongFile | undefined> => {
  const file = await open(path, "r").catch(() => undefined)
  if (file === undefined) return undefined
  try {
    const status = await file.stat()
    if (!status.isFile()) return undefined
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
    return wrongFile(buffer.subarray(0, bytesRead), status.size, wanted)
  } finally {
    await file.close()
  }
}

/**
 * Parses a file that is one JSON document (`config.json`, `tokenizer.json`, an index). Throws what reading throws, and
 * `WrongFileFault` where the file is something else, cut or damaged.
 */
export const readJsonDocument = async (path: string): Promise<unknown> => {
  const bytes = await readFile(path)
  try {
    return parseJsonDocument(bytes)
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause
    const hint = "It must be one JSON document: correct it, or download it again and compare its size."
    throw new WrongFileFault({ kind: "damaged", message: `is no whole JSON: ${cause.message}`, hint }, cause)
  }
}

/** As `readJsonDocument`, of bytes; `SyntaxError` where they are cut or damaged. */
export const parseJsonDocument = (bytes: Uint8Array): unknown => {
  const wrong = wrongFile(bytes, bytes.length, "json")
  if (wrong !== undefined) throw new WrongFileFault(wrong)
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8")
  return JSON.parse(text.replace(/^\ufeff/, "")) as unknown
}
