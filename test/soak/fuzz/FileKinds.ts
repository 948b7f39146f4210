/** Fuzzing of what reads archives and tensors: zip, tar, images, Arrow shards, safetensors. */
import { rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { Effect, Result, Stream } from "effect"
import sharp from "sharp"
import { openZip, ZipError } from "../../../src/bytes/Zip.ts"
import { ZipEncoder, zipBytes } from "../../../src/bytes/ZipWriter.ts"
import { fromBuffer, ShardFormatError } from "../../../src/dag/Format.ts"
import { arrowRows, fixedBytes, fixedFloats, list } from "../../../src/data/ArrowShard.ts"
import { BadImage, decodeImage, fitImage } from "../../../src/data/Images.ts"
import { openTar, TarError } from "../../../src/data/Tar.ts"
import { encodeSafetensors, openSafetensors, SafetensorsError } from "../../../src/model/Safetensors.ts"
import { seal, type TarDialect, tarBytes } from "../../data/TarWriter.ts"
import { demand, type Kind, reasonOf, typed, type Verdict } from "./Kind.ts"
import { extreme, mutate } from "./Mutate.ts"
import type { Random } from "./Random.ts"

/** Bytes as they were damaged, and what was in them when they were not. */
interface Archive {
  readonly bytes: Uint8Array
  readonly whole?: ReadonlyArray<{ readonly name: string; readonly data: Uint8Array }>
}

/** Bytes of one entry at most while fuzzing. */
const ENTRY = 1 << 18
/** Entries read of one archive. */
const ENTRIES = 24

const places = (bytes: Buffer, what: Uint8Array): ReadonlyArray<number> => {
  const found: Array<number> = []
  for (let at = bytes.indexOf(what); at >= 0; at = bytes.indexOf(what, at + 1)) found.push(at)
  return found
}

/** Changes a field of the record at one of these places: a number made extreme, or moved by a little. */
const changeField = (random: Random, bytes: Buffer, at: ReadonlyArray<number>, fields: ReadonlyArray<number>): void => {
  if (at.length === 0) return
  const place = random.pick(at) + random.pick(fields)
  if (place + 4 > bytes.length) return
  if (random.chance(0.6)) extreme(random, bytes, place)
  else bytes.writeUInt16LE((bytes.readUInt16LE(place) + random.int(9) - 4) & 0xffff, place)
}

const files = (random: Random) =>
  Array.from({ length: random.int(6) }, (_, i) => ({
    name: `${random.pick(["", "d/", "ü/"])}${i}.${random.pick(["jpg", "txt", "json"])}`,
    data: random.chance(0.3) ? Buffer.alloc(random.int(3000), random.int(256)) : random.bytes(random.int(400))
  }))

interface Opened {
  readonly names: () => Iterable<string>
  readonly size: number
  readonly read: (name: string) => Effect.Effect<Uint8Array, any>
}

/** Opens a file, reads its entries, and compares them where the archive is whole. */
const readArchive = async (
  path: string,
  { bytes, whole }: Archive,
  open: (path: string) => Effect.Effect<Opened, any, any>,
  error: abstract new (...args: any) => Error
): Promise<Verdict> => {
  writeFileSync(path, bytes)
  let output = 0
  let refused: string | undefined
  const effect = Effect.scoped(
    Effect.gen(function* () {
      const archive = yield* open(path)
      demand(archive.size * 30 <= bytes.length, `${archive.size} entries in ${bytes.length} bytes`)
      const names = [...archive.names()]
      demand(names.length === archive.size, "names and size differ")
      for (const name of names.slice(0, ENTRIES)) {
        const result = yield* Effect.result(archive.read(name))
        if (Result.isSuccess(result)) {
          output += result.success.length
          const given = whole?.find((one) => one.name === name)
          if (given !== undefined) demand(Buffer.from(result.success).equals(given.data), `${name} differs`)
        } else {
          if (!(result.failure instanceof error)) throw result.failure
          refused ??= reasonOf(result.failure)
        }
      }
      if (whole !== undefined)
        demand(names.length === whole.length && refused === undefined, "a whole archive was refused")
    })
  ) as Effect.Effect<void, unknown>
  try {
    const result = await typed(effect, [error])
    if (Result.isFailure(result))
      demand(whole === undefined, `a whole archive was refused: ${reasonOf(result.failure)}`)
    return { said: Result.isFailure(result) ? reasonOf(result.failure) : (refused ?? "accepted"), output }
  } finally {
    rmSync(path)
  }
}

const signature = (value: number): Buffer => {
  const out = Buffer.alloc(4)
  out.writeUInt32LE(value)
  return out
}
const LOCAL = signature(0x04034b50)
const CENTRAL = signature(0x02014b50)
const END = signature(0x06054b50)
const END64 = signature(0x06064b50)

export const zipKind: Kind = {
  name: "zip",
  load: async (folder) => ({
    size: ({ bytes }: Archive) => bytes.length,
    bound: () => ENTRY * ENTRIES,
    input: (random): Archive => {
      const entries = files(random)
      const packed = entries.map((entry) => ({ ...entry, method: random.pick(["stored", "deflate"] as const) }))
      let bytes: Buffer
      if (random.chance(0.15)) {
        // Numbers of zip64: the archive says that it lies past 4 GiB. Readers take such bytes only when they are cut
        // off.
        const encoder = new ZipEncoder("far", 5 * 2 ** 30)
        bytes = Buffer.concat([...packed.flatMap((entry) => encoder.add(entry)), ...encoder.finish()])
      } else {
        bytes = Buffer.from(zipBytes(packed))
        if (random.chance(0.15)) return { bytes: Buffer.concat([random.bytes(random.int(40)), bytes]), whole: entries }
      }
      for (let n = random.int(4); n > 0; n--) {
        changeField(random, bytes, places(bytes, CENTRAL), [4, 8, 10, 16, 20, 24, 28, 30, 32, 34, 42])
        if (random.chance(0.3)) changeField(random, bytes, places(bytes, LOCAL), [4, 6, 8, 14, 18, 22, 26, 28])
        if (random.chance(0.3)) changeField(random, bytes, places(bytes, END), [4, 6, 8, 10, 12, 16, 20])
        if (random.chance(0.5)) changeField(random, bytes, places(bytes, END64), [4, 24, 32, 40, 48])
      }
      return { bytes: random.chance(0.5) ? mutate(random, bytes, [bytes]) : bytes }
    },
    check: (archive: Archive, random) =>
      readArchive(
        join(folder, `${random.int(2 ** 31)}.zip`),
        archive,
        (path) => openZip(path, { maxEntryBytes: ENTRY }),
        ZipError
      )
  })
}

/** Fields of a tar header: name, size, checksum, type, link, magic, prefix. */
const tarFields = [0, 124, 124, 124, 130, 156, 156, 157, 257, 345]

export const tarKind: Kind = {
  name: "tar",
  load: async (folder) => ({
    size: ({ bytes }: Archive) => bytes.length,
    bound: () => ENTRY * ENTRIES,
    input: (random): Archive => {
      const entries = files(random)
      const written = entries.map((entry) => {
        const dialect: TarDialect = random.pick(["v7", "ustar", "gnu", "pax"])
        const long = dialect === "gnu" || dialect === "pax" ? `${"n".repeat(random.int(120))}/` : ""
        return { ...entry, name: long === "/" ? entry.name : long + entry.name, dialect, base256: random.chance(0.2) }
      })
      const bytes = tarBytes(written)
      if (random.chance(0.15)) return { bytes, whole: written }
      for (let n = random.int(4); n > 0; n--) {
        const header = random.int(bytes.length / 512) * 512
        const block = bytes.subarray(header, header + 512)
        const field = random.pick(tarFields)
        if (random.chance(0.4)) extreme(random, block, field)
        else if (field === 156) block[156] = random.pick([..."01234567xgLKSMNVDZ", "\0"]).charCodeAt(0)
        else block.write(random.pick(["7777777", "0", "-1", "../x", "a b", "18446744073709551615", "\0"]), field)
        if (random.chance(0.9)) seal(block)
      }
      return { bytes: random.chance(0.3) ? mutate(random, bytes, [bytes]) : bytes }
    },
    check: (archive: Archive, random) =>
      readArchive(
        join(folder, `${random.int(2 ** 31)}.tar`),
        archive,
        (path) => openTar(path, { maxEntryBytes: ENTRY }),
        TarError
      )
  })
}

// ---- images

const MAX_PIXELS = 1 << 20

interface Picture {
  readonly bytes: Uint8Array
  readonly name: string
  /** Red, green and blue of an image that lost nothing. */
  readonly pixels?: Uint8Array
}

/** Writes the CRC of every PNG chunk that still has its place. */
const mendPng = (bytes: Buffer): void => {
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at)
    if (at + 12 + length > bytes.length) return
    bytes.writeUInt32BE(crc32(bytes.subarray(at + 4, at + 8 + length)), at + 8 + length)
    at += 12 + length
  }
}

