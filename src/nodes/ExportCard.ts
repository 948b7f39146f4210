/**
 * The model card of an exported checkpoint: what it is, how it is opened, how it was made, of what. Pure text.
 *
 * No time, path or host is in it: equal work has equal cards. Figures that are asked of the exported model are put in
 * by
 * `withResults` when the model has been asked: `writeCard` writes the folder that has them.
 */
import type { LlavaConfig } from "../model/llava/Config.ts"
import { VICUNA_SYSTEM } from "../text/Template.ts"
import type { TrainingLog } from "./Artifacts.ts"
import type { Evaluation } from "./Evaluate.ts"
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

const USE = "## Use"

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

/** What a card's first lines say for the hub. */
export interface CardHub {
  /** One of the hub's identifiers. */
  readonly license: string
  readonly baseModels: ReadonlyArray<string>
  readonly datasets: ReadonlyArray<string>
}

/** What was asked of the model, and of what. */
export interface CardResults {
  readonly evaluation: Evaluation
  /** Data set and its origin, in words. */
  readonly measuredOn: string
  /** Content digest of the questions; absent where no store knew it. */
  readonly digest: string | undefined
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
const BLIND = "the same questions with images swapped between scenes (blind)"

/** A list of YAML; a JSON string is one of YAML as well. */
const list = (name: string, values: ReadonlyArray<string>): ReadonlyArray<string> =>
  values.length === 0 ? [] : [`${name}:`, ...values.map((one) => `- ${JSON.stringify(one)}`)]

/** The YAML block as the hub reads it: `license`, `base_model`, `datasets`, `metrics` and `model-index`. */
const frontMatter = (name: string, hub: CardHub, { evaluation, measuredOn }: CardResults): string =>
  [
    "---",
    "library_name: transformers",
    "pipeline_tag: image-text-to-text",
    `license: ${hub.license}`,
    ...(hub.license === "other" ? ["license_name: terms-of-its-sources", "license_link: README.md"] : []),
    ...list("base_model", hub.baseModels),
    ...list("datasets", hub.datasets),
    "metrics:",
    "- accuracy",
    "model-index:",
    `- name: ${JSON.stringify(name)}`,
    "  results:",
    "  - task:",
    "      type: visual-question-answering",
    "      name: Short answers about images",
    "    dataset:",
    "      type: held-out-questions",
    `      name: ${JSON.stringify(measuredOn)}`,
    "    metrics:",
    "    - type: accuracy",
    "      name: exact match",
    `      value: ${evaluation.accuracy}`,
    "    - type: accuracy",
    `      name: ${JSON.stringify(BLIND)}`,
    `      value: ${evaluation.blindAccuracy}`,
    "---"
  ].join("\n")

const resultsText = ({ digest, evaluation, measuredOn }: CardResults): string => {
  const { accuracy, blindAccuracy, blindByType, byType, notAsked, note, questions } = evaluation
  const share = (one: { readonly questions: number; readonly right: number } | undefined) =>
    one === undefined || one.questions === 0 ? "-" : percent(one.right / one.questions)
  const types = Object.entries(byType).sort(([a], [b]) => (a < b ? -1 : 1))
  return [
    "## Results",
    "",
    `Of ${questions} held-out questions ${percent(accuracy)} are answered right (exact match). The baseline is ${BLIND}: ${percent(blindAccuracy)}, which is what it gets by knowing likely answers.`,
    "",
    "| questions | asked | right | blind |",
    "|---|---|---|---|",
    ...types.map(([type, own]) => `| ${cell(type)} | ${own.questions} | ${share(own)} | ${share(blindByType[type])} |`),
    `| all | ${questions} | ${percent(accuracy)} | ${percent(blindAccuracy)} |`,
    "",
    `Measured on: ${measuredOn}${digest === undefined ? "" : ` (sha256 of the questions as rows: \`${digest}\`)`}.`,
    ...(notAsked === 0 ? [] : [`${notAsked} more questions were not asked, because their images were refused.`]),
    ...(note === undefined ? [] : [note]),
    ""
  ].join("\n")
}

/**
 * A card with what the model was found to do, before the section on its use, and with the fields that the hub reads.
 *
 * @example withResults(card, "LLaVA-Phi", hub, { evaluation, measuredOn: "300 scenes", digest: undefined })
 */
export const withResults = (card: string, name: string, hub: CardHub, results: CardResults): string => {
  const body = card.replace(/^---\n[\s\S]*?\n---\n/, "")
  const at = body.indexOf(USE)
  const [before, after] = at < 0 ? [body, ""] : [body.slice(0, at), body.slice(at)]
  return `${frontMatter(name, hub, results)}\n${before}${resultsText(results)}\n${after}`
}

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

${USE}
${loading(dtype, text.headBias)}
Prompts are Vicuna v1.1 with the image first; the chat template writes them:

\`\`\`text
${VICUNA_SYSTEM} USER: <image>
QUESTION ASSISTANT:
\`\`\`

Images are padded to a square in CLIP's mean colour, then scaled to ${vision.imageSize} pixels (bicubic, as PIL does).

\`${PARITY_FILE}\` holds what this model answers where it was made, computed in float32 from the stored weights: two prompts
(\`input_ids\`, \`attention_mask\`, \`pixel_values\`), their \`logits\`, the \`greedy\` continuation of the first, and \`pixels\`, which is
what preprocessing makes of \`${PARITY_IMAGE}\`.
${record === undefined ? "" : recordText(record)}`
}
