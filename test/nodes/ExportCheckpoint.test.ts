/** An exported folder says everything that its readers ask for, and gives back the weights that went in. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Node from "../../src/dag/RunNode.ts"
import { openCheckpoint } from "../../src/model/Checkpoint.ts"
import { normalisedPixels } from "../../src/model/clip/Pixels.ts"
import { openLlava } from "../../src/model/Folder.ts"
import { openSafetensors } from "../../src/model/Safetensors.ts"
import { openChatModel } from "../../src/nodes/ChatModel.ts"
import { exportCheckpoint, exportTrained } from "../../src/nodes/ExportCheckpoint.ts"
import { loadTokenizer } from "../../src/nodes/LoadTokenizer.ts"
import { openClip, openPhi, openProjector } from "../../src/nodes/ModelFiles.ts"
import { trainProjector } from "../../src/nodes/TrainVision.ts"
import * as Engine from "../../src/tensor/Engine.ts"
import { sampleVocabulary, settings, tinyModels, tinyPictured } from "./support.ts"

type Params = Parameters<typeof exportCheckpoint>[1]
const open = Effect.fnUntraced(function* (params: Pick<Params, "headBias"> & Partial<Params>) {
  const { into, ...models } = yield* tinyModels(params.headBias)
  const { pixels, plain } = yield* tinyPictured(1)
  const { out } = yield* Node.run(
    trainProjector,
    { ...models, data: plain, heldOut: [], images: pixels },
    { ...settings, headBias: params.headBias },
    { into: join(into, "projector") }
  )
  const inputs = { ...models, projector: out.projector }
  const exported = yield* Node.run(
    exportCheckpoint,
    inputs,
    { dtype: "float32", maxShardBytes: 5_000_000_000, name: "Tiny", ...params },
    { into: join(into, "out") }
  )
  return { inputs, folder: exported.out.model }
})
const text = (folder: string, name: string) => readFileSync(join(folder, name), "utf8")
const json = (folder: string, name: string): Record<string, any> => JSON.parse(text(folder, name))

describe("exportCheckpoint", () => {
  for (const headBias of ["drop", "keep"] as const)
    it.effect(`is read back with equal bits, head bias: ${headBias}`, () =>
      Effect.gen(function* () {
        const { folder, inputs } = yield* open({ headBias })
        const { config, sources } = yield* openLlava(folder)
        expect(config.text.headBias).toBe(headBias === "keep")
        const found = new Map(sources.map((source) => [source.name, source]))
        const parts = [
          ["language.", (yield* openPhi({ path: inputs.model }, headBias)).sources],
          ["projector.", (yield* openProjector({ path: inputs.projector })).sources],
          ["vision.", (yield* openClip({ path: inputs.vision })).sources]
        ] as const
        expect(found.size).toBe(parts.reduce((sum, [, part]) => sum + part.length, 0))
        for (const [prefix, part] of parts)
          for (const source of part) {
            const written = found.get(prefix + source.name)!
            expect(written.shape).toEqual(source.shape)
            expect(Buffer.from((yield* written.read).buffer).equals(Buffer.from((yield* source.read).buffer))).toBe(
              true
            )
          }
      }).pipe(Effect.provide(Engine.wasm))
    )

  it.effect("states the stock layout: every field of both configs, floats written as floats", () =>
    Effect.gen(function* () {
      const { folder } = yield* open({ headBias: "drop", dtype: "bfloat16" })
      const config = json(folder, "config.json")
      expect(config).toMatchObject({
        architectures: ["LlavaForConditionalGeneration"],
        dtype: "bfloat16",
        image_seq_length: 4,
        image_token_index: 1,
        model_type: "llava",
        multimodal_projector_bias: true,
        projector_hidden_act: "gelu",
        vision_feature_layer: -2,
        vision_feature_select_strategy: "default"
      })
      expect(config["auto_map"]).toBeUndefined()
      expect(config["text_config"]).toMatchObject({
        model_type: "phi",
        vocab_size: sampleVocabulary,
        hidden_size: 16,
        intermediate_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 2,
        max_position_embeddings: 256,
        partial_rotary_factor: 0.5,
        rope_theta: 10000,
        resid_pdrop: 0.1,
        hidden_act: "gelu_new",
        layer_norm_eps: 1e-5,
        bos_token_id: 0,
        eos_token_id: 0,
        pad_token_id: 2,
        tie_word_embeddings: false
      })
      expect(config["vision_config"]).toMatchObject({
        hidden_size: 12,
        image_size: 28,
        patch_size: 14,
        num_hidden_layers: 3
      })
      expect(text(folder, "config.json")).toMatch(/"rope_theta": 10000\.0,/)
      expect(text(folder, "config.json")).toMatch(/"attention_dropout": 0\.0,/)
      expect(json(folder, "processor_config.json")).toMatchObject({
        patch_size: 14,
        num_additional_image_tokens: 1,
        vision_feature_select_strategy: "default",
        image_token: "<image>"
      })
      expect(json(folder, "preprocessor_config.json")).toMatchObject({
        do_pad: true,
        resample: 3,
        size: { shortest_edge: 28 }
      })
      expect(json(folder, "tokenizer_config.json")["chat_template"]).toBe(text(folder, "chat_template.jinja"))
      expect(json(folder, "generation_config.json")).toMatchObject({ eos_token_id: 0, pad_token_id: 2 })
      const names = [...(yield* openCheckpoint(folder)).entries.values()]
      expect(names.every(({ dtype }) => dtype === "BF16")).toBe(true)
      for (const { name } of names)
        expect(name).toMatch(/^(vision_tower\.vision_model|multi_modal_projector|language_model\.(model|lm_head))\./)
      expect(names.some(({ name }) => name === "language_model.lm_head.bias")).toBe(false)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("with a head bias names its own class, and the head's weights as that class names them", () =>
    Effect.gen(function* () {
      const { folder } = yield* open({ headBias: "keep", maxShardBytes: 40_000 })
      expect(json(folder, "config.json")["auto_map"]).toEqual({
        AutoModelForImageTextToText: "modeling_llava_phi.LlavaPhiForConditionalGeneration",
        AutoModelForMultimodalLM: "modeling_llava_phi.LlavaPhiForConditionalGeneration"
      })
      expect(text(folder, "modeling_llava_phi.py")).toContain("class LlavaPhiForConditionalGeneration")
      expect(text(folder, "README.md")).toContain("trust_remote_code")
      const map = json(folder, "model.safetensors.index.json")["weight_map"] as Record<string, string>
      expect(
        Object.keys(map)
          .filter((name) => name.includes("lm_head"))
          .toSorted()
      ).toEqual(["lm_head.bias", "lm_head.weight"])
      const shards = readdirSync(folder).filter((name) => /^model.*\.safetensors$/.test(name))
      expect(new Set(Object.values(map))).toEqual(new Set(shards))
      expect(shards.length).toBeGreaterThan(2)
    }).pipe(Effect.provide(Engine.wasm))
  )

  it.effect("says what it answers: the logits and the continuation that the folder's own model gives here", () =>
    Effect.gen(function* () {
      const { folder } = yield* open({ headBias: "drop" })
      const file = yield* openSafetensors(join(folder, "parity.safetensors"))
      const shapes = Object.fromEntries(
        [...file.entries.values()].map(({ dtype, name, shape }) => [name, [dtype, ...shape]])
      )
      const time = shapes["input_ids"]![2] as number
      expect(shapes).toEqual({
        input_ids: ["I64", 2, time],
        attention_mask: ["I64", 2, time],
        pixel_values: ["F32", 2, 3, 28, 28],
        logits: ["F32", 2, time, sampleVocabulary],
        greedy: ["I64", expect.any(Number)],
        pixels: ["F32", 1, 3, 28, 28]
      })
      expect(file.metadata).toEqual({ format: "pt", image: "parity.png", question: "What is in this picture?" })
      const ids = yield* file.integers("input_ids")
      expect((yield* file.integers("attention_mask")).every((one) => one === 1)).toBe(true)
      for (const row of [0, 1])
        expect(ids.subarray(row * time, (row + 1) * time).filter((id) => id === 1).length, "image tokens").toBe(4)
      const logits = yield* file.floats("logits")
      const greedy = yield* file.integers("greedy")
      const last = logits.subarray((time - 1) * sampleVocabulary, time * sampleVocabulary)
      expect(last.indexOf(Math.max(...last))).toBe(greedy[0])
      const chat = yield* openChatModel(folder)
      const picture = yield* chat.picture(join(folder, "parity.png"))
      expect(normalisedPixels(picture.pixels_HWC, 28)).toEqual(yield* file.floats("pixels"))
      expect((yield* file.floats("pixel_values")).subarray(0, 3 * 28 * 28)).toEqual(yield* file.floats("pixels"))
      const asked = chat.ask([{ from: "human", value: "What is in this picture?" }], picture, { maxNewTokens: 16 })
      const said = (yield* Stream.runCollect(asked)).map((piece) => piece.text).join("")
      const tokenizer = yield* loadTokenizer({ path: folder })
      expect(tokenizer.decode(greedy, { skipSpecial: true }).trimStart()).toBe(said)
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("computes what it answers from the weights as they are stored, rounded", () =>
    Effect.gen(function* () {
      const logits = Effect.fnUntraced(function* (dtype: "float32" | "bfloat16") {
        const { folder } = yield* open({ headBias: "drop", dtype })
        return yield* (yield* openSafetensors(join(folder, "parity.safetensors"))).floats("logits")
      })
      const [exact, rounded] = [yield* logits("float32"), yield* logits("bfloat16")]
      const apart = exact.reduce((most, one, i) => Math.max(most, Math.abs(one - rounded[i]!)), 0)
      expect(apart).toBeGreaterThan(1e-4)
      expect(apart).toBeLessThan(0.5)
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )

  it.effect("gives equal bytes for equal weights: nothing of time or place is in it", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* open({ headBias: "drop" }), yield* open({ headBias: "drop" })]
      expect(readdirSync(one.folder).toSorted()).toEqual(readdirSync(other.folder).toSorted())
      for (const name of readdirSync(one.folder))
        expect(readFileSync(join(one.folder, name)).equals(readFileSync(join(other.folder, name))), name).toBe(true)
    }).pipe(Effect.provide(Engine.wasm))
  )
})

describe("exportTrained", () => {
  it.effect("writes the weights of exportCheckpoint, and a card of stages, data and losses", () =>
    Effect.gen(function* () {
      const { folder, inputs } = yield* open({ headBias: "drop" })
      const log = { steps: 3, epochs: 1, rows: 4, lossTokens: 50, losses: [3, 2, 1], cutRows: 0, cutTokens: 0 }
      const material = {
        shareGpt: [],
        captions: [],
        captionImages: "c",
        instructions: [],
        instructionImages: "e",
        languageModel: inputs.model,
        startTower: inputs.vision
      }
      const { out } = yield* Node.run(
        exportTrained,
        {
          ...inputs,
          ...material,
          sft: { ...log, heldOutLoss: 1.5 },
          pretrain: { ...log, heldOutLoss: null },
          instruct: { ...log, heldOutLoss: 0.25 }
        },
        {
          dtype: "float32",
          headBias: "drop",
          maxShardBytes: 5_000_000_000,
          name: "Tiny",
          stages: {
            sft: { lr: 1e-3, batch: 2 },
            pretrain: { lr: 2e-3, decay: "linear" },
            instruct: { maxGradNorm: null }
          },
          trainedBy: { sft: "adaptLanguageModel", pretrain: "trainProjector", instruct: "myOwn" },
          credits: { captions: "Drawn | scenes; CC0-1.0" }
        },
        { into: join(folder, "..", "..", "trained") }
      )
      const files = readdirSync(out.model)
      expect(files.toSorted()).toEqual(readdirSync(folder).toSorted())
      for (const name of files.filter((one) => one !== "README.md"))
        expect(readFileSync(join(out.model, name)).equals(readFileSync(join(folder, name))), name).toBe(true)
      const card = text(out.model, "README.md")
      for (const line of [
        "| setting | sft | pretrain | instruct |",
        "| lr | 0.001 | 0.002 | - |",
        '| decay | - | "linear" | - |',
        "| maxGradNorm | - | - | null |",
        "| sft | 3 | 4 | 50 | 3.0000 | 1.0000 | 1.5000 |",
        "| pretrain | 3 | 4 | 50 | 3.0000 | 1.0000 | - |",
        "| captions | not recorded | Drawn \\| scenes; CC0-1.0 |",
        "| instructions | not recorded | not stated |"
      ])
        expect(card.split("\n")).toContain(line)
      expect(card).toContain(
        `Trained by adaptLanguageModel 1 (sft), trainProjector ${trainProjector.spec.version} (pretrain), myOwn (instruct). Code digest: \`not recorded\``
      )
      expect(text(folder, "README.md")).not.toContain("## Recipe")
    }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
  )
})
