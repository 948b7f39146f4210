/** What torch wrote is read bit for bit, one tensor at a time, and what is no checkpoint of tensors says why. */
import { readFileSync } from "node:fs"
import { copyFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { zipBytes } from "../../../src/bytes/ZipWriter.ts"
import { openCheckpoint } from "../../../src/model/Checkpoint.ts"
import { openClip, openPhi } from "../../../src/model/Folder.ts"
import { openTorchFile, openTorchFolder } from "../../../src/model/pickle/TorchFile.ts"
import { openSafetensors } from "../../../src/model/Safetensors.ts"
import { archive, bytesOf, fixture, folder, readAll, readPickle, stateDict, tensor, text } from "./support.ts"

const same = (file: Effect.Success<ReturnType<typeof openCheckpoint>>, expected: string) =>
  Effect.gen(function* () {
    const values = yield* openSafetensors(fixture(expected))
    expect([...file.entries.keys()].sort()).toEqual([...values.entries.keys()].sort())
    for (const [name, { dtype, shape }] of values.entries) {
      expect(file.entries.get(name), name).toEqual({ name, dtype, shape })
      expect(Buffer.compare(yield* file.bytes(name), yield* values.bytes(name)), name).toBe(0)
    }
    return values
  })

describe("TorchFile", () => {
  for (const protocol of [2, 3, 4, 5])
    it.effect(`protocol ${protocol}: views, transposes, shared storages and every type, bit for bit`, () =>
      Effect.gen(function* () {
        const file = yield* openTorchFile(fixture(`views-${protocol}.bin`))
        const values = yield* same(file, "views.safetensors")
        expect(file.entries.size).toBe(24)
        for (const [name, { dtype, shape }] of values.entries) {
          if (/^F|^BF/.test(dtype)) expect(yield* file.floats(name), name).toEqual(yield* values.floats(name))
          else expect(yield* file.integers(name), name).toEqual(yield* values.integers(name))
          const rows = [1, Math.max(1, (shape[0] ?? 0) - 1)] as const
          if ((shape[0] ?? 0) > 1) expect(yield* file.bytes(name, rows), name).toEqual(yield* values.bytes(name, rows))
        }
      })
    )

  it.effect("a sharded folder with an index reads as one, in half precision, and makes a Phi", () =>
    Effect.gen(function* () {
      yield* same(yield* openTorchFolder(fixture("phi")), "phi.safetensors")
      const model = yield* openPhi(fixture("phi"))
      expect(model.config).toMatchObject({ hiddenSize: 16, layers: 2, headBias: true })
      const values = yield* openSafetensors(fixture("phi.safetensors"))
      for (const source of model.sources) expect(yield* source.read).toEqual(yield* values.floats(source.name))
    })
  )

  it.effect("fused q, k and v with a saved table of rotary frequencies make the same Phi", () =>
    Effect.gen(function* () {
      yield* same(yield* openCheckpoint(fixture("phi-fused")), "phi-fused.safetensors")
      const [apart, fused] = [yield* openPhi(fixture("phi")), yield* openPhi(fixture("phi-fused"))]
      expect(fused.sources.map(({ name }) => name)).toEqual(apart.sources.map(({ name }) => name))
      for (const [i, source] of fused.sources.entries())
        expect(yield* source.read, source.name).toEqual(yield* apart.sources[i]!.read)
    })
  )

  it.effect("a CLIP of two towers with saved positions gives its vision tower", () =>
    Effect.gen(function* () {
      const values = yield* same(yield* openCheckpoint(fixture("clip")), "clip.safetensors")
      const { config, sources } = yield* openClip(fixture("clip"))
      expect(config).toMatchObject({ hiddenSize: 8, layers: 2, imageSize: 8 })
      for (const source of sources)
        expect(yield* source.read, source.name).toEqual(yield* values.floats(`vision_model.${source.name}`))
    })
  )

  it.effect("of two formats in a folder safetensors is taken; of none, all names are said", () =>
    Effect.gen(function* () {
      const dir = yield* folder
      expect(yield* Effect.flip(openCheckpoint(dir))).toMatchObject({
        _tag: "SafetensorsError",
        message: expect.stringContaining("pytorch_model.bin")
      })
      yield* Effect.promise(() => writeFile(join(dir, "pytorch_model.bin"), "no archive"))
      expect((yield* Effect.flip(openCheckpoint(dir)))._tag).toBe("TorchFileError")
      yield* Effect.promise(() => copyFile(fixture("phi.safetensors"), join(dir, "model.safetensors")))
      expect((yield* openCheckpoint(dir)).entries.has("lm_head.weight")).toBe(true)
    })
  )

  it.effect("a shard that lacks what the index promises is named, and no index leaves its folder", () =>
    Effect.gen(function* () {
      const dir = yield* folder
      const index = (file: string, tensor: string) =>
        Effect.promise(() =>
          writeFile(join(dir, "pytorch_model.bin.index.json"), JSON.stringify({ weight_map: { [tensor]: file } }))
        )
      yield* Effect.promise(() => copyFile(fixture("views-2.bin"), join(dir, "a.bin")))
      yield* index("a.bin", "absent")
      expect(yield* Effect.flip(openTorchFolder(dir))).toMatchObject({ reason: "damaged", tensor: "absent" })
      for (const file of ["../a.bin", "/etc/passwd", ".."]) {
        yield* index(file, "matrix")
        expect(yield* Effect.flip(openTorchFolder(dir))).toMatchObject({ message: expect.stringContaining("outside") })
      }
    })
  )

  it.effect("zeros behind the archive cost nothing, a file that is cut says so", () =>
    Effect.gen(function* () {
      const whole = readFileSync(fixture("views-2.bin"))
      const path = join(yield* folder, "zeros.bin")
      yield* Effect.promise(() => writeFile(path, Buffer.concat([whole, Buffer.alloc(5000)])))
      expect((yield* openTorchFile(path)).entries.size).toBe(
        (yield* openTorchFile(fixture("views-2.bin"))).entries.size
      )
      yield* Effect.promise(() => writeFile(path, whole.subarray(0, whole.length >> 1)))
      expect(yield* Effect.flip(openTorchFile(path))).toMatchObject({ reason: "cut" })
    })
  )

  for (const [name, reason, said] of [
    ["legacy.bin", "legacy", "before 1.6"],
    ["module.bin", "refused", "torch.nn.modules.linear.Linear"],
    ["uint16.bin", "refused", "torch._utils._rebuild_tensor_v3"],
    ["sparse.bin", "refused", "torch._utils._rebuild_sparse_tensor"],
    ["views.safetensors", "not-torch", "safetensors"]
  ] as const)
    it.effect(`${name} is ${reason}: ${said}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(openTorchFile(fixture(name)))
        expect(error).toMatchObject({ _tag: "TorchFileError", reason, message: expect.stringContaining(said) })
        expect(error.hint.length).toBeGreaterThan(20)
      })
    )

  it.effect("a file cut anywhere is a typed error", () =>
    Effect.gen(function* () {
      const whole = readFileSync(fixture("views-2.bin"))
      for (let length = 0; length < whole.length; length += 97) {
        const result = yield* Effect.result(readAll(whole.subarray(0, length)))
        expect(Result.isFailure(result) && result.failure._tag, `${length} bytes`).toBe("TorchFileError")
      }
    })
  )

  it.effect("a packed record, a second pickle, a big-endian file and a missing or short storage are refused", () =>
    Effect.gen(function* () {
      const data = stateDict({ a: tensor({ count: 12, shape: [3, 4], strides: [4, 1] }) })
      const bare = (extra: ReadonlyArray<{ name: string; data: Uint8Array; method?: "deflate" }>) =>
        zipBytes([{ name: "x/data.pkl", data }, ...extra])
      const zeros = new Uint8Array(48)
      expect(yield* readAll(bare([{ name: "x/data/0", data: zeros }]))).toBe(48)
      for (const [extra, said] of [
        [[{ name: "x/data/0", data: zeros, method: "deflate" as const }], "packed"],
        [[{ name: "y/data.pkl", data }], "2 of NAME/data.pkl"],
        [[{ name: "x/byteorder", data: Buffer.from("big") }], "big-endian"],
        [[], "lacks x/data/0"],
        [[{ name: "x/data/0", data: zeros.subarray(4) }], "has 44 bytes, the pickle says 48"]
      ] as const)
        expect(yield* Effect.flip(readAll(bare(extra)))).toMatchObject({
          _tag: "TorchFileError",
          message: expect.stringContaining(said)
        })
    })
  )

  it.effect("what is no dictionary of tensors says what it is", () =>
    Effect.gen(function* () {
      for (const [pickle, said] of [
        [bytesOf(0x80, 2, "]."), "a list"],
        [bytesOf(0x80, 2, tensor({ count: 12, shape: [12], strides: [1] }), "."), "a tensor"],
        [stateDict({ epoch: bytesOf("K", 3) }), 'number 3 under string "epoch"'],
        [stateDict({ state_dict: bytesOf("}") }), 'a dict under string "state_dict"'],
        [bytesOf(0x80, 2, "}(K", 1, tensor({ count: 12, shape: [12], strides: [1] }), "u."), "number 1"]
      ] as const)
        expect(yield* Effect.flip(readPickle(pickle))).toMatchObject({
          reason: "not-torch",
          message: expect.stringContaining(said)
        })
    })
  )

  it.effect("names like those of prototypes are names", () =>
    Effect.gen(function* () {
      const one = tensor({ count: 12, shape: [12], strides: [1] })
      const path = join(yield* folder, "x.bin")
      const names = ["__proto__", "constructor", "toString", ""]
      const pickle = bytesOf(0x80, 2, "}(", ...names.flatMap((name) => [text(name), one]), "u.")
      const bytes = archive(pickle, { 0: new Uint8Array(48) })
      yield* Effect.promise(() => writeFile(path, bytes))
      const file = yield* openTorchFile(path)
      expect([...file.entries.keys()]).toEqual(names)
      expect(({} as Record<string, unknown>)["shape"]).toBeUndefined()
    })
  )
})
