/** The stages over images train the stated weights and no others, with equal results for every size of micro-batch. */
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { defaultLora } from "../../src/model/lora/Lora.ts"
import { computeFeatures } from "../../src/nodes/ComputeFeatures.ts"
import { trainProjector, tuneInstructions } from "../../src/nodes/TrainVision.ts"
import type { Trains } from "../../src/nodes/VisionStage.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { inShards, settings, tensorsOf, tinyModels, tinyPictured } from "./support.ts"

/** A tiny stage's inputs: examples of eight rows, two of them without an image. */
const open = Effect.gen(function* () {
  const { into, ...models } = yield* tinyModels()
  const { pixels, plain, v1 } = yield* tinyPictured(8, (i) => i === 3 || i === 6)
  const fresh = yield* Node.run(
    trainProjector,
    { ...models, data: plain.slice(0, 1), heldOut: [], images: pixels },
    { ...settings, epochs: 0 },
    { into: join(into, "fresh") }
  )
  return {
    at: (name: string) => ({ into: join(into, name) }),
    models,
    pixels,
    plain,
    v1,
    projector: fresh.out.projector
  }
})
const changed = (before: Readonly<Record<string, string>>, after: Readonly<Record<string, string>>) => {
  expect(Object.keys(after).toSorted()).toEqual(Object.keys(before).toSorted())
  return Object.keys(before).filter((name) => before[name] !== after[name])
}

