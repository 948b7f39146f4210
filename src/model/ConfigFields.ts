/**
 * Which fields of a config.json are accepted, and with which values: what is known to be computed right, and nothing
 * else.
 *
 * Not a decoder: sizes are decoded by the model's own `Config.ts`. Here every field that a file has is looked up in the
 * model's table. A field that no table lists is refused by name unless it is null (not set), because libraries add
 * fields that change what is computed, and a reader cannot know them beforehand.
 */

/** Whether a value of a field is accepted. */
export type Accepts = (value: unknown) => boolean
/** Accepted values by field. */
export type Fields = Readonly<Record<string, Accepts>>

/** Read by the decoder, which judges the value itself; or without any influence on what is computed. */
export const any: Accepts = () => true

/** One of these values, or null. Objects and lists are accepted where they are empty and an empty one is listed. */
export const only =
  (...values: ReadonlyArray<unknown>): Accepts =>
  (value) =>
    value === null || values.some((one) => Object.is(one, value) || (isEmpty(one) && isEmpty(value)))

const isEmpty = (value: unknown): boolean =>
  typeof value === "object" && value !== null && Object.keys(value).length === 0

/** A table in which fields of these names are accepted with any value. */
export const listed = (...names: ReadonlyArray<string>): Fields => Object.fromEntries(names.map((name) => [name, any]))

/** A field that is refused, and its value as a message shows it. */
export interface RefusedField {
  readonly field: string
  readonly message: string
}

/** A value for a message: short, whatever it is. */
export const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "undefined"
  return text.length > 80 ? `${text.slice(0, 79)}…` : text
}

/**
 * The first field, in the file's order, that is not accepted; undefined where all are. `unset` says which values of an
 * unlisted field mean that it is not used.
 *
 * @example refusedField({ hidden_size: 8, attention_bias: true }, listed("hidden_size")) // attention_bias
 */
export const refusedField = (
  json: Readonly<Record<string, unknown>>,
  fields: Fields,
  unset: Accepts = only()
): RefusedField | undefined => {
  for (const [field, value] of Object.entries(json)) {
    const accepts = Object.hasOwn(fields, field) ? fields[field]! : undefined
    if ((accepts ?? unset)(value)) continue
    return {
      field,
      message:
        accepts === undefined
          ? `the field ${field} is not known here, and it is ${shown(value)}`
          : `${field} is ${shown(value)}, which is not computed here`
    }
  }
  return undefined
}

/** What a refused field of a model's config.json can be answered with. */
export const FIELD_HINT =
  "Give a model without it. Where it is known to change nothing, take it out of config.json; docs/compatibility.md lists what is read."

/** A rate of dropout that drops nothing. */
export const zero = only(0)
/** A switch that is off. */
export const off = only(false)

/**
 * Fields that transformers writes into the config of every model. Generation's settings are among them because versions
 * before 4.41 wrote them there; answers here are greedy, or drawn as the caller says.
 */
export const transformersFields: Fields = {
  ...listed("_name_or_path", "architectures", "transformers_version", "model_type", "_commit_hash"),
  ...listed("_attn_implementation_autoset"),
  // How the class answers, not what it computes.
  ...listed("return_dict", "return_dict_in_generate", "output_attentions", "output_hidden_states", "output_scores"),
  ...listed("use_cache", "torchscript", "use_bfloat16", "chunk_size_feed_forward", "tf_legacy_loss"),
  ...listed(
    "gradient_checkpointing",
    "finetuning_task",
    "id2label",
    "label2id",
    "problem_type",
    "task_specific_params",
    "prefix",
    "num_labels"
  ),
  ...listed("tokenizer_class", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "cls_token_id"),
  ...listed("decoder_start_token_id", "initializer_range", "initializer_factor"),
  // Generation.
  ...listed(
    "max_length",
    "min_length",
    "max_new_tokens",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups"
  ),
  ...listed("diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty"),
  ...listed("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences"),
  ...listed("forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values", "suppress_tokens"),
  ...listed("begin_suppress_tokens", "exponential_decay_length_penalty"),
  // Weights are read in the type that their file has.
  dtype: only("float32", "float16", "bfloat16", "auto"),
  torch_dtype: only("float32", "float16", "bfloat16", "auto"),
  quantization_config: only(),
  add_cross_attention: off,
  cross_attention_hidden_size: only(),
  is_decoder: off,
  is_encoder_decoder: off,
  pruned_heads: only({}),
  tie_encoder_decoder: off,
  tie_word_embeddings: off
}

/** A config as an object; anything else has no fields. */
export const fieldsOf = (json: unknown): Readonly<Record<string, unknown>> =>
  typeof json === "object" && json !== null && !Array.isArray(json) ? (json as Readonly<Record<string, unknown>>) : {}

/** The model that a config says it is of; undefined where it says none. */
export const modelTypeOf = (json: unknown): string | undefined => {
  const type = fieldsOf(json)["model_type"]
  return typeof type === "string" && type !== "" ? type : undefined
}
