/** What is written as torch writes it is read back bit for bit, by the reader that runs nothing. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { dtypeBytes } from "../../src/model/Dtype.ts"
import { openTorchFile } from "../../src/model/pickle/TorchFile.ts"
import type { TensorSource } from "../../src/model/Safetensors.ts"
import { writeTorchFile } from "../../src/nodes/TorchFiles.ts"
import { scratch } from "./support.ts"

const Tensor = Schema.Struct({
  dtype: Schema.Literals(["F32", "F16", "BF16", "F64", "I64"]),
  shape: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))).check(Schema.isMaxLength(4)),
  seed: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 250 }))
})

const sources = (tensors: ReadonlyArray<typeof Tensor.Type>): ReadonlyArray<TensorSource> =>
  tensors.map(({ dtype, seed, shape }, i) => ({
    name: `größe.${i}.weight`,
    dtype,
    shape,
    bytes: Effect.sync(() =>
      Uint8Array.from({ length: shape.reduce((n, d) => n * d, dtypeBytes[dtype]) }, (_, at) => (at * 37 + seed) & 255)
    )
  }))

describe("writeTorchFile", () => {
  it.effect.prop(
    "round trip: names, formats, shapes and every byte",
    { tensors: Schema.Array(Tensor).check(Schema.isMaxLength(6)) },
    ({ tensors }) =>
      Effect.gen(function* () {
        const path = join(yield* scratch, "state.bin")
        const written = sources(tensors)
        yield* writeTorchFile(path, written)
        const file = yield* openTorchFile(path)
        expect([...file.entries.values()]).toEqual(written.map(({ dtype, name, shape }) => ({ name, dtype, shape })))
        for (const { bytes, name } of written)
          expect(Buffer.from(yield* file.bytes(name)).equals(Buffer.from(yield* bytes)), name).toBe(true)
      }).pipe(Effect.scoped)
  )

  it.effect("equal tensors give equal files", () =>
    Effect.gen(function* () {
      const folder = yield* scratch
      const tensors = sources([{ dtype: "F32", shape: [3, 4], seed: 1 }])
      for (const name of ["one.bin", "other.bin"]) yield* writeTorchFile(join(folder, name), tensors)
      expect(readFileSync(join(folder, "one.bin")).equals(readFileSync(join(folder, "other.bin")))).toBe(true)
    })
  )

  it.effect("refuses a format that torch's storages have no name for, and says which tensor", () =>
    Effect.gen(function* () {
      const path = join(yield* scratch, "state.bin")
      const odd = { name: "w", dtype: "U16", shape: [1], bytes: Effect.succeed(new Uint8Array(2)) } as const
      const error = yield* Effect.flip(writeTorchFile(path, [odd]))
      expect(error).toMatchObject({
        _tag: "TorchFileError",
        path,
        tensor: "w",
        message: expect.stringContaining("U16")
      })
    })
  )
})