const picturesOf = async (): Promise<ReadonlyArray<Picture>> => {
  const out: Array<Picture> = []
  for (const [width, height] of [
    [16, 12],
    [1, 40],
    [33, 33]
  ] as const) {
    const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 37 + (i >> 3) * 11) & 255)
    const raw = () => sharp(pixels, { raw: { width, height, channels: 3 } })
    const grey16 = Uint16Array.from({ length: width * height }, (_, i) => i * 97)
    const sixteen = sharp(grey16, { raw: { width, height, channels: 1 } }).toColourspace("grey16")
    out.push(
      { name: "a.png", bytes: await raw().png().toBuffer(), pixels },
      { name: "a.webp", bytes: await raw().webp({ lossless: true }).toBuffer(), pixels },
      { name: "b.png", bytes: await raw().png({ palette: true }).toBuffer() },
      { name: "c.png", bytes: await raw().ensureAlpha(0.5).png({ progressive: true }).toBuffer() },
      { name: "d.png", bytes: await sixteen.png().toBuffer() },
      { name: "a.jpg", bytes: await raw().jpeg().toBuffer() },
      { name: "b.jpg", bytes: await raw().jpeg({ progressive: true, chromaSubsampling: "4:4:4" }).toBuffer() },
      { name: "c.jpg", bytes: await raw().greyscale().jpeg().toBuffer() },
      { name: "d.jpg", bytes: await raw().toColourspace("cmyk").jpeg().toBuffer() },
      { name: "b.webp", bytes: await raw().webp({ quality: 30 }).toBuffer() },
      { name: "c.webp", bytes: await raw().ensureAlpha(0.5).webp().toBuffer() },
      { name: "a.gif", bytes: await raw().gif().toBuffer() }
    )
  }
  return out
}

