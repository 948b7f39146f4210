/** Generated data: equal for equal seeds, of the originals' shapes, and varied enough to measure with. */
import { createHash } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { foreign, foreignText } from "../../benchmarks/generate/Foreign.ts"
import { type Amounts, generateParts } from "../../benchmarks/generate/Layout.ts"
import { sentences } from "../../benchmarks/generate/Lexicon.ts"
import { captionOf, isDistinct } from "../../benchmarks/generate/Llava.ts"
import { drawPhoto, photo } from "../../benchmarks/generate/Photos.ts"
import { messages, shareGptRow, writeShareGpt } from "../../benchmarks/generate/ShareGpt.ts"
import { RawChatRow, RawMetadataRow } from "../../datasets/cc595k.ts"
import { dice } from "../../datasets/generate/Random.ts"
import { RawInstructRow } from "../../datasets/llavaInstruct.ts"
import { openZip } from "../../src/bytes/Zip.ts"
import { imageHeader } from "../../src/data/ImageHeader.ts"
import { decodeImage } from "../../src/data/Images.ts"
import { decodeClipConfig } from "../../src/model/clip/Config.ts"
import { decodeRow } from "../../src/text/Conversation.ts"
import { detectLanguage } from "../../src/text/Language.ts"
import { fromTokenizerJson, phi2 } from "../../src/text/Tokenizer.ts"

const home = mkdtempSync(join(tmpdir(), "millrace-generate-"))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const few: Amounts = {
  conversations: 9,
  captions: { rows: 120, distinct: 8 },
  instructions: 5,
  photos: 2,
  heldOut: 1
}

const json = (path: string): ReadonlyArray<unknown> => JSON.parse(readFileSync(path, "utf8")) as ReadonlyArray<unknown>

const digests = (folder: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => statSync(join(folder, name)).isFile())
      .sort()
      .map((name) => [
        name,
        createHash("sha256")
          .update(readFileSync(join(folder, name)))
          .digest("hex")
      ])
  )

describe("the layout", () => {
  it("is equal for equal seeds, another for another, and every file is what its name says", async () => {
    const [one, same, other] = ["one", "same", "other"].map((name) => join(home, name)) as [string, string, string]
    const said: Array<string> = []
    await generateParts(one, few, 7, (line) => said.push(line))
    await generateParts(same, few, 7, () => undefined)
    await generateParts(other, few, 8, () => undefined)
    expect(digests(one)).toEqual(digests(same))
    expect(Object.keys(digests(one))).toEqual([
      "cc595k/chat.json",
      "cc595k/images.zip",
      "cc595k/metadata.json",
      "clip-vit-large-patch14-336/config.json",
      "held-out/heldout.json",
      "held-out/images/held-out-0.jpg",
      "llava-instruct/llava_instruct_150k.json",
      "llava-instruct/train2017.zip",
      "phi-2/tokenizer.json",
      "sharegpt/sg_90k_part1.json",
      "sharegpt/sg_90k_part2.json"
    ])
    const differing = Object.entries(digests(other)).filter(([name, digest]) => digests(one)[name] !== digest)
    expect(differing.map(([name]) => name)).toEqual(
      Object.keys(digests(one)).filter((name) => !/tokenizer|config/.test(name))
    )
    expect(said.length).toBe(11)

    const parts = ["part1", "part2"].flatMap((part) => json(join(one, `sharegpt/sg_90k_${part}.json`)))
    expect(parts.length).toBe(9)
    const decode = <A>(schema: Schema.Codec<A, any>, path: string) =>
      json(join(one, path)).map((row) => Schema.decodeUnknownSync(schema)(row))
    const chat = decode(RawChatRow, "cc595k/chat.json")
    expect(chat.map((row) => row.image)).toEqual(decode(RawMetadataRow, "cc595k/metadata.json").map((row) => row.image))
    const instructions = decode(RawInstructRow, "llava-instruct/llava_instruct_150k.json")

    await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const pictures = yield* openZip(join(one, "cc595k/images.zip"))
          expect([...pictures.names()]).toEqual(chat.map((row) => row.image))
          for (const [at, { image }] of chat.entries()) {
            const { height, width } = yield* decodeImage(yield* pictures.read(image), { name: image })
            expect(Math.min(width, height) >= 224, image).toBe(isDistinct(few.captions, at))
          }
          const photos = yield* openZip(join(one, "llava-instruct/train2017.zip"))
          expect(photos.size).toBe(2)
          for (const { image } of instructions) expect(photos.has(`train2017/${image}`)).toBe(true)
        })
      )
    )
    const tokenizer = fromTokenizerJson(readFileSync(join(one, "phi-2/tokenizer.json"), "utf8"))
    expect(tokenizer.encode("Hello  world")).toEqual(phi2().encode("Hello  world"))
    const clip = JSON.parse(readFileSync(join(one, "clip-vit-large-patch14-336/config.json"), "utf8")) as unknown
    expect(await Effect.runPromise(decodeClipConfig(clip))).toMatchObject({ imageSize: 336, patchSize: 14, layers: 24 })
  })
})

