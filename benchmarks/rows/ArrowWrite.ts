/**
 * Writing rows of 336 x 336 pixels as an Arrow IPC file, against pyarrow with the same rows in the same batches. Both
 * have the pixels of a batch side by side in memory, as the node that makes them does, and need not copy them.
 */
import { createHash } from "node:crypto"
import { open, rm } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Stream } from "effect"
import { dice } from "../../datasets/generate/Random.ts"
import { type PixelRow, pixelRows } from "../../src/data/UniformRows.ts"
import { perSecond, withPython } from "../Python.ts"
import { interleave, seconds } from "../Rounds.ts"
import type { Benchmark } from "../Row.ts"

const WIDTH = 336 * 336 * 3
const BATCH = 64

/** Rows whose pixels are cheap to make on both sides: the byte at `i` of row `r` is a xor of one block. */
const fillPixels = (block: Uint8Array, row: number, pixels: Uint8Array): Uint8Array => {
  for (let i = 0; i < WIDTH; i++) pixels[i] = block[i]! ^ (row & 255)
  return pixels
}

/** A batch of rows over one piece of memory. */
const batchOf = (block: Uint8Array, first: number): ReadonlyArray<PixelRow> => {
  const all = new Uint8Array(BATCH * WIDTH)
  return Array.from({ length: BATCH }, (_, i) => ({
    id: `row-${first + i}`,
    pixels_HWC: fillPixels(block, first + i, all.subarray(i * WIDTH, (i + 1) * WIDTH))
  }))
}

/**
 * Encodes batches and writes them, as the store's shard files do, without the fsync that pyarrow does not do either.
 */
export const writePixels = async (path: string, batches: Iterable<ReadonlyArray<PixelRow>>): Promise<void> => {
  const file = await open(path, "w")
  try {
    const encoder = pixelRows.encoder()
    const write = async (pieces: ReadonlyArray<Uint8Array>): Promise<void> => {
      for (const piece of pieces)
        for (let done = 0; done < piece.length; ) done += (await file.write(piece, done)).bytesWritten
    }
    for (const batch of batches) await write(encoder.append(batch))
    await write(encoder.finish())
  } finally {
    await file.close()
  }
}

export const arrowWrite: Benchmark = {
  name: "arrow-write",
  about: "Arrow write, uint8 rows of 336 x 336 x 3",
  unit: "MB/s",
  better: "more",
  goal: 0.6,
  peerName: "pyarrow",
  run: (context) =>
    withPython(context.python, "arrow_write.py", async (peer) => {
      const count = context.size === "quick" ? 512 : 2048
      const throws = dice(0, "arrow-write")
      const block = new Uint8Array(WIDTH)
      for (let i = 0; i < WIDTH; i++) block[i] = throws.uint32()
      const batches = Array.from({ length: count / BATCH }, (_, i) => batchOf(block, i * BATCH))
      const megabytes = (count * WIDTH) / 1e6
      const [mine, theirs] = [join(context.data, "ours.arrow"), join(context.data, "peer.arrow")]
      await peer.ask({ do: "make", block: Buffer.from(block).toString("base64"), rows: count })
      try {
        // A file that exists is truncated first, in both: its pages are given back outside of the clock.
        const figures = await interleave(
          { rounds: context.size === "quick" ? 11 : 7, better: "more" },
          async () => {
            await rm(mine, { force: true })
            return megabytes / (await seconds(() => writePixels(mine, batches)))
          },
          async () => {
            await rm(theirs, { force: true })
            return perSecond(await peer.ask({ do: "write", path: theirs, batch: BATCH }), megabytes)
          }
        )
        const hash = createHash("sha256")
        for (const row of batches.flat()) hash.update(row.id).update(row.pixels_HWC)
        const expected = hash.digest("hex")
        const digests = await Promise.all([
          digestOf(mine),
          peer.ask({ do: "read", path: mine }).then((a) => a["digest"])
        ])
        const other = (await peer.ask({ do: "read", path: theirs }))["digest"]
        const wrong = [...digests, other].every((digest) => digest === expected)
          ? undefined
          : "rows read back are not the rows written"
        const note = `${count} rows, ${megabytes.toFixed(0)} MB in batches of ${BATCH}, read back equal by both; ${peer.versions}`
        return { ...figures, wrong, note }
      } finally {
        await rm(mine, { force: true })
        await rm(theirs, { force: true })
      }
    })
}

/** The rows of a file through our reader. */
const digestOf = async (path: string): Promise<string> => {
  const file = await open(path, "r")
  try {
    const { size } = await file.stat()
    const bytes = {
      size,
      read: (offset: number, length: number) =>
        Effect.promise(async () => {
          const buffer = new Uint8Array(length)
          await file.read(buffer, 0, length, offset)
          return buffer
        })
    }
    const hash = createHash("sha256")
    await Effect.runPromise(
      Effect.gen(function* () {
        const reader = yield* pixelRows.open(bytes)
        yield* Stream.runForEach(reader.batches, (batch) =>
          Effect.sync(() => {
            for (const row of batch) hash.update(row.id).update(row.pixels_HWC)
          })
        )
      })
    )
    return hash.digest("hex")
  } finally {
    await file.close()
  }
}
