/** Every reader names the kind of every wrong file, in the same words and with a hint. */
import { readFileSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { gzipSync, zstdCompressSync } from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema, type Scope, Stream } from "effect"
import { openZip } from "../../src/bytes/Zip.ts"
import { zipBytes } from "../../src/bytes/ZipWriter.ts"
import { HEAD_BYTES, readJsonDocument, sniffFile, type Wanted, wrongFile } from "../../src/dag/WrongFile.ts"
import { decodeImage } from "../../src/data/Images.ts"
import { describeParquet } from "../../src/data/Parquet.ts"
import { readRowFiles } from "../../src/data/RowFiles.ts"
import { openTar } from "../../src/data/Tar.ts"
import { openPhi } from "../../src/model/Folder.ts"
import { openAdapter } from "../../src/model/lora/Adapter.ts"
import { openTorchFile } from "../../src/model/pickle/TorchFile.ts"
import { openSafetensors } from "../../src/model/Safetensors.ts"
import { readShardIndex } from "../../src/model/ShardIndex.ts"
import { loadTokenizer } from "../../src/nodes/LoadTokenizer.ts"
import { readJsonFile } from "../../src/nodes/ModelFiles.ts"
import { openImages } from "../../src/nodes/TokenizeImages.ts"
import { tarBytes } from "../data/TarWriter.ts"
import { tinyPhi } from "../model/support.ts"
import { pixelsOf, png, scratch } from "./support.ts"

const latin = (text: string): Buffer => Buffer.from(text, "latin1")
const encrypted = (): Uint8Array => {
  const bytes = zipBytes([{ name: "a.jpg", data: latin("secret") }])
  bytes[6]! |= 1 // of the local header
  const central = Buffer.from(bytes).indexOf("PK\x01\x02", 0, "latin1")
  bytes[central + 8]! |= 1
  return bytes
}
const safetensors = (): Buffer => {
  const json = latin('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   ')
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  return Buffer.concat([length, json, Buffer.alloc(1)])
}
const lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb\nsize 1289\n"
const html = (title: string) =>
  `<!DOCTYPE html>\n<html class=""><head><title>${title}</title></head><body>no</body></html>`

/** Bytes, what is said of them, and the readers they are right for. */
const wrongs: ReadonlyArray<
  readonly [name: string, bytes: () => Uint8Array, said: string, right?: ReadonlyArray<Wanted>]
> = [
  ["an LFS pointer", () => latin(lfs), "a Git LFS pointer"],
  ["an LFS pointer after Windows", () => latin(`\xef\xbb\xbf${lfs.replaceAll("\n", "\r\n")}`), "a Git LFS pointer"],
  ["a web page", () => latin(html("Log in")), "a web page (Log in)"],
  ["a web page after a comment", () => latin(`\n<!-- x -->\n<HTML><body>${"a".repeat(9000)}`), "a web page"],
  ["a hub's error", () => latin('{"error":"Repository not found"}'), "a server's error"],
  ["an API's error", () => latin('{\n "detail": "Not authenticated", "status": 401\n}'), "a server's error"],
  ["a hub's answer", () => latin("Entry not found"), "a server's answer"],
  ["a hub's gate", () => latin("Access to model microsoft/phi-2 is restricted. You must log in."), "a server's answer"],
  ["a hub's password", () => latin("Invalid username or password."), "a server's answer"],
  [
    "S3's error",
    () => latin('<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>no</Message></Error>'),
    "a storage server's error (NoSuchKey)"
  ],
  ["gzip", () => gzipSync("[1]"), "gzip", ["gzip"]],
  ["zstd", () => zstdCompressSync("[1]"), "zstd", ["zstd"]],
  ["bzip2", () => latin("BZh91AY&SY"), "bzip2"],
  ["xz", () => latin("\xfd7zXZ\0\0\x04"), "xz"],
  ["lz4", () => latin("\x04\x22\x4d\x18d@"), "lz4"],
  ["7z", () => latin("7z\xbc\xaf\x27\x1c\0\x04"), "7z"],
  ["rar", () => latin("Rar!\x1a\x07\x01\0"), "rar"],
  ["a zip", () => zipBytes([{ name: "a.jpg", data: latin("x") }]), "a zip archive", ["zip", "torch"]],
  ["an encrypted zip", encrypted, "encrypted"],
  ["a tar", () => tarBytes([{ name: "a.jpg", data: latin("x") }]), "a tar archive", ["tar"]],
  ["safetensors", safetensors, "a safetensors file", ["safetensors"]],
  ["a pickle", () => latin("\x80\x04\x95\x0b\0\0\0\0\0\0\0}\x94."), "a Python pickle", ["torch"]],
  ["Parquet", () => latin("PAR1\x15\x04PAR1"), "a Parquet file", ["parquet"]],
  ["Arrow", () => latin("ARROW1\0\0"), "an Arrow file", ["arrow"]],
  ["HDF5", () => latin("\x89HDF\r\n\x1a\n\0\0"), "an HDF5 file"],
  ["NumPy", () => latin("\x93NUMPY\x01\0v\0"), "a NumPy array"],
  ["GGUF", () => latin("GGUF\x03\0\0\0"), "a GGUF file"],
  ["JSON", () => latin('[{"id": "1"}]'), "JSON", ["json"]],
  ["a JPEG", () => latin("\xff\xd8\xff\xe0\0\x10JFIF\0"), "a JPEG image", ["image"]],
  ["a PDF", () => latin("%PDF-1.7\n"), "a PDF document", ["image"]],
  ["nothing", () => new Uint8Array(0), "empty", ["gzip", "zstd"]],
  ["zeros", () => new Uint8Array(300_000), "zeros"]
]