describe("conversations", () => {
  it("a longer file begins with a shorter one, and bytes are a least size", () => {
    const [short, long, sized] = ["short.json", "long.json", "sized.json"].map((name) => join(home, name)) as [
      string,
      string,
      string
    ]
    expect(writeShareGpt(short, 3, { rows: 4 })).toEqual({ rows: 4, bytes: statSync(short).size })
    writeShareGpt(long, 3, { rows: 6 })
    expect(json(long).slice(0, 4)).toEqual(json(short))
    expect(writeShareGpt(sized, 3, { bytes: 100_000 }).bytes).toBeGreaterThanOrEqual(100_000)
    expect(statSync(sized).size).toBeLessThan(300_000)
  })

  it("are mostly sound rows with ids of their own, some broken, some in other languages", () => {
    const rows = Array.from({ length: 400 }, (_, at) => shareGptRow(0, at))
    const sound = rows.filter((row, at) => Result.isSuccess(decodeRow(row, at)))
    expect(sound.length).toBeGreaterThan(380)
    expect(new Set(rows.map((row) => row.id)).size).toBe(400)
    const text = JSON.stringify(rows)
    for (const part of ["Copy code", "<table>", "<ol>", "<pre>", "hljs-keyword", "&lt;", "。"])
      expect(text).toContain(part)
    const kilobytes = Buffer.byteLength(text) / 400 / 1000
    expect(kilobytes).toBeGreaterThan(9)
    expect(kilobytes).toBeLessThan(18)
  })

  it("prose has an open vocabulary with the frequencies of English", () => {
    const words = sentences(dice(0, "test"), 4000)
      .toLowerCase()
      .match(/[a-z]+/g)!
    const counts = new Map<string, number>()
    for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
    expect(counts.size).toBeGreaterThan(8000)
    expect([...counts].sort((a, b) => b[1] - a[1])[0]![1] / words.length).toBeLessThan(0.12)
    const ids = phi2().encode(sentences(dice(1, "test"), 500))
    expect(new Set(ids).size).toBeGreaterThan(2500)
    const texts = messages(0, 50_000)
    expect(new Set(texts).size).toBeGreaterThan(texts.length * 0.9)
  })

  it("prose is English to a detector, and other languages are what they are called", () => {
    expect(detectLanguage(sentences(dice(0, "english"), 40)).language).toBe("en")
    for (const code of Object.keys(foreign))
      expect(detectLanguage(foreignText(dice(0, code), code, 6)).language, code).toBe(code)
  })
})

describe("pictures", () => {
  it.each([
    ["cc", 224, 6_000, 20_000],
    ["coco", 426, 70_000, 210_000]
  ] as const)("%s: baseline 4:2:0 JPEG of the size and weight of the originals", async (kind, side, low, high) => {
    const made = await Promise.all(Array.from({ length: 6 }, (_, at) => photo(0, kind, at)))
    const mean = made.reduce((sum, bytes) => sum + bytes.length, 0) / made.length
    expect(mean).toBeGreaterThan(low)
    expect(mean).toBeLessThan(high)
    for (const bytes of made) {
      const header = imageHeader(bytes)!
      expect(Math.min(header.width, header.height)).toBeGreaterThanOrEqual(side)
      const frame = bytes.indexOf(Buffer.from([0xff, 0xc0]))
      expect(frame).toBeGreaterThan(0)
      expect(bytes[frame + 11], "first component is sampled twice each way").toBe(0x22)
    }
  })

  it("are drawn from their dice alone", () => {
    const draw = (label: string) => drawPhoto(dice(0, label), "cc").pixels_HWC
    expect(draw("a")).toEqual(draw("a"))
    expect(Buffer.compare(draw("a"), draw("b"))).not.toBe(0)
  })
})

it("captions repeat those of rows before them, and as many are distinct as asked for", () => {
  const plan = { rows: 600, distinct: 20 }
  const own = Array.from({ length: 600 }, (_, at) => at).filter((at) => isDistinct(plan, at))
  expect(own.length).toBe(20)
  expect(own[0]).toBe(0)
  const text = (at: number) => captionOf(1, plan, at).toLowerCase().replace(/ \.$/, "")
  const seen = new Set(own.map(text))
  expect(seen.size).toBe(20)
  for (let at = 0; at < 600; at++) expect(seen.has(text(at))).toBe(true)
})
