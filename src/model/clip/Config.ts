/**
 * The shape of a CLIP vision tower, decoded from the config.json that `transformers` writes.
 *
 * Takes a `CLIPVisionModel` config, or one of CLIP or LLaVA with a `vision_config` inside. Absent fields have the
 * defaults of `transformers`' class, fields that are not known here are refused by name.
 */
import { Effect, Schema } from "effect"
import { clipVisionDefaults, llavaNestedTypes, llavaVisionDefaults } from "../ClassDefaults.ts"
import { ConfigError } from "../ConfigError.ts"
import {
  any,
  FIELD_HINT,
  type Fields,
  fieldsOf,
  listed,
  modelTypeOf,
  refusedField,
  transformersFields,
  zero
} from "../ConfigFields.ts"
import { activations } from "../phi/Config.ts"

/** `imageSize` and `patchSize` in pixels. */
export const ClipConfig = Schema.Struct({
  hiddenSize: Schema.Int,
  intermediateSize: Schema.Int,
  layers: Schema.Int,
  heads: Schema.Int,
  imageSize: Schema.Int,
  patchSize: Schema.Int,
  channels: Schema.Int,
  layerNormEps: Schema.Number,
  initializerRange: Schema.Number,
  projectionDim: Schema.Int,
  activation: Schema.Literals(["tanh", "erf", "quick"])
})
export interface ClipConfig extends Schema.Schema.Type<typeof ClipConfig> {}

const HuggingFace = Schema.Struct({
  hidden_size: Schema.Int,
  intermediate_size: Schema.Int,
  num_hidden_layers: Schema.Int,
  num_attention_heads: Schema.Int,
  image_size: Schema.Int,
  patch_size: Schema.Int,
  num_channels: Schema.Int,
  layer_norm_eps: Schema.Number,
  initializer_range: Schema.Number,
  projection_dim: Schema.Int,
  hidden_act: Schema.String
})

/** Fields of a tower's config and the values that are computed. Of a CLIP's text part nothing is read. */
const fields: Fields = {
  ...transformersFields,
  ...listed("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size"),
  ...listed("patch_size", "num_channels", "layer_norm_eps", "projection_dim", "hidden_act", "vocab_size"),
  // A tower has no embeddings to tie; versions before 5 wrote true.
  tie_word_embeddings: any,
  attention_dropout: zero,
  dropout: zero
}

const VISION = "clip_vision_model"

/** Models with a tower inside, and what the absence of their `vision_config` means. */
const outer: Readonly<Record<string, Readonly<Record<string, unknown>>>> = { clip: {}, llava: llavaVisionDefaults }

/** Fields of a whole CLIP. Its text part and what joins the two are not read. */
const clipFields: Fields = {
  ...transformersFields,
  ...listed("vision_config", "vision_config_dict", "text_config", "text_config_dict"),
  ...listed("projection_dim", "logit_scale_init_value"),
  tie_word_embeddings: any
}

/** The tower's own fields, out of a tower's config.json or a model's around it. */
const towerOf = (json: unknown): unknown => {
  const type = modelTypeOf(json)
  const around = type !== undefined && Object.hasOwn(outer, type) ? outer[type] : undefined
  if (around === undefined) return json
  const { vision_config, vision_config_dict } = fieldsOf(json)
  // Of an old CLIP's two, transformers takes this one whole.
  const inner = fieldsOf((type === "clip" ? vision_config_dict : undefined) ?? vision_config ?? around)
  return { ...inner, model_type: inner["model_type"] ?? llavaNestedTypes.vision_config }
}

/**
 * Decodes a vision config. Fails with `ConfigError`, which names the field, for another model, for patches that do not
 * tile the image, and for every field or value that is not known to be computed.
 *
 * @example const config = yield* decodeClipConfig(JSON.parse(text))
 */
export const decodeClipConfig = (json: unknown): Effect.Effect<ClipConfig, ConfigError> =>
  Effect.gen(function* () {
    const refuse = (field: string, message: string, hint: string, cause?: unknown) =>
      new ConfigError({ model: "clip", field, message, hint, ...(cause === undefined ? {} : { cause }) })
    const inner = towerOf(json)
    const type = modelTypeOf(inner)
    if (type !== VISION)
      return yield* refuse(
        "model_type",
        type === undefined ? "model_type is missing: it does not say what model it is" : `it is a ${type} model`,
        `Only CLIP's vision towers are computed here (model_type ${VISION}, clip or llava).`
      )
    const refused =
      (modelTypeOf(json) === "clip" ? refusedField(fieldsOf(json), clipFields) : undefined) ??
      refusedField(fieldsOf(inner), fields)
    if (refused !== undefined) return yield* refuse(refused.field, refused.message, FIELD_HINT)
    const c = yield* Schema.decodeUnknownEffect(HuggingFace)({ ...clipVisionDefaults, ...fieldsOf(inner) }).pipe(
      Effect.mapError((cause) =>
        refuse("config.json", cause.message, "Use the config.json that belongs to the CLIP weights.", cause)
      )
    )
    if (c.image_size % c.patch_size !== 0)
      return yield* refuse("patch_size", `${c.patch_size} does not divide ${c.image_size}`, "Check the config.")
    if (c.hidden_size % c.num_attention_heads !== 0)
      return yield* refuse("num_attention_heads", "heads do not divide the hidden size", "Check the config.")
    const activation = Object.hasOwn(activations, c.hidden_act) ? activations[c.hidden_act] : undefined
    if (activation === undefined)
      return yield* refuse(
        "hidden_act",
        `unknown activation ${c.hidden_act}`,
        `Use one of ${Object.keys(activations).join(", ")}.`
      )
    return {
      hiddenSize: c.hidden_size,
      intermediateSize: c.intermediate_size,
      layers: c.num_hidden_layers,
      heads: c.num_attention_heads,
      imageSize: c.image_size,
      patchSize: c.patch_size,
      channels: c.num_channels,
      layerNormEps: c.layer_norm_eps,
      initializerRange: c.initializer_range,
      projectionDim: c.projection_dim,
      activation
    }
  })

/**
 * The number of a hidden state: 0 the embeddings, then one a layer. Undefined where the tower has no such state.
 *
 * @example hiddenState(config, -2) // 23 of a tower of 24 layers
 */
export const hiddenState = ({ layers }: Pick<ClipConfig, "layers">, featureLayer: number): number | undefined => {
  const state = featureLayer < 0 ? layers + 1 + featureLayer : featureLayer
  return Number.isInteger(state) && state >= 0 && state <= layers ? state : undefined
}

/** Patches of one image: (image size / patch size) squared. */
export const patchCount = (config: ClipConfig): number => (config.imageSize / config.patchSize) ** 2

/** The config.json of this tower, every field written. */
export const clipConfigJson = (config: ClipConfig, dtype = "float32"): Record<string, unknown> => ({
  architectures: ["CLIPVisionModel"],
  attention_dropout: 0,
  dtype,
  hidden_act: { tanh: "gelu_new", erf: "gelu", quick: "quick_gelu" }[config.activation],
  hidden_size: config.hiddenSize,
  image_size: config.imageSize,
  initializer_range: config.initializerRange,
  intermediate_size: config.intermediateSize,
  layer_norm_eps: config.layerNormEps,
  model_type: "clip_vision_model",
  num_attention_heads: config.heads,
  num_channels: config.channels,
  num_hidden_layers: config.layers,
  patch_size: config.patchSize,
  projection_dim: config.projectionDim
})
