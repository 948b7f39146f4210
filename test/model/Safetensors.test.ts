/** Safetensors: files are read as written, equal input gives equal bytes, and a damaged file is a typed error. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { openCheckpoint } from "../../src/model/Checkpoint.ts"
import { type Dtype, dtypeBytes } from "../../src/model/Dtype.ts"
import { encodeSafetensors, openSafetensors, writeCheckpoint, writeSafetensors } from "../../src/model/Safetensors.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "safetensors-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)
const tensor = (name: string, dtype: Dtype, shape: ReadonlyArray<number>, first = 0) => {
  const size = shape.reduce((n, x) => n * x, dtypeBytes[dtype])
  return { name, dtype, shape, data: Uint8Array.from({ length: size }, (_, i) => (first + i * 7) % 256) }
}
const source = (t: ReturnType<typeof tensor>) => ({ ...t, bytes: Effect.succeed(t.data) })

describe("Safetensors", () => {
  it.effect("writes what it reads, in the same bytes for any order of tensors and metadata", () =>
    Effect.gen(function* () {
      const dir = yield* folder
      const tensors = [
        tensor("b", "F32", [2, 3]),
        tensor("a", "I64", [2]),
        tensor("c", "BF16", [5]),
        tensor("e", "F32", [0, 4])
      ]
      const path = join(dir, "x.safetensors")
      yield* writeSafetensors(path, tensors.map(source), { format: "pt", a: "1" })
      const bytes = yield* Effect.promise(() => readFile(path))
      expect(Buffer.compare(bytes, encodeSafetensors(tensors.toReversed(), { a: "1", format: "pt" }))).toBe(0)
      const file = yield* openSafetensors(path)
      expect(file.metadata).toEqual({ a: "1", format: "pt" })
      for (const t of tensors) expect(yield* file.bytes(t.name)).toEqual(t.data)
      expect(yield* file.bytes("b", [1, 2])).toEqual(tensors[0]!.data.slice(12))
      expect((bytes.readBigUInt64LE(0) + 8n) % 8n).toBe(0n)
    })
  )

  it.effect("shards with an index read like one file, and a shard that lacks a tensor is named", () =>
    Effect.gen(function* () {
      const dir = yield* folder
      const tensors = ["a", "b", "c", "d"].map((name, i) => tensor(name, "F32", [4, 4], i))
      const files = yield* writeCheckpoint(dir, tensors.map(source), { maxShardBytes: 130 })
      expect(files).toEqual([
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json"
      ])
      const checkpoint = yield* openCheckpoint(dir)
      for (const t of tensors) expect(yield* checkpoint.bytes(t.name)).toEqual(t.data)
      yield* Effect.promise(() => writeFile(join(dir, files[1]!), encodeSafetensors([tensors[2]!])))
      const error = yield* Effect.flip(openCheckpoint(dir))
      expect(error).toMatchObject({ _tag: "SafetensorsError", tensor: "d" })
    })
  )

  const good = () => encodeSafetensors([tensor("a", "F32", [2]), tensor("b", "F32", [1])])
  const header = (json: string, data = 12) => {
    const text = new TextEncoder().encode(json)
    const out = new Uint8Array(8 + text.length + data)
    new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true)
    out.set(text, 8)
    return out
  }
  const a = (offsets: string, shape = "[2]", dtype = '"F32"') =>
    `"a":{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}`
  const damaged: ReadonlyArray<readonly [string, () => Uint8Array, string]> = [
    ["empty", () => new Uint8Array(0), "is empty"],
    ["a few bytes", () => Uint8Array.of(1, 2, 3), "too few"],
    ["truncated data", () => good().slice(0, -1), "the header describes"],
    ["trailing bytes", () => Uint8Array.from([...good(), 0]), "the header describes"],
    ["header longer than the file", () => Uint8Array.from([255, 255, 0, 0, 0, 0, 0, 0, 1, 2]), "claims a header"],
    ["absurd header length", () => new Uint8Array(64).fill(255), "claims a header"],
    ["not JSON", () => header("{nonsense}"), "not JSON"],
    ["not an object", () => header("[1,2]"), "not an object"],
    ["overlap", () => header(`{${a("[0,8]")},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`), "overlaps"],
    ["gap", () => header(`{${a("[4,12]")}}`), "leaves a gap"],
    ["out of range", () => header(`{${a("[0,16]", "[4]")}}`), "the header describes"],
    ["size and shape disagree", () => header(`{${a("[0,12]")}}`), "takes 8 bytes"],
    ["negative shape", () => header(`{${a("[0,8]", "[-2]")}}`), "bad shape"],
    ["fractional offset", () => header(`{${a("[0,8.5]")}}`), "bad offsets"],
    ["unknown dtype", () => header(`{${a("[0,8]", "[2]", '"F13"')}}`), "unknown dtype"]
  ]
  for (const [name, bytes, message] of damaged)
    it.effect(`a damaged file is refused: ${name}`, () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "bad.safetensors")
        yield* Effect.promise(() => writeFile(path, bytes()))
        const error = yield* Effect.flip(openSafetensors(path))
        expect(error._tag).toBe("SafetensorsError")
        expect(error.path).toBe(path)
        expect(error.message).toContain(message)
        expect(error.hint.length).toBeGreaterThan(10)
      })
    )

  const legal: ReadonlyArray<readonly [string, string, number]> = [
    ["metadata that is null", `{"__metadata__":null,${a("[0,8]")}}`, 8],
    ["metadata that is empty, behind the tensors", `{${a("[0,8]")},"__metadata__":{}}`, 8],
    [
      "fields of an entry in another order, and one more",
      `{"a":{"x":1,"data_offsets":[0,8],"shape":[2],"dtype":"F32"}}`,
      8
    ],
    ["padding of spaces", `{${a("[0,8]")}}     `, 8],
    [
      "tensors out of order, and empty ones",
      `{"e":{"dtype":"F32","shape":[0,9],"data_offsets":[8,8]},${a("[0,8]")},"z":{"dtype":"I8","shape":[0],"data_offsets":[0,0]}}`,
      8
    ],
    ["a scalar beside", `{${a("[4,12]")},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 12]
  ]
  for (const [name, json, data] of legal)
    it.effect(`a file that the format allows is read: ${name}`, () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "legal.safetensors")
        yield* Effect.promise(() => writeFile(path, header(json, data)))
        const file = yield* openSafetensors(path)
        expect([...(yield* file.floats("a"))]).toEqual([0, 0])
        expect(file.metadata).toEqual({})
      }).pipe(Effect.scoped)
    )

  it.effect("a file without tensors is read, as the reference writes one", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "none.safetensors")
      yield* Effect.promise(() => writeFile(path, header("{}      ", 0)))
      expect((yield* openSafetensors(path)).entries.size).toBe(0)
    }).pipe(Effect.scoped)
  )

  it.effect.prop(
    "any byte of the header flipped is either refused or leaves ranges inside the file",
    {
      at: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 120 })),
      bit: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 7 }))
    },
    ({ at, bit }) =>
      Effect.scoped(
        Effect.gen(function* () {
          const path = join(yield* folder, "flipped.safetensors")
          const bytes = good()
          const i = at % bytes.length
          bytes[i] = bytes[i]! ^ (1 << bit)
          yield* Effect.promise(() => writeFile(path, bytes))
          const result = yield* Effect.exit(openSafetensors(path))
          if (result._tag === "Success")
            for (const entry of result.value.entries.values()) expect(entry.end).toBeLessThanOrEqual(bytes.length)
        })
      )
  )

  it.effect("reads a file that the reference implementation wrote", () =>
    Effect.gen(function* () {
      const path = fileURLToPath(new URL("../golden/set-2/phi/golden.safetensors", import.meta.url))
      const file = yield* openSafetensors(path)
      expect(file.entries.get("logits")?.shape).toEqual([2, 24, 160])
      expect((yield* file.integers("attention_mask")).slice(0, 3)).toEqual(Int32Array.of(1, 1, 1))
      const floats = yield* Effect.flip(file.floats("attention_mask"))
      expect(floats.message).toContain("not a float")
      const missing = yield* Effect.flip(file.floats("nothing"))
      expect(missing.tensor).toBe("nothing")
    })
  )
})
