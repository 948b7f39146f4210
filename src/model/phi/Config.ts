/**
 * The shape of a Phi language model, decoded from the config.json that `transformers` writes.
 *
 * Not the recipe: no training setting is here but the model's own dropout rate. A field that is absent has the default
 * of
 * `transformers`' class (`ClassDefaults.ts`), a field that is not known here is refused by name (`ConfigFields.ts`).
 */
import { Effect, Schema } from "effect"
import type { GeluKind } from "../../tensor/Regions.ts"
import { phiDefaults } from "../ClassDefaults.ts"
import { ConfigError } from "../ConfigError.ts"
import {
  any,
  FIELD_HINT,
  type Fields,
  fieldsOf,
  listed,
  modelTypeOf,
  off,
  only,
  refusedField,
  transformersFields,
  zero
} from "../ConfigFields.ts"

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
  num_key_value_heads: Schema.NullOr(Schema.Int),
  max_position_embeddings: Schema.Int,
  layer_norm_eps: Schema.Number,
  resid_pdrop: Schema.Number,
  initializer_range: Schema.Number,
  hidden_act: Schema.String,
  bos_token_id: token,
  eos_token_id: token,
  pad_token_id: token,
  // Apart in 4.x, together in 5.x.
  partial_rotary_factor: Schema.Number,
  rope_theta: Schema.Number
})

const rotary: Fields = {
  ...listed("rope_theta", "partial_rotary_factor"),
  rope_type: only("default"),
  type: only("default")
}

/**
 * Fields of a Phi's config.json and the values that are computed. `transformers` writes the rest of `PhiConfig` too.
 */
const fields: Fields = {
  ...transformersFields,
  ...listed("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
  ...listed("num_key_value_heads", "max_position_embeddings", "layer_norm_eps", "hidden_act"),
  ...listed("partial_rotary_factor", "rope_theta", "rope_parameters", "rope_scaling"),
  // Where the class was code in the repository; the class in transformers computes the same from the same fields.
  auto_map: (value) =>
    Object.values(fieldsOf(value)).every((name) => /^(configuration|modeling)_phi\.Phi/.test(String(name))),
  resid_pdrop: any,
  embd_pdrop: zero,
  attention_dropout: zero,
  qk_layernorm: off,
  tie_word_embeddings: off
}

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

/** How a config is taken. */
export interface PhiOptions {
  readonly headBias: boolean
  /** The `model_type`s that are a Phi here; `phi` alone unless given. */
  readonly modelTypes?: ReadonlyArray<string>
  /** Fields beside Phi's own that the caller has judged. */
  readonly others?: Fields
}

/** The rotary settings of either form; `rope_scaling` is what 4.x calls the other one. */
const ropeOf = (json: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  fieldsOf(json["rope_scaling"] ?? json["rope_parameters"])

/**
 * Decodes config.json of a `PhiForCausalLM` (or the `text_config` of a LLaVA).
 *
 * Takes rope settings as `rope_parameters` (5.x) or as `rope_theta` and `partial_rotary_factor` (4.x). Fails with
 * `ConfigError`, which names the field, for another model and for every field or value that is not known to be
 * computed: grouped keys, query-key norms, scaled rope, tied embeddings, dropout of embeddings or attention, what a
 * later version adds.
 *
 * Long: a list of fields and what is accepted of each.
 *
 * @example const config = yield* decodePhiConfig(JSON.parse(text), { headBias: true })
 */
export const decodePhiConfig = (json: unknown, options: PhiOptions): Effect.Effect<PhiConfig, ConfigError> =>
  Effect.gen(function* () {
    const refuse = (field: string, message: string, hint: string, cause?: unknown) =>
      new ConfigError({ model: "phi", field, message, hint, ...(cause === undefined ? {} : { cause }) })
    const modelTypes = options.modelTypes ?? ["phi"]
    const type = modelTypeOf(json)
    if (type === undefined || !modelTypes.includes(type))
      return yield* refuse(
        "model_type",
        type === undefined ? "model_type is missing: it does not say what model it is" : `it is a ${type} model`,
        `Only Phi-1, 1.5 and 2 are computed here (model_type ${modelTypes.join(" or ")}), with the config.json that transformers' class writes.`
      )
    const given = fieldsOf(json)
    const rope = ropeOf(given)
    const refused = refusedField(given, { ...fields, ...options.others }) ?? refusedField(rope, rotary)
    if (refused !== undefined) return yield* refuse(refused.field, refused.message, FIELD_HINT)
    const c = yield* Schema.decodeUnknownEffect(HuggingFace)({ ...phiDefaults, ...given, ...rope }).pipe(
      Effect.mapError((cause) =>
        refuse("config.json", cause.message, "Use the config.json that belongs to the Phi weights.", cause)
      )
    )
    const [hidden, heads] = [c.hidden_size, c.num_attention_heads]
    if (heads <= 0 || hidden % heads !== 0)
      return yield* refuse("num_attention_heads", `${heads} heads do not divide ${hidden}`, "Check the config.")
    if ((c.num_key_value_heads ?? heads) !== heads)
      return yield* refuse(
        "num_key_value_heads",
        `num_key_value_heads is ${c.num_key_value_heads}, grouped keys are not computed`,
        "Use a Phi-1, 1.5 or 2 model."
      )
    const activation = Object.hasOwn(activations, c.hidden_act) ? activations[c.hidden_act] : undefined
    if (activation === undefined)
      return yield* refuse(
        "hidden_act",
        `unknown activation ${c.hidden_act}`,
        `Use one of ${Object.keys(activations).join(", ")}.`
      )
    const config: PhiConfig = {
      vocabSize: c.vocab_size,
      hiddenSize: hidden,
      intermediateSize: c.intermediate_size,
      layers: c.num_hidden_layers,
      heads,
      maxPositions: c.max_position_embeddings,
      partialRotaryFactor: c.partial_rotary_factor,
      ropeTheta: c.rope_theta,
      layerNormEps: c.layer_norm_eps,
      residualDropout: c.resid_pdrop,
      initializerRange: c.initializer_range,
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
        `${config.partialRotaryFactor} of a head of ${headDim(config)} is ${dim} dimensions`,
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
