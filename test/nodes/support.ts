/** Rows, archives and small model folders for the tests of nodes. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Arbitrary, Effect, Schema, Stream } from "effect"
import sharp from "sharp"
import { sampleFolder } from "../../datasets/Dataset.ts"
import type { Rows } from "../../src/dag/Artifact.ts"
import * as Node from "../../src/dag/RunNode.ts"
import { openCheckpoint } from "../../src/model/Checkpoint.ts"
import { openSafetensors } from "../../src/model/Safetensors.ts"
import { initLanguageModel, initVisionTower } from "../../src/nodes/InitModels.ts"
import { fromSources, writeProjector } from "../../src/nodes/ModelFiles.ts"
import { freshProjector } from "../../src/nodes/ProjectorWeights.ts"
import { tokenizePictured } from "../../src/nodes/TokenizeText.ts"
import { shuffle, stream } from "../../src/tensor/Random.ts"
import { fromTokenizerJson } from "../../src/text/Tokenizer.ts"

export const sample = (path: string): string => fileURLToPath(new URL(path, sampleFolder))
export const tokenizerPath = sample("tokenizer.json")
/** Ids of the sample's tokenizer. */
export const sampleVocabulary = fromTokenizerJson(readFileSync(tokenizerPath, "utf8")).vocabSize

/** A folder that goes when the scope closes. */
export const scratch = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "nodes-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Rows cut into shards of these sizes; what is left over makes a last one. */
export const inShards = <Row>(rows: ReadonlyArray<Row>, sizes: ReadonlyArray<number>): Rows<Row> => {
  const shards: Array<ReadonlyArray<Row>> = []
  let at = 0
  for (const size of sizes) {
    shards.push(rows.slice(at, at + size))
    at += size
  }
  if (at < rows.length) shards.push(rows.slice(at))
  return {
    length: rows.length,
    shards: shards.map((shard) => shard.length),
    batches: Stream.fromIterable(shards),
    get: (indices) => Effect.succeed(indices.map((i) => rows[i]!))
  }
}

export const shuffled = <A>(values: ReadonlyArray<A>, seed = 0): Array<A> =>
  shuffle(stream(seed, "test order"), [...values])

const Words = Schema.Array(Schema.Literals(["the", "red", "kettle", "is", "hot", "and", "loud", "today"])).check(
  Schema.isMinLength(1),
  Schema.isMaxLength(12)
)
export const sentence = Arbitrary.map(Arbitrary.schema(Words), (words) => `${words.join(" ")}.`)

/** Clean conversations: one to four pairs. */
export const pairs = Arbitrary.array(Arbitrary.all([sentence, sentence]), { minLength: 1, maxLength: 4 })
export const conversation = (id: string, of: ReadonlyArray<readonly [string, string]>) => ({
  id,
  conversations: of.flatMap(([question, reply]) => [
    { from: "human" as const, value: question },
    { from: "gpt" as const, value: reply }
  ])
})
export const conversations = Arbitrary.map(Arbitrary.array(pairs, { maxLength: 12 }), (all) =>
  all.map((of, i) => conversation(`c${i}`, of))
)

/** Pixels of an image that is unlike any other of its seed and size. */
export const pixelsOf = (width: number, height: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: width * height * 3 }, (_, i) => ((i % width) * 5 + seed * 41 + (i % 3) * 60) & 255)

