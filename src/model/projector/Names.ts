/**
 * Names and shapes of the projector. Ours: `linear_1.weight`. Files: `multi_modal_projector.` or
 * `model.multi_modal_projector.` before them.
 */
import type { Effect } from "effect"
import type { Checkpoint, CheckpointError } from "../Checkpoint.ts"
import { type CheckpointMismatch, type Part, sourcesFrom } from "../Match.ts"
import type { Shapes, WeightSource } from "../Weights.ts"
import type { ProjectorSizes } from "./Config.ts"

export const projectorShapes = (config: ProjectorSizes): Shapes => ({
  "linear_1.weight": [config.outputSize, config.inputSize],
  "linear_1.bias": [config.outputSize],
  "linear_2.weight": [config.outputSize, config.outputSize],
  "linear_2.bias": [config.outputSize]
})

/** Our name for a tensor of a file, or undefined when it is not the projector's. */
export const projectorName = (file: string): string | undefined =>
  /^(?:model\.)?(?:multi_modal_projector\.)?(linear_[12]\.(?:weight|bias))$/.exec(file)?.[1]

/** The projector as a part of a checkpoint. */
export const projectorPart = (config: ProjectorSizes, prefix = ""): Part => ({
  prefix,
  shapes: projectorShapes(config),
  canonical: projectorName
})

/** The projector's weights out of a checkpoint of a projector or of a LLaVA. */
export const projectorSources = (
  checkpoint: Checkpoint,
  config: ProjectorSizes
): Effect.Effect<ReadonlyArray<WeightSource<CheckpointError>>, CheckpointMismatch> =>
  sourcesFrom(checkpoint, [projectorPart(config)], (file) =>
    /^lm_head\.|^(?:model\.)?(?:language_model|vision_tower)\./.test(file)
  )
