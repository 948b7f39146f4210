/**
 * Adapters in PEFT's layout: `adapter_config.json`, `adapter_model.safetensors`, `README.md`.
 *
 * Not the model that they adapt: that is a `PhiForCausalLM` folder of its own. Read back is what PEFT writes for plain
 * LoRA and rsLoRA on the linears of a Phi, as `adapter_model.safetensors` or as `adapter_model.bin`; what is accepted
 * of
 * `adapter_config.json` stands in `PeftFields.ts`.
 *
 * Names in the file: `base_model.model.` before those of the model, as in
 * `base_model.model.model.layers.0.mlp.fc1.lora_A.weight`.
 */
import { existsSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Schema, type Scope } from "effect"
import { readJsonDocument, WrongFileFault } from "../../dag/WrongFile.ts"
import type { Checkpoint, CheckpointError } from "../Checkpoint.ts"
import { fieldsOf, refusedField } from "../ConfigFields.ts"
import { configText } from "../ConfigText.ts"
import type { PhiConfig } from "../phi/Config.ts"
import { openTorchFile } from "../pickle/TorchFile.ts"
import { openSafetensors, type TensorSource, writeSafetensors } from "../Safetensors.ts"
import type { WeightSource } from "../Weights.ts"
import { adapted, blockLinear, type Lora, LoraTarget, loraTargets, namesOf } from "./Lora.ts"
import { initHint, isUnset, namedTargets, PLAIN_HINT, peftFields } from "./PeftFields.ts"

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
/** As PEFT wrote before 0.5, and as LLaVA's scripts do. */
const TORCH_WEIGHTS = "adapter_model.bin"
/** What LLaVA's scripts train beside the adapter: a projector, for the most part. */
const BESIDE = "non_lora_trainables.bin"

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

/** What is read of `adapter_config.json`. */
const PeftConfig = Schema.Struct({
  peft_type: Schema.Literal("LORA"),
  r: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
  lora_alpha: Schema.Finite,
  target_modules: Schema.Union([Schema.String, Schema.Array(Schema.String)]),
  use_rslora: Schema.optional(Schema.NullOr(Schema.Boolean))
})

/** An adapter in a folder: how it is applied, and where its weights are while the scope is open. */
export interface OpenAdapter {
  /** `dropout`, `quantise` and `mergeInto` are not a finished adapter's: none. */
  readonly lora: Lora
  readonly sources: ReadonlyArray<WeightSource<CheckpointError>>
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
  const refused = refusedField(fieldsOf(json), peftFields, isUnset)
  if (refused !== undefined)
    return yield* new AdapterError({
      path,
      message: refused.message,
      hint: refused.field === "init_lora_weights" ? initHint : PLAIN_HINT
    })
  return yield* Schema.decodeUnknownEffect(PeftConfig)(json).pipe(
    Effect.mapError((cause) => new AdapterError({ path, message: cause.message, hint: PLAIN_HINT, cause }))
  )
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

/** The adapter's weights, of either form. */
const openFile = (folder: string): Effect.Effect<Checkpoint, AdapterError | CheckpointError, Scope.Scope> => {
  const [path, torch, beside] = [join(folder, WEIGHTS), join(folder, TORCH_WEIGHTS), join(folder, BESIDE)]
  if (existsSync(beside))
    return Effect.fail(
      new AdapterError({
        path: beside,
        message: "weights that were trained beside the adapter would be lost",
        hint: "Read its projector with importProjector, and give the adapter a folder without this file."
      })
    )
  return existsSync(path) || !existsSync(torch) ? openSafetensors(path) : openTorchFile(torch)
}

/**
 * Opens an adapter's folder for a model. Fails with `AdapterError` where it is of another kind, or does not fit the
 * model.
 *
 * @example const { lora, sources } = yield* openAdapter("my-adapter", config)
 */
export const openAdapter = (
  folder: string,
  config: PhiConfig
): Effect.Effect<OpenAdapter, AdapterError | CheckpointError, Scope.Scope> =>
  Effect.gen(function* () {
    const peft = yield* readConfig(folder)
    const file = yield* openFile(folder)
    const { path } = file
    const names = [...file.entries.keys()].filter((name) => name.startsWith(PREFIX))
    const modules = [...new Set(names.map((name) => name.slice(PREFIX.length).replace(/\.lora_[AB]\.weight$/, "")))]
    const targets = yield* targetsOf(path, modules)
    const named = namedTargets(peft.target_modules, config)
    if (named === undefined || named.join() !== targets.join())
      return yield* new AdapterError({
        path: join(folder, CONFIG),
        message: `target_modules is ${JSON.stringify(peft.target_modules)}, and the weights are those of ${targets.join(", ")}`,
        hint: "PEFT would take the one and not the other: list in target_modules the linears that the file has weights of."
      })
    const sources: Array<WeightSource<CheckpointError>> = []
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
