/**
 * Adapters that PEFT wrote: accepted ones are merged as PEFT merges them, all others are refused by name.
 */
import { copyFileSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { openPhi } from "../../../src/model/Folder.ts"
import { openAdapter } from "../../../src/model/lora/Adapter.ts"
import { merged } from "../../../src/model/lora/Merge.ts"
import { namedTargets, peftFields } from "../../../src/model/lora/PeftFields.ts"
import { openSafetensors } from "../../../src/model/Safetensors.ts"
import { uploadWeights } from "../../../src/model/Weights.ts"
import * as Engine from "../../../src/tensor/Engine.ts"
import { Tensors } from "../../../src/tensor/Tensors.ts"
import { relativeError } from "../../tensor/support.ts"
import { baseFolder } from "./golden.ts"

const variants = join(import.meta.dirname, "variants")
const json = (folder: string) => JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"))
const plain = join(variants, "plain")

/** A copy of the plain adapter with other fields in its config. */
const changed = (fields: object) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "peft-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
    ),
    (folder) => {
      copyFileSync(join(plain, "adapter_model.safetensors"), join(folder, "adapter_model.safetensors"))
      writeFileSync(join(folder, "adapter_config.json"), JSON.stringify({ ...json(plain), ...fields }))
      return folder
    }
  )

const opened = (folder: string) =>
  Effect.gen(function* () {
    const { config } = yield* openPhi(baseFolder)
    return yield* openAdapter(folder, config)
  })

describe("an adapter that is accepted", () => {
  const accepted = readdirSync(variants).filter((name) => {
    return name !== "fields.json" && readdirSync(join(variants, name)).includes("merged.safetensors")
  })
  it("is of every kind that was made", () => {
    expect(accepted.toSorted()).toEqual(
      ["all-linear", "bin", "eva", "gaussian", "no-init", "orthogonal", "plain", "regex", "rslora"].toSorted()
    )
  })

  for (const name of accepted)
    it.effect(`${name}: merged weights are those of PEFT (1e-6)`, () =>
      Effect.gen(function* () {
        const tensors = yield* Tensors
        const { sources } = yield* openPhi(baseFolder)
        const adapter = yield* opened(join(variants, name))
        const weights = yield* uploadWeights(adapter.sources)
        const right = yield* openSafetensors(join(variants, name, "merged.safetensors"))
        const ours = new Map(merged(sources, weights, adapter.lora).map((one) => [one.name, one]))
        expect([...right.entries.keys()].length).toBe(3)
        for (const weight of right.entries.keys())
          expect(relativeError(yield* ours.get(weight)!.read, yield* right.floats(weight)), weight).toBeLessThan(1e-6)
        yield* tensors.free(weights)
      }).pipe(Effect.scoped, Effect.provide(Engine.wasm))
    )
})

const refusals: Readonly<Record<string, string>> = {
  pissa: "init_lora_weights",
  "pissa-niter": "init_lora_weights",
  olora: "init_lora_weights",
  mica: "init_lora_weights",
  dora: "use_dora",
  alora: "alora_invocation_tokens",
  "lora-bias": "lora_bias",
  "bias-all": "bias",
  "rank-pattern": "rank_pattern",
  "alpha-pattern": "alpha_pattern",
  layers: "layers_to_transform",
  "save-head": "modules_to_save",
  tokens: "trainable_token_indices",
  replicated: "layer_replication",
  parameters: "target_parameters"
}

