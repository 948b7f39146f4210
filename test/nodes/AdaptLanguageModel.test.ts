/**
 * Tuning by adapters learns, changes what has an adapter and nothing else, and its adapter can be merged and gone on
 * with.
 */
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import type { AnyFold } from "../../src/dag/Fold.ts"
import { fromArray } from "../../src/dag/Rows.ts"
import * as Node from "../../src/dag/RunNode.ts"
import { defaultLora } from "../../src/model/lora/Lora.ts"
import { adaptLanguageModel, continueAdapter, mergeAdapter } from "../../src/nodes/AdaptLanguageModel.ts"
import { tokenizeConversations } from "../../src/nodes/TokenizeText.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { decodeLoop } from "../../src/training/Checkpoint.ts"
import { missing } from "../tensor/torch/built.ts"
import { conversation, settings, tensorsOf, tinyModels, tokenizerPath } from "./support.ts"

const examples = Effect.fnUntraced(function* (count: number) {
  const rows = Array.from({ length: count }, (_, i) =>
    conversation(`c${i}_0`, [[`Say ${i}.`, `${"Very well. ".repeat(1 + (i % 3))}${i}.`]])
  )
  return (yield* Node.run(tokenizeConversations, { rows, tokenizer: tokenizerPath }, { maxTokens: 128 })).out.rows
})
const lora = { ...defaultLora, rank: 4, dropout: 0 }
const params = { ...settings, maxTokens: 128, lora }

const changed = (before: Readonly<Record<string, string>>, after: Readonly<Record<string, string>>) => {
  expect(Object.keys(after).toSorted()).toEqual(Object.keys(before).toSorted())
  return Object.keys(before).filter((name) => before[name] !== after[name])
}

