/**
 * Reads the captions of a webdataset: tar files where `1.jpg`, `1.txt` and `1.json` are one sample.
 *
 * Not a reader of images: a row names its image, and `tokenizeImages` reads it from the same files. A sample is the
 * entries that share everything before the first dot of their last part, and follow each other. Its caption is the
 * `caption` of its `.json`, or else its `.txt`, without blanks at the ends; a `.json` that is damaged, too large or has
 * no whole caption leaves it to the `.txt`. Endings are read in any case (`.JPG`, `.TXT`), as the webdataset library
 * does.
 */
import { Effect, Schema, Stream } from "effect"
import { whole } from "../dag/Node.ts"
import { parseJson } from "../data/JsonText.ts"
import { tarFilesOf } from "../data/RowFolder.ts"
import { isTarName, openTar, type Tar } from "../data/Tar.ts"
import { IMAGE_MARK } from "../text/Template.ts"
import { Captions, ImageFiles } from "./Artifacts.ts"
import { Positive } from "./Params.ts"

/** A sample without an image, or without a caption. `row` counts samples from 0. */
export class BadSample extends Schema.TaggedError<BadSample>()("BadSample", {
  row: Schema.Number,
  id: Schema.String,
  reason: Schema.Literals(["no-image", "no-caption", "bad-caption", "mark-in-caption"]),
  message: Schema.String,
  hint: Schema.String
}) {}

const IMAGE_NAME = /\.(jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|avif)$/i
/** A caption file is small; anything larger is none. */
const MAX_CAPTION = 1 << 20
const BATCH = 1024

interface Sample {
  readonly id: string
  readonly names: ReadonlyArray<string>
}

/** `a/1.seg.png` belongs to the sample `a/1`. */
const keyOf = (name: string): string => {
  const dot = name.indexOf(".", name.lastIndexOf("/") + 1)
  return dot < 0 ? name : name.slice(0, dot)
}

function* samplesOf(names: Iterable<string>): Generator<Sample> {
  let id = ""
  let found: Array<string> = []
  for (const name of names) {
    const key = keyOf(name)
    if (key !== id && found.length > 0) yield { id, names: found }
    if (key !== id) found = []
    id = key
    found.push(name)
  }
  if (found.length > 0) yield { id, names: found }
}

const utf8 = new TextDecoder("utf-8", { fatal: true })

const captionIn = (name: string, bytes: Uint8Array): string | undefined => {
  const text = utf8.decode(bytes)
  if (!/\.json$/i.test(name)) return text.trim()
  const value = parseJson(text)
  const caption = typeof value === "object" && value !== null && "caption" in value ? value.caption : undefined
  return typeof caption === "string" ? caption.trim() : undefined
}

const read = Effect.fnUntraced(function* (tar: Tar, { id, names }: Sample, row: number, request: string) {
  const bad = (reason: BadSample["reason"], message: string, hint: string) =>
    new BadSample({ row, id, reason, message: `${id}: ${message}`, hint })
  const image = names.find((name) => IMAGE_NAME.test(name))
  if (image === undefined)
    return yield* bad("no-image", "no image", "Samples need a .jpg, .png, .webp, .gif, .bmp, .tif or .avif.")
  let damage: BadSample | undefined
  for (const suffix of [".json", ".txt"]) {
    const name = names.find((one) => one.toLowerCase().endsWith(suffix))
    if (name === undefined) continue
    const damaged = (detail: string) => bad("bad-caption", `${name}: ${detail}`, "Fix or remove the file.")
    const caption = yield* Effect.mapError(tar.read(name), (error) =>
      error.reason === "too-large"
        ? damaged(`it has more than ${MAX_CAPTION} bytes`)
        : error.reason === "link"
          ? damaged(error.message)
          : error
    ).pipe(
      Effect.flatMap((bytes) =>
        Effect.try({
          try: () => captionIn(name, bytes),
          catch: (cause) => damaged(cause instanceof Error ? cause.message : String(cause))
        })
      ),
      Effect.catchIf(
        (error) => error instanceof BadSample,
        (error) => {
          damage ??= error
          return Effect.succeed(undefined)
        }
      )
    )
    if (caption === undefined || caption === "") continue
    if (caption.includes(IMAGE_MARK))
      return yield* bad(
        "mark-in-caption",
        `${name}: the caption has ${IMAGE_MARK} in it`,
        "Take the mark out of the caption."
      )
    if (!caption.isWellFormed()) {
      damage ??= damaged("half of a character (a lone surrogate)")
      continue
    }
    const conversations = [
      { from: "human" as const, value: `<image>\n${request}` },
      { from: "gpt" as const, value: caption }
    ]
    return { id, image, caption, conversations }
  }
  return yield* damage ?? bad("no-caption", "no caption", "A sample needs `caption` in its .json, or a .txt.")
})

const openSplit = Effect.fnUntraced(function* (path: string, split: string | undefined) {
  const files = yield* tarFilesOf(path, isTarName, split)
  return yield* openTar(path, { maxEntryBytes: MAX_CAPTION, ...(files === undefined ? {} : { files }) })
})

export const readWebdataset = whole(
  {
    id: "readWebdataset",
    version: "2",
    about: "Reads the captions of a webdataset, tar files of images with a .json or .txt each.",
    params: Schema.Struct({
      /** What is asked of each image. */
      request: Schema.String,
      /** Rows a shard of the output. */
      shardRows: Positive,
      /** Which split of a folder's tar files is read; needed where there are several. */
      split: Schema.optional(Schema.String)
    }),
    inputs: { files: ImageFiles },
    outputs: { rows: Captions },
    refuses: [BadSample],
    refuseAtMost: 0.5
  },
  ({ inputs, params, refuse, countRows }) =>
    Effect.succeed({
      rows: Stream.unwrap(
        Effect.map(openSplit(inputs.files.path, params.split), (tar) => {
          let row = 0
          return Stream.fromIterable(samplesOf(tar.names())).pipe(
            Stream.grouped(BATCH),
            Stream.mapEffect((batch) =>
              Effect.map(
                Effect.forEach(batch, (sample) => {
                  const at = row++
                  return Effect.catchIf(
                    read(tar, sample, at, params.request),
                    (error) => error instanceof BadSample,
                    (error) => {
                      refuse(at, error)
                      return Effect.succeed(undefined)
                    }
                  )
                }),
                (rows) => {
                  countRows(row)
                  return rows.filter((one) => one !== undefined)
                }
              )
            )
          )
        })
      )
    })
)
