/**
 * Decodes each row's image, fits it into a square and writes its pixels to Arrow shards; bad images are refused.
 *
 * Not a model: pixels stay uint8 (normalised when read), features are another node's. Ports from one pass: rows in
 * input order; pixels, where the k-th image belongs to the k-th row that has one; and the images that were taken
 * although their names say another type, so that a run counts them.
 */
import { open, readdir, stat } from "node:fs/promises"
import { Effect, Result, Schema, type Scope, Stream } from "effect"
import { openZip, type ZipError } from "../bytes/Zip.ts"
import { broadcast, type Tree } from "../dag/Artifact.ts"
import { sharded } from "../dag/Node.ts"
import { holdsCells, openCells } from "../data/CellImages.ts"
import type { ImageType } from "../data/ImageHeader.ts"
import {
  fromTar,
  fromZip,
  ImageMissing,
  type ImageSource,
  ImageSourceError,
  ImageUnreadable,
  openFolder
} from "../data/ImageSource.ts"
import { BadImage, declaredType, fitImage, imageKernels, withImage } from "../data/Images.ts"
import { isTarName, openTar, type TarError } from "../data/Tar.ts"
import { BLOCK } from "../data/TarFormat.ts"
import type { PixelRow } from "../data/UniformRows.ts"
import { ImageConversations, ImageFiles, MisnamedImages, PicturedConversations, Pixels } from "./Artifacts.ts"
import { Positive } from "./Params.ts"

/** The image is too small or too narrow to teach anything. */
export class OddImage extends Schema.TaggedError<OddImage>()("OddImage", {
  reason: Schema.Literals(["too-small", "aspect-ratio"]),
  name: Schema.String,
  width: Schema.Number,
  height: Schema.Number,
  hint: Schema.String
}) {}

/** Images decoded and written at a time: bounds memory to this many raw images a thread. */
const BATCH = 32

/** What a path holds, by its name and its first block. */
const kindOf = async (path: string): Promise<"cells" | "folder" | "tar" | "zip"> => {
  if ((await stat(path)).isDirectory()) {
    if ((await readdir(path)).some(isTarName)) return "tar"
    return (await holdsCells(path)) ? "cells" : "folder"
  }
  if (isTarName(path)) return "tar"
  if (await holdsCells(path)) return "cells"
  const file = await open(path, "r")
  try {
    const { buffer } = await file.read(Buffer.alloc(BLOCK), 0, BLOCK, 0)
    return !buffer.toString("latin1", 0, 2).startsWith("PK") && buffer.toString("latin1", 257, 262) === "ustar"
      ? "tar"
      : "zip"
  } finally {
    await file.close()
  }
}

/**
 * Opens a zip archive, a tar, a folder of tar files, a Parquet or Arrow file whose cells hold images or a folder of
 * such, or a folder of images. Fails when it is none of them, or is not there. A folder that holds a tar file is one of
 * tar files, one that holds Parquet or Arrow files is one of these; what lies beside them is not looked at.
 */
export const openImages = (
  tree: Tree,
  maxFileBytes?: number
): Effect.Effect<ImageSource, ZipError | TarError | ImageSourceError, Scope.Scope> =>
  Effect.flatMap(
    Effect.tryPromise({
      try: () => kindOf(tree.path),
      catch: (cause) =>
        new ImageSourceError({
          source: tree.path,
          name: "",
          message: cause instanceof Error ? cause.message : String(cause),
          hint: "Images are a zip archive, a tar, or a folder of tar files, Parquet files or images: check the path of the source.",
          cause
        })
    }),
    (kind): Effect.Effect<ImageSource, ZipError | TarError | ImageSourceError, Scope.Scope> => {
      if (kind === "cells") return openCells(tree.path, maxFileBytes === undefined ? {} : { maxFileBytes })
      if (kind === "folder") return openFolder(tree.path, maxFileBytes === undefined ? {} : { maxFileBytes })
      const options = maxFileBytes === undefined ? {} : { maxEntryBytes: maxFileBytes }
      return kind === "tar"
        ? Effect.map(openTar(tree.path, options), fromTar)
        : Effect.map(openZip(tree.path, options), fromZip)
    }
  )

