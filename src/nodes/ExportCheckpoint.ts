/**
 * Writes the finished model as a folder that others open: `LlavaForConditionalGeneration`'s layout.
 *
 * Weights go through memory one tensor at a time. With a head bias the stock class would lose it, so a small custom class
 * lies beside the weights and `auto_map` names it; the card says so.
 */
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { whole } from "../dag/Node.ts"
import { llavaConfigJson } from "../model/llava/Config.ts"
import { llavaFileName } from "../model/llava/Names.ts"
import { writeCheckpoint } from "../model/Safetensors.ts"
import { prefixedSources } from "../model/Weights.ts"
import { Checkpoint, LanguageModel, Projector, TokenizerFile, VisionTower } from "./Artifacts.ts"
import {
  chatTemplate,
  exportCard,
  generationJson,
  HEAD_CLASS,
  imageProcessorJson,
  processorJson,
  tokenizerJson
} from "./ExportFiles.ts"
import { controlIds, loadTokenizer } from "./LoadTokenizer.ts"
import { fromSources, HeadBias, ModelDtype, openClip, openPhi, openProjector, writeTextFile } from "./ModelFiles.ts"

/**
 * Names for the custom class. transformers 5 renames old layouts for its own classes only, so the head, which is the custom
 * class's, has the name that the class gives it; under the stock one it would be dropped with a warning and start fresh.
 */
const customFileName = (name: string): string =>
  name.startsWith("language.lm_head.") ? name.slice("language.".length) : llavaFileName(name)

export const exportCheckpoint = whole(
  {
    id: "exportCheckpoint",
    version: "2",
    about: "The model in LlavaForConditionalGeneration's layout, with tokenizer, processor and card.",
    params: Schema.Struct({
      dtype: ModelDtype,
      headBias: HeadBias,
      /** A larger checkpoint is cut into shards with an index. */
      maxShardBytes: Schema.Int,
      /** Name in the card. */
      name: Schema.String
    }),
    inputs: { model: LanguageModel, projector: Projector, vision: VisionTower, tokenizer: TokenizerFile },
    outputs: { model: Checkpoint }
  },
  ({ inputs, params }) =>
    Effect.gen(function* () {
      const tokenizer = yield* loadTokenizer(inputs.tokenizer)
      const { imageId, padId } = yield* controlIds(tokenizer, inputs.tokenizer.path)
      const language = yield* openPhi(inputs.model, params.headBias)
      const projector = yield* openProjector(inputs.projector)
      const vision = yield* openClip(inputs.vision)
      const config = {
        vision: vision.config,
        text: language.config,
        projectorActivation: projector.config.activation,
        imageToken: imageId,
        featureLayer: -2
      }
      const tensors = fromSources(
        [
          ...prefixedSources(vision.sources, "vision."),
          ...prefixedSources(projector.sources, "projector."),
          ...prefixedSources(language.sources, "language.")
        ],
        params.dtype,
        config.text.headBias ? customFileName : llavaFileName
      )
      const files: ReadonlyArray<readonly [string, string | Readonly<Record<string, unknown>>]> = [
        ["config.json", llavaConfigJson(config, params.dtype)],
        ["generation_config.json", generationJson(config, padId)],
        ["tokenizer.json", tokenizer.json()],
        ["chat_template.jinja", chatTemplate],
        ["tokenizer_config.json", tokenizerJson(config)],
        ["preprocessor_config.json", imageProcessorJson(config)],
        ["processor_config.json", processorJson(config)],
        ["README.md", exportCard(params.name, config)],
        ...(config.text.headBias ? [["modeling_llava_phi.py", HEAD_CLASS] as const] : [])
      ]
      return {
        model: Effect.fnUntraced(function* (folder: string) {
          yield* writeCheckpoint(folder, tensors, { maxShardBytes: params.maxShardBytes })
          yield* Effect.forEach(files, ([name, content]) => writeTextFile(join(folder, name), content), {
            discard: true
          })
        })
      }
    })
)