export const imageKind: Kind = {
  name: "image",
  load: async () => {
    const seeds = await picturesOf()
    const others = seeds.map(({ bytes }) => bytes)
    return {
      size: ({ bytes }: Picture) => bytes.length,
      bound: () => MAX_PIXELS * 3,
      input: (random): Picture => {
        const seed = random.pick(seeds)
        if (random.chance(0.03)) return seed
        if (random.chance(0.03)) return { name: "noise", bytes: random.bytes(random.int(300)) }
        let bytes: Buffer = Buffer.from(seed.bytes)
        // Sizes live near the start in every format.
        if (random.chance(0.3)) extreme(random, bytes, random.int(Math.min(bytes.length, 200)))
        if (random.chance(0.8)) bytes = mutate(random, bytes, others, 1 << 14)
        if (seed.name.endsWith(".png") && random.chance(0.8)) mendPng(bytes)
        return { name: seed.name, bytes }
      },
      check: async ({ bytes, name, pixels }: Picture): Promise<Verdict> => {
        const result = await typed(decodeImage(bytes, { name, maxPixels: MAX_PIXELS, misnamed: "accept" }), [BadImage])
        if (Result.isFailure(result)) {
          demand(pixels === undefined, "a whole picture was refused")
          return { said: result.failure.reason, output: 0 }
        }
        const image = result.success
        demand(image.width >= 1 && image.height >= 1, "a picture without pixels")
        demand(image.pixels_HWC.length === image.width * image.height * 3, "pixels and size differ")
        if (pixels !== undefined) demand(Buffer.from(image.pixels_HWC).equals(pixels), "a lossless picture changed")
        // A padded square costs the square of the longer side; the node refuses such shapes before they get here.
        const narrow = Math.max(image.width, image.height) > 2000
        for (const fit of narrow ? (["crop"] as const) : (["crop", "pad"] as const))
          demand(fitImage(image, { size: 24, fit }).pixels_HWC.length === 24 * 24 * 3, "a square of another size")
        return { said: "accepted", output: image.pixels_HWC.length }
      }
    }
  }
}

// ---- tensors

const columns = {
  id: "utf8",
  meta: "json",
  width: "int32",
  score: "float64",
  keep: "bool",
  pixels: fixedBytes(6),
  features: fixedFloats(3),
  ids: list("int32")
} as const
const shards = arrowRows(columns)

interface Shard {
  readonly bytes: Buffer
  readonly rows?: string
}

const shardRow = (random: Random) => ({
  id: "ü".repeat(random.int(6)),
  meta: random.pick([null, "x", [1, 2], { a: null }]),
  width: random.int(1000) - 500,
  score: random.next(),
  keep: random.chance(0.5),
  pixels: new Uint8Array(random.bytes(6)),
  features: Float32Array.of(1, random.next(), -0),
  ids: Int32Array.from({ length: random.int(5) }, (_, i) => i)
})

