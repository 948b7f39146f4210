/**
 * The shape of a LLaVA with a Phi language model, decoded from and encoded to the config.json of
 * `LlavaForConditionalGeneration`.
 */
import { Effect, Schema } from "effect"
import { llavaDefaults, llavaNestedTypes } from "../ClassDefaults.ts"
import { ConfigError } from "../ConfigError.ts"
import {
  FIELD_HINT,
  type Fields,
  fieldsOf,
  listed,
  modelTypeOf,
  only,
  refusedField,
  transformersFields
} from "../ConfigFields.ts"
import { ClipConfig, clipConfigJson, decodeClipConfig, hiddenState, patchCount } from "../clip/Config.ts"
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
  image_token_index: Schema.Int,
  image_token_id: Schema.optional(Schema.NullOr(Schema.Int)),
  projector_hidden_act: Schema.String,
  vision_feature_layer: Schema.Int
})

/** The custom class; an automatic class that `auto_map` leaves out would take the stock one, which drops the bias. */
const HEAD_CLASS_PATH = "modeling_llava_phi.LlavaPhiForConditionalGeneration"

/** Fields of a LLaVA's config.json and the values that are computed. */
const fields: Fields = {
  ...transformersFields,
  ...listed("text_config", "vision_config", "image_token_index", "image_token_id", "projector_hidden_act"),
  // How many tokens an image has is the tower's to say, in transformers too; the label without loss is no model's.
  ...listed("image_seq_length", "ignore_index", "vocab_size"),
  auto_map: (value) => Object.values(fieldsOf(value)).every((name) => name === HEAD_CLASS_PATH),
  vision_feature_layer: Number.isSafeInteger,
  vision_feature_select_strategy: only("default"),
  multimodal_projector_bias: only(true)
}

/**
 * Decodes config.json of a LLaVA. Fails with `ConfigError`, which names the field, for another model, for another
 * feature selection, for a projector without bias, and for every field or value that is not known to be computed.
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
    const type = modelTypeOf(json)
    if (type !== "llava")
      return yield* refuse(
        "model_type",
        type === undefined ? "model_type is missing: it does not say what model it is" : `it is a ${type} model`,
        "Only LLaVA 1.5 with a Phi language model is computed here (model_type llava)."
      )
    const given = fieldsOf(json)
    const refused = refusedField(given, fields)
    if (refused !== undefined) return yield* refuse(refused.field, refused.message, FIELD_HINT)
    const c = yield* Schema.decodeUnknownEffect(HuggingFace)({ ...llavaDefaults, ...given }).pipe(
      Effect.mapError((cause) =>
        refuse("config.json", cause.message, "Use the config.json of a LLaVA with Phi.", cause)
      )
    )
    // Two names of one field: transformers takes either.
    const imageToken = c.image_token_id ?? c.image_token_index
    if (imageToken !== c.image_token_index && given["image_token_index"] != null)
      return yield* refuse(
        "image_token_id",
        `image_token_id is ${imageToken}, image_token_index ${c.image_token_index}`,
        "They are two names of one field: state the id of <image> once."
      )
    const projectorActivation = Object.hasOwn(activations, c.projector_hidden_act)
      ? activations[c.projector_hidden_act]
      : undefined
    if (projectorActivation === undefined)
      return yield* refuse("projector_hidden_act", `unknown activation ${c.projector_hidden_act}`, "Use gelu.")
    const text = fieldsOf(given["text_config"])
    const vision = yield* decodeClipConfig(json)
    if (hiddenState(vision, c.vision_feature_layer) === undefined)
      return yield* refuse(
        "vision_feature_layer",
        `vision_feature_layer is ${c.vision_feature_layer}, the tower has ${vision.layers} layers`,
        "Hidden states are numbered 0 (embeddings) to the number of layers; negative counts from the end."
      )
    return {
      vision,
      text: yield* decodePhiConfig(
        { ...text, model_type: text["model_type"] ?? llavaNestedTypes.text_config },
        options
      ),
      projectorActivation,
      imageToken,
      featureLayer: c.vision_feature_layer
    }
  })

/** The projector inside. */
export const projectorOf = (config: LlavaConfig): ProjectorConfig => ({
  inputSize: config.vision.hiddenSize,
  outputSize: config.text.hiddenSize,
  activation: config.projectorActivation,
  featureLayer: config.featureLayer
})

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
