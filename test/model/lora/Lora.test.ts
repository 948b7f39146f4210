/** Adapters are where PEFT puts them, start as PEFT starts them, and go to its files and back. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { fromFloat32 } from "../../../src/model/Dtype.ts"
import { openPhi } from "../../../src/model/Folder.ts"
import { openAdapter, writeAdapter } from "../../../src/model/lora/Adapter.ts"
import { defaultLora, freshLora, Lora, loraScale, loraShapes, loraTargets } from "../../../src/model/lora/Lora.ts"
import { phi2 } from "../../../src/model/Published.ts"
import { openSafetensors } from "../../../src/model/Safetensors.ts"
import { phiTrainable } from "../../../src/model/Trainable.ts"
import { uploadWeights } from "../../../src/model/Weights.ts"
import * as Engine from "../../../src/tensor/Engine.ts"
import { Tensors } from "../../../src/tensor/Tensors.ts"
import { gradientOf } from "../../../src/training/Gradient.ts"
import { textBatch, tinyPhi, uploadPhi } from "../support.ts"
import { adapterFolder, baseFolder } from "./golden.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "adapter-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

describe("adapters", () => {
  it("of Phi-2 at rank 64 on all linears are 94.4 million weights, in the names of PEFT", () => {
    const shapes = loraShapes(phi2, { rank: 64, targets: loraTargets as unknown as Lora["targets"] })
    expect(Object.keys(shapes).length).toBe(32 * 6 * 2)
    expect(Object.values(shapes).reduce((sum, [a, b]) => sum + a! * b!, 0)).toBe(94_371_840)
    expect(shapes["model.layers.31.mlp.fc2.lora_A.weight"]).toEqual([64, 10_240])
    expect(shapes["model.layers.0.mlp.fc1.lora_B.weight"]).toEqual([10_240, 64])
  })

  it.effect("start with A uniform within 1 / sqrt(inputs), as kaiming_uniform_(a=sqrt(5)) draws it, and B zero", () =>
    Effect.gen(function* () {
      for (const source of freshLora(phi2, { rank: 64, targets: ["fc1"] }, 3).slice(0, 2)) {
        const values = yield* source.read
        if (source.name.endsWith("lora_B.weight")) expect(values.every((x) => x === 0)).toBe(true)
        else {
          const bound = 1 / Math.sqrt(2560)
          expect(Math.max(...values.map(Math.abs).subarray(0, 50_000))).toBeLessThanOrEqual(bound)
          const variance = values.reduce((sum, x) => sum + x * x, 0) / values.length
          expect(Math.sqrt(variance) / (bound / Math.sqrt(3))).toBeCloseTo(1, 2)
          const [again] = freshLora(phi2, { rank: 64, targets: ["fc1"] }, 3)
          expect(yield* again!.read).toEqual(values)
        }
      }
    })
  )

  it("have settings with bounds", () => {
    const decode = Schema.decodeUnknownResult(Lora)
    expect(decode(defaultLora)._tag).toBe("Success")
    for (const wrong of [{ rank: 0 }, { dropout: 1 }, { alpha: 0 }, { targets: [] }, { targets: ["lm_head"] }])
      expect(decode({ ...defaultLora, ...wrong })._tag, JSON.stringify(wrong)).toBe("Failure")
    expect(loraScale({ rank: 8, alpha: 16 })).toBe(2)
  })

  it.effect("have dropout of their own: repeatable, another at each step, none in evaluation", () =>
    Effect.gen(function* () {
      const tensors = yield* Tensors
      const frozen = yield* uploadPhi
      const config = { ...tinyPhi, residualDropout: 0 }
      const fresh = yield* uploadWeights(freshLora(tinyPhi, defaultLora, 0))
      const batch = textBatch([9, 5], 12, 1)
      const gradient = (step: number | undefined) =>
        Effect.gen(function* () {
          const model = phiTrainable(config, { recompute: true, lora: { scale: 2, dropout: 0.5 } })
          const { grads } = yield* gradientOf(model, fresh, frozen, {
            batch,
            normaliser: 10,
            ...(step === undefined ? {} : { dropout: { seed: 1, step, rows: [0, 1] } })
          })
          // B is zero at first, so that its gradient alone tells of what A let through.
          const read = yield* tensors.read(grads["model.layers.0.mlp.fc1.lora_B.weight"]!)
          yield* tensors.free(grads)
          return [...read]
        })
      const [first, again, other, none] = [
        yield* gradient(1),
        yield* gradient(1),
        yield* gradient(2),
        yield* gradient(undefined)
      ]
      expect(again).toEqual(first)
      expect(other).not.toEqual(first)
      expect(none).not.toEqual(first)
      expect(yield* gradient(undefined)).toEqual(none)
      yield* tensors.free(frozen, fresh)
    }).pipe(Effect.provide(Engine.wasm))
  )
})

describe("an adapter's folder", () => {
  it.effect("read and written again has the same tensors under PEFT's names, and the fields of its config", () =>
    Effect.gen(function* () {
      const { config } = yield* openPhi(baseFolder)
      const { lora, sources } = yield* openAdapter(adapterFolder, config)
      expect(lora).toEqual({
        rank: 4,
        alpha: 10,
        dropout: 0,
        targets: [...loraTargets],
        quantise: "none",
        mergeInto: "original"
      })
      const into = yield* folder
      yield* writeAdapter(
        into,
        lora,
        sources.map(({ name, read, shape }) => ({
          name,
          shape,
          dtype: "F32" as const,
          bytes: Effect.map(read, (values) => fromFloat32(values.slice(), "F32"))
        }))
      )
      const [theirs, ours] = yield* Effect.forEach([adapterFolder, into], (one) =>
        openSafetensors(join(one, "adapter_model.safetensors"))
      )
      expect([...ours!.entries.keys()].toSorted()).toEqual([...theirs!.entries.keys()].toSorted())
      for (const name of theirs!.entries.keys()) expect(yield* ours!.floats(name)).toEqual(yield* theirs!.floats(name))
      expect(ours!.metadata).toEqual(theirs!.metadata)
      const json = (path: string) => JSON.parse(readFileSync(join(path, "adapter_config.json"), "utf8"))
      const [a, b] = [json(adapterFolder), json(into)]
      a.target_modules.sort()
      b.target_modules.sort()
      // Every field that is ours is one of PEFT's, with its value.
      for (const [field, value] of Object.entries(b)) expect({ [field]: a[field] }).toEqual({ [field]: value })
      expect((yield* openAdapter(into, config)).lora).toEqual(lora)
    })
  )

  it.effect("of another kind or shape is refused by name, with a way out", () =>
    Effect.gen(function* () {
      const { config } = yield* openPhi(baseFolder)
      const into = yield* folder
      const weights = readFileSync(join(adapterFolder, "adapter_model.safetensors"))
      const json = JSON.parse(readFileSync(join(adapterFolder, "adapter_config.json"), "utf8"))
      const refused = (change: object, shapes = config) =>
        Effect.gen(function* () {
          writeFileSync(join(into, "adapter_model.safetensors"), weights)
          writeFileSync(join(into, "adapter_config.json"), JSON.stringify({ ...json, ...change }))
          const error = yield* Effect.flip(openAdapter(into, shapes))
          expect(error._tag).toBe("AdapterError")
          expect(error.hint.length).toBeGreaterThan(20)
          return error.message
        })
      expect(yield* refused({ use_dora: true })).toMatch(/use_dora is true/)
      expect(yield* refused({ rank_pattern: { q_proj: 2 } })).toMatch(/rank_pattern/)
      expect(yield* refused({ bias: "all" })).toMatch(/bias is "all"/)
      expect(yield* refused({ modules_to_save: ["lm_head"] })).toMatch(/modules_to_save/)
      expect(yield* refused({ peft_type: "IA3" })).toMatch(/peft_type is "IA3"/)
      expect(yield* refused({ r: 8 })).toMatch(/is \[4, 32\], not \[8, 32\]/)
      expect(yield* refused({}, { ...config, layers: 1 })).toMatch(/layers\.1\..* is unexpected/)
      expect(yield* refused({}, { ...config, layers: 3 })).toMatch(/layers\.2\..* is missing/)
      const gone = yield* Effect.flip(openAdapter(join(into, "nowhere"), config))
      expect(gone).toMatchObject({ _tag: "AdapterError", message: "cannot be read" })
    })
  )

  it.effect("of rsLoRA has its scale: alpha over the root of the rank", () =>
    Effect.gen(function* () {
      const { config } = yield* openPhi(baseFolder)
      const into = yield* folder
      writeFileSync(
        join(into, "adapter_model.safetensors"),
        readFileSync(join(adapterFolder, "adapter_model.safetensors"))
      )
      const json = JSON.parse(readFileSync(join(adapterFolder, "adapter_config.json"), "utf8"))
      writeFileSync(join(into, "adapter_config.json"), JSON.stringify({ ...json, use_rslora: true }))
      expect(loraScale((yield* openAdapter(into, config)).lora)).toBe(10 / Math.sqrt(4))
    })
  )
})
