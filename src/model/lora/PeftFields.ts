/**
 * Fields of PEFT's `adapter_config.json` that are accepted, and with which values: those with which an adapter is LoRA
 * or rsLoRA beside the weights of the base as they are.
 *
 * Not a reader of weights (`Adapter.ts`). A field that is not listed is refused by name unless it is off (null, false,
 * an empty list or object): PEFT adds variants as fields that are off in an adapter without them, and writes them all.
 *
 * Source: PEFT 0.21.2, `LoraConfig` with what it inherits, and `LoraLayer.update_layer` for what an initialisation does
 * to the base when an adapter is loaded.
 */
import { type Accepts, type Fields, listed, off, only } from "../ConfigFields.ts"
import type { PhiConfig } from "../phi/Config.ts"
import { phiShapes } from "../phi/Names.ts"
import { blockLinear, type LoraTarget, loraTargets } from "./Lora.ts"

/**
 * Initialisations that leave the base alone and give B A = 0, or numbers that the file replaces. Not `pissa`, `olora`,
 * `corda`, `loftq` and `lora_ga`, which take from the base what the adapter starts as; nor `mica`, a variant of its
 * own.
 */
const plainInits = [true, false, "gaussian", "eva", "orthogonal"] as const

export const peftFields: Fields = {
  // Read, and judged where they are read.
  ...listed("r", "lora_alpha", "target_modules"),
  // Where the adapter comes from, and how it was trained.
  ...listed("auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "peft_version", "lora_dropout"),
  // Settings of what is off, or of a start that the file's weights replace.
  ...listed("qalora_group_size", "megatron_core", "layers_pattern", "eva_config", "runtime_config"),
  peft_type: (value) => value === "LORA",
  task_type: only("CAUSAL_LM"),
  use_rslora: only(true, false),
  init_lora_weights: only(...plainInits),
  bias: only("none"),
  fan_in_fan_out: off,
  modules_to_save: only([]),
  exclude_modules: only([]),
  layers_to_transform: only(),
  rank_pattern: only({}),
  alpha_pattern: only({}),
  megatron_config: only(),
  trainable_token_indices: only(),
  loftq_config: only({}),
  corda_config: only(),
  lora_ga_config: only(),
  use_dora: off,
  velora_config: only(),
  alora_invocation_tokens: only(),
  use_qalora: off,
  monteclora_config: only(),
  layer_replication: only(),
  lora_bias: off,
  target_parameters: only([]),
  use_bdlora: off,
  arrow_config: only(),
  kasa_config: only(),
  ensure_weight_tying: off
}

/** Values with which a field that is not listed is off. */
export const isUnset: Accepts = only(false, [])

export const PLAIN_HINT =
  "Plain LoRA and rsLoRA are read: merge such an adapter with PEFT's merge_and_unload, and take the merged model."

/** PEFT's own way out of starts that moved the base. */
export const initHint =
  "It moves the base when it is loaded. Merge it with PEFT's merge_and_unload, or save it with path_initial_model_for_weight_conversion, which makes plain LoRA of it."

const plainEnd = /^[\w.]+$/

/**
 * Whether a regular expression of Python's matches all of a name; undefined where it cannot be read as one of
 * JavaScript's.
 */
const matcher = (pattern: string): ((name: string) => boolean) | undefined => {
  try {
    const whole = new RegExp(`^(?:${pattern})$`)
    return (name) => whole.test(name)
  } catch {
    return undefined
  }
}

/**
 * The targets that `target_modules` names, each in all blocks, in the order of `loraTargets`; undefined where it names
 * something else of a Phi, a part of the blocks, or cannot be read. Names that a Phi has not are passed over, as PEFT
 * does.
 *
 * @example namedTargets(["q_proj", "o_proj"], config) // ["q_proj"]
 */
export const namedTargets = (
  given: string | ReadonlyArray<string>,
  config: PhiConfig
): ReadonlyArray<LoraTarget> | undefined => {
  const modules = Object.keys(phiShapes({ ...config, headBias: false }))
    .filter((name) => name.endsWith(".weight") && !/norm\.weight$/.test(name))
    .map((name) => name.slice(0, -".weight".length))
  if (given === "all-linear") return loraTargets
  const isNamed =
    typeof given === "string"
      ? matcher(given)
      : given.every((end) => plainEnd.test(end))
        ? (name: string) => given.some((end) => name === end || name.endsWith(`.${end}`))
        : undefined
  if (isNamed === undefined) return undefined
  const named = modules.filter(isNamed)
  const targets = named.map((name) => blockLinear(`${name}.weight`)?.target)
  const found = loraTargets.filter((target) => targets.includes(target))
  return targets.includes(undefined) || named.length !== found.length * config.layers ? undefined : found
}
