/**
 * An exported model is imported as its parts, under every naming; the error for another folder says what it is.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { openCheckpoint } from "../../src/model/Checkpoint.ts"
import { fromFloat32, toFloat32 } from "../../src/model/Dtype.ts"
import { openTorchFile } from "../../src/model/pickle/TorchFile.ts"
import { type TensorSource, writeCheckpoint } from "../../src/model/Safetensors.ts"
import { exportCheckpoint } from "../../src/nodes/ExportCheckpoint.ts"
import { exportOriginal } from "../../src/nodes/ExportOriginal.ts"
import { exportProjector } from "../../src/nodes/ExportProjector.ts"
import { importLlava, importOriginal, importProjector } from "../../src/nodes/ImportModels.ts"
import { fromSources, writeProjector } from "../../src/nodes/ModelFiles.ts"
import { freshProjector } from "../../src/nodes/ProjectorWeights.ts"
import { writeTorchFile, writeTorchFolder } from "../../src/nodes/TorchFiles.ts"
import { tuneInstructions } from "../../src/nodes/TrainVision.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { initialProjector, sampleVocabulary, settings, tensorsOf, tinyModels, tinyPictured } from "./support.ts"

type HeadBias = "keep" | "drop"
const whole = 5_000_000_000
const read = { headBias: "drop", dtype: "float32" } as const
const alone = { dtype: "float32", name: "Tiny", visionTower: "tiny/tower", languageModel: "a tiny Phi" } as const

/** The parts, and both exports of them. */
const exported = Effect.fnUntraced(function* (
  params: {
    readonly dtype?: "float32" | "bfloat16"
    readonly headBias?: HeadBias
    readonly maxShardBytes?: number
  } = {}
) {
  const { dtype = "float32", headBias = "drop", maxShardBytes = whole } = params
  const { into, ...models } = yield* tinyModels(headBias)
  const inputs = { ...models, projector: yield* initialProjector(into) }
  const all = { dtype, headBias, maxShardBytes, name: "Tiny" }
  const at = (name: string) => ({ into: join(into, name) })
  const stock = (yield* Node.run(exportCheckpoint, inputs, all, at("stock"))).out.model
  const original = (yield* Node.run(exportOriginal, inputs, { ...all, visionTower: "tiny/tower" }, at("original"))).out
    .files
  return { at, inputs, into, stock, original }
})

/** Base64 of the same numbers, rounded as a folder of this format holds them. */
const rounded = (tensors: Readonly<Record<string, string>>, dtype: "float32" | "bfloat16") =>
  dtype === "float32"
    ? tensors
    : Object.fromEntries(
        Object.entries(tensors).map(([name, base64]) => {
          const values = toFloat32(Uint8Array.from(Buffer.from(base64, "base64")), "F32")!
          const kept = toFloat32(fromFloat32(values, "BF16"), "BF16")!
          return [name, Buffer.from(kept.buffer, kept.byteOffset, kept.byteLength).toString("base64")]
        })
      )

/** Writes a folder's weights anew under other names. */
const renamed = Effect.fnUntraced(function* (folder: string, into: string, name: (file: string) => string) {
  const checkpoint = yield* openCheckpoint(folder)
  const tensors: Array<TensorSource> = []
  for (const { dtype, name: file, shape } of checkpoint.entries.values())
    tensors.push({ name: name(file), dtype, shape, bytes: Effect.succeed(yield* checkpoint.bytes(file)) })
  mkdirSync(into, { recursive: true })
  for (const other of ["config.json", "tokenizer.json"])
    writeFileSync(join(into, other), readFileSync(join(folder, other)))
  yield* writeCheckpoint(into, tensors)
  return tensors
})

