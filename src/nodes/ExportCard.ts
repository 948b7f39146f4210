/**
 * The model card of an exported checkpoint: what it is, how it is opened, how it was made, of what. Pure text.
 *
 * No time, path or host is in it: equal work has equal cards. A figure that is asked of the exported model is not in it
 * either, because then the folder would depend on what depends on the folder.
 */
import type { LlavaConfig } from "../model/llava/Config.ts"
import { VICUNA_SYSTEM } from "../text/Template.ts"
import type { TrainingLog } from "./Artifacts.ts"
import { PARITY_FILE, PARITY_IMAGE } from "./Parity.ts"

/** A stage of the recipe: what it was tuned by, and what came out. */
export interface CardStage {
  readonly name: string
  /** The node that trained it, with its version. */
  readonly node: string
  readonly settings: Readonly<Record<string, unknown>>
  readonly log: typeof TrainingLog.Type
}

/** Something the model was made from. */
export interface CardData {
  readonly name: string
  /** Content digest; absent where no store knew it. */
  readonly digest: string | undefined
  /** Where it is from and under which licence, as the recipe says. */
  readonly credit: string | undefined
}

/** How a model was made, as far as its folder may say. */
export interface CardRecord {
  readonly stages: ReadonlyArray<CardStage>
  readonly data: ReadonlyArray<CardData>
  /** Digest of the code that trained and exported; absent where no store knew it. */
  readonly code: string | undefined
}

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ")

const figure = (value: number | null | undefined): string =>
  value === null || value === undefined || Number.isNaN(value) ? "-" : value.toFixed(4)

const mean = (values: ReadonlyArray<number>): number =>
  values.length === 0 ? Number.NaN : values.reduce((sum, one) => sum + one, 0) / values.length

const settingsTable = (stages: ReadonlyArray<CardStage>): string => {
  const names = [...new Set(stages.flatMap(({ settings }) => Object.keys(settings)))].sort()
  const row = (cells: ReadonlyArray<string>) => `| ${cells.map(cell).join(" | ")} |`
  return [
    row(["setting", ...stages.map(({ name }) => name)]),
    row(["---", ...stages.map(() => "---")]),
    ...names.map((name) =>
      row([
        name,
        ...stages.map(({ settings }) => (settings[name] === undefined ? "-" : JSON.stringify(settings[name])))
      ])
    )
  ].join("\n")
}

const metricsTable = (stages: ReadonlyArray<CardStage>): string =>
  [
    "| stage | steps | rows | loss tokens | loss, first tenth | loss, last tenth | held out |",
    "|---|---|---|---|---|---|---|",
    ...stages.map(({ log, name }) => {
      const tenth = Math.max(1, Math.floor(log.losses.length / 10))
      const losses = [mean(log.losses.slice(0, tenth)), mean(log.losses.slice(-tenth)), log.heldOutLoss]
      return `| ${cell(name)} | ${log.steps} | ${log.rows} | ${log.lossTokens} | ${losses.map(figure).join(" | ")} |`
    })
  ].join("\n")

const recordText = ({ code, data, stages }: CardRecord): string => `
## Recipe

Stages in order. Losses are means over tokens that carry loss, in nats.

${settingsTable(stages)}

${metricsTable(stages)}

Trained by ${stages.map(({ name, node }) => `${node} (${name})`).join(", ")}. Code digest: \`${code ?? "not recorded"}\`.

## Data

sha256 of contents, as the store counts them: conversations, captions and instructions as rows that were read. Licences are those of the originals that the recipe names.

| what | digest | from |
|---|---|---|
${data.map((one) => `| ${cell(one.name)} | ${one.digest === undefined ? "not recorded" : `\`${one.digest}\``} | ${cell(one.credit ?? "not stated")} |`).join("\n")}
`

const loading = (dtype: string, headBias: boolean): string => `
\`\`\`python
from PIL import Image
from transformers import AutoProcessor, ${headBias ? "AutoModelForImageTextToText" : "LlavaForConditionalGeneration"}

processor = AutoProcessor.from_pretrained(folder)
model = ${headBias ? "AutoModelForImageTextToText" : "LlavaForConditionalGeneration"}.from_pretrained(folder, dtype="${dtype}"${headBias ? ", trust_remote_code=True" : ""})
messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is in this picture?"}]}]
text = processor.apply_chat_template(messages, add_generation_prompt=True)
inputs = processor(images=Image.open("${PARITY_IMAGE}"), text=text, return_tensors="pt")
out = model.generate(**inputs, max_new_tokens=16)
print(processor.decode(out[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
\`\`\`
`

/** The text of README.md. `record` is left out where nothing is known of how the model was made. */
export const exportCard = (name: string, config: LlavaConfig, dtype: string, record?: CardRecord): string => {
  const { text, vision } = config
  const patches = (vision.imageSize / vision.patchSize) ** 2
  const head = text.headBias
    ? "The language head has a bias, as Phi-2's has. The stock class has none, so load with `trust_remote_code=True`: " +
      "`modeling_llava_phi.py` beside the weights adds it."
    : "The language head has no bias: it was zero when training began and stayed so, so the stock class loses nothing."
  return `---
library_name: transformers
pipeline_tag: image-text-to-text
---
# ${name}

A LLaVA with a Phi language model, trained by millrace's LLaVA-Phi recipe.

| part | size |
|---|---|
| language model | Phi, ${text.layers} layers, hidden ${text.hiddenSize}, ${text.heads} heads, vocabulary ${text.vocabSize} |
| vision tower | CLIP, ${vision.layers} layers, hidden ${vision.hiddenSize}, ${vision.imageSize} px, ${patches} patches; hidden state ${config.featureLayer} |
| projector | two linear layers, GELU between |

Weights are stored as ${dtype}. ${head}

## Use
${loading(dtype, text.headBias)}
Prompts are Vicuna v1.1 with the picture first; the chat template writes them:

\`\`\`text
${VICUNA_SYSTEM} USER: <image>
QUESTION ASSISTANT:
\`\`\`

Pictures are padded to a square in CLIP's mean colour, then scaled to ${vision.imageSize} pixels (bicubic, as PIL does).

\`${PARITY_FILE}\` holds what this model answers where it was made, computed in float32 from the stored weights: two prompts
(\`input_ids\`, \`attention_mask\`, \`pixel_values\`), their \`logits\`, the \`greedy\` continuation of the first, and \`pixels\`, which is
what preprocessing makes of \`${PARITY_IMAGE}\`.
${record === undefined ? "" : recordText(record)}`
}
