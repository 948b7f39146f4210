/**
 * Crafted inputs that are small and ask for much: depth, lengths, decompression, quadratic scans.
 *
 * Each says what the reader must answer, and in how much time and memory; `../fuzz.ts` runs each in a process of its
 * own.
 */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { crc32, createGzip, deflateRawSync, deflateSync } from "node:zlib"
import { Effect, Result, Stream } from "effect"
import { openZip } from "../../../src/bytes/Zip.ts"
import { zipBytes } from "../../../src/bytes/ZipWriter.ts"
import { fromBuffer } from "../../../src/dag/Format.ts"
import { arrowRows } from "../../../src/data/ArrowShard.ts"
import { decodeImage } from "../../../src/data/Images.ts"
import { JsonError, type JsonOptions, parseChunks, readJson } from "../../../src/data/JsonArray.ts"
import { openTar } from "../../../src/data/Tar.ts"
import { openSafetensors } from "../../../src/model/Safetensors.ts"
import { decodeRow } from "../../../src/text/Conversation.ts"
import { convertHtml, htmlToMarkdown, maxMarkdown } from "../../../src/text/html/HtmlToMarkdown.ts"
import { phi2 } from "../../../src/text/Tokenizer.ts"
import { tarEnd, tarEntry, tarHeader } from "../../data/TarWriter.ts"
import { demand, reasonOf } from "./Kind.ts"

export interface Bomb {
  readonly name: string
  /** The reader's whole answer. */
  readonly says: string
  readonly seconds: number
  /** Of the whole process, which begins with some 100. */
  readonly megabytes: number
  readonly run: () => Promise<string>
}

const MIB = 1 << 20

function* repeated(piece: string, times: number): Generator<Buffer> {
  const chunk = Buffer.from(piece.repeat(Math.max(1, Math.floor(MIB / piece.length))))
  for (let left = piece.length * times; left > 0; left -= chunk.length)
    yield chunk.subarray(0, Math.min(left, chunk.length))
}

/** What comes out of a JSON document made piece by piece. */
const parsed = async (chunks: () => Generator<Buffer>, options: JsonOptions = {}): Promise<string> => {
  let rows = 0
  const refused: Array<string> = []
  const source = async function* () {
    yield* chunks()
  }
  try {
    for await (const batch of parseChunks(source(), "x.json", options)) {
      rows += batch.rows.length
      for (const { reason, row } of batch.refused) refused.push(`${row} ${reason}`)
    }
  } catch (error) {
    if (!(error instanceof JsonError)) throw error
    refused.push(`file ${error.reason}`)
  }
  return `${rows} rows; ${refused.join(", ")}`
}

const html = (make: () => string) => async (): Promise<string> => {
  const text = make()
  const result = convertHtml(text)
  const loose = htmlToMarkdown(text)
  demand(loose.length <= 2 * maxMarkdown(text.length), `${loose.length} characters come out of ${text.length}`)
  return Result.isSuccess(result) ? "accepted" : result.failure.reason
}

const tokens = (make: () => string) => async (): Promise<string> => {
  const text = make()
  const tokenizer = phi2()
  const ids = tokenizer.encode(text)
  demand(tokenizer.decode(ids) === text, "decode(encode(x)) is not x")
  return ids.length <= text.length * 4 ? "exact" : `${ids.length} ids`
}

