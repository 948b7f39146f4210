/**
 * Names of a LLaVA's weights: the parts' own names under `vision.`, `projector.` and `language.`, and how they are spelled
 * in an exported folder.
 */
import { Effect } from "effect"
import { clipShapes, clipSources } from "../clip/Names.ts"
import { phiShapes, phiSources } from "../phi/Names.ts"
import { projectorShapes, projectorSources } from "../projector/Names.ts"
import type { Safetensors, SafetensorsError } from "../Safetensors.ts"
import { type CheckpointMismatch, prefixed, prefixedSources, type Shapes, type WeightSource } from "../Weights.ts"
import { type LlavaConfig, projectorOf } from "./Config.ts"

export const llavaShapes = (config: LlavaConfig): Shapes => ({
  ...prefixed(clipShapes(config.vision), "vision."),
  ...prefixed(projectorShapes(projectorOf(config)), "projector."),
  ...prefixed(phiShapes(config.text), "language.")
})

/**
 * A weight's name in the exported folder (`LlavaForConditionalGeneration` as transformers 4.57 and 5.x write it on disk):
 * `vision.x` -> `vision_tower.vision_model.x`, `projector.x` -> `multi_modal_projector.x`, `language.x` -> `language_model.x`.
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
  checkpoint: Safetensors,
  config: LlavaConfig
): Effect.Effect<ReadonlyArray<WeightSource<SafetensorsError>>, CheckpointMismatch> =>
  Effect.gen(function* () {
    return [
      ...prefixedSources(yield* clipSources(checkpoint, config.vision), "vision."),
      ...prefixedSources(yield* projectorSources(checkpoint, projectorOf(config)), "projector."),
      ...prefixedSources(yield* phiSources(checkpoint, config.text), "language.")
    ]
  })