export const tokenizeImages = sharded(
  {
    id: "tokenizeImages",
    version: "1",
    about: "Decodes, crops or pads images as PIL does, and writes uint8 pixels to Arrow shards.",
    params: Schema.Struct({
      /** Pixels a side: 336 for CLIP ViT-L/14-336. */
      size: Positive,
      /** `crop`: shortest edge to size, centre crop (pretraining). `pad`: to a square first (instruction tuning). */
      fit: Schema.Literals(["crop", "pad"]),
      /** Folder inside the archive before every name, such as `train2017/`. */
      folder: Schema.String,
      /** Shortest side, in pixels, that is still kept. */
      minSide: Positive,
      /** Longest over shortest side that is still kept. */
      maxAspect: Schema.Number.check(Schema.isGreaterThanOrEqualTo(1)),
      /**
       * A GIF called .jpg: refuse it, or take it for what it is (as LLaVA's loader does) and list it under `misnamed`.
       */
      misnamed: Schema.Literals(["refuse", "accept"]),
      /** Pixels of an image at most, checked before it is decoded. Default 67,108,864. */
      maxPixels: Schema.optionalKey(Positive),
      /** Bytes of an image's file at most. Default 67,108,864. */
      maxFileBytes: Schema.optionalKey(Positive)
    }),
    inputs: { rows: ImageConversations, images: broadcast(ImageFiles) },
    outputs: { rows: PicturedConversations, pixels: Pixels, misnamed: MisnamedImages },
    refuses: [BadImage, ImageMissing, ImageUnreadable, OddImage],
    refuseAtMost: 0.5,
    assets: imageKernels,
    runs: "worker"
  },
  ({ params, refuse, shard }) => {
    const pixelBytes = params.size * params.size * 3
    const { maxPixels, misnamed } = params
    const accepted = { misnamed, ...(maxPixels === undefined ? {} : { maxPixels }) }
    /** `into`: where the pixels go. */
    const prepare = Effect.fnUntraced(function* (source: ImageSource, id: string, name: string, into: Uint8Array) {
      const bytes = yield* source.read(params.folder + name)
      let type: ImageType | undefined
      const fitted = yield* withImage(bytes, { name, ...accepted }, (image) => {
        const { width, height } = image
        type = image.type
        const odd = (reason: OddImage["reason"], hint: string) => new OddImage({ reason, name, width, height, hint })
        if (Math.min(width, height) < params.minSide) return odd("too-small", "Lower `minSide` to keep such images.")
        if (Math.max(width, height) > params.maxAspect * Math.min(width, height)) {
          return odd("aspect-ratio", "Raise `maxAspect` to keep such images.")
        }
        return fitImage(image, params, into)
      })
      if (fitted instanceof OddImage) return yield* fitted
      const declared = declaredType(name)
      const misnamed = declared === undefined || type === undefined || declared === type ? undefined : type
      return { pixels: { id, pixels_HWC: fitted.pixels_HWC } satisfies PixelRow, misnamed }
    })
    return Stream.unwrap(
      Effect.map(openImages(shard.images, params.maxFileBytes), (source) => {
        let at = 0
        return shard.rows.pipe(
          Stream.flatMap(Stream.fromIterable),
          Stream.grouped(BATCH),
          Stream.mapEffect((batch) =>
            Effect.gen(function* () {
              const first = at
              at += batch.length
              // Side by side, so that a whole batch is written as it lies. Pages that no image fills cost nothing.
              const block = new Uint8Array(batch.length * pixelBytes)
              let pictured = 0
              const made = yield* Effect.forEach(
                batch,
                (row) => {
                  if (row.image === null) return Effect.succeed(undefined)
                  const from = pictured++ * pixelBytes
                  const into = block.subarray(from, from + pixelBytes)
                  return Effect.result(prepare(source, row.id, row.image, into))
                },
                { concurrency: 4 }
              )
              const rows: Array<(typeof batch)[number]> = []
              const pixels: Array<PixelRow> = []
              const misnamed: Array<{ readonly id: string; readonly image: string; readonly type: string }> = []
              for (const [i, row] of batch.entries()) {
                const result = made[i]
                if (result === undefined) rows.push(row)
                else if (Result.isSuccess(result)) {
                  rows.push(row)
                  pixels.push(result.success.pixels)
                  const type = result.success.misnamed
                  if (type !== undefined && row.image !== null) misnamed.push({ id: row.id, image: row.image, type })
                } else if (result.failure._tag === "ImageSourceError") return yield* result.failure
                else refuse(first + i, result.failure)
              }
              return { rows, pixels, misnamed }
            })
          )
        )
      })
    )
  }
)
