/**
 * The shape of a Phi language model, decoded from the config.json that `transformers` writes.
 *
 * Not the recipe: no training setting is here but the model's own dropout rate. `transformers`' defaults for absent
 * fields are Phi-1's and are not used: every size must be stated.
 */
import { Effect, Schema } from "effect"
import type { GeluKind } from "../../tensor/Regions.ts"
import { ConfigError } from "../ConfigError.ts"

/** Sizes are counts; `rotaryDim` of `headDim` leading dimensions turn. */
export const PhiConfig = Schema.Struct({
  vocabSize: Schema.Int,
  hiddenSize: Schema.Int,
  intermediateSize: Schema.Int,
  layers: Schema.Int,
  heads: Schema.Int,
  maxPositions: Schema.Int,
  partialRotaryFactor: Schema.Number,
  ropeTheta: Schema.Number,
  layerNormEps: Schema.Number,
  residualDropout: Schema.Number,
  initializerRange: Schema.Number,
  activation: Schema.Literals(["tanh", "erf", "quick"]),
  /** Whether the head has a bias: Phi-2's has, the one inside the stock LLaVA class has not. */
  headBias: Schema.Boolean,
  bosToken: Schema.NullOr(Schema.Int),
  eosToken: Schema.NullOr(Schema.Int),
  padToken: Schema.NullOr(Schema.Int)
})
export interface PhiConfig extends Schema.Schema.Type<typeof PhiConfig> {}

const token = Schema.optional(Schema.NullOr(Schema.Union([Schema.Int, Schema.Array(Schema.Int)])))

const HuggingFace = Schema.Struct({
  vocab_size: Schema.Int,
  hidden_size: Schema.Int,
  intermediate_size: Schema.Int,
  num_hidden_layers: Schema.Int,
  num_attention_heads: Schema.Int,
  num_key_value_heads: Schema.optional(Schema.NullOr(Schema.Int)),
  max_position_embeddings: Schema.optional(Schema.Int),
  partial_rotary_factor: Schema.optional(Schema.Number),
  rope_theta: Schema.optional(Schema.Number),
  rope_scaling: Schema.optional(Schema.Unknown),
  rope_parameters: Schema.optional(
    Schema.NullOr(
      Schema.Struct({
        rope_type: Schema.optional(Schema.String),
        rope_theta: Schema.optional(Schema.Number),
        partial_rotary_factor: Schema.optional(Schema.Number)
      })
    )
  ),
  layer_norm_eps: Schema.optional(Schema.Number),
  resid_pdrop: Schema.optional(Schema.Number),
  initializer_range: Schema.optional(Schema.Number),
  hidden_act: Schema.optional(Schema.String),
  qk_layernorm: Schema.optional(Schema.Boolean),
  tie_word_embeddings: Schema.optional(Schema.Boolean),
  bos_token_id: token,
  eos_token_id: token,
  pad_token_id: token
})

/** Names that `transformers` gives the activations. */
export const activations: Readonly<Record<string, GeluKind>> = {
  gelu_new: "tanh",
  gelu_pytorch_tanh: "tanh",
  gelu_fast: "tanh",
  gelu: "erf",
  quick_gelu: "quick"
}

const first = (t: number | ReadonlyArray<number> | null | undefined): number | null =>
  typeof t === "number" ? t : (t?.[0] ?? null)

/**
 * Decodes config.json of a `PhiForCausalLM` (or the `text_config` of a LLaVA).
 *
 * Takes rope settings as `rope_parameters` (5.x) or as `rope_theta` and `partial_rotary_factor` (4.x). Fails with
 * `ConfigError` for what this model does not compute: grouped keys, query-key norms, scaled rope, tied embeddings.
 *
 * @example const config = yield* decodePhiConfig(JSON.parse(text), { headBias: true })
 */
