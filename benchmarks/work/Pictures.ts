/** What a worker thread does with pictures: the functions that `tokenizeImages` calls, without a store around them. */
import { open, readFile } from "node:fs/promises"
import { Effect } from "effect"
import { openZip } from "../../src/bytes/Zip.ts"
import { fitImage, withImage } from "../../src/data/Images.ts"
import { type PixelRow, pixelRows } from "../../src/data/UniformRows.ts"

const SIZE = 336
/** Images under way at a time in a thread, and rows a batch, as in the node. */
const AT_ONCE = 4
const BATCH = 32

const BYTES = SIZE * SIZE * 3

const crop = (bytes: Uint8Array, name: string, into: Uint8Array): Effect.Effect<Uint8Array, unknown> =>
  withImage(bytes, { name }, (picture) => fitImage(picture, { size: SIZE, fit: "crop" }, into).pixels_HWC)

/** Room for so many images side by side, as the node gives its batches. */
const roomFor = (count: number): ((at: number) => Uint8Array) => {
  const block = new Uint8Array(count * BYTES)
  return (at) => block.subarray(at * BYTES, (at + 1) * BYTES)
}

/** Pieces to a file, one after the other. */
const writing = async (
  path: string,
  use: (write: (pieces: ReadonlyArray<Uint8Array>) => Promise<void>) => Promise<void>
) => {
  const file = await open(path, "w")
  try {
    await use(async (pieces) => {
      for (const piece of pieces)
        for (let done = 0; done < piece.length; ) done += (await file.write(piece, done)).bytesWritten
    })
  } finally {
    await file.close()
  }
}

/** Reads, decodes and crops image files; with `into`, writes all pixels there, one image after the other. */
export const cropFiles = async (task: {
  readonly paths: ReadonlyArray<string>
  readonly into?: string
}): Promise<number> => {
  const batches = async (write: (pieces: ReadonlyArray<Uint8Array>) => Promise<void>): Promise<void> => {
    for (let first = 0; first < task.paths.length; first += BATCH) {
      const paths = task.paths.slice(first, first + BATCH)
      const room = roomFor(paths.length)
      const one = (path: string, at: number) =>
        Effect.flatMap(
          Effect.promise(() => readFile(path)),
          (bytes) => crop(bytes, path, room(at))
        )
      await write(await Effect.runPromise(Effect.forEach(paths, one, { concurrency: AT_ONCE })))
    }
  }
  if (task.into === undefined) await batches(() => Promise.resolve())
  else await writing(task.into, batches)
  return task.paths.length
}

/** Reads entries of a zip, crops them and writes one Arrow shard. */
export const shardOfZip = async (task: {
  readonly zip: string
  readonly names: ReadonlyArray<string>
  readonly into: string
}): Promise<number> => {
  await Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const zip = yield* openZip(task.zip)
        yield* Effect.promise(() =>
          writing(task.into, async (write) => {
            const encoder = pixelRows.encoder()
            for (let at = 0; at < task.names.length; at += BATCH) {
              const names = task.names.slice(at, at + BATCH)
              const room = roomFor(names.length)
              const rows: ReadonlyArray<PixelRow> = await Effect.runPromise(
                Effect.forEach(
                  names,
                  (name, i) =>
                    Effect.map(
                      Effect.flatMap(zip.read(name), (bytes) => crop(bytes, name, room(i))),
                      (pixels_HWC) => ({ id: name.replace(".jpg", ""), pixels_HWC })
                    ),
                  { concurrency: AT_ONCE }
                )
              )
              await write(encoder.append(rows))
            }
            await write(encoder.finish())
          })
        )
      })
    )
  )
  return task.names.length
}
