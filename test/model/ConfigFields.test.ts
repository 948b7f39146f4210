/** Configs are accepted where every field is known to be computed right; absent fields are what transformers takes. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as ClassDefaults from "../../src/model/ClassDefaults.ts"
import { clipConfigJson, decodeClipConfig } from "../../src/model/clip/Config.ts"
import { decodeLlavaConfig, llavaConfigJson } from "../../src/model/llava/Config.ts"
import { decodeOriginal, originalConfigJson } from "../../src/model/llava/Original.ts"
import { clipL336 } from "../../src/model/Published.ts"
import { decodePhiConfig, phiConfigJson } from "../../src/model/phi/Config.ts"
import { tinyLlava, tinyPhi } from "./support.ts"

const fixture = (name: string) => JSON.parse(readFileSync(join(import.meta.dirname, "fixtures", name), "utf8"))
type Json = Readonly<Record<string, unknown>>

const decoders: Readonly<
  Record<string, readonly [Json, (json: unknown) => Effect.Effect<unknown, { field: string }>]>
> = {
  phi: [phiConfigJson(tinyPhi), (json) => decodePhiConfig(json, { headBias: true })],
  clip: [clipConfigJson(tinyLlava.vision), decodeClipConfig],
  llava: [llavaConfigJson(tinyLlava), (json) => decodeLlavaConfig(json, { headBias: false })],
  "text_config of llava": [
    phiConfigJson(tinyPhi),
    (json) => decodeLlavaConfig({ ...llavaConfigJson(tinyLlava), text_config: json }, { headBias: false })
  ],
  "vision_config of llava": [
    clipConfigJson(tinyLlava.vision),
    (json) => decodeLlavaConfig({ ...llavaConfigJson(tinyLlava), vision_config: json }, { headBias: false })
  ]
}

const Value = Schema.Union([
  Schema.Boolean,
  Schema.Finite,
  Schema.String,
  Schema.Array(Schema.Finite),
  Schema.Struct({})
])
const Stranger = Schema.Struct({ name: Schema.String, value: Value })

for (const [kind, [json, decode]] of Object.entries(decoders))
  describe(`a config of ${kind}`, () => {
    it.effect("as it is written is read", () => Effect.map(decode(json), (config) => expect(config).toBeDefined()))

    it.effect.prop(
      "with a field that is not known here is refused by its name, unless it is null",
      [Stranger],
      ([one]) =>
        Effect.gen(function* () {
          const field = `new_${one.name}`
          expect((yield* Effect.flip(decode({ ...json, [field]: one.value }))).field).toBe(field)
          expect(yield* decode({ ...json, [field]: null })).toEqual(yield* decode(json))
        })
    )
  })

const refused: Readonly<Record<string, ReadonlyArray<readonly [field: string, value: unknown]>>> = {
  phi: [
    ["model_type", "phi3"],
    ["model_type", "phi-msft"],
    ["model_type", undefined],
    ["embd_pdrop", 0.1],
    ["attention_dropout", 0.1],
    ["qk_layernorm", true],
    ["tie_word_embeddings", true],
    ["num_key_value_heads", 1],
    ["is_decoder", true],
    ["add_cross_attention", true],
    ["pruned_heads", { 0: [1] }],
    ["quantization_config", { quant_method: "bitsandbytes", load_in_4bit: true }],
    ["dtype", "float8_e4m3fn"],
    ["torch_dtype", "int8"],
    ["hidden_act", "silu"],
    ["hidden_act", "constructor"],
    ["auto_map", { AutoModelForCausalLM: "modeling_mixformer_sequential.MixFormerSequentialForCausalLM" }]
  ],
  clip: [
    ["model_type", "siglip_vision_model"],
    ["model_type", "clip_text_model"],
    ["model_type", undefined],
    ["attention_dropout", 0.1],
    ["dropout", 0.1],
    ["hidden_act", "silu"],
    ["quantization_config", { quant_method: "gptq" }]
  ],
  llava: [
    ["model_type", "llava_next"],
    ["model_type", undefined],
    ["vision_feature_select_strategy", "full"],
    ["vision_feature_layer", [-2, -5]],
    ["vision_feature_layer", -9],
    ["multimodal_projector_bias", false],
    ["tie_word_embeddings", true],
    ["image_grid_pinpoints", [[336, 672]]],
    ["use_image_newline_parameter", true],
    ["image_token_id", 3],
    ["projector_hidden_act", "silu"],
    ["auto_map", { AutoModelForImageTextToText: "modeling_other.Other" }],
    ["quantization_config", { quant_method: "awq" }]
  ]
}

for (const [kind, values] of Object.entries(refused))
  describe(`of ${kind}`, () => {
    for (const [field, value] of values)
      it.effect(`${field} ${JSON.stringify(value)} is refused by name`, () =>
        Effect.gen(function* () {
          const [json, decode] = decoders[kind]!
          const error = yield* Effect.flip(decode({ ...json, [field]: value }))
          expect(error).toMatchObject({ _tag: "ConfigError", field, hint: expect.stringMatching(/.{8}/) })
          const { message } = error as unknown as { readonly message: string }
          if (field === "model_type" && value !== undefined) expect(message).toBe(`it is a ${value} model`)
        })
      )
  })

const ropes = [
  { rope_type: "linear", factor: 2 },
  { type: "dynamic", factor: 2 },
  { rope_type: "default", factor: 2 },
  { rope_type: "default", rope_theta: 10_000, partial_rotary_factor: 0.5, mrope_section: [1, 2] }
]
for (const rope of ropes)
  it.effect(`scaled rotary positions ${JSON.stringify(rope)} are refused under both names`, () =>
    Effect.gen(function* () {
      const { rope_parameters: _, ...json } = phiConfigJson(tinyPhi)
      for (const name of ["rope_scaling", "rope_parameters"])
        expect(yield* Effect.flip(decodePhiConfig({ ...json, [name]: rope }, { headBias: true }))).toMatchObject({
          _tag: "ConfigError"
        })
    })
  )

describe("an absent field", () => {
  it("has the default of transformers' class, as scripts/class_defaults.py prints it", () => {
    const printed = fixture("class-defaults.json")
    expect({
      transformers: printed.transformers,
      phi: ClassDefaults.phiDefaults,
      clipVision: ClassDefaults.clipVisionDefaults,
      llava: ClassDefaults.llavaDefaults,
      llavaVision: ClassDefaults.llavaVisionDefaults,
      llavaNestedTypes: ClassDefaults.llavaNestedTypes
    }).toEqual(printed)
    // The page that states the source names the version that printed them.
    const source = readFileSync(join(import.meta.dirname, "../../src/model/ClassDefaults.ts"), "utf8")
    expect(source).toContain(`transformers ${printed.transformers}`)
  })

  it.effect("of a nested config that left out what equals the default is read as transformers reads it", () =>
    Effect.gen(function* () {
      const config = yield* decodeLlavaConfig(fixture("llava-config-defaults.json"), { headBias: false })
      expect(config.text).toMatchObject({ vocabSize: 51_200, heads: 32, hiddenSize: 64, maxPositions: 2048 })
      expect(config.text).toMatchObject({ partialRotaryFactor: 1, layerNormEps: 1e-5, eosToken: 50_256 })
      expect(config.vision).toMatchObject({ heads: 2, channels: 3, activation: "quick", projectionDim: 512 })
    })
  )

  for (const field of Object.keys(ClassDefaults.phiDefaults).filter((name) => !name.endsWith("_token_id")))
    it.effect(`${field} of a Phi that stands alone is that of the class`, () =>
      Effect.gen(function* () {
        const stated = { model_type: "phi", ...ClassDefaults.phiDefaults }
        const { [field as keyof typeof stated]: _, ...absent } = stated
        expect(yield* decodePhiConfig(absent, { headBias: true })).toEqual(
          yield* decodePhiConfig(stated, { headBias: true })
        )
      })
    )

  it.effect("vision_config is CLIP ViT-L/14-336, text_config a Llama, which is refused by its name", () =>
    Effect.gen(function* () {
      const { text_config, vision_config: _, ...rest } = llavaConfigJson(tinyLlava)
      const config = yield* decodeLlavaConfig({ ...rest, text_config }, { headBias: false })
      expect(config.vision).toEqual(clipL336)
      const { model_type: __, ...unnamed } = text_config as Record<string, unknown>
      for (const json of [{ ...rest, text_config: unnamed }, rest])
        expect(yield* Effect.flip(decodeLlavaConfig(json, { headBias: false }))).toMatchObject({
          field: "model_type",
          message: "it is a llama model"
        })
    })
  )
})

describe("a tower inside of a whole CLIP", () => {
  const inner = clipConfigJson(tinyLlava.vision)
  const outer = { model_type: "clip", logit_scale_init_value: 2.6592, projection_dim: 768, text_config: { layers: 1 } }

  it.effect("is read, with the fields that versions before 4.30 wrote", () =>
    Effect.gen(function* () {
      const old = { tie_word_embeddings: true, dropout: 0, pruned_heads: {}, top_p: 1, bad_words_ids: null }
      const json = { ...outer, vision_config: { ...inner, ...old }, vision_config_dict: null }
      expect(yield* decodeClipConfig(json)).toEqual(tinyLlava.vision)
      const twice = { ...outer, vision_config: {}, vision_config_dict: { ...inner, model_type: undefined } }
      expect(yield* decodeClipConfig(twice)).toEqual(tinyLlava.vision)
    })
  )

  it.effect("of a kind or with a field that is not known is refused by name", () =>
    Effect.gen(function* () {
      const error = (json: Json) => Effect.flip(decodeClipConfig(json))
      expect((yield* error({ ...outer, vision_config: inner, window: 7 })).field).toBe("window")
      expect((yield* error({ ...outer, vision_config: { ...inner, mask_ratio: 1 } })).field).toBe("mask_ratio")
      expect(yield* error({ model_type: "siglip", vision_config: inner })).toMatchObject({
        message: "it is a siglip model"
      })
    })
  )
})

describe("LLaVA's own fields", () => {
  const json = originalConfigJson(tinyLlava, { visionTower: "tiny", aspectRatio: "pad" }, "float32")

  it.effect("as they are written are read, and what LLaVA 1.5's scripts write beside them", () =>
    Effect.gen(function* () {
      expect(yield* decodeOriginal(json)).toEqual({ inputSize: 12, outputSize: 24, featureLayer: -2 })
      const more = {
        image_grid_pinpoints: null,
        mm_resampler_type: null,
        mm_patch_merge_type: "flat",
        mm_projector_lr: null
      }
      expect(yield* decodeOriginal({ ...json, ...more })).toMatchObject({ featureLayer: -2 })
    })
  )

  for (const [field, value] of [
    ["mm_projector_type", "mlp3x_gelu"],
    ["mm_projector_type", "linear"],
    ["mm_resampler_type", "spatial_pool"],
    ["mm_patch_merge_type", "spatial_unpad"],
    ["image_aspect_ratio", "anyres"],
    ["image_grid_pinpoints", [[336, 672]]],
    ["mm_use_im_start_end", true],
    ["mm_vision_select_feature", "cls_patch"],
    ["use_mm_proj", false],
    ["s2", true],
    ["mm_new_thing", 1],
    ["image_new_thing", "x"]
  ] as const)
    it.effect(`${field} ${JSON.stringify(value)} is refused by name`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(decodeOriginal({ ...json, [field]: value }))
        expect(error).toMatchObject({ _tag: "ConfigError", field })
      })
    )

  it.effect("two hidden states in one config are refused, one in the tower's part alone is read", () =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(decodeOriginal({ ...json, mm_vision_select_layer: -1 }))).toMatchObject({
        field: "mm_vision_select_layer",
        message: expect.stringContaining("-1, in vision_config.vision_tower -2")
      })
      expect(yield* decodeOriginal({ ...json, mm_vision_select_layer: undefined })).toMatchObject({ featureLayer: -2 })
    })
  )
})
