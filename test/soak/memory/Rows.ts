/**
 * What is read at ten times its memory: each row makes its input on disk, then reads all of it in another process.
 *
 * A row's limit is on the whole process that reads, the engine's own 60 to 130 MiB among them.
 */
import {
  closeSync,
  createReadStream,
  createWriteStream,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync
} from "node:fs"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { createGzip } from "node:zlib"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, Result, Schema, Stream } from "effect"
import { openZip } from "../../../src/bytes/Zip.ts"
import { writeZip } from "../../../src/bytes/ZipWriter.ts"
import { rows } from "../../../src/dag/Artifact.ts"
import { arrowRows, fixedBytes } from "../../../src/data/ArrowShard.ts"
import { readJson } from "../../../src/data/JsonArray.ts"
import { openTar } from "../../../src/data/Tar.ts"
import { openFile, writeRows } from "../../../src/store/ShardFiles.ts"
import { CleanOptions, cleanConversation } from "../../../src/text/Clean.ts"
import { Conversation, decodeRow } from "../../../src/text/Conversation.ts"
import { tarEnd, tarEntry } from "../../data/TarWriter.ts"
import { type Random, randomOf } from "../fuzz/Random.ts"

export interface MemoryRow {
  readonly name: string
  /** MiB that the reading process may hold. */
  readonly limit: number
  /** Writes some `bytes` of input into the folder. */
  readonly make: (folder: string, bytes: number) => Promise<void>
  /** Reads it all; gives bytes read and what they were. */
  readonly read: (folder: string) => Promise<{ readonly bytes: number; readonly what: string }>
}

const MIB = 1 << 20

const words =
  "the mill race leads water over stone to a wheel that turns and grinds grain for bread all day long".split(" ")

const sentence = (random: Random): string =>
  Array.from({ length: 8 + random.int(20) }, () => random.pick(words)).join(" ")

/** A conversation as ShareGPT has them: some turns, HTML in replies, 13 KB on average. */
const conversation = (random: Random): string => {
  const turns = Array.from({ length: 2 + 2 * random.int(8) }, (_, i) =>
    i % 2 === 0
      ? { from: "human", value: sentence(random) }
      : {
          from: "gpt",
          value: Array.from(
            { length: 3 + random.int(24) },
            () => `<p>${sentence(random)} <b>${random.pick(words)}</b></p><ul><li>${sentence(random)}</li></ul>`
          ).join("")
        }
  )
  return JSON.stringify(turns)
}

/** Writes a ShareGPT array of so many bytes. */
export const makeShareGpt = (path: string, bytes: number): void => {
  const random = randomOf("memory")
  const pool = Array.from({ length: 300 }, () => conversation(random))
  const file = openSync(path, "w")
  let written = 0
  for (let i = 0; written < bytes; ) {
    let piece = ""
    while (piece.length < 1 << 20) {
      piece += `${i === 0 ? "[" : ","}\n{"id":"m${i}","conversations":${pool[i % pool.length]}}`
      i++
    }
    written += writeSync(file, piece)
  }
  writeSync(file, "]")
  closeSync(file)
}

/** The same as JSON lines, gzipped: members one after the other are one stream, so that few bytes unfold to many. */
const makePacked = async (folder: string, bytes: number): Promise<void> => {
  const path = join(folder, "plain")
  makeShareGpt(path, Math.min(bytes, 64 * MIB))
  const { size } = statSync(path)
  const member = join(folder, "member")
  await pipeline(
    createReadStream(path, { start: 1, end: size - 2 }),
    // An object a line already, but for the commas at the ends.
    async function* (source) {
      for await (const chunk of source) yield (chunk as Buffer).toString("latin1").replaceAll(/,?\n(?=\{"id")/g, "\n")
    },
    createGzip({ level: 1 }),
    createWriteStream(member)
  )
  const packed = readFileSync(member)
  const file = openSync(join(folder, "in.jsonl.gz"), "w")
  for (let written = 0; written < bytes; written += size) writeSync(file, packed)
  closeSync(file)
  rmSync(path)
  rmSync(member)
}

const readAll = (path: string): Promise<number> => {
  let count = 0
  return Effect.runPromise(
    Stream.runForEach(readJson(path), (batch) =>
      Effect.sync(() => {
        if (batch.refused.length > 0) throw new Error(batch.refused[0]!.message)
        count += batch.rows.length
      })
    )
  ).then(() => count)
}

/** Distinct numbers below `count`, each once, far apart. */
function* shuffled(count: number): Generator<number> {
  let step = Math.floor(count * 0.618) | 1
  const common = (a: number, b: number): number => (b === 0 ? a : common(b, a % b))
  while (common(step, count) !== 1) step += 2
  for (let i = 0, at = 0; i < count; i++, at = (at + step) % count) yield at
}

/** Bytes that do not compress to nothing, different for each number. */
const content = (pool: Buffer, i: number, size: number): Buffer => {
  const out = Buffer.from(pool.subarray(0, size))
  out.writeUInt32LE(i, 0)
  return out
}

const archive = (
  open: (path: string) => Effect.Effect<
    {
      readonly size: number
      readonly names: () => Iterable<string>
      readonly read: (name: string) => Effect.Effect<Uint8Array, any>
    },
    any,
    any
  >,
  path: string
): Promise<{ readonly bytes: number; readonly what: string }> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const opened = yield* open(path)
        const names = [...opened.names()]
        let bytes = 0
        yield* Effect.forEach(
          [...shuffled(names.length)],
          (i) =>
            Effect.map(opened.read(names[i]!), (data) => {
              if (Buffer.from(data.buffer, data.byteOffset).readUInt32LE(0) !== i) throw new Error(`entry ${i} differs`)
              bytes += data.length
            }),
          { concurrency: 4, discard: true }
        )
        return { bytes, what: `${names.length} entries in shuffled order` }
      })
    ) as Effect.Effect<{ bytes: number; what: string }>
  )

