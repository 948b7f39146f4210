/**
 * LLaVA's own layout, which is older than the class in transformers: a language model's folder whose config.json has `mm_*`
 * fields, and a projector called `mm_projector`, inside of the weights or apart in `mm_projector.bin`.
 *
 * Not transformers' layout (`Names.ts`, `Config.ts`). The vision tower is named by the config, and lies elsewhere.
 *
 * Source: haotian-liu/LLaVA, `llava_arch.py` and `builder.py`; the authors' LLaVA-Phi adds `vision_config`.
 */
import { Effect, Schema } from "effect"
import type { Checkpoint, CheckpointError } from "../Checkpoint.ts"
import { ConfigError } from "../ConfigError.ts"
import { clipConfigJson } from "../clip/Config.ts"
import { type CheckpointMismatch, type Part, sourcesFrom } from "../Match.ts"
import type { PhiConfig } from "../phi/Config.ts"
import { phiConfigJson } from "../phi/Config.ts"
import { phiPart } from "../phi/Names.ts"
import type { ProjectorConfig } from "../projector/Config.ts"
import { projectorShapes } from "../projector/Names.ts"
import type { WeightSource } from "../Weights.ts"
import { type LlavaConfig, projectorOf } from "./Config.ts"

/** Two linear layers with the exact GELU between: the only projector that is computed here. */
export const PROJECTOR_TYPE = "mlp2x_gelu"
/** The projector's file, where it lies apart. */
export const PROJECTOR_FILE = "mm_projector.bin"

/** The layers' places in LLaVA's `nn.Sequential`. */
const places = { linear_1: "0", linear_2: "2" } as const

/**
 * A projector's weight as LLaVA names it.
 *
 * @example originalProjectorName("linear_2.bias") // "model.mm_projector.2.bias"
 */
export const originalProjectorName = (ours: string): string =>
  `model.mm_projector.${ours.replace(/^linear_[12]/, (layer) => places[layer as keyof typeof places])}`

/** Our name of a projector's weight in a file of LLaVA's, or undefined when it is none. */
const fromOriginal = (file: string): string | undefined => {
  const found = /^(?:base_model\.)?(?:model\.)*(?:mm_projector\.)([02])\.(weight|bias)$/.exec(file)
  return found === null ? undefined : `linear_${found[1] === "0" ? 1 : 2}.${found[2]}`
}

const isProjector = (file: string): boolean => /(?:^|\.)mm_projector\./.test(file)

/** What config.json says of the projector and the tower. */
export interface OriginalSetting {
  /** What `mm_vision_tower` names: a repository of the hub, or a folder. */
  readonly visionTower: string
  readonly featureLayer: number
  /** `square` crops to a square, `pad` pads to one. */
  readonly aspectRatio: "square" | "pad"
}

/** The `mm_*` fields. */
export const projectorFields = (config: ProjectorConfig, setting: OriginalSetting): Record<string, unknown> => ({
  hidden_size: config.outputSize,
  image_aspect_ratio: setting.aspectRatio,
  mm_hidden_size: config.inputSize,
  mm_projector_type: PROJECTOR_TYPE,
  mm_use_im_patch_token: false,
  mm_use_im_start_end: false,
  mm_vision_select_feature: "patch",
  mm_vision_select_layer: setting.featureLayer,
  mm_vision_tower: setting.visionTower,
  use_mm_proj: true
})

/** config.json of a LLaVA-Phi: Phi's fields, LLaVA's `mm_*`, and the shapes as LLaVA-Phi's authors write them. */
export const originalConfigJson = (
  config: LlavaConfig,
  setting: OriginalSetting,
  dtype: string
): Record<string, unknown> => ({
  ...phiConfigJson(config.text, dtype),
  ...projectorFields(projectorOf(config), setting),
  architectures: ["LlavaPhiForCausalLM"],
  freeze_mm_mlp_adapter: false,
  model_type: "llava_phi",
  tokenizer_model_max_length: config.text.maxPositions,
  tokenizer_padding_side: "right",
  tune_mm_mlp_adapter: false,
  vision_config: {
    mm_projector: {
      hidden_size: config.text.hiddenSize,
      mm_hidden_size: config.vision.hiddenSize,
      mm_projector_type: PROJECTOR_TYPE,
      model_type: "llava_phi_projector"
    },
    vision_tower: {
      ...clipConfigJson(config.vision, dtype),
      mm_vision_select_feature: "patch",
      mm_vision_select_layer: setting.featureLayer,
      model_type: "llava_phi_clip_vision_model"
    }
  }
})