export const decodePhiConfig = (
  json: unknown,
  options: { readonly headBias: boolean }
): Effect.Effect<PhiConfig, ConfigError> =>
  Effect.gen(function* () {
    const refuse = (field: string, message: string, hint: string, cause?: unknown) =>
      new ConfigError({ model: "phi", field, message, hint, ...(cause === undefined ? {} : { cause }) })
    const c = yield* Schema.decodeUnknownEffect(HuggingFace)(json).pipe(
      Effect.mapError((cause) =>
        refuse("config.json", cause.message, "Use the config.json that belongs to the Phi weights.", cause)
      )
    )
    const [hidden, heads] = [c.hidden_size, c.num_attention_heads]
    if (heads <= 0 || hidden % heads !== 0)
      return yield* refuse("num_attention_heads", `${heads} heads do not divide ${hidden}`, "Check the config.")
    if ((c.num_key_value_heads ?? heads) !== heads)
      return yield* refuse("num_key_value_heads", "grouped keys are not computed", "Use a Phi-1, 1.5 or 2 model.")
    if (c.qk_layernorm === true)
      return yield* refuse("qk_layernorm", "query and key norms are not computed", "Use a Phi-1, 1.5 or 2 model.")
    if (c.tie_word_embeddings === true)
      return yield* refuse("tie_word_embeddings", "a tied head is not supported", "Untie the head before loading.")
    const rope = c.rope_parameters ?? undefined
    if ((rope?.rope_type ?? "default") !== "default" || (c.rope_scaling ?? null) !== null)
      return yield* refuse("rope_type", "scaled rotary embeddings are not computed", "Use the default rope type.")
    const name = c.hidden_act ?? "gelu_new"
    const activation = activations[name]
    if (activation === undefined)
      return yield* refuse(
        "hidden_act",
        `unknown activation ${name}`,
        `Use one of ${Object.keys(activations).join(", ")}.`
      )
    const partialRotaryFactor = rope?.partial_rotary_factor ?? c.partial_rotary_factor ?? 0.5
    const config: PhiConfig = {
      vocabSize: c.vocab_size,
      hiddenSize: hidden,
      intermediateSize: c.intermediate_size,
      layers: c.num_hidden_layers,
      heads,
      maxPositions: c.max_position_embeddings ?? 2048,
      partialRotaryFactor,
      ropeTheta: rope?.rope_theta ?? c.rope_theta ?? 10000,
      layerNormEps: c.layer_norm_eps ?? 1e-5,
      residualDropout: c.resid_pdrop ?? 0,
      initializerRange: c.initializer_range ?? 0.02,
      activation,
      headBias: options.headBias,
      bosToken: first(c.bos_token_id),
      eosToken: first(c.eos_token_id),
      padToken: first(c.pad_token_id)
    }
    const dim = rotaryDim(config)
    if (dim % 2 !== 0 || dim <= 0 || dim > headDim(config))
      return yield* refuse(
        "partial_rotary_factor",
        `${partialRotaryFactor} of a head of ${headDim(config)} is ${dim} dimensions`,
        "The rotary dimension must be even and at most the head size."
      )
    return config
  })

/** Width of one head. */
export const headDim = (config: PhiConfig): number => config.hiddenSize / config.heads

/** Dimensions of a head that turn: int(head size * fraction), as `transformers` rounds. */
export const rotaryDim = (config: PhiConfig): number => Math.trunc(headDim(config) * config.partialRotaryFactor)

/** The config.json of this model, every field written, for both forms of the rope settings. */
export const phiConfigJson = (config: PhiConfig, dtype = "float32"): Record<string, unknown> => ({
  architectures: ["PhiForCausalLM"],
  attention_dropout: 0,
  bos_token_id: config.bosToken,
  dtype,
  embd_pdrop: 0,
  eos_token_id: config.eosToken,
  hidden_act: { tanh: "gelu_new", erf: "gelu", quick: "quick_gelu" }[config.activation],
  hidden_size: config.hiddenSize,
  initializer_range: config.initializerRange,
  intermediate_size: config.intermediateSize,
  layer_norm_eps: config.layerNormEps,
  max_position_embeddings: config.maxPositions,
  model_type: "phi",
  num_attention_heads: config.heads,
  num_hidden_layers: config.layers,
  num_key_value_heads: config.heads,
  pad_token_id: config.padToken,
  partial_rotary_factor: config.partialRotaryFactor,
  qk_layernorm: false,
  resid_pdrop: config.residualDropout,
  rope_parameters: {
    partial_rotary_factor: config.partialRotaryFactor,
    rope_theta: config.ropeTheta,
    rope_type: "default"
  },
  rope_scaling: null,
  rope_theta: config.ropeTheta,
  tie_word_embeddings: false,
  use_cache: true,
  vocab_size: config.vocabSize
})
