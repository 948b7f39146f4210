/**
 * Adapters in PEFT's layout: `adapter_config.json`, `adapter_model.safetensors`, `README.md`.
 *
 * Not the model that they adapt: that is a `PhiForCausalLM` folder of its own. Read back is what PEFT writes for plain LoRA on
 * the linears of a Phi; variants that compute something else (DoRA, ranks by pattern, trained biases) are refused by name.
 *
 * Names in the file: `base_model.model.` before those of the model, as in
 * `base_model.model.model.layers.0.mlp.fc1.lora_A.weight`.
 */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Schema, type Scope } from "effect"
import { readJsonDocument, WrongFileFault } from "../../dag/WrongFile.ts"
import { configText } from "../ConfigText.ts"
import type { PhiConfig } from "../phi/Config.ts"
import { openSafetensors, type SafetensorsError, type TensorSource, writeSafetensors } from "../Safetensors.ts"
import type { WeightSource } from "../Weights.ts"
import { adapted, blockLinear, type Lora, LoraTarget, loraTargets, namesOf } from "./Lora.ts"

/** A folder that is no adapter, or one of a kind or shape that does not fit the model. */
export class AdapterError extends Schema.TaggedError<AdapterError>()("AdapterError", {
  path: Schema.String,
  message: Schema.String,
  hint: Schema.String,
  cause: Schema.optional(Schema.Unknown)
}) {}

const PREFIX = "base_model.model."
const CONFIG = "adapter_config.json"
const WEIGHTS = "adapter_model.safetensors"

/** `adapter_config.json` of these settings, as PEFT's `LoraConfig` reads it. */
export const adapterConfigJson = (lora: Lora): Readonly<Record<string, unknown>> => ({
  auto_mapping: null,
  base_model_name_or_path: null,
  bias: "none",
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  lora_alpha: lora.alpha,
  lora_dropout: lora.dropout,
  modules_to_save: null,
  peft_type: "LORA",
  r: lora.rank,
  revision: null,
  target_modules: loraTargets.filter((target) => lora.targets.includes(target)),
  task_type: "CAUSAL_LM",
  use_dora: false,
  use_rslora: false
})

/** The adapter's page: what it is for, and how it is loaded. */
export const adapterCard = (lora: Lora): string =>
  [
    "---",
    "library_name: peft",
    "---",
    "",
    "# LoRA adapter for a Phi language model",
    "",
    `Rank ${lora.rank}, alpha ${lora.alpha}, dropout ${lora.dropout}, on ${loraTargets.filter((one) => lora.targets.includes(one)).join(", ")} of every block.`,
    lora.quantise === "nf4"
      ? "It was trained beside weights in NF4 with double quantisation (blocks of 64, absolute maxima in 8 bits by blocks of 256)."
      : "It was trained beside the weights as they are.",
    "",
    "```python",
    "from peft import PeftModel",
    "from transformers import AutoModelForCausalLM",
    "",
    'base = AutoModelForCausalLM.from_pretrained("BASE")  # the folder that it was trained on',
    'model = PeftModel.from_pretrained(base, "ADAPTER")  # this folder',
    "```",
    ""
  ].join("\n")

const writeText = (path: string, text: string): Effect.Effect<void, AdapterError> =>
  Effect.tryPromise({
    try: () => writeFile(path, text),
    catch: (cause) =>
      new AdapterError({ path, message: "cannot be written", hint: "Check the folder and the free space.", cause })
  })

/**
 * Writes an adapter's folder. `tensors` have our names; PEFT's prefix is put on.
 *
 * @example yield* writeAdapter(folder, lora, fromEngine(weights, "float32"))
 */
export const writeAdapter = Effect.fnUntraced(function* <E, R>(
  folder: string,
  lora: Lora,
  tensors: ReadonlyArray<TensorSource<E, R>>
) {
  yield* writeText(join(folder, CONFIG), configText(adapterConfigJson(lora)))
  yield* writeText(join(folder, "README.md"), adapterCard(lora))
  yield* writeSafetensors(
    join(folder, WEIGHTS),
    tensors.map((tensor) => ({ ...tensor, name: PREFIX + tensor.name })),
    { format: "pt" }
  )
})

/** What is read of `adapter_config.json`; fields that change nothing when absent may be. */
const PeftConfig = Schema.Struct({
  peft_type: Schema.Literal("LORA"),
  r: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
  lora_alpha: Schema.Number,
  lora_dropout: Schema.optional(Schema.Number),
  target_modules: Schema.Union([Schema.String, Schema.Array(Schema.String)]),
  use_rslora: Schema.optional(Schema.Boolean)
})

/** Fields that make an adapter compute something else, and the values with which they do not. */
const plainly: Readonly<Record<string, (value: unknown) => boolean>> = {
  alpha_pattern: (value) => Object.keys(value as object).length === 0,
  arrow_config: () => false,
  bias: (value) => value === "none",
  exclude_modules: () => false,
  fan_in_fan_out: (value) => value === false,
  kasa_config: () => false,
  layer_replication: () => false,
  layers_to_transform: () => false,
  lora_bias: (value) => value === false,
  modules_to_save: () => false,
  monteclora_config: () => false,
  rank_pattern: (value) => Object.keys(value as object).length === 0,
  target_parameters: () => false,
  trainable_token_indices: () => false,
  use_bdlora: () => false,
  use_dora: (value) => value === false,
  use_qalora: (value) => value === false,
  velora_config: () => false
}

