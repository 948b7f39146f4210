/** A model folder that is written opens to the same model, in any stored format, whole or sharded. */
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { openClip, openLlava, openPhi } from "../../src/model/Folder.ts"
import { under, uploadWeights } from "../../src/model/Weights.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { relativeError } from "../tensor/support.ts"
import { saveClip, saveLlava, savePhi } from "./save.ts"
import { downloadWeights, tinyLlava, tinyPhi, uploadLlava, uploadPhi } from "./support.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "folder-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

describe("Folder", () => {
  it.effect("a LLaVA, sharded: every bit and the config come back, and the same weights give the same bytes", () =>
    Effect.gen(function* () {
      const [dir, again] = [yield* folder, yield* folder]
      const w = yield* uploadLlava
      const files = yield* saveLlava(dir, tinyLlava, w, { maxShardBytes: 30_000 })
      expect(files.length).toBeGreaterThan(3)
      const { config, sources } = yield* openLlava(dir)
      expect(config).toEqual(tinyLlava)
      expect(yield* downloadWeights(yield* uploadWeights(sources))).toEqual(yield* downloadWeights(w))
      yield* saveLlava(again, tinyLlava, w, { maxShardBytes: 30_000 })
      for (const file of files)
        expect(yield* Effect.promise(() => readFile(join(again, file)))).toEqual(
          yield* Effect.promise(() => readFile(join(dir, file)))
        )
      const tower = yield* openClip(dir)
      expect(tower.config).toEqual(tinyLlava.vision)
    }).pipe(Effect.provide(Engine.wasm))
  )

  for (const [dtype, tolerance] of [
    ["F32", 0],
    ["F16", 3e-4],
    ["BF16", 3e-3]
  ] as const)
    it.effect(`a Phi and a tower in ${dtype} come back within ${tolerance}`, () =>
      Effect.gen(function* () {
        const [phiDir, clipDir] = [yield* folder, yield* folder]
        const w = yield* uploadPhi
        yield* savePhi(phiDir, tinyPhi, w, { dtype })
        const opened = yield* openPhi(phiDir)
        expect(opened.config).toEqual(tinyPhi)
        const [read, own] = [yield* downloadWeights(yield* uploadWeights(opened.sources)), yield* downloadWeights(w)]
        for (const [name, values] of Object.entries(own))
          expect(relativeError(read[name]!, values), name).toBeLessThanOrEqual(tolerance)
        yield* saveClip(clipDir, tinyLlava.vision, under(yield* uploadLlava, "vision."), { dtype })
        expect((yield* openClip(clipDir)).config).toEqual(tinyLlava.vision)
      }).pipe(Effect.provide(Engine.wasm))
    )

  it.effect("a head bias can be dropped at load, and a folder without config.json is a typed error", () =>
    Effect.gen(function* () {
      const golden = fileURLToPath(new URL("../golden/set-2", import.meta.url))
      const kept = yield* openPhi(join(golden, "phi"))
      const dropped = yield* openPhi(join(golden, "phi"), "drop")
      expect([kept.config.headBias, dropped.config.headBias]).toEqual([true, false])
      expect(kept.sources.length - dropped.sources.length).toBe(1)
      expect((yield* openLlava(join(golden, "llava"))).config.text.headBias).toBe(false)
      const error = yield* Effect.flip(openClip(join(golden, "adamw")))
      expect(error._tag).toBe("ModelFileError")
    })
  )
})