describe("adaptLanguageModel", () => {
  for (const quantise of ["none", "nf4"] as const)
    it.effect(`with quantise ${quantise}: loss falls; matrices with an adapter change, nothing else does`, () =>
      Effect.gen(function* () {
        const { into, vision: _, ...models } = yield* tinyModels()
        const data = yield* examples(4)
        const own = { ...lora, quantise, targets: ["q_proj", "fc1"] as const, mergeInto: "original" as const }
        const made = yield* Node.run(
          adaptLanguageModel,
          { ...models, data, heldOut: data },
          { ...params, lora: own, lr: 2e-2, epochs: 40, decay: "constant" },
          { into: join(into, "out") }
        )
        const { heldOutLoss, losses } = made.out.report
        expect(losses[39]!).toBeLessThan(losses[0]! - 0.5)
        expect(heldOutLoss!).toBeLessThan(losses[0]! - 0.5)
        expect(changed(yield* tensorsOf(models.model), yield* tensorsOf(made.out.model)).toSorted()).toEqual([
          "model.layers.0.mlp.fc1.weight",
          "model.layers.0.self_attn.q_proj.weight",
          "model.layers.1.mlp.fc1.weight",
          "model.layers.1.self_attn.q_proj.weight"
        ])
        expect(Object.keys(yield* tensorsOf(made.out.adapter)).length).toBe(8)
      }).pipe(Effect.provide(Engine.wasm))
    )

  it.effect(
    "over four bits, what is written has the values that were trained beside, unless the file's are asked for",
    () =>
      Effect.gen(function* () {
        const { into, vision: _, ...models } = yield* tinyModels()
        const data = yield* examples(4)
        const run = (mergeInto: "dequantised" | "original") =>
          Node.run(
            adaptLanguageModel,
            { ...models, data, heldOut: [] },
            { ...params, epochs: 0, lora: { ...lora, quantise: "nf4", mergeInto } },
            { into: join(into, mergeInto) }
          )
        const before = yield* tensorsOf(models.model)
        expect(changed(before, yield* tensorsOf((yield* run("original")).out.model))).toEqual([])
        const rounded = changed(before, yield* tensorsOf((yield* run("dequantised")).out.model))
        expect(rounded.length).toBe(2 * 6)
        expect(rounded.every((name) => /\.(self_attn|mlp)\..*\.weight$/.test(name))).toBe(true)
      }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("recompute gives the same bits, with the adapters' dropout on and the model's own off or on", () =>
    Effect.gen(function* () {
      const { into, vision: _, ...models } = yield* tinyModels()
      const inputs = { ...models, data: yield* examples(5), heldOut: [] }
      const run = (dropout: boolean, rate: number, recompute: boolean) =>
        Effect.gen(function* () {
          const name = `${dropout} ${rate} ${recompute}`
          const own = { ...params, dropout, recompute, lora: { ...lora, dropout: rate } }
          const { out } = yield* Node.run(adaptLanguageModel, inputs, own, { into: join(into, name) })
          return { losses: out.report.losses, adapter: yield* tensorsOf(out.adapter) }
        })
      const runs = []
      for (const dropout of [false, true])
        for (const rate of [0, 0.3]) {
          const kept = yield* run(dropout, rate, false)
          expect(yield* run(dropout, rate, true)).toEqual(kept)
          runs.push(kept.losses)
        }
      // Four ways of dropping, four runs.
      expect(new Set(runs.map(String)).size).toBe(4)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect(
    "its checkpoints hold the adapters alone, and a loop restored after each step ends with the same bits",
    () =>
      Effect.gen(function* () {
        const { model, tokenizer } = yield* tinyModels()
        const data = yield* examples(6)
        const fold = adaptLanguageModel.spec.run as AnyFold
        const context = {
          params: {
            ...params,
            epochs: 2,
            batch: 2,
            microBatch: 1,
            maxTokens: 64,
            lora: { ...lora, dropout: 0.2, quantise: "nf4" }
          },
          inputs: {
            model: { path: model },
            tokenizer: { path: tokenizer },
            data: fromArray(data),
            heldOut: fromArray([])
          }
        } as never
        const hex = (files: ReadonlyMap<string, Uint8Array>) =>
          [...files].map(([name, bytes]) => [name, Buffer.from(bytes).toString("base64")])
        let straight = yield* fold.init(context)
        let files = yield* fold.state.encode(straight)
        const { saved } = yield* decodeLoop(files)
        expect(Object.keys(saved.tensors).length).toBe(3 * 2 * 6 * 2)
        expect(Object.keys(saved.tensors).filter((name) => !name.includes(".lora_"))).toEqual([])
        const { total } = fold.progress(straight)
        expect(total).toBeGreaterThan(2)
        for (let step = 0; step < total; step++) {
          straight = yield* fold.step(context, straight)
          files = yield* Effect.scoped(
            Effect.gen(function* () {
              const restored = yield* fold.state.decode(context, files)
              expect(fold.progress(restored).step).toBe(step)
              return yield* fold.state.encode(yield* fold.step(context, restored))
            })
          )
          expect(hex(files)).toEqual(hex(yield* fold.state.encode(straight)))
        }
      }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )
})

describe("an adapter that was trained", () => {
  it.effect(
    "merged by its own node gives the model that training wrote; gone on with, it starts from its weights",
    () =>
      Effect.gen(function* () {
        const { into, vision: _, ...models } = yield* tinyModels()
        const inputs = { ...models, data: yield* examples(4), heldOut: [] }
        const made = yield* Node.run(adaptLanguageModel, inputs, params, { into: join(into, "made") })
        const again = yield* Node.run(
          mergeAdapter,
          { model: models.model, adapter: made.out.adapter },
          { headBias: "drop" },
          { into: join(into, "merged") }
        )
        expect(yield* tensorsOf(again.out.model)).toEqual(yield* tensorsOf(made.out.model))
        const from = { ...inputs, adapter: made.out.adapter }
        const still = yield* Node.run(continueAdapter, from, { ...params, epochs: 0 }, { into: join(into, "still") })
        expect(yield* tensorsOf(still.out.adapter)).toEqual(yield* tensorsOf(made.out.adapter))
        const on = yield* Node.run(continueAdapter, from, params, { into: join(into, "on") })
        expect(on.out.report.losses[0]!).toBeLessThan(made.out.report.losses[0]!)
        const other = { ...params, lora: { ...lora, alpha: 3 } }
        const error = yield* Effect.flip(Node.run(continueAdapter, from, other, { into: join(into, "other") }))
        expect(error).toMatchObject({ _tag: "AdapterError" })
        expect((error as { readonly message: string }).message).toMatch(/rank 4, alpha 16.*alpha 3/)
      }).pipe(Effect.provide(Engine.wasm))
  )
})

describe.skipIf(missing !== "")(`on torch${missing}`, () => {
  it.effect("losses of LoRA and QLoRA are those of wasm (1e-4), dropout and recomputing on", () =>
    Effect.gen(function* () {
      const { into, vision: _, ...models } = yield* tinyModels()
      const inputs = { ...models, data: yield* examples(5), heldOut: [] }
      for (const quantise of ["none", "nf4"] as const) {
        const own = { ...params, dropout: true, recompute: true, lora: { ...lora, dropout: 0.2, quantise } }
        const [wasm, torch] = yield* Effect.forEach(["wasm", "torch"], (name) =>
          Node.run(adaptLanguageModel, inputs, own, { into: join(into, quantise + name) }).pipe(
            Effect.provide(Engine.layer(name)),
            Effect.map(({ out }) => out.report.losses)
          )
        )
        for (const [step, loss] of wasm!.entries()) expect(Math.abs(torch![step]! / loss - 1)).toBeLessThan(1e-4)
      }
    })
  )
})