/** What a reader of files says to these bytes. */
const opening = async (
  extension: string,
  bytes: Uint8Array | ((path: string) => void),
  open: (path: string) => Effect.Effect<string, unknown>
): Promise<string> => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-bomb-"))
  const path = join(folder, `x.${extension}`)
  try {
    if (typeof bytes === "function") bytes(path)
    else writeFileSync(path, bytes)
    const result = await Effect.runPromise(Effect.result(open(path)))
    return Result.isSuccess(result) ? result.success : reasonOf(result.failure)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const zip = (bytes: Uint8Array, name?: string): Promise<string> =>
  opening("zip", bytes, (path) =>
    Effect.scoped(
      Effect.gen(function* () {
        const archive = yield* openZip(path)
        return name === undefined ? `${archive.size} entries` : `${(yield* archive.read(name)).length} bytes`
      })
    )
  )

/** A zip whose end records (classic and zip64) claim so many entries. */
const zipClaiming = (entries: bigint): Buffer => {
  const end64 = Buffer.alloc(76)
  end64.writeUInt32LE(0x06064b50, 0)
  end64.writeBigUInt64LE(44n, 4)
  end64.writeBigUInt64LE(entries, 24)
  end64.writeBigUInt64LE(entries, 32)
  end64.writeUInt32LE(0x07064b50, 56)
  end64.writeUInt32LE(1, 72)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(0xffff, 8)
  end.writeUInt16LE(0xffff, 10)
  return Buffer.concat([end64, end])
}

/** A zip of one entry that unfolds to `megabytes` of zeros and declares `size` bytes. */
const zipUnfolding = (megabytes: number, size: number): Buffer => {
  const name = "a.jpg"
  const bytes = Buffer.from(zipBytes([{ name, data: Buffer.alloc(megabytes * MIB), method: "deflate" }]))
  const central = bytes.indexOf(Buffer.from("PK\x01\x02", "latin1"))
  bytes.writeUInt32LE(size, central + 24)
  return bytes
}

/** Many entries over one piece of compressed bytes. */
const zipSharing = (entries: number): Buffer => {
  const body = deflateRawSync(Buffer.alloc(10 * MIB))
  const local = Buffer.from(zipBytes([{ name: "00000", data: Buffer.alloc(10 * MIB), method: "deflate" }]))
  const at = local.indexOf(Buffer.from("PK\x01\x02", "latin1"))
  const record = local.subarray(at, at + 46 + 5)
  const records = Array.from({ length: entries }, (_, i) => {
    const copy = Buffer.from(record)
    copy.write(String(i).padStart(5, "0"), 46)
    return copy
  })
  const directory = Buffer.concat(records)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(entries, 8)
  end.writeUInt16LE(entries, 10)
  end.writeUInt32LE(directory.length, 12)
  end.writeUInt32LE(at, 16)
  demand(body.length < at, "the entry lies before the directory")
  return Buffer.concat([local.subarray(0, at), directory, end])
}

const tar = (bytes: Uint8Array | ((path: string) => void), name?: string): Promise<string> =>
  opening("tar", bytes, (path) =>
    Effect.scoped(
      Effect.gen(function* () {
        const archive = yield* openTar(path)
        return name === undefined ? `${archive.size} entries` : `${(yield* archive.read(name)).length} bytes`
      })
    )
  )

/** A PNG of one colour: some bytes a row. */
const png = (width: number, height: number, rows = height): Buffer => {
  const chunk = (type: string, data: Buffer): Buffer => {
    const out = Buffer.alloc(12 + data.length)
    out.writeUInt32BE(data.length, 0)
    out.write(type, 4)
    data.copy(out, 8)
    out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length)
    return out
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 2, 0, 0, 0], 8)
  const body = deflateSync(Buffer.alloc(rows * (1 + width * 3)))
  return Buffer.concat([
    Buffer.from("89504e470d0a1a0a", "hex"),
    chunk("IHDR", header),
    chunk("IDAT", body),
    chunk("IEND", Buffer.alloc(0))
  ])
}

const picture = async (bytes: Uint8Array): Promise<string> => {
  const result = await Effect.runPromise(Effect.result(decodeImage(bytes)))
  return Result.isSuccess(result) ? `${result.success.width} x ${result.success.height}` : reasonOf(result.failure)
}

const shard = arrowRows({ id: "utf8", width: "int32", keep: "bool" })

