/**
 * Bytes of gzip and zstd files, decompressed as they are pulled, to the very end of the file.
 *
 * Not an archive reader. Both formats may be concatenated: `cat a.gz b.gz`, and what parallel compressors write. Node's
 * zstd stream ends with the first frame and its gzip stream at the first zero byte between members, without an error;
 * here the rest is read by a stream of its own, so that nothing after that point is lost in silence.
 *
 * Memory: a few chunks of 256 KiB, compressed and not.
 */
import { createReadStream } from "node:fs"
import { pipeline, Readable } from "node:stream"
import { createGunzip, createZstdDecompress } from "node:zlib"

export type Compression = "gz" | "zst"

/** Bytes read at a time, and decompressed at most: at a mebibyte it is no faster and takes 60 to 100 MB more. */
const CHUNK = 256 * 1024

/** Compressed chunks on their way through one stream after the other. */
class Feed {
  readonly #source: AsyncIterator<Buffer>
  /** Handed to the present stream and perhaps not used; left over by the one before. */
  #chunks: Array<Buffer> = []
  #dropped = 0

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  /** What one stream reads. */
  async *chunks(): AsyncGenerator<Buffer> {
    this.#dropped = 0
    yield* [...this.#chunks]
    while (await this.#pull()) yield this.#chunks[this.#chunks.length - 1]!
  }

  /** Lets go of chunks that the present stream, having used `bytes` in all, no longer needs. */
  used(bytes: number): void {
    while (this.#chunks.length > 0 && this.#dropped + this.#chunks[0]!.length <= bytes) {
      this.#dropped += this.#chunks.shift()!.length
    }
  }

  /** The present stream has ended after `bytes`; the next one begins behind them. */
  cut(bytes: number): void {
    this.used(bytes)
    if (this.#chunks.length > 0) this.#chunks[0] = this.#chunks[0]!.subarray(bytes - this.#dropped)
  }

  /** Whether bytes are left. */
  async hasMore(): Promise<boolean> {
    return this.#chunks.length > 0 || (await this.#pull())
  }

  /** Takes zeros, the padding of tapes, off the front. */
  async skipZeros(): Promise<void> {
    while (await this.hasMore()) {
      const at = this.#chunks[0]!.findIndex((byte) => byte !== 0)
      if (at >= 0) {
        this.#chunks[0] = this.#chunks[0]!.subarray(at)
        return
      }
      this.#chunks.shift()
    }
  }

  async #pull(): Promise<boolean> {
    for (;;) {
      const next = await this.#source.next()
      if (next.done === true) return false
      if (next.value.length === 0) continue
      this.#chunks.push(next.value)
      return true
    }
  }
}

/**
 * Decompresses chunks. Throws what `node:zlib` throws; a file that is cut short is `Z_BUF_ERROR` or
 * `ZSTD_error_srcSize_wrong`, and so is an empty one.
 */
export async function* decompress(
  source: AsyncIterable<Buffer>,
  kind: Compression,
  chunkBytes: number = CHUNK
): AsyncGenerator<Buffer> {
  const feed = new Feed(source)
  // The least that zlib takes is 64 bytes.
  const options = { chunkSize: Math.max(64, Math.min(chunkBytes, CHUNK)) }
  do {
    const inflate = kind === "gz" ? createGunzip(options) : createZstdDecompress(options)
    const chunks = feed.chunks()
    const input = Readable.from(chunks, { objectMode: false })
    input.on("error", () => undefined) // as with the file's
    // The error reaches the loop below through `inflate`, which pipeline destroys with it.
    pipeline(input, inflate, () => undefined)
    try {
      for await (const chunk of inflate) {
        feed.used(inflate.bytesWritten)
        yield chunk as Buffer
      }
    } finally {
      input.destroy()
      inflate.destroy()
      await chunks.return(undefined) // a chunk on its way arrives before the next stream begins
    }
    feed.cut(inflate.bytesWritten)
    if (kind === "gz") await feed.skipZeros()
  } while (await feed.hasMore())
}

/** Chunks of a compressed file, decompressed. */
export async function* readCompressed(path: string, kind: Compression, chunkBytes: number): AsyncGenerator<Buffer> {
  const source = createReadStream(path, { highWaterMark: CHUNK })
  // One that comes after the loop has ended early has no other listener, and would end the process.
  source.on("error", () => undefined)
  try {
    yield* decompress(source, kind, chunkBytes)
  } finally {
    source.destroy()
  }
}