describe("an adapter that computes something else", () => {
  it("is of every other kind that PEFT made", () => {
    const made = readdirSync(variants).filter(
      (name) => name !== "fields.json" && !readdirSync(join(variants, name)).includes("merged.safetensors")
    )
    expect(made.toSorted()).toEqual(Object.keys(refusals).toSorted())
  })

  for (const [name, field] of Object.entries(refusals))
    it.effect(`${name} is refused by the name ${field}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(opened(join(variants, name)))
        expect(error).toMatchObject({
          _tag: "AdapterError",
          message: expect.stringMatching(new RegExp(`^${field} is `)),
          hint: expect.stringContaining("merge_and_unload")
        })
      }).pipe(Effect.scoped)
    )

  for (const init of ["corda", "loftq", "lora_ga", "PiSSA", "new_init", 1])
    it.effect(`init_lora_weights ${init} is refused by name`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(opened(yield* changed({ init_lora_weights: init })))
        expect(error.message).toContain(`init_lora_weights is ${JSON.stringify(init)}`)
      }).pipe(Effect.scoped)
    )

  for (const [field, value] of [
    ["peft_type", "IA3"],
    ["peft_type", null],
    ["task_type", "SEQ_CLS"],
    ["fan_in_fan_out", true],
    ["use_qalora", true],
    ["use_bdlora", { nblocks: 2 }],
    ["arrow_config", { top_k: 3 }],
    ["kasa_config", { beta: 1 }],
    ["velora_config", { num_groups: 2 }],
    ["monteclora_config", { samples: 2 }],
    ["megatron_config", { tensor_model_parallel_size: 2 }],
    ["loftq_config", { loftq_bits: 4 }],
    ["exclude_modules", ["k_proj"]],
    ["ensure_weight_tying", true]
  ] as const)
    it.effect(`${field} ${JSON.stringify(value)} is refused by name`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(opened(yield* changed({ [field]: value })))
        expect(error).toMatchObject({ _tag: "AdapterError", message: expect.stringContaining(`${field} is `) })
      }).pipe(Effect.scoped)
    )
})

describe("fields of adapter_config.json", () => {
  it("all fields of PEFT's LoraConfig are judged, those of the version that stands in the table's source", () => {
    const { fields, peft } = JSON.parse(readFileSync(join(variants, "fields.json"), "utf8"))
    expect(fields.filter((field: string) => !Object.hasOwn(peftFields, field))).toEqual([])
    const source = readFileSync(join(import.meta.dirname, "../../../src/model/lora/PeftFields.ts"), "utf8")
    expect(source).toContain(`PEFT ${peft}`)
  })

  const Value = Schema.Union([
    Schema.Literal(true),
    Schema.Finite,
    Schema.String,
    Schema.NonEmptyArray(Schema.Finite),
    Schema.Struct({ kind: Schema.String })
  ])
  // JSON.parse of Node 24.21 gives `{"a": 0, "b\\n": 0}` the keys `a` and `b\` once an object with these two keys was
  // made (docs/LOG.md, 2026-12-01), so names have no backslash here.
  const Name = Schema.String.check(Schema.makeFilter((name) => !name.includes("\\")))
  it.effect.prop(
    "a field that is not listed is refused by its name, unless it is off",
    [Schema.Struct({ name: Name, value: Value })],
    ([{ name, value }]) =>
      Effect.gen(function* () {
        const field = `new_${name}`
        const error = yield* Effect.flip(opened(yield* changed({ [field]: value })))
        expect(error).toMatchObject({ _tag: "AdapterError", message: expect.stringContaining(`the field ${field} is`) })
        for (const off of [null, false, [], {}]) yield* opened(yield* changed({ [field]: off }))
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 25 } }
  )
})

describe("target_modules", () => {
  it.effect(
    "that name other linears than the file has weights of are refused: PEFT would pass over one or the other",
    () =>
      Effect.gen(function* () {
        for (const target_modules of [
          ["q_proj"],
          ["q_proj", "v_proj", "fc1"],
          "all-linear",
          ["lm_head", "q_proj"],
          ".*fc1"
        ]) {
          const error = yield* Effect.flip(opened(yield* changed({ target_modules })))
          expect(error).toMatchObject({ _tag: "AdapterError", message: expect.stringContaining("target_modules is ") })
        }
        const { lora } = yield* opened(yield* changed({ target_modules: ["v_proj", "q_proj", "o_proj", "gate_proj"] }))
        expect(lora.targets).toEqual(["q_proj", "v_proj"])
      }).pipe(Effect.scoped)
  )

  it.effect("are read as PEFT reads them: ends of names, whole names, a pattern for the whole name", () =>
    Effect.gen(function* () {
      const { config } = yield* openPhi(baseFolder)
      const targets = (given: string | ReadonlyArray<string>) => namedTargets(given, config)
      expect(targets(["fc1", "q_proj"])).toEqual(["q_proj", "fc1"])
      expect(targets(["mlp.fc1"])).toEqual(["fc1"])
      expect(targets(["c1"])).toEqual([])
      expect(targets("q_proj")).toEqual([])
      expect(targets(".*self_attn\\.(q|k)_proj")).toEqual(["q_proj", "k_proj"])
      expect(targets(["model.layers.0.mlp.fc1"])).toBeUndefined()
      expect(targets("model\\.layers\\.0\\..*fc1")).toBeUndefined()
      expect(targets(["embed_tokens"])).toBeUndefined()
      expect(targets("(?P<name>.*)fc1")).toBeUndefined()
      expect(targets("all-linear")?.length).toBe(6)
    }).pipe(Effect.scoped)
  )
})

it.effect("what LLaVA's scripts train beside an adapter is not lost in silence", () =>
  Effect.gen(function* () {
    const folder = yield* changed({})
    cpSync(join(variants, "bin", "adapter_model.bin"), join(folder, "non_lora_trainables.bin"))
    expect(yield* Effect.flip(opened(folder))).toMatchObject({
      _tag: "AdapterError",
      path: join(folder, "non_lora_trainables.bin"),
      hint: expect.stringContaining("importProjector")
    })
  }).pipe(Effect.scoped)
)