export const png = (width: number, height: number, seed = 0): Promise<Uint8Array> =>
  sharp(pixelsOf(width, height, seed), { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer()

/** The sizes of a model so small that a step takes milliseconds. */
export const tiny = { hidden: 16, layers: 2, heads: 2, ffn: 32, maxPositions: 256, rotary: 0.5, dropout: 0.1, std: 0.1 }
export const tinyTower = {
  hidden: 12,
  layers: 3,
  heads: 2,
  ffn: 24,
  imageSize: 28,
  patchSize: 14,
  std: 0.2,
  positionStd: 0.5,
  paper: [245, 245, 245],
  seed: 1
} as const
/** Patches of `tinyTower`. */
const GRID = 2
export const PATCHES = GRID * GRID

/** Folder of a tiny tower that cuts an image into `grid` x `grid` patches. */
export const towerOf = Effect.fnUntraced(function* (grid: number) {
  const sized = { ...tinyTower, imageSize: grid * tinyTower.patchSize }
  return (yield* Node.run(initVisionTower, {}, sized, { into: yield* scratch })).out.model
})

/** Folders of a tiny language model and a tiny tower. */
export const tinyModels = Effect.fnUntraced(function* (headBias: "keep" | "drop" = "drop") {
  const into = yield* scratch
  const language = yield* Node.run(
    initLanguageModel,
    { tokenizer: tokenizerPath },
    { ...tiny, headBias, seed: 0 },
    { into: join(into, "language") }
  )
  const vision = yield* Node.run(initVisionTower, {}, tinyTower, { into: join(into, "vision") })
  return { into, model: language.out.model, vision: vision.out.model, tokenizer: tokenizerPath }
})

/**
 * Conversations about images as examples and pixels: row i is about image i, or about none where `textOnly` says so.
 */
export const tinyPictured = Effect.fnUntraced(function* (
  count: number,
  textOnly: (i: number) => boolean = () => false
) {
  const colours = ["red", "green", "blue", "grey"]
  const rows = Array.from({ length: count }, (_, i) => ({
    ...conversation(`r${i}`, [[`${textOnly(i) ? "" : "<image>\n"}What colour?`, `It is ${colours[i % 4]}.`]]),
    image: textOnly(i) ? null : `p${i}.png`
  }))
  const examples = Effect.fnUntraced(function* (template: "plain" | "v1") {
    const inputs = { rows, tokenizer: tokenizerPath, vision: yield* towerOf(GRID) }
    return (yield* Node.run(tokenizePictured, inputs, { template, maxTokens: 128 })).out.rows
  })
  const pixels = rows.flatMap(({ id, image }, i) => (image === null ? [] : [{ id, pixels_HWC: pixelsOf(28, 28, i) }]))
  return { pixels, plain: yield* examples("plain"), v1: yield* examples("v1") }
})

/** Settings of a short stage; a test overrides what it is about. */
export const settings = {
  epochs: 2,
  lr: 1e-2,
  decay: "linear",
  warmupRatio: 0,
  batch: 4,
  microBatch: 4,
  beta1: 0.9,
  beta2: 0.98,
  eps: 1e-7,
  weightDecay: 0.1,
  maxGradNorm: null,
  dropout: false,
  recompute: false,
  seed: 0,
  headBias: "drop"
} as const

/**
 * The same with what `tuneInstructions` trains where it is told nothing: for tests that call its functions themselves.
 */
export const tuneSettings = { ...settings, trains: { projector: true, language: "all", vision: false } } as const

/** Every tensor of a model's folder, or of an adapter's, as base64 of its bytes, by name. */
export const tensorsOf = (folder: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const adapter = join(folder, "adapter_model.safetensors")
      const checkpoint = yield* existsSync(adapter) ? openSafetensors(adapter) : openCheckpoint(folder)
      const found: Record<string, string> = {}
      for (const name of checkpoint.entries.keys())
        found[name] = Buffer.from(new Float32Array(yield* checkpoint.floats(name)).buffer).toString("base64")
      return found
    })
  )

/** The folder of a fresh projector between the tiny models. */
export const initialProjector = Effect.fnUntraced(function* (into: string) {
  const config = { inputSize: tinyTower.hidden, outputSize: tiny.hidden, activation: "erf" as const, featureLayer: -2 }
  const folder = join(into, "projector")
  mkdirSync(folder)
  yield* writeProjector(folder, config, fromSources(freshProjector(config, 0), "float32"))
  return folder
})
