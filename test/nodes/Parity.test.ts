/**
 * An export's answers are computed in float32, whatever the recipe computes in. Skipped by name where torch cannot be
 * built.
 */
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { openSafetensors } from "../../src/model/Safetensors.ts"
import { exportCheckpoint } from "../../src/nodes/ExportCheckpoint.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { Tensors } from "../../src/tensor/Tensors.ts"
import { missing } from "../tensor/torch/built.ts"
import { initialProjector, tinyModels } from "./support.ts"

/** Logits and continuation that an export has when it runs on the engine at hand. */
const answers = Effect.gen(function* () {
  const { into, ...models } = yield* tinyModels()
  const { out } = yield* Node.run(
    exportCheckpoint,
    { ...models, projector: yield* initialProjector(into) },
    { dtype: "float32", headBias: "drop", maxShardBytes: 5_000_000_000, name: "Tiny" },
    { into: join(into, "out") }
  )
  const file = yield* openSafetensors(join(out.model, "parity.safetensors"))
  return { logits: yield* file.floats("logits"), greedy: yield* file.integers("greedy") }
}).pipe(Effect.scoped)

describe.skipIf(missing !== "")(`parity of an export on torch${missing}`, () => {
  for (const name of ["torch", "torch-bf16"])
    it.effect(`${name} answers as wasm does: logits within 1e-5, the same tokens`, () =>
      Effect.gen(function* () {
        const wasm = yield* answers.pipe(Effect.provide(Engine.wasm))
        const { made, precision } = yield* Effect.gen(function* () {
          return { made: yield* answers, precision: (yield* Tensors).fingerprint.precision }
        }).pipe(Effect.provide(Engine.layer(name)))
        expect(precision).toBe(name === "torch" ? "f32" : "bf16")
        expect(made.greedy).toEqual(wasm.greedy)
        const apart = made.logits.reduce((most, one, i) => Math.max(most, Math.abs(one - wasm.logits[i]!)), 0)
        expect(apart).toBeGreaterThan(0)
        expect(apart).toBeLessThan(1e-5)
      })
    )
})
