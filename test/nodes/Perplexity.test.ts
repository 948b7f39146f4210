/**
 * Perplexity is that of the reference implementation, that of training's own measurement, and the same in any batch.
 */
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { openSafetensors } from "../../src/model/Safetensors.ts"
import { exportCheckpoint } from "../../src/nodes/ExportCheckpoint.ts"
import { perplexity, picturedPerplexity } from "../../src/nodes/Perplexity.ts"
import { trainProjector, tuneInstructions } from "../../src/nodes/TrainVision.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { settings, tinyModels, tinyPictured } from "./support.ts"

/** A loss of transformers in f32, and ours: relative. A perplexity is off by that times the loss. */
const TOLERANCE = 1e-5

const golden = fileURLToPath(new URL("../golden/set-2/phi", import.meta.url))

/** The recorded rows as examples, each cut where its mask ends. */
const goldenExamples = Effect.gen(function* () {
  const file = yield* openSafetensors(join(golden, "golden.safetensors"))
  const [rows, time] = file.entries.get("input_ids")!.shape as [number, number]
  const [ids, mask, labels] = [
    yield* file.integers("input_ids"),
    yield* file.integers("attention_mask"),
    yield* file.integers("labels")
  ]
  const data = Array.from({ length: rows }, (_, row) => {
    const of = (values: Int32Array) =>
      values.slice(row * time, row * time + mask.slice(row * time, (row + 1) * time).lastIndexOf(1) + 1)
    return {
      ...{ id: `r${row}`, group: `r${row}`, shard: 0, image: -1, imageAt: -1, words: -1, cut: 0 },
      ids: Int32Array.from(of(ids)),
      labels: Int32Array.from(of(labels))
    }
  })
  return { data, loss: (yield* file.floats("loss"))[0]! }
})

describe("perplexity", () => {
  it.effect("is e to the loss that transformers gives, of rows together and one by one", () =>
    Effect.gen(function* () {
      const { data, loss } = yield* goldenExamples
      for (const batch of [1, 8]) {
        const { report } = (yield* Node.run(perplexity, { model: golden, data }, { batch, headBias: "keep" })).out
        expect(Math.abs(report.loss! - loss) / loss).toBeLessThan(TOLERANCE)
        expect(Math.abs(report.perplexity! / Math.exp(loss) - 1)).toBeLessThan(TOLERANCE * loss)
        expect(report.rows).toBe(data.length)
        // Nothing predicts the first token of a row.
        expect(report.tokens).toBe(
          data.reduce((sum, row) => sum + row.labels.slice(1).filter((one) => one >= 0).length, 0)
        )
      }
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("of no rows is none, and says so", () =>
    Effect.gen(function* () {
      const { out } = yield* Node.run(perplexity, { model: golden, data: [] }, { batch: 2, headBias: "keep" })
      expect(out.report).toEqual({ rows: 0, tokens: 0, loss: null, perplexity: null })
    }).pipe(Effect.provide(Engine.wasm))
  )
})

describe("picturedPerplexity", () => {
  it.effect("of an exported model is e to the held-out loss that its training measured (1e-6)", () =>
    Effect.gen(function* () {
      const { into, ...models } = yield* tinyModels()
      const { pixels, v1 } = yield* tinyPictured(9, (i) => i === 7)
      const at = (name: string) => ({ into: join(into, name) })
      const inputs = { ...models, data: v1.slice(0, 5), heldOut: v1.slice(5), images: pixels }
      const { projector } = (yield* Node.run(trainProjector, inputs, { ...settings, epochs: 0 }, at("projector"))).out
      const tuned = (yield* Node.run(tuneInstructions, { ...inputs, projector }, settings, at("tuned"))).out
      const exported = yield* Node.run(
        exportCheckpoint,
        { model: tuned.model, projector: tuned.projector, vision: models.vision, tokenizer: models.tokenizer },
        { dtype: "float32", headBias: "drop", maxShardBytes: 5_000_000_000, name: "Tiny" },
        at("exported")
      )
      for (const batch of [1, 3, 4]) {
        const { report } = (yield* Node.run(
          picturedPerplexity,
          { model: exported.out.model, data: v1.slice(5), images: pixels },
          { batch, headBias: "drop" }
        )).out
        expect(Math.abs(report.loss! - tuned.report.heldOutLoss!)).toBeLessThan(1e-6)
        expect(report.perplexity).toBe(Math.exp(report.loss!))
      }
    }).pipe(Effect.provide(Engine.wasm))
  )
})