/** An adapter in a folder: how it is applied, and where its weights are while the scope is open. */
export interface OpenAdapter {
  /** `dropout`, `quantise` and `mergeInto` are not a finished adapter's: none. */
  readonly lora: Lora
  readonly sources: ReadonlyArray<WeightSource<SafetensorsError>>
}

const readConfig = Effect.fnUntraced(function* (folder: string) {
  const path = join(folder, CONFIG)
  const json = yield* Effect.tryPromise({
    try: () => readJsonDocument(path),
    catch: (cause) =>
      new AdapterError({
        path,
        message: cause instanceof WrongFileFault ? cause.message : "cannot be read",
        hint:
          cause instanceof WrongFileFault
            ? cause.hint
            : `An adapter's folder holds ${CONFIG} and ${WEIGHTS}, as PEFT's save_pretrained writes them.`,
        cause
      })
  })
  const config = yield* Schema.decodeUnknownEffect(PeftConfig)(json).pipe(
    Effect.mapError(
      (cause) =>
        new AdapterError({ path, message: cause.message, hint: "Only plain LoRA adapters of PEFT are read.", cause })
    )
  )
  for (const [field, isPlain] of Object.entries(plainly)) {
    const value = (json as Readonly<Record<string, unknown>>)[field]
    if (value != null && !isPlain(value))
      return yield* new AdapterError({
        path,
        message: `${field} is ${JSON.stringify(value)}`,
        hint: "Only plain LoRA is read: merge such an adapter with PEFT's merge_and_unload, and take the merged model."
      })
  }
  return config
})

const isTarget = Schema.is(LoraTarget)

/** Which linears the file's tensors adapt. Those that PEFT would not find, or the model has not, are an error. */
const targetsOf = (path: string, named: ReadonlyArray<string>): Effect.Effect<Lora["targets"], AdapterError> => {
  const strange = named.filter((name) => blockLinear(`${name}.weight`) === undefined)
  const found = new Set(named.map((name) => blockLinear(`${name}.weight`)?.target).filter(isTarget))
  const [first, ...rest] = loraTargets.filter((target) => found.has(target))
  return first === undefined || strange.length > 0
    ? Effect.fail(
        new AdapterError({
          path,
          message:
            strange.length > 0 ? `adapts ${strange.slice(0, 5).join(", ")}` : "holds no adapter of a language model",
          hint: `Adapters of a Phi's ${loraTargets.join(", ")} are read; make the adapter on a PhiForCausalLM.`
        })
      )
    : Effect.succeed([first, ...rest])
}

/**
 * Opens an adapter's folder for a model. Fails with `AdapterError` where it is of another kind, or does not fit the model.
 *
 * @example const { lora, sources } = yield* openAdapter("my-adapter", config)
 */
export const openAdapter = (
  folder: string,
  config: PhiConfig
): Effect.Effect<OpenAdapter, AdapterError | SafetensorsError, Scope.Scope> =>
  Effect.gen(function* () {
    const path = join(folder, WEIGHTS)
    const peft = yield* readConfig(folder)
    const file = yield* openSafetensors(path)
    const names = [...file.entries.keys()].filter((name) => name.startsWith(PREFIX))
    const modules = [...new Set(names.map((name) => name.slice(PREFIX.length).replace(/\.lora_[AB]\.weight$/, "")))]
    const targets = yield* targetsOf(path, modules)
    const sources: Array<WeightSource<SafetensorsError>> = []
    const wrong: Array<string> = []
    const known = new Set<string>()
    for (const { inputs, module, outputs } of adapted(config, targets)) {
      const { A, B } = namesOf(module)
      for (const [name, shape] of [
        [A, [peft.r, inputs]],
        [B, [outputs, peft.r]]
      ] as const) {
        known.add(PREFIX + name)
        const entry = file.entries.get(PREFIX + name)
        if (entry === undefined) wrong.push(`${name} is missing`)
        else if (entry.shape.join() !== shape.join())
          wrong.push(`${name} is [${entry.shape.join(", ")}], not [${shape.join(", ")}]`)
        else sources.push({ name, shape, read: file.floats(PREFIX + name), isFresh: true })
      }
    }
    wrong.push(...[...file.entries.keys()].filter((name) => !known.has(name)).map((name) => `${name} is unexpected`))
    if (wrong.length > 0)
      return yield* new AdapterError({
        path,
        message: `${wrong.slice(0, 5).join("; ")}${wrong.length > 5 ? `; and ${wrong.length - 5} more` : ""}`,
        hint: "Take the adapter with the model that it was trained on."
      })
    return {
      lora: {
        rank: peft.r,
        // rsLoRA divides by the rank's square root.
        alpha: peft.use_rslora === true ? peft.lora_alpha * Math.sqrt(peft.r) : peft.lora_alpha,
        dropout: 0,
        targets,
        quantise: "none",
        mergeInto: "original"
      },
      sources
    }
  })
