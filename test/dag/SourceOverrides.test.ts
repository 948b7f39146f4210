import { pathToFileURL } from "node:url"
import { expect, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { scope } from "../../src/dag/index.ts"
import { source } from "../../src/dag/Source.ts"
import { withSources } from "../../src/dag/SourceOverrides.ts"
import * as A from "../../src/nodes/Artifacts.ts"

const three = (sources: ReadonlyArray<string>) =>
  withSources(sources, () => {
    const chat = source(A.ChatFile, { id: "chat", location: "/d/chat.json", sha256: "0".repeat(64), bytes: 7 })
    const images = scope("train", () => source(A.ImageFiles, { id: "images", location: "/d/images" }))
    const others = scope("test", () => source(A.ImageFiles, { id: "images", location: "/d/others", files: ["*.jpg"] }))
    return { chat, images, others }
  })
const locations = (sources: ReadonlyArray<string>) =>
  Object.values(three(sources)).map((node) => (node as unknown as { location: string }).location)
const refusal = (sources: ReadonlyArray<string>) =>
  Exit.match(Effect.runSyncExit(Effect.try({ try: () => three(sources), catch: (error) => error })), {
    onSuccess: () => "accepted",
    onFailure: (cause) => {
      const error = cause.reasons[0]
      return error?._tag === "Fail" ? error.error : cause
    }
  })

it("a source is named by its id or the last part of it, and reads a path, a file URL or an address", () => {
  expect(locations([])).toEqual(["/d/chat.json", "/d/images", "/d/others"])
  expect(locations(["chat=/e/c.json", "train/images=hf://datasets/o/n/"])).toEqual([
    "/e/c.json",
    "hf://datasets/o/n/",
    "/d/others"
  ])
  expect(locations([`chat=${pathToFileURL("/e/a b.json")}`])[0]).toBe("/e/a b.json")
})

it("what the recipe states of its own files does not hold for others, and the names to take do", () => {
  const { chat, others } = three(["chat=/e/c.json", "test/images=/e/images"])
  expect(chat).toMatchObject({ params: {} })
  expect(chat).not.toHaveProperty("bytes")
  expect(others).toMatchObject({ files: ["*.jpg"], location: "/e/images" })
})

for (const [sources, message, hint] of [
  [["caht=/e"], /no source is called "caht"; did you mean "chat"/, /^Sources: chat, test\/images, train\/images/],
  [["images=/e"], /"images" may be train\/images or test\/images/, /last part/],
  [["chat=/e", "chat=/f"], /the source chat is named twice/, /Sources/],
  [["chat"], /"chat" is not NAME=PATH or NAME=URL/, /--source/],
  [["chat="], /is not NAME=PATH/, /--source/],
  [["=/e"], /is not NAME=PATH/, /--source/]
] as const)
  it(`${sources.join(" ")} is refused by name`, () => {
    expect(refusal(sources)).toMatchObject({
      _tag: "SourceOverrideError",
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint)
    })
  })

it("nothing is replaced in a build that comes after", () => {
  three(["chat=/e/c.json"])
  expect(locations([])[0]).toBe("/d/chat.json")
})
