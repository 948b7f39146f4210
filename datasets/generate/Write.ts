/**
 * Writes the sample's files into a folder: JSON, archives, tokenizer, and `files.json` with sizes and digests.
 *
 * Not incremental and not for big data: the sample fits in memory (about 10 MB), and is made at once.
 */
import { createHash } from "node:crypto"
import { dirname, join } from "node:path"
import { Effect, FileSystem, type PlatformError } from "effect"
import { zipBytes } from "../../src/bytes/ZipWriter.ts"
import { trainBpe } from "../../src/text/bpe/Train.ts"
import type { Picture } from "./Captions.ts"
import { corpus, jsonFiles, parts } from "./Parts.ts"
import { encode, encodePlain, type PictureError } from "./Pictures.ts"
import type { SignalPicture } from "./Signals.ts"

/** Entries of the tokenizer: control tokens, 256 bytes, merges. */
export const vocabSize = 1800
export const specialTokens = ["<|endoftext|>", "<image>", "<pad>"] as const

/** Path relative to the sample's folder -> size and digest. */
export type FileList = Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>

/** A stored archive of the images under `folder`; missing ones are left out, wrong CRCs made by a flipped byte. */
export const archive = (
  seed: number,
  pictures: ReadonlyArray<Picture>,
  folder: string
): Effect.Effect<Uint8Array, PictureError> =>
  Effect.forEach(pictures, (picture) => encode(seed, picture), { concurrency: 4 }).pipe(
    Effect.map((encoded) => {
      const present = encoded.filter((e) => e.treatment !== "missing")
      const zip = zipBytes(present.map(({ name, bytes }) => ({ name: folder + name, data: bytes })))
      for (const { bytes } of present.filter((e) => e.treatment === "wrong-crc")) {
        zip[Buffer.from(zip.buffer, zip.byteOffset, zip.length).indexOf(bytes) + Math.floor(bytes.length / 2)]! ^= 0x10
      }
      return zip
    })
  )

/** A stored archive of undamaged pictures, names bare. */
const plainArchive = (pictures: ReadonlyArray<SignalPicture>): Effect.Effect<Uint8Array, PictureError> =>
  Effect.forEach(pictures, encodePlain, { concurrency: 4 }).pipe(
    Effect.map((bytes) => zipBytes(bytes.map((data, i) => ({ name: pictures[i]!.name, data }))))
  )

/**
 * Makes everything for `seed` and writes it under `out`; existing files are replaced.
 *
 * Errors: `PictureError` when sharp lacks an encoder, `PlatformError` when the folder cannot be written.
 *
 * @example
 * writeSample("/tmp/sample", 0).pipe(Effect.provide(NodeServices.layer))
 */
export const writeSample = (
  out: string,
  seed: number
): Effect.Effect<FileList, PictureError | PlatformError.PlatformError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const all = parts(seed)
    const utf8 = new TextEncoder()
    const tokenizer = trainBpe(corpus(all), { vocabSize, specialTokens })
    const files: Array<readonly [path: string, bytes: Uint8Array]> = [
      ...Object.entries(jsonFiles(all)).map(([path, text]) => [path, utf8.encode(text)] as const),
      ["cc595k/images.zip", yield* archive(seed, all.captions.pictures, "")],
      ["llava-instruct/train2017.zip", yield* archive(seed, all.instruct.pictures, "train2017/")],
      ["llava-instruct/heldout.zip", yield* archive(seed, all.heldOut.pictures, "val2017/")],
      ["signals/images.zip", yield* plainArchive(all.signals.pictures)],
      ["tokenizer.json", utf8.encode(`${JSON.stringify(tokenizer)}\n`)]
    ]
    const list: Record<string, { readonly bytes: number; readonly sha256: string }> = {}
    for (const [path, bytes] of files.sort(([a], [b]) => (a < b ? -1 : 1))) {
      yield* fs.makeDirectory(dirname(join(out, path)), { recursive: true })
      yield* fs.writeFile(join(out, path), bytes)
      list[path] = { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") }
    }
    yield* fs.writeFileString(join(out, "files.json"), `${JSON.stringify(list, null, 2)}\n`)
    return list
  })
