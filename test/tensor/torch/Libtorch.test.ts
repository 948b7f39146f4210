/** Which libtorch is chosen, and the error if there is none. The test needs none. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Engine from "../../../src/tensor/Engine.ts"
import { findLibtorch } from "../../../src/tensor/torch/Libtorch.ts"

const folder = mkdtempSync(join(tmpdir(), "millrace-libtorch-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A folder that looks like libtorch of some version. */
const pretend = (name: string, [major, minor]: readonly [number, number], header = "torch/headeronly"): string => {
  const root = join(folder, name)
  mkdirSync(join(root, "lib"), { recursive: true })
  mkdirSync(join(root, "include", header), { recursive: true })
  writeFileSync(join(root, "lib/libtorch_cpu.so"), "")
  const text = `#define TORCH_VERSION_MAJOR ${major}\n#define TORCH_VERSION_MINOR ${minor}\n#define TORCH_VERSION_PATCH 1\n`
  writeFileSync(join(root, "include", header, "version.h"), text)
  return root
}

describe("libtorch", () => {
  it.effect("is known by its headers, in the place of new and of older releases", () =>
    Effect.gen(function* () {
      const found = yield* findLibtorch(pretend("new", [2, 13]))
      expect(found).toMatchObject({ version: "2.13.1", cuda: false })
      expect(yield* findLibtorch(pretend("older", [2, 4], "torch/csrc/api/include/torch"))).toMatchObject({
        version: "2.4.1"
      })
    })
  )

  it.effect("that is too old, without headers or not there is a typed error with a hint", () =>
    Effect.gen(function* () {
      const old = yield* Effect.flip(findLibtorch(pretend("old", [1, 13])))
      expect(old).toMatchObject({ _tag: "EngineUnavailable", engine: "torch" })
      expect(old.message).toContain("1.13.1; 2.4 is the oldest")
      for (const wanted of [join(folder, "nowhere"), "python:/nowhere/python3"]) {
        const none = yield* Effect.flip(findLibtorch(wanted))
        expect(none.message).toContain(wanted.replace("python:", ""))
        expect(none.hint).toContain("pip install torch")
      }
    })
  )
})

it.effect("an engine whose addon is not built, or is none, says so and how it is built", () =>
  Effect.gen(function* () {
    const start = Effect.flip(Effect.scoped(Layer.build(Engine.torch)))
    process.env["MILLRACE_TORCH_ADDON"] = join(folder, "nowhere.node")
    expect(yield* start).toMatchObject({
      _tag: "EngineUnavailable",
      hint: expect.stringContaining("npm run build:torch")
    })
    const broken = join(folder, "broken.node")
    writeFileSync(broken, "no library")
    process.env["MILLRACE_TORCH_ADDON"] = broken
    const error = yield* start
    expect(error.message).toContain(`${broken} cannot be loaded`)
    expect(error.hint).toContain("Build it again")
  })
)