const PIXELS = 336 * 336 * 3
const shards = arrowRows({ id: "int32", pixels: fixedBytes(PIXELS) })
const SHARDS = 8

export const memoryRows: ReadonlyArray<MemoryRow> = [
  {
    name: "json",
    limit: 250,
    make: async (folder, bytes) => makeShareGpt(join(folder, "in.json"), bytes),
    read: async (folder) => {
      const path = join(folder, "in.json")
      return { bytes: statSync(path).size, what: `${await readAll(path)} rows` }
    }
  },
  {
    name: "gzip",
    limit: 250,
    make: (folder, bytes) => makePacked(folder, bytes),
    read: async (folder) => {
      let bytes = 0
      let count = 0
      await Effect.runPromise(
        Stream.runForEach(readJson(join(folder, "in.jsonl.gz")), (batch) =>
          Effect.sync(() => {
            count += batch.rows.length
            for (const { offset } of batch.rows) bytes = offset
          })
        )
      )
      return { bytes, what: `${count} rows` }
    }
  },
  {
    name: "clean",
    limit: 450,
    make: (folder, bytes) => makePacked(folder, bytes),
    read: async (folder) => {
      const rules = CleanOptions.make({ values: "html", humanTurns: "reference" })
      let refused = 0
      let bytes = 0
      const batches = Stream.map(readJson(join(folder, "in.jsonl.gz")), (batch) =>
        batch.rows.flatMap(({ index, offset, value }) => {
          bytes = offset
          const row = Result.flatMap(
            Result.mapError(decodeRow(value, index), () => undefined),
            (one) => Result.mapError(cleanConversation(one, rules), () => undefined)
          )
          if (Result.isSuccess(row)) return [row.success]
          refused++
          return []
        })
      )
      const artifact = rows("clean", Schema.Struct(Conversation.fields))
      const out = join(folder, "store")
      mkdirSync(out)
      const written = await Effect.runPromise(
        Effect.provide(writeRows({ folder: out, port: "rows", artifact, batches, shardRows: 4096 }), NodeServices.layer)
      )
      const count = written.reduce((sum, shard) => sum + shard.rows, 0)
      return {
        bytes,
        what: `${count} rows stored in ${written.length} shards, ${refused} refused`
      }
    }
  },
  {
    name: "zip",
    limit: 400,
    make: async (folder, bytes) => {
      const pool = randomOf("zip").bytes(MIB)
      await Effect.runPromise(
        writeZip(
          join(folder, "in.zip"),
          // One at a time: a stream maps what it is given at once, 4,096 numbers here.
          Stream.map(Stream.rechunk(Stream.range(0, Math.ceil(bytes / MIB) - 1), 1), (i) => ({
            name: `${i}.bin`,
            data: content(pool, i, MIB),
            method: i % 8 === 0 ? ("deflate" as const) : ("stored" as const)
          }))
        )
      )
    },
    read: (folder) => archive(openZip, join(folder, "in.zip"))
  },
  {
    name: "tar",
    limit: 350,
    make: async (folder, bytes) => {
      const size = 48 * 1024
      const pool = randomOf("tar").bytes(size)
      const file = openSync(join(folder, "in.tar"), "w")
      for (let i = 0; i * size < bytes; i++)
        writeSync(file, tarEntry({ name: `${i}.jpg`, data: content(pool, i, size) }))
      writeSync(file, tarEnd)
      closeSync(file)
    },
    read: (folder) => archive(openTar, join(folder, "in.tar"))
  },
  {
    name: "arrow",
    limit: 400,
    make: async (folder, bytes) => {
      const pool = randomOf("arrow").bytes(PIXELS)
      const perShard = Math.ceil(bytes / PIXELS / SHARDS / 32) * 32
      for (let shard = 0; shard < SHARDS; shard++) {
        const file = openSync(join(folder, `${shard}.arrow`), "w")
        const encoder = shards.encoder()
        const write = (pieces: ReadonlyArray<Uint8Array>): void => {
          for (const piece of pieces) for (let at = 0; at < piece.length; ) at += writeSync(file, piece, at)
        }
        for (let row = 0; row < perShard; row += 32) {
          const first = shard * perShard + row
          const batch = Array.from({ length: 32 }, (_, i) => ({
            id: first + i,
            pixels: content(pool, first + i, PIXELS)
          }))
          write(encoder.append(batch))
        }
        write(encoder.finish())
        closeSync(file)
      }
    },
    read: (folder) =>
      Effect.runPromise(
        Effect.scoped(
          Effect.gen(function* () {
            const readers = yield* Effect.forEach(
              Array.from({ length: SHARDS }, (_, i) => i),
              (shard) => Effect.flatMap(openFile(join(folder, `${shard}.arrow`)), shards.open)
            )
            const perShard = readers[0]!.rows
            let bytes = 0
            let count = 0
            for (const at of shuffled(perShard * SHARDS)) {
              const [row] = yield* readers[Math.floor(at / perShard)]!.get([at % perShard])
              if (row!.id !== at || Buffer.from(row!.pixels).readUInt32LE(0) !== at)
                throw new Error(`row ${at} differs`)
              bytes += row!.pixels.length
              count++
            }
            return { bytes, what: `${count} rows of ${SHARDS} shards in shuffled order` }
          })
        ).pipe(Effect.provide(NodeServices.layer))
      )
  }
]