describe("trainProjector", () => {
  it.effect("lowers the loss by changing the projector alone", () =>
    Effect.gen(function* () {
      const { at, models, pixels, plain, projector } = yield* open
      const before = [yield* tensorsOf(models.model), yield* tensorsOf(models.vision)]
      const inputs = { ...models, data: plain, heldOut: plain, images: pixels }
      const made = yield* Node.run(
        trainProjector,
        inputs,
        { ...settings, epochs: 20, batch: 8, microBatch: 8 },
        at("out")
      )
      const { heldOutLoss, losses } = made.out.report
      expect(losses[19]!).toBeLessThan(losses[0]! - 0.1)
      expect(heldOutLoss!).toBeLessThan(losses[0]!)
      expect(changed(yield* tensorsOf(projector), yield* tensorsOf(made.out.projector)).length).toBe(4)
      expect([yield* tensorsOf(models.model), yield* tensorsOf(models.vision)]).toEqual(before)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("over stored features gives the losses that it gives over pixels (1e-5)", () =>
    Effect.gen(function* () {
      const { at, models, pixels, plain } = yield* open
      const inputs = { ...models, data: plain, heldOut: plain }
      const over = yield* Node.run(trainProjector, { ...inputs, images: pixels }, settings, at("pixels"))
      const { out } = yield* Node.run(computeFeatures, { pixels, vision: models.vision }, { featureLayer: -2 })
      const stored = yield* Node.run(trainProjector, { ...inputs, images: out.rows }, settings, at("features"))
      for (const [i, loss] of over.out.report.losses.entries())
        expect(Math.abs(stored.out.report.losses[i]! - loss)).toBeLessThan(1e-5)
      expect(Math.abs(stored.out.report.heldOutLoss! - over.out.report.heldOutLoss!)).toBeLessThan(1e-5)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("finds an example's picture by shard and number, wherever shards are cut", () =>
    Effect.gen(function* () {
      const { at, models, pixels, plain } = yield* open
      // Rows 0 to 4 are of a first shard, with four images; 5 to 7 of a second, with two.
      const cut = plain.map((row, i) => (i < 5 || row.image < 0 ? row : { ...row, shard: 1, image: row.image - 4 }))
      const run = (
        data: typeof plain,
        images: Parameters<typeof inShards<(typeof pixels)[number]>>[0],
        sizes: Array<number>,
        name: string
      ) =>
        Node.run(trainProjector, { ...models, data, heldOut: [], images: inShards(images, sizes) }, settings, at(name))
      const whole = yield* run(plain, pixels, [], "whole")
      const shards = yield* run(cut, pixels, [4, 2], "shards")
      expect(shards.out.report).toEqual(whole.out.report)
      const wrong = yield* run(plain, pixels.toReversed(), [], "wrong")
      expect(wrong.out.report.losses).not.toEqual(whole.out.report.losses)
    }).pipe(Effect.provide(Engine.wasm))
  )
})

describe("tuneInstructions", () => {
  it.effect(
    "changes all of projector and language model; micro-batches and recomputing change nothing that matters",
    () =>
      Effect.gen(function* () {
        const { at, models, pixels, projector, v1 } = yield* open
        const inputs = { ...models, projector, data: v1, heldOut: [], images: pixels }
        const run = (some: object, name: string) =>
          Node.run(tuneInstructions, inputs, { ...settings, dropout: true, ...some }, at(name))
        const whole = yield* run({ batch: 8, microBatch: 8 }, "whole")
        expect(changed(yield* tensorsOf(models.model), yield* tensorsOf(whole.out.model)).length).toBe(
          Object.keys(yield* tensorsOf(models.model)).length
        )
        expect(changed(yield* tensorsOf(projector), yield* tensorsOf(whole.out.projector)).length).toBe(4)
        // Sums in another order: the first loss within 1e-6, later ones within what AdamW makes of that, 1e-3.
        const micro = yield* run({ batch: 8, microBatch: 3 }, "micro")
        const { losses } = whole.out.report
        expect(Math.abs(micro.out.report.losses[0]! - losses[0]!)).toBeLessThan(1e-6)
        for (const [i, loss] of losses.entries())
          expect(Math.abs(micro.out.report.losses[i]! - loss)).toBeLessThan(1e-3)
        const again = yield* run({ batch: 8, microBatch: 8, recompute: true }, "again")
        expect(again.out.report).toEqual(whole.out.report)
        expect(yield* tensorsOf(again.out.model)).toEqual(yield* tensorsOf(whole.out.model))
      }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("over stored features gives the losses that it gives over pixels (1e-4)", () =>
    Effect.gen(function* () {
      const { at, models, pixels, projector, v1 } = yield* open
      const inputs = { ...models, projector, data: v1, heldOut: [] }
      const over = yield* Node.run(tuneInstructions, { ...inputs, images: pixels }, settings, at("pixels"))
      const { out } = yield* Node.run(computeFeatures, { pixels, vision: models.vision }, { featureLayer: -2 })
      const stored = yield* Node.run(tuneInstructions, { ...inputs, images: out.rows }, settings, at("features"))
      for (const [i, loss] of over.out.report.losses.entries())
        expect(Math.abs(stored.out.report.losses[i]! - loss)).toBeLessThan(1e-4)
    }).pipe(Effect.provide(Engine.wasm))
  )

  const trains = { projector: true, language: "all", vision: false } as const

  it.effect("with vision changes the tower too, but for the weights that no feature depends on, and writes all", () =>
    Effect.gen(function* () {
      const { at, models, pixels, projector, v1 } = yield* open
      const inputs = { ...models, projector, data: v1, heldOut: v1.slice(0, 2), images: pixels }
      const all = { ...settings, trains: { ...trains, vision: true } }
      const made = yield* Node.run(tuneInstructions, inputs, all, at("out"))
      const before = yield* tensorsOf(models.vision)
      const moved = changed(before, yield* tensorsOf(made.out.vision))
      const unused = Object.keys(before).filter((name) => /post_layernorm|layers\.2\./.test(name))
      expect(moved.toSorted()).toEqual(
        Object.keys(before)
          .filter((name) => !unused.includes(name))
          .toSorted()
      )
      expect(unused.length).toBe(18)
      // With the same weights to begin with, the first step's loss is that of the frozen tower.
      const frozen = yield* Node.run(tuneInstructions, inputs, settings, at("frozen"))
      expect(Math.abs(made.out.report.losses[0]! - frozen.out.report.losses[0]!)).toBeLessThan(1e-5)
      expect(made.out.report.losses[1]).not.toBe(frozen.out.report.losses[1])
      expect(yield* tensorsOf(frozen.out.vision)).toEqual(before)
      expect(readdirSync(frozen.out.adapter)).toEqual([])
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("changes only what `trains` says: the projector alone, or the language model alone", () =>
    Effect.gen(function* () {
      const { at, models, pixels, projector, v1 } = yield* open
      const inputs = { ...models, projector, data: v1, heldOut: [], images: pixels }
      const run = (some: Partial<Trains>, name: string) =>
        Node.run(tuneInstructions, inputs, { ...settings, trains: { ...trains, ...some } }, at(name))
      const alone = (yield* run({ language: "none" }, "projector-alone")).out
      expect(changed(yield* tensorsOf(projector), yield* tensorsOf(alone.projector)).length).toBe(4)
      expect(yield* tensorsOf(alone.model)).toEqual(yield* tensorsOf(models.model))
      const language = (yield* run({ projector: false }, "language-alone")).out
      expect(yield* tensorsOf(language.projector)).toEqual(yield* tensorsOf(projector))
      const before = yield* tensorsOf(models.model)
      expect(changed(before, yield* tensorsOf(language.model)).length).toBe(Object.keys(before).length)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect(
    "refuses what cannot be trained: nothing, adapters beside a trained tower, a tower whose images are features",
    () =>
      Effect.gen(function* () {
        const { at, models, pixels, projector, v1 } = yield* open
        const inputs = { ...models, projector, data: v1, heldOut: [] }
        const died = (some: Partial<Trains>) =>
          Node.run(
            tuneInstructions,
            { ...inputs, images: pixels },
            { ...settings, trains: { ...trains, ...some } },
            at("never")
          ).pipe(Effect.sandbox, Effect.flip, Effect.map(Cause.pretty))
        expect(yield* died({ projector: false, language: "none" })).toContain("must be trained")
        expect(yield* died({ language: { ...defaultLora }, vision: true })).toContain("beside a frozen tower")
        const { out } = yield* Node.run(computeFeatures, { pixels, vision: models.vision }, { featureLayer: -2 })
        const all = { ...settings, trains: { ...trains, vision: true } }
        expect(
          yield* Effect.flip(Node.run(tuneInstructions, { ...inputs, images: out.rows }, all, at("never")))
        ).toMatchObject({
          _tag: "FeatureLayerMismatch",
          message: expect.stringContaining("features that a frozen one")
        })
      }).pipe(Effect.provide(Engine.wasm))
  )
})