type Failing = Effect.Effect<unknown, { readonly message: string; readonly hint: string }, Scope.Scope>

/** A reader, the name its file must have, and what it wants. */
const readers: ReadonlyArray<readonly [name: string, file: string, wanted: Wanted, open: (path: string) => Failing]> = [
  ["JSON", "rows.json", "json", (path) => Stream.runDrain(readRowFiles(path))],
  ["JSON Lines", "rows.jsonl", "json", (path) => Stream.runDrain(readRowFiles(path))],
  ["JSON, gzip", "rows.json.gz", "gzip", (path) => Stream.runDrain(readRowFiles(path))],
  ["JSON Lines, zstd", "rows.jsonl.zst", "zstd", (path) => Stream.runDrain(readRowFiles(path))],
  ["Parquet rows", "rows.parquet", "parquet", (path) => Stream.runDrain(readRowFiles(path))],
  ["Parquet", "rows.parquet", "parquet", describeParquet],
  ["Arrow rows", "data-00000-of-00001.arrow", "arrow", (path) => Stream.runDrain(readRowFiles(path))],
  ["zip", "images.zip", "zip", (path) => openZip(path)],
  ["tar", "images.tar", "tar", (path) => openTar(path)],
  ["images by name, zip", "images.zip", "zip", (path) => openImages({ path })],
  ["images by name, tar", "images.tar", "tar", (path) => openImages({ path })],
  ["an image", "a.jpg", "image", (path) => decodeImage(readFileSync(path), { name: basename(path) })],
  ["safetensors", "model.safetensors", "safetensors", openSafetensors],
  ["torch", "pytorch_model.bin", "torch", openTorchFile],
  ["a tokenizer", "tokenizer.json", "json", (path) => loadTokenizer({ path })],
  ["a config", "config.json", "json", readJsonFile],
  [
    "a model's folder",
    "config.json",
    "json",
    (path) => {
      writeFileSync(join(path, "..", "model.safetensors"), safetensors())
      return openPhi(join(path, ".."))
    }
  ],
  ["an adapter's folder", "adapter_config.json", "json", (path) => openAdapter(join(path, ".."), tinyPhi)],
  [
    "an index of shards",
    "model.safetensors.index.json",
    "json",
    (path) => readShardIndex(path, (message, hint) => ({ message, hint })) as Failing
  ]
]

/** Tar has a hint of its own for packed tars, and readers may have one for nothing at all. */
const ownHint = (reader: string, name: string): boolean =>
  name === "nothing" || (reader.includes("tar") && ["gzip", "zstd", "bzip2", "xz", "lz4"].includes(name))

describe("wrong files", () => {
  for (const [reader, file, wanted, open] of readers)
    it.effect(`${reader}: says what each wrong file is`, () =>
      Effect.gen(function* () {
        const path = join(yield* scratch, file)
        for (const [name, bytes, said, right] of wrongs) {
          if (right?.includes(wanted)) continue
          // Lines may be none, and a tar may be called .zip.
          if ((reader === "JSON Lines" && name === "nothing") || (reader === "images by name, zip" && name === "a tar"))
            continue
          writeFileSync(path, bytes())
          const error = yield* Effect.flip(Effect.scoped(open(path)))
          expect(error.message, `${reader}, ${name}`).toContain(said)
          const expected = wrongFile(bytes().subarray(0, HEAD_BYTES), bytes().length, wanted)
          if (!ownHint(reader, name)) expect(error.hint, `${reader}, ${name}`).toBe(expected?.hint ?? error.hint)
          expect(error.hint.length, `${reader}, ${name}`).toBeGreaterThan(15)
        }
      })
    )

  it("says nothing of a right file", async () => {
    const picture = await png(8, 8)
    const rightful: ReadonlyArray<readonly [Wanted, Uint8Array]> = [
      ["json", latin('[{"error": "a row may speak of one", "id": 3}]')],
      ["json", latin('{"error": "so may a line", "image": "1.jpg"}\n{"error": "and the next"}\n')],
      ["json", latin('{"model_type": "phi", "message": "hello"}')],
      ["json", latin('"<html> in a text"')],
      ["zip", zipBytes([{ name: "a.txt", data: latin(lfs) }])],
      ["tar", tarBytes([{ name: "a.txt", data: latin(html("x")) }])],
      ["safetensors", safetensors()],
      ["parquet", latin("PAR1")],
      ["image", picture],
      ["image", pixelsOf(3, 3, 1)]
    ]
    for (const [wanted, bytes] of rightful) expect(wrongFile(bytes, bytes.length, wanted)).toBeUndefined()
  })

  it.prop(
    "no JSON of ours is taken for anything else, and no head makes it fail",
    { rows: Schema.Array(Schema.Record(Schema.String, Schema.Json)), noise: Schema.Uint8Array, size: Schema.Int },
    ({ noise, rows, size }) => {
      const text = Buffer.from(JSON.stringify(rows))
      expect(wrongFile(text, text.length, "json")).toBeUndefined()
      const found = wrongFile(noise, Math.abs(size), "safetensors")
      expect(found === undefined || found.hint.length > 10).toBe(true)
    }
  )

  it.effect("a file that is not there is its reader's to tell, and a mark of order is no damage", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      expect(yield* Effect.promise(() => sniffFile(join(folder, "absent"), "json"))).toBeUndefined()
      const path = join(folder, "config.json")
      writeFileSync(path, '{"model_type": "phi", "hidden_si')
      const cut = yield* Effect.flip(readJsonFile(path))
      expect(cut.message).toContain("is no whole JSON")
      expect(cut.hint).toContain("download it again")
      writeFileSync(path, '\ufeff{"a": 1}')
      expect(yield* Effect.promise(() => readJsonDocument(path))).toEqual({ a: 1 })
    })
  )
})
