/**
 * What transformers takes for a field that a config.json leaves out: the defaults of its classes.
 *
 * Not this project's choice of sizes. Nested configs leave out what equals the default since 2023, so a reader has to
 * know it; the same is true of a config.json that stands alone. `scripts/class_defaults.py` prints the values, and a
 * test holds this table to what it printed.
 *
 * Source: transformers 5.24.0, `PhiConfig`, `CLIPVisionConfig` and `LlavaConfig`.
 */

export const phiDefaults = {
  vocab_size: 51_200,
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 24,
  num_attention_heads: 32,
  num_key_value_heads: null,
  resid_pdrop: 0,
  embd_pdrop: 0,
  attention_dropout: 0,
  hidden_act: "gelu_new",
  max_position_embeddings: 2048,
  initializer_range: 0.02,
  layer_norm_eps: 1e-5,
  tie_word_embeddings: false,
  qk_layernorm: false,
  bos_token_id: 1,
  eos_token_id: 2,
  pad_token_id: null,
  partial_rotary_factor: 0.5,
  rope_theta: 10_000
} as const

export const clipVisionDefaults = {
  hidden_size: 768,
  intermediate_size: 3072,
  projection_dim: 512,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  num_channels: 3,
  image_size: 224,
  patch_size: 32,
  hidden_act: "quick_gelu",
  layer_norm_eps: 1e-5,
  attention_dropout: 0,
  initializer_range: 0.02
} as const

export const llavaDefaults = {
  image_token_index: 32_000,
  image_seq_length: 576,
  projector_hidden_act: "gelu",
  vision_feature_select_strategy: "default",
  vision_feature_layer: -2,
  multimodal_projector_bias: true,
  tie_word_embeddings: false
} as const

/** The `vision_config` of a LLaVA whose config.json has none at all: CLIP ViT-L/14-336. */
export const llavaVisionDefaults = {
  hidden_size: 1024,
  intermediate_size: 4096,
  projection_dim: 768,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  image_size: 336,
  patch_size: 14
} as const

/** What the nested configs of a LLaVA are of where they say no `model_type`. */
export const llavaNestedTypes = { text_config: "llama", vision_config: "clip_vision_model" } as const
