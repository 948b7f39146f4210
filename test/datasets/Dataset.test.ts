import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Result, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { cc595k, cc595kSample } from "../../datasets/cc595k.ts"
import { type DataFile, type Dataset, DatasetNotHere, locate, remote, sampleFolder } from "../../datasets/Dataset.ts"
import { llavaInstruct, llavaInstructSample, mix665k } from "../../datasets/llavaInstruct.ts"
import { llavaEvaluation, pope } from "../../datasets/pope.ts"
import made from "../../datasets/sample/files.json" with { type: "json" }
import ledger from "../../datasets/sample/ledger.json" with { type: "json" }
import { shareGpt, shareGptSample, shareGptVicuna } from "../../datasets/shareGpt.ts"
import { isRemote } from "../../src/dag/Source.ts"
import { isPinned, parse, show } from "../../src/store/remote/Address.ts"
import { RawConversation } from "../../src/text/Conversation.ts"
import { entriesOf } from "./Archive.ts"

const read = (path: string): Buffer => readFileSync(new URL(path, sampleFolder))
const rowsOf = (path: string): ReadonlyArray<any> => JSON.parse(read(path).toString("utf8"))

describe("the sample that ships", () => {
  it("has the sizes and digests that its descriptions state", () => {
    for (const [path, { bytes, sha256 }] of Object.entries(made)) {
      const content = read(path)
      expect([path, content.length]).toEqual([path, bytes])
      expect([path, createHash("sha256").update(content).digest("hex")]).toEqual([path, sha256])
    }
    for (const { files } of [shareGptSample, cc595kSample, llavaInstructSample]) {
      for (const file of Object.values(files)) {
        expect(made[file.path as keyof typeof made]).toEqual({ bytes: file.bytes, sha256: file.sha256 })
      }
    }
  })

  it("stays below 12 MB", () => {
    expect(Object.values(made).reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(12_000_000)
  })

  it("has the row counts that its descriptions state", () => {
    expect(rowsOf(shareGptSample.files.rows.path)).toHaveLength(shareGptSample.rows!)
    expect(rowsOf(cc595kSample.files.chat.path)).toHaveLength(cc595kSample.rows!)
    expect(rowsOf(cc595kSample.files.metadata.path)).toHaveLength(cc595kSample.rows!)
    expect(rowsOf(llavaInstructSample.files.rows.path)).toHaveLength(llavaInstructSample.rows!)
  })

  it("decodes with the row schemas, but for the ShareGPT rows that the ledger calls malformed", () => {
    for (const { files } of [cc595kSample, llavaInstructSample]) {
      for (const file of Object.values(files)) {
        if (!("row" in file)) continue
        const decode = Schema.decodeUnknownResult(file.row as Schema.Codec<unknown, unknown>)
        for (const row of rowsOf(file.path)) expect(Result.isSuccess(decode(row))).toBe(true)
      }
    }
    const decode = Schema.decodeUnknownResult(RawConversation)
    const refused = rowsOf(shareGptSample.files.rows.path).filter((row) => Result.isFailure(decode(row)))
    const malformed = [...ledger.sharegpt["missing-conversations"], ...ledger.sharegpt["value-not-text"]]
    expect(refused.map((row) => row.id).sort()).toEqual(malformed.sort())
  })

  it("names in its rows only pictures that its archives hold, but for those the ledger calls missing", () => {
    const cc = entriesOf(read(cc595kSample.files.images.path))
    const absent = rowsOf(cc595kSample.files.chat.path).filter((row) => !cc.has(row.image))
    expect(absent.map((row) => row.image).sort()).toEqual([...ledger.cc595k["picture-missing"]].sort())
    for (const [rows, images] of [
      [llavaInstructSample.files.rows, llavaInstructSample.files.images],
      [llavaInstructSample.files.heldOut, llavaInstructSample.files.heldOutImages]
    ] as const) {
      const entries = entriesOf(read(images.path))
      for (const row of rowsOf(rows.path)) {
        if (row.image !== undefined) expect(entries.has(images.folder + row.image)).toBe(true)
      }
    }
  })
})

describe("locate", () => {
  it("finds the sample in the repository and originals in the user's folder", () => {
    const sample = locate(shareGptSample, "rows")
    expect(sample).toEqual({
      id: "sharegpt-sample-rows",
      location: fileURLToPath(new URL("sharegpt/sharegpt.json", sampleFolder)),
      about: shareGptSample.files.rows.about,
      sha256: shareGptSample.files.rows.sha256
    })
    expect(locate(cc595k, "images", "/data/cc").location).toBe("/data/cc/images.zip")
  })

  it("says where to fetch an original that has no folder", () => {
    for (const ask of [
      () => locate(shareGpt, "part1"),
      () => locate(shareGptVicuna, "rows"),
      () => locate(llavaInstruct, "rows"),
      () => locate(mix665k, "images"),
      () => locate(llavaEvaluation, "pope")
    ]) {
      expect(ask).toThrow(DatasetNotHere)
    }
  })
})

describe("remote", () => {
  it("gives every original's address, which the store can read", () => {
    for (const one of [shareGpt, shareGptVicuna, cc595k, llavaInstruct, mix665k, pope])
      for (const key of Object.keys(one.files)) {
        const found = remote(one as Dataset<Record<string, DataFile>>, key)
        expect(isRemote(found.location)).toBe(true)
        const address = Result.getOrThrow(parse(found.location))
        expect(address.folder).toBe(false)
        if (address.kind === "hub") expect(isPinned(address)).toBe(true)
      }
    expect(remote(cc595k, "chat").id).toBe("cc595k-chat")
  })

  it("gives several files of one folder as one source", () => {
    const found = remote(shareGpt, ["part1", "part2"])
    expect(found.files).toEqual(["sg_90k_part1.json", "sg_90k_part2.json"])
    const address = Result.getOrThrow(parse(found.location))
    expect(show(address)).toBe("hf://datasets/RyokoAI/ShareGPT52K@a2daa8003cceebf94fa335edf016ec74942da09f/")
    expect(() => remote(llavaInstruct, ["rows", "images"])).toThrow(DatasetNotHere)
  })

  it("says so of a file without an address", () => {
    expect(() => remote(shareGptSample, "rows")).toThrow(DatasetNotHere)
  })
})
