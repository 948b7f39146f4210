/**
 * Writes a projector as LLaVA's pretraining leaves it: `mm_projector.bin` and a small config.json, to share and to use
 * again.
 *
 * Not a model: the language model and the tower that it was trained between are named, and lie elsewhere.
 */
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { whole } from "../dag/Node.ts"
import {
  type OriginalSetting,
  originalProjectorName,
  PROJECTOR_FILE,
  PROJECTOR_TYPE,
  projectorFields
} from "../model/llava/Original.ts"
import type { ProjectorConfig } from "../model/projector/Config.ts"
import { Projector, ProjectorFile } from "./Artifacts.ts"
import { fromSources, ModelDtype, type ModelFile, ModelFileError, openProjector, writeTextFile } from "./ModelFiles.ts"
import { writeTorchFile } from "./TorchFiles.ts"

/** `mm_projector.bin` of a projector. Fails where LLaVA's class would compute another function. */
export const writeProjectorFile = Effect.fnUntraced(function* (
  folder: string,
  { config, sources }: ModelFile<ProjectorConfig>,
  dtype: ModelDtype
) {
  const path = join(folder, PROJECTOR_FILE)
  if (config.activation !== "erf")
    return yield* new ModelFileError({
      path,
      message: `the projector's GELU is ${config.activation}, ${PROJECTOR_TYPE} has the exact one`,
      hint: "Export it in transformers' layout, which states the activation."
    })
  yield* writeTorchFile(path, fromSources(sources, dtype, originalProjectorName))
})

const card = (name: string, between: string, config: ProjectorConfig, visionTower: string): string => `# ${name}

A LLaVA projector (\`${PROJECTOR_TYPE}\`, ${config.inputSize} to ${config.outputSize}), trained between \`${visionTower}\` (hidden state ${config.featureLayer}, without
its class token) and ${between}. \`${PROJECTOR_FILE}\` is what LLaVA's \`--pretrain_mm_mlp_adapter\` takes.
`

export const exportProjector = whole(
  {
    id: "exportProjector",
    version: "1",
    about: "A projector alone in LLaVA's layout: mm_projector.bin and a small config.json.",
    params: Schema.Struct({
      dtype: ModelDtype,
      /** Name in the card. */
      name: Schema.String,
      /** What `mm_vision_tower` names: the tower that the projector was trained behind. */
      visionTower: Schema.String,
      /** The language model it was trained for, in words. */
      languageModel: Schema.String
    }),
    inputs: { projector: Projector },
    outputs: { files: ProjectorFile }
  },
  ({ inputs, params }) =>
    Effect.map(openProjector(inputs.projector), (projector) => ({
      files: Effect.fnUntraced(function* (folder: string) {
        const setting: OriginalSetting = { visionTower: params.visionTower, aspectRatio: "square" }
        yield* writeProjectorFile(folder, projector, params.dtype)
        yield* writeTextFile(join(folder, "config.json"), projectorFields(projector.config, setting))
        yield* writeTextFile(
          join(folder, "README.md"),
          card(params.name, params.languageModel, projector.config, params.visionTower)
        )
      })
    }))
)
