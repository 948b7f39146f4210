/**
 * Names and shapes of the projector. Ours: `linear_1.weight`. Files: `multi_modal_projector.` or
 * `model.multi_modal_projector.` before them.
 */
import type { Effect } from "effect"
import type { Safetensors, SafetensorsError } from "../Safetensors.ts"
import { type CheckpointMismatch, type Shapes, sourcesFrom, type WeightSource } from "../Weights.ts"
import type { ProjectorConfig } from "./Config.ts"

export const projectorShapes = (config: ProjectorConfig): Shapes => ({
  "linear_1.weight": [config.outputSize, config.inputSize],
  "linear_1.bias": [config.outputSize],
  "linear_2.weight": [config.outputSize, config.outputSize],
  "linear_2.bias": [config.outputSize]
})

/** Our name for a tensor of a file, or undefined when it is not the projector's. */
export const projectorName = (file: string): string | undefined =>
  /^(?:model\.)?(?:multi_modal_projector\.)?(linear_[12]\.(?:weight|bias))$/.exec(file)?.[1]

/** The projector's weights out of a checkpoint of a projector or of a LLaVA. */
export const projectorSources = (
  checkpoint: Safetensors,
  config: ProjectorConfig
): Effect.Effect<ReadonlyArray<WeightSource<SafetensorsError>>, CheckpointMismatch> =>
  sourcesFrom(checkpoint, projectorShapes(config), projectorName)