/** How the layouts of the years spell the same weights. */
const spellings = {
  "on disk, as on the hub since llava-1.5": (file: string) => file,
  "in memory, transformers 4.52 and on": (file: string) =>
    file
      .replace(/^language_model\.lm_head\./, "lm_head.")
      .replace(/^language_model\.model\./, "model.language_model.")
      .replace(/^(vision_tower|multi_modal_projector)\./, "model.$1."),
  "in memory, transformers 5": (file: string) =>
    file
      .replace(/^language_model\.lm_head\./, "lm_head.")
      .replace(/^language_model\.model\./, "model.language_model.")
      .replace(/^vision_tower\.vision_model\./, "model.vision_tower.")
      .replace(/^multi_modal_projector\./, "model.multi_modal_projector.")
} as const
describe("importLlava", () => {
  it.effect.prop(
    "gives the parts that were exported: bit for bit in float32, rounded once in bfloat16",
    {
      dtype: Schema.Literals(["float32", "bfloat16"]),
      headBias: Schema.Literals(["keep", "drop"]),
      maxShardBytes: Schema.Literals([20_000, 60_000, whole])
    },
    (params) =>
      Effect.gen(function* () {
        const { at, inputs, stock } = yield* exported(params)
        const { out } = yield* Node.run(
          importLlava,
          { files: stock },
          { ...read, headBias: params.headBias },
          at("back")
        )
        for (const part of ["model", "projector", "vision"] as const)
          expect(yield* tensorsOf(out[part]), part).toEqual(rounded(yield* tensorsOf(inputs[part]), params.dtype))
        const config = (folder: string) => JSON.parse(readFileSync(join(folder, "config.json"), "utf8"))
        for (const part of ["model", "projector", "vision"] as const)
          expect(config(out[part]), part).toEqual(config(inputs[part]))
        const again = { ...params, name: "Tiny" }
        const twice = yield* Node.run(exportCheckpoint, { ...inputs, ...out }, again, at("twice"))
        expect(yield* tensorsOf(twice.out.model)).toEqual(yield* tensorsOf(stock))
      }).pipe(Effect.scoped, Effect.provide(Engine.wasm)),
    { arbitrary: { runs: 6 } }
  )

  for (const [spelling, name] of Object.entries(spellings))
    it.effect(`reads names as they are spelled ${spelling}`, () =>
      Effect.gen(function* () {
        const { at, inputs, into, stock } = yield* exported()
        const folder = join(into, "spelled")
        yield* renamed(stock, folder, name)
        const { out } = yield* Node.run(importLlava, { files: folder }, read, at("back"))
        for (const part of ["model", "projector", "vision"] as const)
          expect(yield* tensorsOf(out[part]), part).toEqual(yield* tensorsOf(inputs[part]))
      }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
    )

  it.effect("says which folder is of another model, which tensor is missing, and what to do", () =>
    Effect.gen(function* () {
      const { at, into, original, stock } = yield* exported()
      const from = (files: string) => Effect.flip(Node.run(importLlava, { files }, read, at("never")))
      expect(yield* from(original)).toMatchObject({
        _tag: "OtherModel",
        path: join(original, "config.json"),
        message: "it is a llava_phi model",
        hint: expect.stringContaining("importOriginal")
      })
      const changed = Effect.fnUntraced(function* (name: string, change: (json: any) => void) {
        const folder = join(into, name)
        yield* renamed(stock, folder, (file) => file)
        const json = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"))
        change(json)
        writeFileSync(join(folder, "config.json"), JSON.stringify(json))
        return folder
      })
      const llama = yield* changed("llama", (json) => {
        json.text_config.model_type = "llama"
      })
      expect(yield* from(llama)).toMatchObject({ _tag: "OtherModel", message: "its language model is llama" })
      const deep = yield* changed("deep", (json) => {
        json.vision_feature_layer = -1
      })
      const kept = yield* Node.run(importLlava, { files: deep }, read, at("kept"))
      expect(JSON.parse(readFileSync(join(kept.out.projector, "config.json"), "utf8"))).toMatchObject({
        featureLayer: -1
      })
      const none = yield* changed("none", (json) => {
        json.vision_feature_layer = 9
      })
      expect(yield* from(none)).toMatchObject({ _tag: "ConfigError", field: "vision_feature_layer" })
      const token = yield* changed("token", (json) => {
        json.image_token_index = 5
      })
      const other = JSON.parse(readFileSync(join(stock, "config.json"), "utf8")).image_token_index
      expect(yield* from(token)).toMatchObject({
        _tag: "BadTokenizer",
        message: `config.json says that <image> is token 5, tokenizer.json that it is ${other}`
      })
      const strange = yield* changed("strange", (json) => {
        json.text_config.new_thing = 1
      })
      expect(yield* from(strange)).toMatchObject({
        _tag: "ConfigError",
        field: "new_thing",
        path: join(strange, "config.json")
      })
      const wide = yield* changed("wide", (json) => {
        json.text_config.intermediate_size = 48
      })
      expect(yield* from(wide)).toMatchObject({
        _tag: "CheckpointMismatch",
        path: expect.stringContaining("wide"),
        misshapen: expect.arrayContaining([expect.objectContaining({ expected: [48, 16] })])
      })
      const less = join(into, "less")
      yield* renamed(stock, less, (file) => (file.includes("linear_2.bias") ? "multi_modal_projector.lost" : file))
      expect(yield* from(less)).toMatchObject({ _tag: "CheckpointMismatch", missing: ["projector.linear_2.bias"] })
      rmSync(join(less, "config.json"))
      expect(yield* from(less)).toMatchObject({ _tag: "ModelFileError", path: join(less, "config.json") })
      expect(
        yield* Effect.flip(Node.run(importLlava, { files: stock }, { ...read, headBias: "keep" }, at("never")))
      ).toMatchObject({ _tag: "CheckpointMismatch", missing: ["language.lm_head.bias"] })
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )
})

describe("importOriginal", () => {
  it.effect.prop(
    "gives the language model and the projector that were exported",
    { dtype: Schema.Literals(["float32", "bfloat16"]), headBias: Schema.Literals(["keep", "drop"]) },
    (params) =>
      Effect.gen(function* () {
        const { at, inputs, original } = yield* exported({ ...params, maxShardBytes: 40_000 })
        const names = [...(yield* openTorchFile(join(original, "mm_projector.bin"))).entries.keys()]
        expect(names.toSorted()).toEqual(
          ["0.bias", "0.weight", "2.bias", "2.weight"].map((name) => `model.mm_projector.${name}`)
        )
        const back = { ...read, headBias: params.headBias }
        const { out } = yield* Node.run(importOriginal, { files: original }, back, at("back"))
        for (const part of ["model", "projector"] as const)
          expect(yield* tensorsOf(out[part]), part).toEqual(rounded(yield* tensorsOf(inputs[part]), params.dtype))
      }).pipe(Effect.scoped, Effect.provide(Engine.wasm)),
    { arbitrary: { runs: 4 } }
  )

  it.effect("states what LLaVA's code asks its config for, and a head's bias of zeros where there was none", () =>
    Effect.gen(function* () {
      const { original } = yield* exported()
      expect(JSON.parse(readFileSync(join(original, "config.json"), "utf8"))).toMatchObject({
        model_type: "llava_phi",
        architectures: ["LlavaPhiForCausalLM"],
        mm_vision_tower: "tiny/tower",
        mm_projector_type: "mlp2x_gelu",
        mm_hidden_size: 12,
        hidden_size: 16,
        mm_vision_select_layer: -2,
        mm_vision_select_feature: "patch",
        mm_use_im_start_end: false,
        mm_use_im_patch_token: false,
        image_aspect_ratio: "pad"
      })
      const bias = yield* (yield* openCheckpoint(original)).floats("lm_head.bias")
      expect([bias.length, bias.every((one) => one === 0)]).toEqual([sampleVocabulary, true])
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("reads a model whose projector and tower are among its weights, as torch files in shards", () =>
    Effect.gen(function* () {
      const { at, inputs, into, original } = yield* exported()
      const folder = join(into, "inside")
      mkdirSync(folder)
      writeFileSync(join(folder, "config.json"), readFileSync(join(original, "config.json")))
      const tensors: Array<TensorSource> = []
      const take = Effect.fnUntraced(function* (file: Effect.Success<ReturnType<typeof openCheckpoint>>, prefix = "") {
        for (const { dtype, name, shape } of file.entries.values())
          tensors.push({ name: prefix + name, dtype, shape, bytes: Effect.succeed(yield* file.bytes(name)) })
      })
      yield* take(yield* openCheckpoint(original))
      yield* take(yield* openTorchFile(join(original, "mm_projector.bin")))
      yield* take(yield* openCheckpoint(join(original, "vision_tower")), "model.vision_tower.vision_tower.")
      yield* writeTorchFolder(folder, tensors, 50_000)
      const { out } = yield* Node.run(importOriginal, { files: folder }, read, at("back"))
      for (const part of ["model", "projector"] as const)
        expect(yield* tensorsOf(out[part]), part).toEqual(yield* tensorsOf(inputs[part]))
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("says which folder is of another model, and where a projector is missing", () =>
    Effect.gen(function* () {
      const { at, original, stock } = yield* exported()
      const from = (files: string) => Effect.flip(Node.run(importOriginal, { files }, read, at("never")))
      expect(yield* from(stock)).toMatchObject({ _tag: "OtherModel", hint: expect.stringContaining("importLlava") })
      const path = join(original, "config.json")
      const json = JSON.parse(readFileSync(path, "utf8"))
      writeFileSync(path, JSON.stringify({ ...json, mm_projector_type: "linear" }))
      expect(yield* from(original)).toMatchObject({ _tag: "ConfigError", field: "mm_projector_type" })
      writeFileSync(path, JSON.stringify({ ...json, mm_hidden_size: 13 }))
      expect(yield* from(original)).toMatchObject({
        _tag: "OtherModel",
        path: join(original, "mm_projector.bin"),
        tensor: "mm_projector.0.weight",
        message: "it is 12 to 16 wide, config.json says 13 to 16"
      })
      writeFileSync(
        path,
        JSON.stringify({ ...json, model_type: "llava_llama", architectures: ["LlavaLlamaForCausalLM"] })
      )
      expect(yield* from(original)).toMatchObject({
        _tag: "OtherModel",
        message: expect.stringContaining("llava_llama")
      })
      writeFileSync(path, JSON.stringify(json))
      rmSync(join(original, "mm_projector.bin"))
      expect(yield* from(original)).toMatchObject({ _tag: "OtherModel", message: expect.stringContaining("holds no") })
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )
})

describe("importProjector", () => {
  it.effect(
    "gives back a projector that was exported alone, with its config or as the file only, and our own folder",
    () =>
      Effect.gen(function* () {
        const { into } = yield* tinyModels()
        const projector = yield* initialProjector(into)
        const made = yield* Node.run(exportProjector, { projector }, alone, { into: join(into, "shared") })
        for (const [i, files] of [made.out.files, join(made.out.files, "mm_projector.bin"), projector].entries()) {
          const at = { into: join(into, `back-${i}`) }
          const { out } = yield* Node.run(importProjector, { files }, { dtype: "float32" }, at)
          expect(yield* tensorsOf(out.projector)).toEqual(yield* tensorsOf(projector))
        }
        expect(readFileSync(join(made.out.files, "README.md"), "utf8")).toContain("12 to 16")
      }).pipe(Effect.scoped)
  )

  it.effect("is what instruction tuning goes on from: the weights of one that never left", () =>
    Effect.gen(function* () {
      const { into, ...models } = yield* tinyModels()
      const { pixels, v1 } = yield* tinyPictured(4)
      const projector = yield* initialProjector(into)
      const made = yield* Node.run(exportProjector, { projector }, alone, { into: join(into, "shared") })
      const back = yield* Node.run(importProjector, made.out, { dtype: "float32" }, { into: join(into, "back") })
      const tuned = Effect.fnUntraced(function* (from: string, name: string) {
        const inputs = { ...models, projector: from, data: v1, heldOut: [], images: pixels }
        return (yield* Node.run(tuneInstructions, inputs, settings, { into: join(into, name) })).out
      })
      const [one, other] = [yield* tuned(projector, "one"), yield* tuned(back.out.projector, "other")]
      expect(yield* tensorsOf(other.projector)).toEqual(yield* tensorsOf(one.projector))
      expect(yield* tensorsOf(other.model)).toEqual(yield* tensorsOf(one.model))
      expect(yield* tensorsOf(one.projector)).not.toEqual(yield* tensorsOf(projector))
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("of other widths is refused where it is wired in, by tensor and by size", () =>
    Effect.gen(function* () {
      const { into, ...models } = yield* tinyModels()
      const { pixels, v1 } = yield* tinyPictured(4)
      const sizes = { inputSize: 24, outputSize: 16, activation: "erf" as const, featureLayer: -2 }
      const projector = join(into, "wide")
      mkdirSync(projector)
      yield* writeProjector(projector, sizes, fromSources(freshProjector(sizes, 0), "float32"))
      const inputs = { ...models, projector, data: v1, heldOut: [], images: pixels }
      const error = yield* Effect.flip(Node.run(tuneInstructions, inputs, settings, { into: join(into, "never") }))
      expect(error).toMatchObject({
        _tag: "ModelFileError",
        message: expect.stringContaining(
          "linear_1.weight is [16, 24], between this tower and this language model it is [16, 12]"
        )
      })
      const params = { dtype: "float32", headBias: "drop", maxShardBytes: whole, name: "Never" } as const
      const never = { into: join(into, "never") }
      expect(yield* Effect.flip(Node.run(exportCheckpoint, { ...models, projector }, params, never))).toMatchObject({
        _tag: "ModelFileError",
        path: projector,
        message: "the projector is 24 to 16 wide, between a tower of 12 and a language model of 16"
      })
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("says what a file holds that is no projector of two layers", () =>
    Effect.gen(function* () {
      const { into } = yield* tinyModels()
      const zeros = (name: string, shape: ReadonlyArray<number>): TensorSource => ({
        name,
        dtype: "F32",
        shape,
        bytes: Effect.sync(() => new Uint8Array(4 * shape.reduce((n, d) => n * d, 1)))
      })
      const from = Effect.fnUntraced(function* (tensors: ReadonlyArray<TensorSource>) {
        const files = join(into, "mm_projector.bin")
        yield* writeTorchFile(files, tensors)
        return yield* Effect.flip(
          Node.run(importProjector, { files }, { dtype: "float32" }, { into: join(into, "never") })
        )
      })
      expect(yield* from([zeros("model.mm_projector.weight", [16, 12])])).toMatchObject({
        _tag: "OtherModel",
        path: join(into, "mm_projector.bin"),
        tensor: "model.mm_projector.weight",
        hint: expect.stringContaining("mlp2x_gelu")
      })
      expect(yield* from([zeros("lm_head.weight", [4, 4])])).toMatchObject({
        message: "it holds no mm_projector.0.weight"
      })
      const layers = [
        zeros("model.mm_projector.0.weight", [16, 12]),
        zeros("model.mm_projector.0.bias", [16]),
        zeros("model.mm_projector.2.weight", [16, 16])
      ]
      expect(yield* from(layers)).toMatchObject({ _tag: "CheckpointMismatch", missing: ["linear_2.bias"] })
      const more = [...layers, zeros("model.mm_projector.2.bias", [15]), zeros("model.mm_projector.4.bias", [16])]
      expect(yield* from(more)).toMatchObject({
        _tag: "CheckpointMismatch",
        unexpected: ["model.mm_projector.4.bias"],
        misshapen: [{ tensor: "model.mm_projector.2.bias", shape: [15], expected: [16] }]
      })
      const empty = join(into, "empty")
      mkdirSync(empty)
      const none = Node.run(importProjector, { files: empty }, { dtype: "float32" }, { into: join(into, "never") })
      expect(yield* Effect.flip(none)).toMatchObject({ _tag: "OtherModel", path: empty })
    }).pipe(Effect.scoped)
  )
})