/** A shard with numbers of its footer or first batch changed. */
const arrow = async (change: (bytes: Buffer) => void): Promise<string> => {
  const encoder = shard.encoder()
  const rows = Array.from({ length: 20 }, (_, i) => ({ id: `${i}`, width: i, keep: true }))
  const bytes = Buffer.concat([...encoder.append(rows), ...encoder.finish()])
  change(bytes)
  const read = Effect.flatMap(shard.open(fromBuffer(bytes)), (reader) => Stream.runCollect(reader.batches))
  const result = await Effect.runPromise(Effect.result(read))
  return Result.isSuccess(result) ? "accepted" : reasonOf(result.failure)
}

const million = 1_000_000

export const bombs: ReadonlyArray<Bomb> = [
  {
    name: "json-deep",
    says: "2 rows; 1 too-deep",
    seconds: 20,
    megabytes: 300,
    run: () =>
      parsed(function* () {
        yield Buffer.from("[1,")
        yield* repeated("[", million)
        yield* repeated("]", million)
        yield Buffer.from(",2]")
      })
  },
  {
    name: "jsonl-deep",
    says: "2 rows; 1 too-deep",
    seconds: 20,
    megabytes: 300,
    run: () =>
      parsed(
        function* () {
          yield Buffer.from("1\n")
          yield* repeated('{"a":', million)
          yield* repeated("}", million)
          yield Buffer.from("\n2")
        },
        { layout: "lines" }
      )
  },
  {
    name: "json-string-of-600-mb",
    says: "2 rows; 1 too-large",
    seconds: 60,
    megabytes: 400,
    run: () =>
      parsed(function* () {
        yield Buffer.from('[1,"')
        yield* repeated("x", 600 * million)
        yield Buffer.from('",2]')
      })
  },
  {
    // Taken whole because the limit was raised: longer than a string of the engine can be.
    name: "json-string-of-600-mb-allowed",
    says: "2 rows; 1 syntax",
    seconds: 60,
    megabytes: 2200,
    run: () =>
      parsed(
        function* () {
          yield Buffer.from('[1,"')
          yield* repeated("x", 600 * million)
          yield Buffer.from('",2]')
        },
        { maxRowBytes: 2 ** 31 }
      )
  },
  {
    name: "json-string-that-never-ends",
    says: "1 rows; file truncated",
    seconds: 60,
    megabytes: 400,
    run: () =>
      parsed(function* () {
        yield Buffer.from('[1,"')
        yield* repeated('x\\"', 200 * million)
      })
  },
  {
    name: "json-gzip-of-2-gb",
    says: "1 rows; 0 too-large",
    seconds: 90,
    megabytes: 400,
    run: async () => {
      const folder = mkdtempSync(join(tmpdir(), "millrace-bomb-"))
      const path = join(folder, "x.json.gz")
      try {
        const file = openSync(path, "w")
        const packed = createGzip({ level: 1 })
        packed.on("data", (chunk: Buffer) => writeSync(file, chunk))
        const ended = new Promise((done) => packed.once("end", done))
        packed.write('["')
        for (const chunk of repeated("x", 2000 * million))
          if (!packed.write(chunk)) await new Promise((done) => packed.once("drain", done))
        packed.end('",7]')
        await ended
        closeSync(file)
        let rows = 0
        const refused: Array<string> = []
        await Effect.runPromise(
          Stream.runForEach(readJson(path), (batch) =>
            Effect.sync(() => {
              rows += batch.rows.length
              for (const { reason, row } of batch.refused) refused.push(`${row} ${reason}`)
            })
          )
        )
        return `${rows} rows; ${refused.join(", ")}`
      } finally {
        rmSync(folder, { recursive: true })
      }
    }
  },
  {
    // What a refusal says must not hold the row.
    name: "refusal-of-a-60-mb-row",
    says: "refused in few words",
    seconds: 30,
    megabytes: 500,
    run: async () => {
      const result = decodeRow({ id: "a", conversations: "x".repeat(60 * million) }, 0)
      if (Result.isSuccess(result)) return "accepted"
      return result.failure.message.length < 2000
        ? "refused in few words"
        : `${result.failure.message.length} characters`
    }
  },
  { name: "html-unclosed", says: "TooDeep", seconds: 20, megabytes: 400, run: html(() => "<b>".repeat(100_000)) },
  {
    name: "html-mixed",
    says: "accepted",
    seconds: 20,
    megabytes: 400,
    run: html(() => "<p>a<i>b</p>".repeat(100_000))
  },
  {
    name: "html-quotations",
    says: "TooLarge",
    seconds: 60,
    megabytes: 700,
    run: html(() => "<blockquote>".repeat(800) + "a\n".repeat(500_000))
  },
  {
    name: "html-lists",
    says: "TooLarge",
    seconds: 60,
    megabytes: 900,
    run: html(() => "<ul><li>".repeat(400) + "a<br>".repeat(200_000))
  },
  {
    name: "html-cells",
    says: "TooDeep",
    seconds: 20,
    megabytes: 500,
    run: html(() => "<table><tr><td>".repeat(100_000))
  },
  {
    name: "html-numbers",
    says: "TooLarge",
    seconds: 20,
    megabytes: 500,
    run: html(() => `<ol start="${"9".repeat(4300)}">${"<li>a</li>".repeat(100_000)}`)
  },
  {
    name: "html-quotes",
    says: "accepted",
    seconds: 20,
    megabytes: 500,
    run: html(() => `${'<a b="'.repeat(300_000)}`)
  },
  { name: "html-lessers", says: "accepted", seconds: 20, megabytes: 500, run: html(() => "<a <".repeat(300_000)) },
  {
    name: "html-ampersands",
    says: "accepted",
    seconds: 20,
    megabytes: 500,
    run: html(() => "&#x".repeat(300_000) + "&a".repeat(300_000))
  },
  { name: "html-comments", says: "accepted", seconds: 20, megabytes: 500, run: html(() => "<!--".repeat(300_000)) },
  {
    name: "html-fences",
    says: "accepted",
    seconds: 20,
    megabytes: 500,
    run: html(() => "```Copy code".repeat(100_000))
  },
  {
    name: "tokenizer-5-mb-one-letter",
    says: "exact",
    seconds: 60,
    megabytes: 900,
    run: tokens(() => "a".repeat(5 * million))
  },
  {
    name: "tokenizer-5-mb-no-spaces",
    says: "exact",
    seconds: 60,
    megabytes: 900,
    run: tokens(() =>
      Array.from({ length: 5 * million }, (_, i) => String.fromCharCode(97 + ((i * 7919 + (i >> 5) * 31) % 26))).join(
        ""
      )
    )
  },
  {
    name: "tokenizer-5-mb-spaces",
    says: "exact",
    seconds: 60,
    megabytes: 900,
    run: tokens(() => " ".repeat(5 * million))
  },
  {
    name: "tokenizer-3-mb-emoji",
    says: "exact",
    seconds: 60,
    megabytes: 900,
    run: tokens(() => "👩‍👩‍👧".repeat(400_000))
  },
  {
    name: "zip-of-a-billion",
    says: "ZipError: damaged",
    seconds: 10,
    megabytes: 300,
    run: () => zip(zipClaiming(10n ** 9n))
  },
  {
    name: "zip-of-2^64",
    says: "ZipError: damaged",
    seconds: 10,
    megabytes: 300,
    run: () => zip(zipClaiming(2n ** 64n - 1n))
  },
  {
    name: "zip-unfolding",
    says: "ZipError: too-large",
    seconds: 20,
    megabytes: 700,
    run: () => zip(zipUnfolding(200, 200 * MIB), "a.jpg")
  },
  {
    name: "zip-lying",
    says: "ZipError: size-mismatch",
    seconds: 20,
    megabytes: 700,
    run: () => zip(zipUnfolding(200, 5 * MIB), "a.jpg")
  },
  { name: "zip-sharing", says: "ZipError: overlap", seconds: 10, megabytes: 400, run: () => zip(zipSharing(60_000)) },
  {
    name: "tar-of-2^60-bytes",
    says: "TarError: truncated",
    seconds: 10,
    megabytes: 300,
    run: () => tar(Buffer.concat([tarHeader(Buffer.from("a"), { size: 2 ** 52, base256: true }), tarEnd]))
  },
  {
    name: "tar-of-200,000-empty-files",
    says: "200000 entries",
    seconds: 20,
    megabytes: 300,
    run: () =>
      tar((path) => {
        const file = openSync(path, "w")
        for (let i = 0; i < 200_000; i++) writeSync(file, tarEntry({ name: `${i}.jpg` }))
        writeSync(file, tarEnd)
        closeSync(file)
      })
  },
  {
    name: "tar-of-long-names",
    says: "TarError: damaged",
    seconds: 10,
    megabytes: 300,
    run: () => tar(Buffer.concat([tarHeader(Buffer.from("L"), { size: 2 ** 40, type: "L", base256: true }), tarEnd]))
  },
  {
    name: "png-of-60000",
    says: "BadImage: too-large",
    seconds: 10,
    megabytes: 300,
    run: () => picture(png(60_000, 60_000, 1))
  },
  { name: "png-of-8000", says: "8000 x 8000", seconds: 60, megabytes: 1000, run: () => picture(png(8000, 8000)) },
  { name: "png-cut", says: "BadImage: corrupt", seconds: 30, megabytes: 700, run: () => picture(png(8000, 8000, 10)) },
  {
    name: "gif-of-65535",
    says: "BadImage: too-large",
    seconds: 10,
    megabytes: 300,
    // A screen of 65,535 by 65,535 with one frame of one pixel.
    run: () => picture(Buffer.from("474946383961ffffffff800000000000ffffff2c00000000010001000002024401003b", "hex"))
  },
  {
    name: "arrow-footer-of-2-gb",
    says: "ShardFormatError",
    seconds: 10,
    megabytes: 300,
    run: () => arrow((bytes) => bytes.writeInt32LE(0x7fffffff, bytes.length - 10))
  },
  {
    name: "arrow-lengths",
    says: "ShardFormatError",
    seconds: 30,
    megabytes: 300,
    run: async () => {
      const said = new Set<string>()
      const probe = shard.encoder()
      const length = Buffer.concat([...probe.append([{ id: "", width: 0, keep: false }]), ...probe.finish()]).length
      // Every word of the file, one after the other, as a giant.
      for (let at = 8; at + 8 <= length; at += 4)
        for (const value of [0x7fffffff, -1, 0x40000000])
          said.add(await arrow((bytes) => bytes.writeInt32LE(value, at)))
      said.delete("accepted")
      return [...said].join(", ")
    }
  },
  {
    name: "safetensors-header-of-2^63",
    says: "SafetensorsError",
    seconds: 10,
    megabytes: 300,
    run: () =>
      opening("safetensors", Buffer.from("ffffffffffffff7f7b7d", "hex"), (path) =>
        Effect.scoped(Effect.map(openSafetensors(path), (file) => `${file.entries.size} tensors`))
      )
  },
  {
    name: "safetensors-header-deep",
    says: "SafetensorsError",
    seconds: 20,
    megabytes: 400,
    run: () => {
      const json = Buffer.from(
        `{"a":{"dtype":"F32","shape":${"[".repeat(million)}${"]".repeat(million)},"data_offsets":[0,0]}}`
      )
      const length = Buffer.alloc(8)
      length.writeBigUInt64LE(BigInt(json.length))
      return opening("safetensors", Buffer.concat([length, json]), (path) =>
        Effect.scoped(Effect.map(openSafetensors(path), (file) => `${file.entries.size} tensors`))
      )
    }
  }
]
