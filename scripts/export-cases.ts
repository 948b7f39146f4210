/**
 * Writes small checkpoints of every kind that the export nodes can write, for the proofs in Python.
 *
 *     npx tsx scripts/export-cases.ts DIR
 *
 * Not trained: seeded weights. Beside DIR/transformers/CASE, which `scripts/verify_export.py` opens, lie DIR/llava/CASE
 * and DIR/projector/CASE in LLaVA's own layout, which `scripts/verify_original.py` opens.
 */
import { mkdirSync } from "node:fs"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { sampleFolder } from "../datasets/Dataset.ts"
import * as Node from "../src/dag/RunNode.ts"
import { decodePhiConfig } from "../src/model/phi/Config.ts"
import { phiShapes } from "../src/model/phi/Names.ts"
import { initialWeights } from "../src/model/Weights.ts"
import { exportCheckpoint } from "../src/nodes/ExportCheckpoint.ts"
import { exportOriginal } from "../src/nodes/ExportOriginal.ts"
import { exportProjector } from "../src/nodes/ExportProjector.ts"
import { initLanguageModel, initVisionTower } from "../src/nodes/InitModels.ts"
import { fromSources, readJsonFile, writePhi, writeProjector } from "../src/nodes/ModelFiles.ts"
import { freshProjector } from "../src/nodes/ProjectorWeights.ts"
import * as Engine from "../src/tensor/Engine.ts"

const tokenizer = fileURLToPath(new URL("tokenizer.json", sampleFolder))
const language = {
  hidden: 48,
  layers: 3,
  heads: 3,
  ffn: 96,
  maxPositions: 256,
  rotary: 0.4,
  dropout: 0,
  std: 0.3,
  seed: 1
}
const tower = { hidden: 36, layers: 3, heads: 3, ffn: 72, imageSize: 56, patchSize: 14, std: 0.2, seed: 2 }
const whole = 5_000_000_000

/** What each case is about; `extraRows` of the vocabulary have no token. */
const cases = {
  float32: { dtype: "float32", headBias: "drop", maxShardBytes: whole, extraRows: 0 },
  bfloat16: { dtype: "bfloat16", headBias: "drop", maxShardBytes: whole, extraRows: 0 },
  float16: { dtype: "float16", headBias: "drop", maxShardBytes: whole, extraRows: 0 },
  shards: { dtype: "bfloat16", headBias: "drop", maxShardBytes: 150_000, extraRows: 0 },
  "head-bias": { dtype: "float32", headBias: "keep", maxShardBytes: whole, extraRows: 0 },
  "head-bias-shards": { dtype: "bfloat16", headBias: "keep", maxShardBytes: 150_000, extraRows: 63 },
  "extra-rows": { dtype: "float32", headBias: "drop", maxShardBytes: whole, extraRows: 63 }
} as const

/** A Phi whose head's bias is no zero, and whose vocabulary has rows without a token. */
const phi = Effect.fnUntraced(function* (folder: string, headBias: "keep" | "drop", extraRows: number) {
  const made = yield* Node.run(initLanguageModel, { tokenizer }, { ...language, headBias }, { into: `${folder}-sizes` })
  const json = yield* readJsonFile(join(made.out.model, "config.json"))
  const sizes = yield* decodePhiConfig(json, { headBias: headBias === "keep" })
  const config = { ...sizes, vocabSize: sizes.vocabSize + extraRows }
  const bias = Effect.sync(() => Float32Array.from({ length: config.vocabSize }, (_, i) => Math.sin(i * 1.7)))
  const weights = initialWeights(phiShapes(config), language.seed, language.std)
  mkdirSync(folder, { recursive: true })
  yield* writePhi(
    folder,
    config,
    fromSources(
      weights.map((one) => (one.name === "lm_head.bias" ? { ...one, read: bias } : one)),
      "float32"
    )
  )
  return folder
})

const write = Effect.fnUntraced(function* (into: string) {
  const parts = join(into, "parts")
  const vision = (yield* Node.run(initVisionTower, {}, tower, { into: parts })).out.model
  const sizes = { inputSize: tower.hidden, outputSize: language.hidden, activation: "erf" as const, featureLayer: -2 }
  const projector = join(parts, "projector")
  mkdirSync(projector, { recursive: true })
  yield* writeProjector(projector, sizes, fromSources(freshProjector(sizes, 3), "float32"))
  for (const [name, { dtype, extraRows, headBias, maxShardBytes }] of Object.entries(cases)) {
    const inputs = { model: yield* phi(join(parts, name), headBias, extraRows), projector, vision, tokenizer }
    const params = { dtype, headBias, maxShardBytes, name: `Case ${name}` }
    const visionTower = join(into, "llava", name, "files", "vision_tower")
    const exported = yield* Node.run(exportCheckpoint, inputs, params, { into: join(into, "transformers", name) })
    console.log(exported.out.model)
    const original = { ...params, visionTower }
    console.log((yield* Node.run(exportOriginal, inputs, original, { into: join(into, "llava", name) })).out.files)
    const alone = { dtype, name: `Projector ${name}`, visionTower, languageModel: "seeded weights" }
    yield* Node.run(exportProjector, { projector }, alone, { into: join(into, "projector", name) })
  }
})

const [folder] = process.argv.slice(2)
if (folder === undefined) throw new Error("say where: npx tsx scripts/export-cases.ts DIR")
await Effect.runPromise(write(resolve(folder)).pipe(Effect.provide(Engine.wasm)))
