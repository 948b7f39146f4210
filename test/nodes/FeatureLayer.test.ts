/**
 * The tower's hidden state is one fact: it goes with features and projectors, and every file that is written says the
 * same.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { computeFeatures } from "../../src/nodes/ComputeFeatures.ts"
import { exportCheckpoint } from "../../src/nodes/ExportCheckpoint.ts"
import { exportOriginal } from "../../src/nodes/ExportOriginal.ts"
import { exportProjector } from "../../src/nodes/ExportProjector.ts"
import { importLlava, importOriginal, importProjector } from "../../src/nodes/ImportModels.ts"
import { trainProjector, tuneInstructions } from "../../src/nodes/TrainVision.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { settings, tensorsOf, tinyModels, tinyPictured } from "./support.ts"

const json = (...path: ReadonlyArray<string>) => JSON.parse(readFileSync(join(...path), "utf8"))
const short = { ...settings, epochs: 1 }
const lora = {
  rank: 2,
  alpha: 4,
  dropout: 0,
  targets: ["q_proj"],
  quantise: "none",
  mergeInto: "dequantised"
} as const

const trains = { projector: true, language: "all", vision: false } as const

const open = Effect.gen(function* () {
  const { into, ...models } = yield* tinyModels()
  const { pixels, plain, v1 } = yield* tinyPictured(4)
  const at = (name: string) => ({ into: join(into, name) })
  const features = (featureLayer: number) =>
    Effect.map(Node.run(computeFeatures, { pixels, vision: models.vision }, { featureLayer }), ({ out }) => out.rows)
  const pretrained = (featureLayer: number) =>
    Effect.gen(function* () {
      const inputs = { ...models, data: plain, heldOut: [], images: yield* features(featureLayer) }
      const name = `pretrained${featureLayer}`
      return (yield* Node.run(trainProjector, inputs, short, at(name))).out.projector
    })
  return { at, models, pixels, plain, v1, features, pretrained }
})

describe("the hidden state that a projector is trained on", () => {
  for (const layer of [-1, -2, 1])
    it.effect(`${layer} stands in the features, the projector, and every exported config and card`, () =>
      Effect.gen(function* () {
        const { at, features, models, pretrained, v1 } = yield* open
        const images = yield* features(layer)
        expect([...new Set(images.map(({ featureLayer }) => featureLayer))]).toEqual([layer])
        const inputs = { ...models, projector: yield* pretrained(layer), data: v1, heldOut: [], images }
        const tuned = (yield* Node.run(tuneInstructions, inputs, short, at("tuned"))).out
        expect(json(tuned.projector, "config.json")).toMatchObject({ featureLayer: layer })
        const parts = { ...models, model: tuned.model, projector: tuned.projector }
        const params = { dtype: "float32", headBias: "drop", maxShardBytes: 1e9, name: "Layer" } as const
        const stock = (yield* Node.run(exportCheckpoint, parts, params, at("stock"))).out.model
        expect(json(stock, "config.json")).toMatchObject({ vision_feature_layer: layer })
        expect(readFileSync(join(stock, "README.md"), "utf8")).toContain(`hidden state ${layer} |`)
        const named = { ...params, visionTower: "tiny/tower" }
        const original = (yield* Node.run(exportOriginal, parts, named, at("original"))).out.files
        expect(json(original, "config.json")).toMatchObject({
          mm_vision_select_layer: layer,
          vision_config: { vision_tower: { mm_vision_select_layer: layer } }
        })
        const alone = { dtype: "float32", name: "Layer", visionTower: "tiny/tower", languageModel: "Phi" } as const
        const shared = (yield* Node.run(exportProjector, { projector: tuned.projector }, alone, at("shared"))).out.files
        expect(json(shared, "config.json")).toMatchObject({ mm_vision_select_layer: layer })
        expect(readFileSync(join(shared, "README.md"), "utf8")).toContain(`hidden state ${layer},`)

        // And back again.
        const read = { headBias: "drop", dtype: "float32" } as const
        const back = [
          (yield* Node.run(importLlava, { files: stock }, read, at("from-stock"))).out.projector,
          (yield* Node.run(importOriginal, { files: original }, read, at("from-original"))).out.projector,
          (yield* Node.run(importProjector, { files: shared }, { dtype: "float32" }, at("from-shared"))).out.projector
        ]
        for (const folder of back) expect(json(folder, "config.json")).toMatchObject({ featureLayer: layer })
        const file = { files: join(shared, "mm_projector.bin") }
        const stated = { dtype: "float32", featureLayer: layer } as const
        const alonely = (yield* Node.run(importProjector, file, stated, at("from-file"))).out.projector
        expect(json(alonely, "config.json")).toMatchObject({ featureLayer: layer })
        const other = { dtype: "float32", featureLayer: layer + 1 } as const
        expect(yield* Effect.flip(Node.run(importProjector, { files: shared }, other, at("never")))).toMatchObject({
          _tag: "OtherModel",
          message: expect.stringContaining(`hidden state ${layer}, the parameter says ${layer + 1}`)
        })
      }).pipe(Effect.provide(Engine.wasm))
    )

  it.effect("is what training on pixels sees too: the losses of features of that layer (1e-5)", () =>
    Effect.gen(function* () {
      const { at, features, models, pixels, plain, v1 } = yield* open
      const inputs = { ...models, data: plain, heldOut: [] }
      const onPixels = { ...inputs, images: pixels }
      const over = (yield* Node.run(trainProjector, onPixels, { ...short, featureLayer: -1 }, at("pixels"))).out
      const onFeatures = { ...inputs, images: yield* features(-1) }
      const stored = (yield* Node.run(trainProjector, onFeatures, short, at("features"))).out
      const last = (yield* Node.run(trainProjector, onPixels, short, at("last"))).out
      for (const [i, loss] of over.report.losses.entries())
        expect(Math.abs(stored.report.losses[i]! - loss)).toBeLessThan(1e-5)
      expect(over.report.losses).not.toEqual(last.report.losses)
      // Tuning on pixels takes it from the projector.
      const tuning = { ...models, data: v1, heldOut: [] }
      const a = { ...tuning, projector: over.projector, images: pixels }
      const b = { ...tuning, projector: over.projector, images: yield* features(-1) }
      const one = (yield* Node.run(tuneInstructions, a, short, at("a"))).out
      const other = (yield* Node.run(tuneInstructions, b, short, at("b"))).out
      for (const [i, loss] of one.report.losses.entries())
        expect(Math.abs(other.report.losses[i]! - loss)).toBeLessThan(1e-5)
      expect(json(one.projector, "config.json")).toMatchObject({ featureLayer: -1 })
      // With the last layer seen, the tower's last layer is trained as well.
      const whole = (yield* Node.run(
        tuneInstructions,
        a,
        { ...short, trains: { ...trains, vision: true } },
        at("tower")
      )).out
      const [before, after] = [yield* tensorsOf(models.vision), yield* tensorsOf(whole.vision)]
      const name = "vision_model.encoder.layers.2.mlp.fc1.weight"
      expect(after[name]).not.toBe(before[name])
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("that differs between two stages is an error that names both", () =>
    Effect.gen(function* () {
      const { at, features, models, pretrained, v1 } = yield* open
      const projector = yield* pretrained(-1)
      const inputs = { ...models, projector, data: v1, heldOut: [], images: yield* features(-2) }
      const never = at("never")
      for (const error of [
        yield* Effect.flip(Node.run(tuneInstructions, inputs, short, never)),
        yield* Effect.flip(
          Node.run(tuneInstructions, inputs, { ...short, trains: { ...trains, language: lora } }, never)
        )
      ])
        expect(error).toMatchObject({
          _tag: "FeatureLayerMismatch",
          message: "the images' features are of hidden state -2, the projector was trained on hidden state -1",
          hint: expect.stringContaining("computeFeatures")
        })
      // Two spellings of one state are no difference: -2 of three layers is 2.
      const same = { ...inputs, projector: yield* pretrained(2) }
      const tuned = (yield* Node.run(tuneInstructions, same, short, at("same"))).out
      expect(json(tuned.projector, "config.json")).toMatchObject({ featureLayer: 2 })
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("that differs within one set of features, or that the tower has not, is an error", () =>
    Effect.gen(function* () {
      const { at, features, models, pixels, plain } = yield* open
      const mixed = [...(yield* features(-2)).slice(0, 2), ...(yield* features(-1)).slice(2)]
      const inputs = { ...models, data: plain, heldOut: [], images: mixed }
      expect(yield* Effect.flip(Node.run(trainProjector, inputs, short, at("never")))).toMatchObject({
        _tag: "FeatureLayerMismatch",
        message: expect.stringContaining("of hidden state -1, those of the first image of -2")
      })
      const computing = { pixels, vision: models.vision }
      expect(yield* Effect.flip(Node.run(computeFeatures, computing, { featureLayer: 4 }))).toMatchObject({
        _tag: "ModelFileError",
        message: "the tower has 3 layers and no hidden state 4"
      })
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("an activation of a projector that came from elsewhere is kept in tuning", () =>
    Effect.gen(function* () {
      const { at, features, models, pretrained, v1 } = yield* open
      const projector = yield* pretrained(-2)
      const path = join(projector, "config.json")
      writeFileSync(path, JSON.stringify({ ...json(path), activation: "tanh" }))
      const inputs = { ...models, projector, data: v1, heldOut: [], images: yield* features(-2) }
      const tuned = (yield* Node.run(tuneInstructions, inputs, short, at("tuned"))).out
      expect(json(tuned.projector, "config.json")).toMatchObject({ activation: "tanh" })
      const parts = { ...models, model: tuned.model, projector: tuned.projector }
      const params = { dtype: "float32", headBias: "drop", maxShardBytes: 1e9, name: "Layer" } as const
      const stock = (yield* Node.run(exportCheckpoint, parts, params, at("stock"))).out.model
      expect(json(stock, "config.json")).toMatchObject({ projector_hidden_act: "gelu_new" })
    }).pipe(Effect.provide(Engine.wasm))
  )
})
