/** Whatever compressors write one after the other is read to its end, or is an error; never a part in silence. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync, zstdCompressSync } from "node:zlib"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { decompress } from "../../src/data/Compressed.ts"
import { readJson } from "../../src/data/JsonArray.ts"

const folder = mkdtempSync(join(tmpdir(), "compressed-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const compress = { gz: gzipSync, zst: zstdCompressSync } as const
const kinds = ["gz", "zst"] as const

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

const Parts = Schema.Array(Schema.String).check(Schema.isMinLength(1), Schema.isMaxLength(6))
const Size = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 200 }))

const inflated = async (bytes: Buffer, kind: "gz" | "zst", size: number): Promise<string> => {
  const out: Array<Buffer> = []
  for await (const chunk of decompress(pieces(bytes, size), kind, 64)) out.push(Buffer.from(chunk))
  return Buffer.concat(out).toString("utf8")
}

describe("decompress", () => {
  for (const kind of kinds) {
    it.effect.prop(`${kind}: reads all parts, wherever the bytes are cut`, [Parts, Size], ([parts, size]) =>
      Effect.promise(async () => {
        const texts = parts.map((part) => part.toWellFormed().repeat(3))
        const bytes = Buffer.concat(texts.map((text) => compress[kind](text)))
        expect(await inflated(bytes, kind, size)).toBe(texts.join(""))
      })
    )

    it.effect.prop(`${kind}: a file cut anywhere else is an error`, [Size, Size], ([cut, size]) =>
      Effect.promise(async () => {
        const first = compress[kind]("first ".repeat(9))
        const bytes = Buffer.concat([first, compress[kind](Array.from({ length: 99 }, (_, i) => i * i).join(" "))])
        const at = cut % bytes.length
        if (at === first.length) return expect(await inflated(bytes.subarray(0, at), kind, size)).toHaveLength(54)
        await expect(inflated(bytes.subarray(0, at), kind, size)).rejects.toThrow(/unexpected end/)
      })
    )
  }

  it("skips frames that zstd means to be skipped, and the padding of gzip files", async () => {
    const skipped = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])
    const frames = [skipped, zstdCompressSync("a"), skipped, zstdCompressSync("b"), skipped]
    expect(await inflated(Buffer.concat(frames), "zst", 7)).toBe("ab")
    const padded = [gzipSync("a"), Buffer.alloc(40), gzipSync("b"), Buffer.alloc(3)]
    expect(await inflated(Buffer.concat(padded), "gz", 7)).toBe("ab")
  })
})

describe("readJson of compressed files", () => {
  const rows = (from: number, to: number) => {
    const lines = Array.from({ length: to - from }, (_, i) => JSON.stringify({ id: from + i, sin: Math.sin(from + i) }))
    return Buffer.from(`${lines.join("\n")}\n`)
  }
  const count = Effect.fnUntraced(function* (path: string) {
    let read = 0
    const exit = yield* Effect.result(
      Stream.runForEach(readJson(path), (batch) =>
        Effect.sync(() => {
          read += batch.rows.length + batch.refused.length
        })
      )
    )
    return { read, reason: exit._tag === "Failure" ? exit.failure.reason : undefined }
  })

  for (const kind of kinds) {
    it.effect(`${kind}: two parts are one file; the second may be neither cut nor something else`, () =>
      Effect.gen(function* () {
        const [first, second] = [compress[kind](rows(0, 3000)), compress[kind](rows(3000, 6000))]
        const file = (name: string, ...parts: ReadonlyArray<Buffer>) => {
          const path = join(folder, `${name}.jsonl.${kind}`)
          writeFileSync(path, Buffer.concat(parts))
          return count(path)
        }
        expect(yield* file("both", first, second)).toEqual({ read: 6000, reason: undefined })
        const cut = yield* file("cut", first, second.subarray(0, second.length >> 1))
        expect(cut.read).toBeGreaterThanOrEqual(3000)
        expect(cut.reason).toBe("truncated")
        expect((yield* file("cut-head", first, second.subarray(0, 3))).reason).toBe("truncated")
        expect((yield* file("garbage", first, Buffer.from("[1, 2, 3]"))).reason).toBe("unreadable")
        const zeroed = Buffer.from(second).fill(0, 0, 4)
        expect((yield* file("zeroed", first, zeroed)).reason).toBe("unreadable")
        expect((yield* file("empty")).reason).toBe("truncated")
        expect((yield* file("plain", rows(0, 9))).reason).toBe("wrong-file")
      })
    )

    it.effect(`${kind}: an array goes on through parts, and ends with its bracket`, () =>
      Effect.gen(function* () {
        const path = join(folder, `array.json.${kind}`)
        const bom = Buffer.from([0xef, 0xbb, 0xbf])
        const parts = [Buffer.concat([bom, Buffer.from('[1, {"a": ')]), Buffer.from("2}, 3"), Buffer.from("]\n")]
        writeFileSync(path, Buffer.concat(parts.map((part) => compress[kind](part))))
        expect(yield* count(path)).toEqual({ read: 3, reason: undefined })
        writeFileSync(path, Buffer.concat([...parts, Buffer.from("[4]")].map((part) => compress[kind](part))))
        expect(yield* count(path)).toEqual({ read: 3, reason: "trailing" })
        writeFileSync(path, Buffer.concat(parts.slice(0, 2).map((part) => compress[kind](part))))
        expect((yield* count(path)).reason).toBe("truncated")
      })
    )
  }
})
