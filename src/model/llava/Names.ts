/**
 * Names of a LLaVA's weights: the parts' own names under `vision.`, `projector.` and `language.`, and how they are
 * spelled in an exported folder.
 */
import type { Effect } from "effect"
import type { Checkpoint, CheckpointError } from "../Checkpoint.ts"
import { clipPart, isClipText } from "../clip/Names.ts"
import { type CheckpointMismatch, sourcesFrom } from "../Match.ts"
import { phiPart } from "../phi/Names.ts"
import { projectorPart } from "../projector/Names.ts"
import type { WeightSource } from "../Weights.ts"
import { type LlavaConfig, projectorOf } from "./Config.ts"

/**
 * A weight's name in the exported folder (`LlavaForConditionalGeneration` as transformers 4.57 and 5.x write it on
 * disk): `vision.x` -> `vision_tower.vision_model.x`, `projector.x` -> `multi_modal_projector.x`, `language.x` ->
 * `language_model.x`.
 *
 * @example llavaFileName("language.lm_head.weight") // "language_model.lm_head.weight"
 */
export const llavaFileName = (name: string): string =>
  name
    .replace(/^vision\./, "vision_tower.vision_model.")
    .replace(/^projector\./, "multi_modal_projector.")
    .replace(/^language\./, "language_model.")

/** All weights of a LLaVA out of its folder, in any of the spellings that `clip`, `projector` and `phi` know. */
export const llavaSources = (
  checkpoint: Checkpoint,
  config: LlavaConfig
): Effect.Effect<ReadonlyArray<WeightSource<CheckpointError>>, CheckpointMismatch> =>
  sourcesFrom(
    checkpoint,
    [
      clipPart(config.vision, "vision."),
      projectorPart(projectorOf(config), "projector."),
      phiPart(config.text, "language.")
    ],
    isClipText
  )
