import { readFileSync } from "node:fs"
import { crc32 } from "node:zlib"
import { Effect } from "effect"
import sharp from "sharp"
import { describe, expect, it } from "vitest"
import { sampleFolder } from "../../../datasets/Dataset.ts"
import { type Treatment, treated } from "../../../datasets/generate/Captions.ts"
import { encode } from "../../../datasets/generate/Pictures.ts"
import { dice } from "../../../datasets/generate/Random.ts"
import { even, randomScene } from "../../../datasets/generate/Scene.ts"
import ledger from "../../../datasets/sample/ledger.json" with { type: "json" }
import { entriesOf } from "../Archive.ts"

const zip = readFileSync(new URL("cc595k/images.zip", sampleFolder))
const entries = entriesOf(zip)
const named = (treatment: Treatment): ReadonlyArray<string> =>
  ledger.cc595k[`picture-${treatment}` as keyof typeof ledger.cc595k]

/** The CRC that the central directory states for a name. */
const statedCrc = (name: string): number => {
  const at = zip.lastIndexOf(Buffer.from(name)) - 46
  expect(zip.readUInt32LE(at)).toBe(0x02014b50)
  return zip.readUInt32LE(at + 16)
}

describe("pictures that ship", () => {
  it("have the stated number of each kind of damage", () => {
    for (const [treatment, count] of treated) expect([treatment, named(treatment).length]).toEqual([treatment, count])
  })

  it("have right CRCs, but for the one that shall be wrong", () => {
    const wrong = [...entries].filter(([name, bytes]) => crc32(bytes) !== statedCrc(name)).map(([name]) => name)
    expect(wrong).toEqual(named("wrong-crc"))
  })

  it("are not pictures, or end early, where the ledger says so", async () => {
    for (const treatment of ["empty", "page-called-jpg", "garbled-header", "truncated"] as const) {
      for (const name of named(treatment)) {
        const decode = async () => sharp(entries.get(name)!, { failOn: "warning" }).raw().toBuffer()
        const outcome = await decode().then(
          () => "decoded",
          () => "refused"
        )
        expect([treatment, name, outcome]).toEqual([treatment, name, "refused"])
      }
    }
  })

  it("are of another kind than their names say, where the ledger says so", async () => {
    const facts = async (treatment: Treatment) =>
      new Set(
        await Promise.all(
          named(treatment).map(async (name) => {
            const { format, space } = await sharp(entries.get(name)!).metadata()
            return `${format} ${space}`
          })
        )
      )
    expect(await facts("gif-called-jpg")).toEqual(new Set(["gif srgb"]))
    expect(await facts("png-called-jpg")).toEqual(new Set(["png srgb"]))
    expect(await facts("grey")).toEqual(new Set(["jpeg b-w"]))
    expect(await facts("cmyk")).toEqual(new Set(["jpeg cmyk"]))
  })
})

describe("encode", () => {
  it("gives equal bytes for equal seeds and other damage for others", async () => {
    const scene = randomScene(dice(0, "encode"), even)
    const make = (seed: number) =>
      Effect.runPromise(encode(seed, { name: "a.jpg", scene, treatment: "garbled-body" })).then((e) => e.bytes)
    expect(await make(1)).toEqual(await make(1))
    expect(await make(1)).not.toEqual(await make(2))
  })
})
