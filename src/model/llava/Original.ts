/**
 * LLaVA's own layout, which is older than the class in transformers: a language model's folder whose config.json has
 * `mm_*` fields, and a projector called `mm_projector`, inside of the weights or apart in `mm_projector.bin`.
 *
 * Not transformers' layout (`Names.ts`, `Config.ts`). The vision tower is named by the config, and lies elsewhere.
 *
 * Source: haotian-liu/LLaVA, `llava_arch.py` and `builder.py`; the authors' LLaVA-Phi adds `vision_config`.
 */
import { Effect, Schema } from "effect"
import type { Checkpoint, CheckpointError } from "../Checkpoint.ts"
import { ConfigError } from "../ConfigError.ts"
import { any, FIELD_HINT, type Fields, fieldsOf, listed, off, only, refusedField } from "../ConfigFields.ts"
import { clipConfigJson } from "../clip/Config.ts"
import { type CheckpointMismatch, type Part, sourcesFrom } from "../Match.ts"
import type { PhiConfig } from "../phi/Config.ts"
import { phiConfigJson } from "../phi/Config.ts"
import { phiPart } from "../phi/Names.ts"
import type { ProjectorConfig, ProjectorSizes } from "../projector/Config.ts"
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
  mm_vision_select_layer: config.featureLayer,
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
      mm_vision_select_layer: config.featureLayer,
      model_type: "llava_phi_clip_vision_model"
    }
  }
})

/** A language model's own `model_type` in LLaVA's layout: `phi` where only a projector was trained. */
export const ORIGINAL_TYPES = ["llava_phi", "phi"] as const

const Sizes = Schema.Struct({
  mm_hidden_size: Schema.optional(Schema.NullOr(Schema.Int)),
  hidden_size: Schema.optional(Schema.Int),
  mm_vision_select_layer: Schema.optional(Schema.NullOr(Schema.Int))
})

/** What LLaVA's `mm_*` fields say that a reader of weights needs; undefined where they say nothing. */
export interface OriginalFields {
  readonly inputSize: number | undefined
  readonly outputSize: number | undefined
  readonly featureLayer: number | undefined
}

/** Fields of LLaVA's own and the values that are computed here; those of the language model stand beside them. */
export const originalFields: Fields = {
  ...listed("mm_hidden_size", "mm_vision_tower", "mm_vision_select_layer", "vision_config", "vision_tower"),
  // How the training went, and settings of its scripts.
  ...listed("freeze_mm_mlp_adapter", "tune_mm_mlp_adapter", "tune_mm_vision_resampler", "unfreeze_mm_vision_tower"),
  ...listed(
    "freeze_vision_tower",
    "freeze_backbone",
    "pretrain_mm_mlp_adapter",
    "mm_projector_lr",
    "mm_vision_tower_lr"
  ),
  ...listed("tokenizer_model_max_length", "tokenizer_padding_side", "pretraining_tp"),
  // Tokens for patches are never written into a prompt.
  mm_use_im_patch_token: any,
  mm_use_im_start_end: off,
  mm_projector_type: only(PROJECTOR_TYPE),
  mm_vision_select_feature: only("patch"),
  mm_patch_merge_type: only("flat"),
  mm_resampler_type: only(),
  use_mm_proj: only(true),
  image_aspect_ratio: only("pad", "square"),
  image_grid_pinpoints: only([]),
  image_crop_resolution: only(),
  image_split_resolution: only(),
  s2: off,
  s2_scales: any
}

/** Whether a field is LLaVA's and not the language model's. */
const isOriginal = (field: string): boolean =>
  Object.hasOwn(originalFields, field) || /^(mm_|image_|use_mm_|tune_mm_|unfreeze_mm_)/.test(field)

/** Layers that a config.json names: LLaVA's own field, and the one that LLaVA-Phi's authors write into the tower. */
const layersOf = (json: Readonly<Record<string, unknown>>): ReadonlyArray<number> => {
  const tower = fieldsOf(fieldsOf(json["vision_config"])["vision_tower"])
  return [json["mm_vision_select_layer"], tower["mm_vision_select_layer"]].filter((one) => typeof one === "number")
}

/**
 * The `mm_*` fields of a config.json. Fails with `ConfigError`, which names the field, for another projector, other
 * features, and every field of LLaVA's that is not known to be computed here; what is not stated is not held against
 * it.
 */
export const decodeOriginal = (json: unknown): Effect.Effect<OriginalFields, ConfigError> =>
  Effect.gen(function* () {
    const refuse = (field: string, message: string, hint: string, cause?: unknown) =>
      new ConfigError({ model: "llava", field, message, hint, ...(cause === undefined ? {} : { cause }) })
    const own = Object.fromEntries(Object.entries(fieldsOf(json)).filter(([field]) => isOriginal(field)))
    const refused = refusedField(own, originalFields)
    if (refused !== undefined)
      return yield* refuse(
        refused.field,
        refused.message,
        `LLaVA 1.5's projector of two layers (${PROJECTOR_TYPE}) over patches of one square image is computed. ${FIELD_HINT}`
      )
    const fields = yield* Schema.decodeUnknownEffect(Sizes)(json).pipe(
      Effect.mapError((cause) => refuse("config.json", cause.message, "Use the config.json that LLaVA wrote.", cause))
    )
    const [layer, other = layer] = layersOf(fieldsOf(json))
    if (layer !== other)
      return yield* refuse(
        "mm_vision_select_layer",
        `mm_vision_select_layer is ${layer}, in vision_config.vision_tower ${other}`,
        "Take config.json and weights from one training."
      )
    return {
      inputSize: fields.mm_hidden_size ?? undefined,
      outputSize: fields.hidden_size,
      featureLayer: layer
    }
  })

const projectorPart = (config: ProjectorSizes): Part => ({
  prefix: "",
  shapes: projectorShapes(config),
  canonical: (file) => (isProjector(file) ? (fromOriginal(file) ?? file) : undefined)
})

/**
 * The widths of a projector as its tensors have them: the first layer is [output, input]. Undefined where there is
 * none.
 *
 * @example sizesOf(yield* openTorchFile("mm_projector.bin")) // { inputSize: 1024, outputSize: 2560, activation: "erf" }
 */
export const sizesOf = (checkpoint: Pick<Checkpoint, "entries">): ProjectorSizes | undefined => {
  for (const { name, shape } of checkpoint.entries.values())
    if (fromOriginal(name) === "linear_1.weight" && shape.length === 2)
      return { inputSize: shape[1]!, outputSize: shape[0]!, activation: "erf" }
  return undefined
}

/** A projector out of its own file, or out of a model's weights. `alone`: nothing else may be in the file. */
export const originalProjector = (
  checkpoint: Checkpoint,
  config: ProjectorSizes,
  alone: boolean
): Effect.Effect<ReadonlyArray<WeightSource<CheckpointError>>, CheckpointMismatch> =>
  sourcesFrom(checkpoint, [projectorPart(config)], () => !alone)

/** The language model out of a model's weights; the projector and the tower may be among them. */
export const originalLanguage = (
  checkpoint: Checkpoint,
  config: PhiConfig
): Effect.Effect<ReadonlyArray<WeightSource<CheckpointError>>, CheckpointMismatch> =>
  sourcesFrom(checkpoint, [phiPart(config)], (file) => isProjector(file) || /(?:^|\.)vision_tower\./.test(file))
