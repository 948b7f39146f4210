/** Folders with random weights are those of the real models, and loading one takes its size in memory and a tenth. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Format, writeModel } from "../../../scripts/random-weights.ts"
import { clipFiles, type Made, phiFiles } from "../../../scripts/weights/Models.ts"
import { openCheckpoint } from "../../../src/model/Checkpoint.ts"
import { openClip, openPhi } from "../../../src/model/Folder.ts"
import { clipL336, phi2 } from "../../../src/model/Published.ts"
import { folder } from "../../model/pickle/support.ts"
import { loading, medium, weightBytes } from "./Loading.ts"

const count = ({ tensors }: Made): number =>
  tensors
    .filter(({ dtype }) => dtype !== "I64")
    .reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0)

describe("random weights", () => {
  it("have the published sizes: Phi-2's 2,779,683,840, and CLIP's 427,944,193 with its text tower", () => {
    expect(count(phiFiles(phi2, "F16", 0))).toBe(2_779_683_840)
    expect(count(clipFiles(clipL336, "F32", 0))).toBe(427_944_193)
  })

  const small = { ...phi2, vocabSize: 300, hiddenSize: 64, intermediateSize: 128, layers: 2, heads: 2 }
  it.effect("are equal in both formats, sharded or not, and for equal words byte by byte", () =>
    Effect.gen(function* () {
      const dir = yield* folder
      const write = (name: string, format: Format, shard: number) =>
        writeModel(join(dir, name), phiFiles(small, "BF16", 1), format, shard)
      yield* write("one", "bin", 1e9)
      yield* write("again", "bin", 1e9)
      expect(readFileSync(join(dir, "again/pytorch_model.bin"))).toEqual(
        readFileSync(join(dir, "one/pytorch_model.bin"))
      )
      expect((yield* write("bin", "bin", 60_000)).length).toBeGreaterThan(4)
      expect((yield* write("st", "safetensors", 60_000)).length).toBeGreaterThan(4)
      const [first, ...others] = yield* Effect.forEach(["one", "bin", "st"], (name) => openCheckpoint(join(dir, name)))
      for (const other of others) {
        expect(other.entries.size).toBe(first!.entries.size)
        for (const name of first!.entries.keys())
          expect(yield* other.bytes(name), name).toEqual(yield* first!.bytes(name))
      }
      expect((yield* openPhi(join(dir, "bin"))).config).toEqual(small)
      const tower = { ...clipL336, layers: 1, hiddenSize: 32, intermediateSize: 64, heads: 2, projectionDim: 16 }
      yield* writeModel(join(dir, "clip"), clipFiles(tower, "F16", 0), "bin", 1e9)
      expect((yield* openClip(join(dir, "clip"))).config).toMatchObject({ hiddenSize: 32, layers: 1, imageSize: 336 })
    })
  )

  for (const [format, dtype, what] of [
    ["safetensors", "F16", "read"],
    ["bin", "F16", "read"],
    ["bin", "BF16", "read"],
    ["safetensors", "F32", "upload"],
    ["bin", "F32", "upload"]
  ] as const)
    it.effect(`${format} in ${dtype}, ${what}: no more than the checkpoint's size and a tenth`, () =>
      Effect.gen(function* () {
        const dir = yield* folder
        const made = phiFiles(medium, dtype, 0)
        yield* writeModel(dir, made, format, 100_000_000)
        const told = yield* loading("phi", what, dir)
        expect(told.tensors).toBe(made.tensors.length)
        expect(told.floats).toBe(what === "read" ? count(made) : 0)
        const size = weightBytes(dir)
        expect(size).toBeGreaterThan(200_000_000)
        expect(told.grown).toBeLessThan(size * 1.1)
      })
    )
})
