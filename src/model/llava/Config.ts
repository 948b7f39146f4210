/**
 * The shape of a LLaVA with a Phi language model, decoded from and encoded to the config.json of
 * `LlavaForConditionalGeneration`.
 */
import { Effect, Schema } from "effect"
import { ConfigError } from "../ConfigError.ts"
import { ClipConfig, clipConfigJson, decodeClipConfig, patchCount } from "../clip/Config.ts"
import { activations, decodePhiConfig, PhiConfig, phiConfigJson } from "../phi/Config.ts"
import type { ProjectorConfig } from "../projector/Config.ts"

export const LlavaConfig = Schema.Struct({
  vision: ClipConfig,
  text: PhiConfig,
  projectorActivation: Schema.Literals(["tanh", "erf", "quick"]),
  /** Id of `<image>`; each occurrence takes one image feature. */
  imageToken: Schema.Int,
  /** Which hidden state of the tower; -2 is the last layer but one. */
  featureLayer: Schema.Int
})
export interface LlavaConfig extends Schema.Schema.Type<typeof LlavaConfig> {}

const HuggingFace = Schema.Struct({
  vision_config: Schema.Unknown,
  text_config: Schema.Unknown,
  image_token_index: Schema.optional(Schema.Int),
  image_token_id: Schema.optional(Schema.Int),
  projector_hidden_act: Schema.optional(Schema.String),
  vision_feature_layer: Schema.optional(Schema.Int),
  vision_feature_select_strategy: Schema.optional(Schema.String),
  multimodal_projector_bias: Schema.optional(Schema.Boolean)
})

/**
 * Decodes config.json of a LLaVA. Fails with `ConfigError` for another feature selection or a projector without bias.
 *
 * @example const config = yield* decodeLlavaConfig(JSON.parse(text), { headBias: false })
 */
export const decodeLlavaConfig = (
  json: unknown,
  options: { readonly headBias: boolean }
): Effect.Effect<LlavaConfig, ConfigError> =>
  Effect.gen(function* () {
    const refuse = (field: string, message: string, hint: string, cause?: unknown) =>
      new ConfigError({ model: "llava", field, message, hint, ...(cause === undefined ? {} : { cause }) })
    const c = yield* Schema.decodeUnknownEffect(HuggingFace)(json).pipe(
      Effect.mapError((cause) =>
        refuse("config.json", cause.message, "Use the config.json of a LLaVA with Phi.", cause)
      )
    )
    if ((c.vision_feature_select_strategy ?? "default") !== "default")
      return yield* refuse("vision_feature_select_strategy", "only `default` is computed", "Drop the class token.")
    if (c.multimodal_projector_bias === false)
      return yield* refuse("multimodal_projector_bias", "a projector without bias is not supported", "Add zero biases.")
    const imageToken = c.image_token_index ?? c.image_token_id
    if (imageToken === undefined) return yield* refuse("image_token_index", "is missing", "State the id of <image>.")
    const projectorActivation = activations[c.projector_hidden_act ?? "gelu"]
    if (projectorActivation === undefined)
      return yield* refuse("projector_hidden_act", `unknown activation ${c.projector_hidden_act}`, "Use gelu.")
    return {
      vision: yield* decodeClipConfig(c.vision_config),
      text: yield* decodePhiConfig(c.text_config, options),
      projectorActivation,
      imageToken,
      featureLayer: c.vision_feature_layer ?? -2
    }
  })

/** The projector inside. */
export const projectorOf = (config: LlavaConfig): ProjectorConfig => ({
  inputSize: config.vision.hiddenSize,
  outputSize: config.text.hiddenSize,
  activation: config.projectorActivation
})

/** The custom class; an automatic class that `auto_map` leaves out would take the stock one, which drops the bias. */
const HEAD_CLASS_PATH = "modeling_llava_phi.LlavaPhiForConditionalGeneration"

/**
 * The config.json for export: the stock class opens it when the head has no bias; with one, `auto_map` names the custom
 * class that must lie beside it (`modeling_llava_phi.py`).
 */
export const llavaConfigJson = (config: LlavaConfig, dtype = "float32"): Record<string, unknown> => ({
  architectures: [config.text.headBias ? "LlavaPhiForConditionalGeneration" : "LlavaForConditionalGeneration"],
  ...(config.text.headBias
    ? { auto_map: { AutoModelForImageTextToText: HEAD_CLASS_PATH, AutoModelForMultimodalLM: HEAD_CLASS_PATH } }
    : {}),
  dtype,
  image_seq_length: patchCount(config.vision),
  image_token_index: config.imageToken,
  model_type: "llava",
  multimodal_projector_bias: true,
  projector_hidden_act: { tanh: "gelu_new", erf: "gelu", quick: "quick_gelu" }[config.projectorActivation],
  text_config: phiConfigJson(config.text, dtype),
  tie_word_embeddings: false,
  vision_config: clipConfigJson(config.vision, dtype),
  vision_feature_layer: config.featureLayer,
  vision_feature_select_strategy: "default"
})
