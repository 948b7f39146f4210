/**
 * Writes a finished model in LLaVA's own layout: the language model's folder, and the projector apart.
 *
 * Not transformers' layout (`ExportCheckpoint.ts`). The tower lies in `vision_tower/`, because it may be trained or
 * seeded; `mm_vision_tower` says what the reader is to load. A head without a bias gets one of zeros, which LLaVA-Phi's
 * class has.
 */
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { whole } from "../dag/Node.ts"
import { type OriginalSetting, originalConfigJson } from "../model/llava/Original.ts"
import { writeCheckpoint } from "../model/Safetensors.ts"
import type { WeightSource } from "../model/Weights.ts"
import { OriginalLlava } from "./Artifacts.ts"
import { generationJson, imageProcessorJson, tokenizerJson } from "./ExportFiles.ts"
import { openParts, parts } from "./ExportParts.ts"
import { writeProjectorFile } from "./ExportProjector.ts"
import { fromSources, HeadBias, ModelDtype, ModelFileError, writeClip, writeTextFile } from "./ModelFiles.ts"

const card = (name: string, visionTower: string): string => `# ${name}

A LLaVA with a Phi language model in LLaVA's own layout, trained by millrace's LLaVA-Phi recipe.

- the folder itself: the language model, as \`PhiForCausalLM\` reads it; \`config.json\` has LLaVA's \`mm_*\` fields
- \`mm_projector.bin\`: the projector (\`mlp2x_gelu\`), as \`load_pretrained_model\` takes it beside a \`model_base\`
- \`vision_tower/\`: the tower that it was trained behind; \`mm_vision_tower\` is \`${visionTower}\`

Prompts are Vicuna v1.1 with the image first; images are padded to a square (\`image_aspect_ratio\`: \`pad\`).
`

export const exportOriginal = whole(
  {
    id: "exportOriginal",
    version: "1",
    about: "The model in LLaVA's own layout: language model with mm_* fields, mm_projector.bin, the tower apart.",
    params: Schema.Struct({
      dtype: ModelDtype,
      headBias: HeadBias,
      /** A larger checkpoint is cut into shards with an index. */
      maxShardBytes: Schema.Int,
      /** Name in the card. */
      name: Schema.String,
      /** What `mm_vision_tower` says: a repository of the hub, or a folder. */
      visionTower: Schema.String
    }),
    inputs: parts,
    outputs: { files: OriginalLlava }
  },
  ({ inputs, params }) =>
    Effect.map(openParts(inputs, params.headBias), ({ config, control, language, projector, tokenizer, vision }) => {
      const setting: OriginalSetting = { visionTower: params.visionTower, aspectRatio: "pad" }
      const { vocabSize } = config.text
      const noBias: ReadonlyArray<WeightSource> = config.text.headBias
        ? []
        : [{ name: "lm_head.bias", shape: [vocabSize], read: Effect.sync(() => new Float32Array(vocabSize)) }]
      const { image_processor_type: _, processor_class: __, ...images } = imageProcessorJson(config)
      const clip = { ...images, do_pad: undefined, image_processor_type: "CLIPImageProcessor" }
      return {
        files: Effect.fnUntraced(function* (folder: string) {
          const tower = join(folder, "vision_tower")
          yield* Effect.tryPromise({
            try: () => mkdir(tower),
            catch: (cause) =>
              new ModelFileError({
                path: tower,
                message: cause instanceof Error ? cause.message : String(cause),
                hint: "Check the folder, its permissions and the free space.",
                cause
              })
          })
          yield* writeCheckpoint(folder, fromSources([...language.sources, ...noBias], params.dtype), {
            maxShardBytes: params.maxShardBytes
          })
          yield* writeProjectorFile(folder, projector, params.dtype)
          yield* writeClip(tower, vision.config, fromSources(vision.sources, params.dtype))
          yield* Effect.forEach(
            [
              ["config.json", originalConfigJson(config, setting, params.dtype)],
              ["generation_config.json", generationJson(config, control.padId)],
              ["tokenizer.json", tokenizer.json()],
              ["tokenizer_config.json", { ...tokenizerJson(config), padding_side: "right" }],
              ["preprocessor_config.json", clip],
              ["vision_tower/preprocessor_config.json", clip],
              ["README.md", card(params.name, params.visionTower)]
            ] as ReadonlyArray<readonly [string, string | Readonly<Record<string, unknown>>]>,
            ([name, content]) => writeTextFile(join(folder, name), content),
            { discard: true }
          )
        })
      }
    })
)