export const arrowKind: Kind = {
  name: "arrow",
  load: async () => ({
    size: ({ bytes }: Shard) => bytes.length,
    // Two passes over at most a row a bit of the file, each as JSON of some 100 characters.
    bound: (size: number) => size * 2000 + 65_536,
    input: (random): Shard => {
      const batches = Array.from({ length: random.int(4) }, () =>
        Array.from({ length: random.int(9) }, () => shardRow(random))
      )
      const encoder = shards.encoder()
      const pieces = [...batches.flatMap((batch) => encoder.append(batch)), ...encoder.finish()]
      const bytes = Buffer.concat(pieces)
      if (random.chance(0.1)) return { bytes, rows: JSON.stringify(batches.flat()) }
      const footer = bytes.length - 10 - bytes.readInt32LE(bytes.length - 10)
      for (let n = 1 + random.int(5); n > 0; n--) {
        const inFooter = random.chance(0.5)
        // Metadata lies in words of four bytes.
        const at = inFooter ? footer + random.int((bytes.length - footer) >> 2) * 4 : random.int(bytes.length >> 2) * 4
        if (random.chance(0.5)) extreme(random, bytes, at)
        else bytes.writeInt32LE((bytes.readInt32LE(at) + random.pick([-64, -8, -4, -1, 1, 2, 4, 8, 64])) | 0, at)
      }
      return { bytes: random.chance(0.2) ? mutate(random, bytes, [bytes]) : bytes }
    },
    check: async ({ bytes, rows }: Shard, random): Promise<Verdict> => {
      let output = 0
      const effect = Effect.gen(function* () {
        const reader = yield* shards.open(fromBuffer(bytes))
        demand(reader.rows <= bytes.length * 8, `${reader.rows} rows in ${bytes.length} bytes`)
        const all: Array<unknown> = []
        yield* Stream.runForEach(reader.batches, (batch) =>
          Effect.sync(() => {
            for (const row of batch) all.push(row)
          })
        )
        demand(all.length === reader.rows, "batches and rows differ")
        const text = JSON.stringify(all)
        output += text.length
        if (rows !== undefined) demand(text === rows, "rows differ from those written")
        if (reader.rows > 0) {
          const some = Array.from({ length: 3 }, () => random.int(reader.rows))
          const again = yield* reader.get(some)
          demand(JSON.stringify(again) === JSON.stringify(some.map((i) => all[i])), "get and batches differ")
        }
      })
      const result = await typed(effect, [ShardFormatError])
      if (Result.isSuccess(result)) return { said: "accepted", output }
      demand(rows === undefined, `a whole shard was refused: ${result.failure.message}`)
      return { said: "refused", output }
    }
  })
}

export const safetensorsKind: Kind = {
  name: "safetensors",
  load: async (folder) => ({
    size: ({ bytes }: Shard) => bytes.length,
    // bf16 and f16 double.
    bound: (size: number) => size * 4 + 1024,
    input: (random): Shard => {
      const tensors = Array.from({ length: random.int(4) }, (_, i) => {
        const dtype = random.pick(["F32", "F16", "BF16", "I64", "U8"] as const)
        const width = { F32: 4, F16: 2, BF16: 2, I64: 8, U8: 1 }[dtype]
        const shape = Array.from({ length: random.int(3) }, () => random.int(4))
        const count = shape.reduce((product, n) => product * n, 1)
        const data = dtype === "I64" ? Buffer.alloc(count * 8) : random.bytes(count * width)
        return { name: `t.${i}`, dtype, shape, data }
      })
      const bytes = Buffer.from(encodeSafetensors(tensors, { format: "pt" }))
      if (random.chance(0.1)) return { bytes, rows: "whole" }
      const header = Number(bytes.readBigUInt64LE(0))
      if (random.chance(0.4)) {
        const json = mutate(random, bytes.subarray(8, 8 + header), [bytes])
        const length = Buffer.alloc(8)
        length.writeBigUInt64LE(BigInt(json.length))
        return { bytes: Buffer.concat([length, json, bytes.subarray(8 + header)]) }
      }
      if (random.chance(0.4)) extreme(random, bytes, random.int(8))
      return { bytes: mutate(random, bytes, [bytes]) }
    },
    check: async ({ bytes, rows }: Shard, random): Promise<Verdict> => {
      const path = join(folder, `${random.int(2 ** 31)}.safetensors`)
      writeFileSync(path, bytes)
      let output = 0
      const effect = Effect.scoped(
        Effect.gen(function* () {
          const file = yield* openSafetensors(path)
          for (const [name, { dtype }] of file.entries) {
            const values = /^[IU]/.test(dtype) ? yield* file.integers(name) : yield* file.floats(name)
            output += values.byteLength
          }
        })
      )
      try {
        const result = await typed(effect, [SafetensorsError])
        if (Result.isSuccess(result)) return { said: "accepted", output }
        demand(rows === undefined, `a whole file was refused: ${result.failure.message}`)
        return { said: "refused", output }
      } finally {
        rmSync(path)
      }
    }
  })
}
