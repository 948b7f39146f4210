/**
 * The shape of a CLIP vision tower, decoded from the config.json that `transformers` writes.
 *
 * Takes a `CLIPVisionModel` config, the `vision_config` inside a CLIP or LLaVA config, or such a config itself.
 */
import { Effect, Schema } from "effect"
import { ConfigError } from "../ConfigError.ts"
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
  num_channels: Schema.optional(Schema.Int),
  layer_norm_eps: Schema.optional(Schema.Number),
  initializer_range: Schema.optional(Schema.Number),
  projection_dim: Schema.optional(Schema.Int),
  hidden_act: Schema.optional(Schema.String)
})

/**
 * Decodes a vision config. Fails with `ConfigError` when a size is missing or patches do not tile the image.
 *
 * @example const config = yield* decodeClipConfig(JSON.parse(text))
 */
export const decodeClipConfig = (json: unknown): Effect.Effect<ClipConfig, ConfigError> =>
  Effect.gen(function* () {
    const refuse = (field: string, message: string, hint: string, cause?: unknown) =>
      new ConfigError({ model: "clip", field, message, hint, ...(cause === undefined ? {} : { cause }) })
    const inner = typeof json === "object" && json !== null && "vision_config" in json ? json.vision_config : json
    const c = yield* Schema.decodeUnknownEffect(HuggingFace)(inner).pipe(
      Effect.mapError((cause) =>
        refuse("config.json", cause.message, "Use the config.json that belongs to the CLIP weights.", cause)
      )
    )
    if (c.image_size % c.patch_size !== 0)
      return yield* refuse("patch_size", `${c.patch_size} does not divide ${c.image_size}`, "Check the config.")
    if (c.hidden_size % c.num_attention_heads !== 0)
      return yield* refuse("num_attention_heads", "heads do not divide the hidden size", "Check the config.")
    const name = c.hidden_act ?? "quick_gelu"
    const activation = activations[name]
    if (activation === undefined)
      return yield* refuse(
        "hidden_act",
        `unknown activation ${name}`,
        `Use one of ${Object.keys(activations).join(", ")}.`
      )
    return {
      hiddenSize: c.hidden_size,
      intermediateSize: c.intermediate_size,
      layers: c.num_hidden_layers,
      heads: c.num_attention_heads,
      imageSize: c.image_size,
      patchSize: c.patch_size,
      channels: c.num_channels ?? 3,
      layerNormEps: c.layer_norm_eps ?? 1e-5,
      initializerRange: c.initializer_range ?? 0.02,
      projectionDim: c.projection_dim ?? 512,
      activation
    }
  })

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