const Fields = Schema.Struct({
  model_type: Schema.optional(Schema.String),
  mm_projector_type: Schema.optional(Schema.String),
  mm_hidden_size: Schema.optional(Schema.Int),
  hidden_size: Schema.optional(Schema.Int),
  mm_vision_select_layer: Schema.optional(Schema.Int),
  mm_vision_select_feature: Schema.optional(Schema.String)
})
export interface OriginalFields extends Schema.Schema.Type<typeof Fields> {}

/**
 * The `mm_*` fields of a config.json. Fails with `ConfigError` for another projector or other features than are computed
 * here; what is not stated is not held against it.
 */
export const decodeOriginal = (json: unknown): Effect.Effect<OriginalFields, ConfigError> =>
  Effect.gen(function* () {
    const refuse = (field: string, message: string, hint: string, cause?: unknown) =>
      new ConfigError({ model: "llava", field, message, hint, ...(cause === undefined ? {} : { cause }) })
    const fields = yield* Schema.decodeUnknownEffect(Fields)(json).pipe(
      Effect.mapError((cause) => refuse("config.json", cause.message, "Use the config.json that LLaVA wrote.", cause))
    )
    if ((fields.mm_projector_type ?? PROJECTOR_TYPE) !== PROJECTOR_TYPE)
      return yield* refuse(
        "mm_projector_type",
        `a projector of type ${fields.mm_projector_type} is not computed here`,
        `Use one of type ${PROJECTOR_TYPE}: two linear layers, as LLaVA 1.5 has them.`
      )
    if ((fields.mm_vision_select_feature ?? "patch") !== "patch")
      return yield* refuse("mm_vision_select_feature", "only `patch` is computed", "Drop the class token.")
    if ((fields.mm_vision_select_layer ?? -2) !== -2)
      return yield* refuse(
        "mm_vision_select_layer",
        `the projector was trained on hidden state ${fields.mm_vision_select_layer}, here it is -2`,
        "Train a projector on the last layer but one."
      )
    return fields
  })

const projectorPart = (config: ProjectorConfig): Part => ({
  prefix: "",
  shapes: projectorShapes(config),
  canonical: (file) => (isProjector(file) ? (fromOriginal(file) ?? file) : undefined)
})

/**
 * The widths of a projector as its tensors have them: the first layer is [output, input]. Undefined where there is none.
 *
 * @example sizesOf(yield* openTorchFile("mm_projector.bin")) // { inputSize: 1024, outputSize: 2560, activation: "erf" }
 */
export const sizesOf = (checkpoint: Pick<Checkpoint, "entries">): ProjectorConfig | undefined => {
  for (const { name, shape } of checkpoint.entries.values())
    if (fromOriginal(name) === "linear_1.weight" && shape.length === 2)
      return { inputSize: shape[1]!, outputSize: shape[0]!, activation: "erf" }
  return undefined
}

/** A projector out of its own file, or out of a model's weights. `alone`: nothing else may be in the file. */
export const originalProjector = (
  checkpoint: Checkpoint,
  config: ProjectorConfig,
  alone: boolean
): Effect.Effect<ReadonlyArray<WeightSource<CheckpointError>>, CheckpointMismatch> =>
  sourcesFrom(checkpoint, [projectorPart(config)], () => !alone)

/** The language model out of a model's weights; the projector and the tower may be among them. */
export const originalLanguage = (
  checkpoint: Checkpoint,
  config: PhiConfig
): Effect.Effect<ReadonlyArray<WeightSource<CheckpointError>>, CheckpointMismatch> =>
  sourcesFrom(checkpoint, [phiPart(config)], (file) => isProjector(file) || /(?:^|\.)vision_tower\./.test(file))
