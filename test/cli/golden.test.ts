import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { findGoldens } from "../../src/cli/golden/Files.ts"
import { checkImages } from "../../src/cli/golden/Images.ts"
import { checkClean, checkHtml, checkTokens } from "../../src/cli/golden/Texts.ts"
import { folder, start } from "./process.ts"

const command = fileURLToPath(new URL("../../src/cli/golden.ts", import.meta.url))
const goldens = fileURLToPath(new URL("../golden", import.meta.url))
const home = folder()
afterAll(() => home.remove())

const golden = (...args: ReadonlyArray<string>) => start([command, ...args]).ended
const copy = (name: string, of: string) => {
  const path = join(home.path, name)
  cpSync(join(goldens, of), path, { recursive: true })
  return path
}

describe("the golden command", () => {
  it("finds every kind under one folder and holds all to their tolerances", async () => {
    const { code, stderr, stdout } = await golden(goldens)
    expect(stderr).toBe("")
    for (const quantity of ["phi/logits", "clip/features", "llava/loss", "adamw/loss.2", "landscape.jpg crop"])
      expect(stdout).toContain(quantity)
    expect(stdout).toMatch(/ok +HTML to markdown, differing fragments \(of 3000\) +error 0 +tolerance 0/)
    expect(stdout).toMatch(/ok +cleaned conversations, differing rows \(of 94\) +error 0/)
    expect(stdout).toMatch(/ok +Phi-2 token ids, differing texts \(of 960\) +error 0/)
    expect(stdout).toMatch(/not counted +cmyk\.jpg crop/)
    expect(stdout).not.toContain("FAILED")
    expect(code).toBe(0)
  })

  it("exits 1 when something is past its tolerance, and says what", async () => {
    const path = copy("damaged", "tokenizer")
    const cases = JSON.parse(readFileSync(join(path, "cases.json"), "utf8")) as Array<{ ids: Array<number> }>
    cases[3]!.ids.push(1)
    writeFileSync(join(path, "cases.json"), JSON.stringify(cases))
    const { code, stdout } = await golden(path)
    expect(stdout).toMatch(/FAILED +Phi-2 token ids, differing texts \(of 960\) +error 1 +tolerance 0 +first: /)
    expect(stdout).toContain("0 quantities within tolerance, 1 past it")
    expect(code).toBe(1)
  })

  it("exits 1 when a model cannot be read, and still checks the rest", async () => {
    const path = copy("cut", "set-2")
    const weights = join(path, "clip", "golden.safetensors")
    writeFileSync(weights, readFileSync(weights).subarray(0, 100))
    cpSync(join(goldens, "tokenizer"), join(path, "tokenizer"), { recursive: true })
    const { code, stderr, stdout } = await golden(path)
    expect(stderr).toMatch(/^error: /)
    expect(stderr).toContain("hint:")
    expect(stdout).toMatch(/FAILED +model/)
    expect(stdout).toMatch(/ok +Phi-2 token ids/)
    expect(code).toBe(1)
  })

  it("exits 2 for a folder that holds nothing it knows, for none, and for a wrong flag", async () => {
    const nothing = join(home.path, "nothing")
    mkdirSync(nothing)
    writeFileSync(join(nothing, "list.json"), "[1, 2]")
    expect((await golden(nothing)).code).toBe(2)
    expect((await golden(join(home.path, "absent"))).code).toBe(2)
    expect((await golden()).code).toBe(2)
    expect((await golden(goldens, "--enigne", "wasm")).code).toBe(2)
  })

  it("exits 1 for an engine that is not there", async () => {
    const { code, stderr } = await golden(join(goldens, "set-2"), "--engine", "abacus")
    expect([code, stderr]).toEqual([1, expect.stringContaining("abacus")])
  })
})

describe("what a folder holds is found from content", () => {
  it.effect("names do not matter for rows, a set is one golden, pictures need their source", () =>
    Effect.gen(function* () {
      const path = copy("renamed", "tokenizer")
      cpSync(join(path, "cases.json"), join(path, "another-name.json"))
      expect((yield* findGoldens(path)).map((one) => one.kind)).toEqual(["tokens", "tokens"])
      expect((yield* findGoldens(join(goldens, "set-2"))).map((one) => one.kind)).toEqual(["model"])
      expect((yield* findGoldens(join(goldens, "set-2", "phi"))).map((one) => one.kind)).toEqual(["model"])
      const lonely = join(home.path, "lonely")
      mkdirSync(lonely)
      cpSync(join(goldens, "images-0", "tiny.crop.png"), join(lonely, "tiny.crop.png"))
      expect((yield* Effect.flip(findGoldens(lonely))).message).toContain("its source tiny.* is missing")
    })
  )

  it.effect("one changed pixel is one differing pixel", () =>
    Effect.gen(function* () {
      const found = yield* findGoldens(join(goldens, "images-0"))
      const images = found[0]!
      if (images.kind !== "images") throw new Error("expected pictures")
      const tiny = images.cases.find((one) => one.source.endsWith("tiny.png") && one.fit === "crop")!
      const strip = images.cases.find((one) => one.source.endsWith("strip.png") && one.fit === "crop")!
      const [same, other] = yield* checkImages([tiny, { ...tiny, expected: strip.expected }])
      expect([same!.ok, same!.error]).toEqual([true, 0])
      expect(other!.ok).toBe(false)
      expect(other!.error).toBeGreaterThan(1000)
    })
  )

  it("nothing to compare is no success", () => {
    expect(checkHtml([]).ok).toBe(false)
    expect(checkTokens([]).ok).toBe(false)
    expect(checkClean([], [{ id: "a", conversations: [] }])).toMatchObject({ ok: false, error: 1 })
  })
})
