/** Tuning learns, does not depend on how its rows are laid out, and measures what it never trained on. */
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { tokenizeConversations } from "../../src/nodes/TokenizeText.ts"
import { trainLanguageModel } from "../../src/nodes/TrainLanguageModel.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { conversation, settings, tensorsOf, tinyModels, tokenizerPath } from "./support.ts"

const examples = Effect.fnUntraced(function* (count: number) {
  const rows = Array.from({ length: count }, (_, i) =>
    conversation(`c${i}_0`, [[`Say ${i}.`, `${"Very well. ".repeat(1 + (i % 3))}${i}.`]])
  )
  return (yield* Node.run(tokenizeConversations, { rows, tokenizer: tokenizerPath }, { maxTokens: 128 })).out.rows
})
const params = { ...settings, maxTokens: 128 }

describe("trainLanguageModel", () => {
  it.effect("loss falls on a repeated batch; the model it writes differs from the one it read", () =>
    Effect.gen(function* () {
      const { into, vision: _, ...models } = yield* tinyModels()
      const inputs = { ...models, data: yield* examples(4), heldOut: [] }
      const made = yield* Node.run(
        trainLanguageModel,
        inputs,
        { ...params, epochs: 40, decay: "constant" },
        { into: join(into, "out") }
      )
      const { losses, ...log } = made.out.report
      expect(losses[losses.length - 1]!).toBeLessThan(losses[0]! / 2)
      expect(log).toMatchObject({ steps: 40, epochs: 40, rows: 4, heldOutLoss: null })
      const [before, after] = [yield* tensorsOf(models.model), yield* tensorsOf(made.out.model)]
      expect(Object.keys(after).toSorted()).toEqual(Object.keys(before).toSorted())
      expect(Object.keys(after).filter((name) => after[name] === before[name])).toEqual([])
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect(
    "the first step's loss of packed rows equals that of padded rows (1e-5), and so does the loss-token count",
    () =>
      Effect.gen(function* () {
        const { into, vision: _, ...models } = yield* tinyModels()
        const data = yield* examples(6)
        const one = { ...params, epochs: 1, batch: 64, microBatch: 64, lr: 0 }
        const at = (name: string) => ({ into: join(into, name) })
        const packed = yield* Node.run(trainLanguageModel, { ...models, data, heldOut: [] }, one, at("packed"))
        // Held-out rows are padded, one a row: with a rate of zero their loss is that of the untouched weights.
        const padded = yield* Node.run(trainLanguageModel, { ...models, data, heldOut: data }, one, at("padded"))
        expect(packed.out.report.losses.length).toBe(1)
        expect(Math.abs(packed.out.report.losses[0]! - padded.out.report.heldOutLoss!)).toBeLessThan(1e-5)
        const supervised = data.reduce((sum, { labels }) => sum + labels.filter((label) => label !== -100).length, 0)
        expect(packed.out.report.lossTokens).toBe(supervised)
      }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("held-out rows change no weight", () =>
    Effect.gen(function* () {
      const { into, vision: _, ...models } = yield* tinyModels()
      const all = yield* examples(8)
      const data = all.slice(0, 5)
      const run = (heldOut: typeof all, name: string) =>
        Node.run(trainLanguageModel, { ...models, data, heldOut }, params, { into: join(into, name) })
      const without = yield* run([], "without")
      const withThem = yield* run(all.slice(5), "with")
      expect(yield* tensorsOf(withThem.out.model)).toEqual(yield* tensorsOf(without.out.model))
      expect(withThem.out.report.heldOutLoss).toBeGreaterThan(0)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("recompute, of all blocks or every second, gives the same bits, dropout on", () =>
    Effect.gen(function* () {
      const { into, vision: _, ...models } = yield* tinyModels()
      const inputs = { ...models, data: yield* examples(5), heldOut: [] }
      const run = (recompute: boolean | number) =>
        Node.run(
          trainLanguageModel,
          inputs,
          { ...params, dropout: true, recompute },
          { into: join(into, String(recompute)) }
        )
      const kept = yield* run(false)
      for (const policy of [true, 2]) {
        const again = yield* run(policy)
        expect(again.out.report).toEqual(kept.out.report)
        expect(yield* tensorsOf(again.out.model)).toEqual(yield* tensorsOf(kept.out.model))
      }
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect(
    "an example longer than a row, an empty input and a loss that blows up are typed errors with a way out",
    () =>
      Effect.gen(function* () {
        const { into, vision: _, ...models } = yield* tinyModels()
        const data = yield* examples(6)
        const fails = (given: typeof data, some: Partial<typeof params>) =>
          Effect.flip(
            Node.run(
              trainLanguageModel,
              { ...models, data: given, heldOut: [] },
              { ...params, ...some },
              { into: join(into, "failed") }
            )
          )
        const long = yield* fails(data, { maxTokens: 40 } as never)
        expect(long._tag).toBe("ExampleTooLong")
        expect(yield* fails([], {})).toMatchObject({ _tag: "NoExamples" })
        const blown = yield* fails(data, { lr: 1e30, batch: 2, microBatch: 1, epochs: 3 } as never)
        expect(blown).toMatchObject({ _tag: "NonFiniteLoss", step: 1 })
        const rows = (blown as { readonly rows: ReadonlyArray<string> }).rows.flatMap((row) => row.split("+"))
        expect(rows.length).toBeGreaterThan(0)
        for (const id of rows) expect(data.map((row) => row.id)).toContain(id)
      }).pipe(Effect.provide(Engine.wasm))
  )
})
