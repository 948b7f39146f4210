/** Torch files made here, byte by byte: what torch writes, and what it never would. */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { zipBytes } from "../../../src/bytes/ZipWriter.ts"
import { openTorchFile } from "../../../src/model/pickle/TorchFile.ts"

/** A file that torch wrote; `scripts/torch_fixtures.py` made them. */
export const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url))

export const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "torch-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

/** Text as latin-1, bytes as they are. */
export const bytesOf = (...pieces: ReadonlyArray<string | number | Uint8Array>): Uint8Array =>
  Buffer.concat(
    pieces.map((one) =>
      typeof one === "string" ? Buffer.from(one, "latin1") : typeof one === "number" ? Buffer.from([one]) : one
    )
  )

const int32 = (value: number): Uint8Array => {
  const out = Buffer.alloc(4)
  out.writeInt32LE(value)
  return out
}

/** A number of any size up to eight bytes: BININT or LONG1. */
export const number = (value: number): Uint8Array => {
  if (value === (value | 0)) return bytesOf("J", int32(value))
  const out = Buffer.alloc(8)
  out.writeBigInt64LE(BigInt(value))
  return bytesOf(0x8a, 8, out)
}
export const text = (value: string): Uint8Array => {
  const raw = Buffer.from(value)
  return bytesOf("X", int32(raw.length), raw)
}
export const global = (module: string, name: string): Uint8Array => bytesOf("c", module, "\n", name, "\n")
export const tuple = (...items: ReadonlyArray<Uint8Array>): Uint8Array => bytesOf("(", ...items, "t")

export interface Described {
  readonly key?: string
  readonly type?: string
  readonly count: number
  readonly offset?: number
  readonly shape: ReadonlyArray<number>
  readonly strides: ReadonlyArray<number>
}

/** What torch writes for a tensor: a call of `_rebuild_tensor_v2` with a persistent id. */
export const tensor = ({
  key = "0",
  type = "FloatStorage",
  count,
  offset = 0,
  shape,
  strides
}: Described): Uint8Array =>
  bytesOf(
    global("torch._utils", "_rebuild_tensor_v2"),
    tuple(
      bytesOf(tuple(text("storage"), global("torch", type), text(key), text("cpu"), number(count)), "Q"),
      number(offset),
      tuple(...shape.map(number)),
      tuple(...strides.map(number)),
      bytesOf(0x89),
      bytesOf(global("collections", "OrderedDict"), ")R")
    ),
    "R"
  )

/** A state dict of these entries, as a whole pickle of protocol 2. */
export const stateDict = (entries: Readonly<Record<string, Uint8Array>>): Uint8Array =>
  bytesOf(0x80, 2, "}(", ...Object.entries(entries).flatMap(([name, value]) => [text(name), value]), "u.")

/** An archive as torch lays it out. */
export const archive = (pickle: Uint8Array, storages: Readonly<Record<string, Uint8Array>> = {}): Uint8Array =>
  zipBytes([
    { name: "archive/data.pkl", data: pickle },
    { name: "archive/byteorder", data: Buffer.from("little") },
    ...Object.entries(storages).map(([key, data]) => ({ name: `archive/data/${key}`, data })),
    { name: "archive/version", data: Buffer.from("3\n") }
  ])

/** Opens a file with these bytes and reads all of it; the total of bytes that were read. */
export const readAll = (bytes: Uint8Array) =>
  Effect.scoped(
    Effect.gen(function* () {
      const path = join(yield* folder, "pytorch_model.bin")
      yield* Effect.promise(() => writeFile(path, bytes))
      const file = yield* openTorchFile(path)
      let total = 0
      for (const name of file.entries.keys()) total += (yield* file.bytes(name)).byteLength
      return total
    })
  )

/** The same for a pickle in an archive whose storage `0` has 48 bytes. */
export const readPickle = (pickle: Uint8Array) => readAll(archive(pickle, { 0: new Uint8Array(48) }))
