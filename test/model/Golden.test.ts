/** Phi, CLIP and LLaVA compute what the reference computes: logits, features, loss, gradients, AdamW, greedy tokens. */
import { cpSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { checkModelFolder } from "../../src/model/Golden.ts"
import { openSafetensors, type TensorSource, writeSafetensors } from "../../src/model/Safetensors.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"

const folder = fileURLToPath(new URL("../golden/set-2", import.meta.url))

for (const [name, engine] of [
  ["the wasm engine", Engine.wasm],
  ["plain operations on wasm", Engine.wasmPlain]
] as const)
  it.effect(`${name}: every recorded quantity is within its tolerance, and nothing leaks`, () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      yield* checkModelFolder(folder)
      const before = yield* tensors.memory
      const checks = yield* checkModelFolder(folder)
      const after = yield* tensors.memory
      expect(checks.filter((check) => !check.ok)).toEqual([])
      expect(checks.length).toBe(116)
      expect(new Set(checks.map((check) => check.quantity.split("/")[0]))).toEqual(
        new Set(["adamw", "clip", "llava", "phi"])
      )
      expect(after.tensors).toBe(before.tensors)
    }).pipe(Effect.provide(engine))
  )

describe("a LLaVA case that does not fit its config is a typed error that says what and what to do:", () => {
  /** The recorded case with other inputs. */
  const changed = (change: (ids: Int32Array, time: number) => readonly [ids: Int32Array, time: number]) =>
    Effect.gen(function* () {
      const into = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "golden-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true }))
      )
      cpSync(join(folder, "llava"), into, { recursive: true })
      const path = join(into, "golden.safetensors")
      const golden = yield* openSafetensors(path)
      const [rows, before] = golden.entries.get("input_ids")!.shape as [number, number]
      const [ids, time] = change(yield* golden.integers("input_ids"), before)
      const tensors: Array<TensorSource> = []
      for (const { dtype, name, shape } of golden.entries.values()) {
        const bytes = yield* golden.bytes(name)
        tensors.push({ name, dtype, shape, bytes: Effect.succeed(Uint8Array.from(bytes)) })
      }
      const long = (name: string, values: Int32Array): TensorSource => ({
        name,
        dtype: "I64",
        shape: [rows, time],
        bytes: Effect.succeed(new Uint8Array(BigInt64Array.from(values, BigInt).buffer))
      })
      const others = tensors.filter(({ name }) => !["input_ids", "attention_mask", "labels"].includes(name))
      const ones = new Int32Array(rows * time).fill(1)
      yield* writeSafetensors(path, [
        ...others,
        long("input_ids", ids),
        long("attention_mask", ones),
        long("labels", ones)
      ])
      return yield* Effect.flip(checkModelFolder(into))
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))

  it.effect("sequences shorter than the picture", () =>
    Effect.gen(function* () {
      const error = yield* changed((ids, time) => [ids.filter((_, i) => i % time < 10), 10])
      expect(error).toMatchObject({
        _tag: "GoldenError",
        message:
          "sequences of 10 tokens are shorter than 22: an image of 16 patches with 4 tokens before it and 2 behind",
        hint: expect.stringContaining("input_ids")
      })
    })
  )

  it.effect("image tokens of another count than patches, or not in front", () =>
    Effect.gen(function* () {
      const less = yield* changed((ids, time) => [ids.map((id, i) => (i === ids.lastIndexOf(159) ? 5 : id)), time])
      expect(less).toMatchObject({
        _tag: "GoldenError",
        message: expect.stringMatching(/^31 image tokens \(id 159\) for 2/)
      })
      const behind = yield* changed((ids, time) => {
        const rows = Array.from({ length: ids.length / time }, (_, row) =>
          ids.slice(row * time, (row + 1) * time).reverse()
        )
        return [Int32Array.from(rows.flatMap((row) => [...row])), time]
      })
      expect(behind).toMatchObject({ _tag: "GoldenError", message: expect.stringContaining("tokens of row 0 hold") })
    })
  )

  it.effect("ids that are none of the vocabulary", () =>
    Effect.gen(function* () {
      const error = yield* changed((ids, time) => [ids.map((id, i) => (i === 3 ? 160 : id)), time])
      expect(error).toMatchObject({ message: "input_ids hold 160, and the model has 160 tokens" })
    })
  )
})

it.effect("a folder without cases is a typed error", () =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(checkModelFolder(fileURLToPath(new URL("../golden/tokenizer", import.meta.url))))
    expect(error._tag).toBe("GoldenError")
  }).pipe(Effect.provide(Engine.wasm))
)
