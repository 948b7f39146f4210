/** Phi, CLIP and LLaVA compute what the reference computes: logits, features, loss, gradients, AdamW, greedy tokens. */
import { fileURLToPath } from "node:url"
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { checkModelFolder } from "../../src/model/Golden.ts"
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

it.effect("a folder without cases is a typed error", () =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(checkModelFolder(fileURLToPath(new URL("../golden/tokenizer", import.meta.url))))
    expect(error._tag).toBe("GoldenError")
  }).pipe(Effect.provide(Engine.wasm))
)
