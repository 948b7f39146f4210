/**
 * Which images a row names, and whether it carries anything else that a model would have to see or hear.
 *
 * Not a reader of images. The rule for keys that nobody here knows goes by what their values can be: numbers, truth
 * values, nothing at all and ordinary text cannot be an image, a film or a sound, and are left alone. What can be
 * (bytes, a name of a file, an address of one, base64, numbers nested as pixels are) makes the row refused by that
 * key's name, unless the key is known to hold facts about a row or is named in the reader's `ignore`. Pure.
 */
import { Result } from "effect"

/** Where images are looked for. */
export const IMAGE_KEYS: ReadonlySet<string> = new Set(["image", "images"])

/** Always media where they hold anything, be it a plain word. */
const MEDIA_KEYS: ReadonlySet<string> = new Set(["video", "videos", "audio", "audios"])

/** Facts about a row: names of files and addresses in them say where it comes from. */
const FACTS: ReadonlySet<string> = new Set([
  ...["id", "question_id", "conversation_id", "conversation_hash", "prompt_id", "uuid", "hash", "idx", "index"],
  ...[
    "model",
    "model_name",
    "plugins",
    "source",
    "data_source",
    "dataset",
    "dataset_name",
    "origin",
    "split",
    "license"
  ],
  ...["category", "categories", "type", "task", "task_type", "topic", "subject", "tags", "lang", "language", "title"],
  ...["url", "link", "author", "authors", "avatarUrl", "created", "created_at", "timestamp", "date", "signature"],
  ...["custom_instruction", "skip_prompt_formatting", "system_prompt", "prompt", "views", "score", "openai_moderation"],
  ...["detoxify_moderation", "toxic", "redacted", "state", "country", "hashed_ip", "header", "turn", "num_turns"]
])

/**
 * Whether a key is known to hold a fact about a row or a turn.
 *
 * @example
 * isFact("timestamp") // true
 */
export const isFact = (key: string): boolean => FACTS.has(key)

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)

/**
 * Whether nothing is there: null, an empty text, a list or object of such.
 *
 * @example
 * isBlank([null, ""]) // true
 */
export const isBlank = (value: unknown): boolean => {
  if (value === undefined || value === null || value === "") return true
  if (Array.isArray(value)) return value.every(isBlank)
  return isRecord(value) && Object.values(value).every(isBlank)
}

/** Longer texts without a blank are no words. */
const LONGEST_WORD = 512
const FILE = /\.[a-z][a-z0-9]{1,4}(?:[?#]\S*)?$/i

const isFileLike = (text: string): boolean => {
  if (text.startsWith("data:")) return true
  if (/\s/.test(text)) return false
  if (text.length > LONGEST_WORD) return true
  // An address of a site, and one of a person, name no file.
  return FILE.test(text) && !/^https?:\/\/[^/]+\/?$/i.test(text) && !/^[^/]+@[^/]+$/.test(text)
}

/** Lists in lists in lists are how pixels come. */
const PIXEL_LEVELS = 3

const mayBeMedia = (value: unknown, level: number): boolean => {
  if (typeof value === "string") return isFileLike(value)
  if (ArrayBuffer.isView(value)) return true
  if (Array.isArray(value))
    return (level + 1 >= PIXEL_LEVELS && value.length > 0) || value.some((item) => mayBeMedia(item, level + 1))
  return isRecord(value) && Object.values(value).some((item) => mayBeMedia(item, 0))
}

/**
 * The first key whose value may be media that is not read; `known` are the keys that the reader itself looks at.
 *
 * @example
 * ```ts
 * foreignMedia({ id: "a", video: "clip" }, new Set(), []) // "video"
 * foreignMedia({ id: "a", lang: "en", frames: ["f0.png"] }, new Set(), []) // "frames"
 * ```
 */
export const foreignMedia = (
  row: Readonly<Record<string, unknown>>,
  known: ReadonlySet<string>,
  ignore: ReadonlyArray<string> = []
): string | undefined => {
  for (const key in row) {
    if (known.has(key) || FACTS.has(key) || ignore.includes(key)) continue
    const value = row[key]
    if (isBlank(value)) continue
    if (MEDIA_KEYS.has(key) ? typeof value !== "boolean" : mayBeMedia(value, 0)) return key
  }
  return undefined
}

/** An image: the name of its file, or undefined where it has none and lies in the row's own cell of a Parquet file. */
export interface RowImage {
  readonly path: string | undefined
}

const imageOf = (value: unknown, key: string): Result.Result<ReadonlyArray<RowImage>, string> => {
  if (value === undefined || value === null || value === "") return Result.succeed([])
  if (typeof value === "string")
    return /^(?:data:|https?:\/\/)/i.test(value)
      ? Result.fail(`\`${key}\` is an address or base64, and images are read from files`)
      : Result.succeed([{ path: value }])
  if (!isRecord(value) || Object.keys(value).some((name) => name !== "path" && name !== "bytes"))
    return Result.fail(`\`${key}\` is neither a name, nor { bytes, path }, nor a list of these`)
  const { bytes, path } = value
  if (!isBlank(bytes)) return Result.fail(`\`${key}\` has its bytes inside of the row`)
  if (typeof path === "string" && path !== "") return Result.succeed([{ path }])
  if (!isBlank(path)) return Result.fail(`the path in \`${key}\` is no text`)
  // Of a Parquet file the bytes are not read here, so that the key is not there: they are, in the cell.
  return Result.succeed("bytes" in value ? [] : [{ path: undefined }])
}

const listOf = (value: unknown, key: string): Result.Result<ReadonlyArray<RowImage>, string> => {
  if (!Array.isArray(value)) return imageOf(value, key)
  const all: Array<RowImage> = []
  for (const item of value) {
    const one = imageOf(item, key)
    if (Result.isFailure(one)) return one
    all.push(...one.success)
  }
  return Result.succeed(all)
}

/**
 * The images that `image` and `images` name, in order: a name, `{ bytes, path }`, or a list of these. Fails with a
 * sentence where a value is none of these, or where both keys hold something and not the same.
 *
 * @example
 * imagesOf({ images: ["a.jpg"] }) // success [{ path: "a.jpg" }]
 */
export const imagesOf = (row: Readonly<Record<string, unknown>>): Result.Result<ReadonlyArray<RowImage>, string> => {
  const image = listOf(row["image"], "image")
  const images = listOf(row["images"], "images")
  if (Result.isFailure(image)) return image
  if (Result.isFailure(images)) return images
  if (image.success.length === 0) return images
  if (images.success.length === 0) return image
  const same = JSON.stringify(image.success) === JSON.stringify(images.success)
  return same ? image : Result.fail("`image` and `images` name different images")
}
