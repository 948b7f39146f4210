/**
 * The numbers of fine-tuning: the presets `example`, `lora`, `qlora` and `whole`, each a literal table of `Settings`.
 *
 * Not the wiring (`finetune.ts`). Learning rates, batch and schedule of the last three are those of LLaVA's
 * `finetune_task.sh` and `finetune_task_lora.sh` (LLaVA 1.5); what they name no value for is theirs as well: Adam's
 * betas 0.9 and 0.999, eps 1e-8, no weight decay, gradients clipped at 1.
 */
import { type Lora, loraTargets } from "../src/model/lora/Lora.ts"
import type { answerQuestions } from "../src/nodes/AnswerQuestions.ts"
import type { exportCheckpoint } from "../src/nodes/ExportCheckpoint.ts"
import type { holdOut } from "../src/nodes/HoldOut.ts"
import type { readQuestionLines } from "../src/nodes/ReadQuestionLines.ts"
import type { tokenizeImages } from "../src/nodes/TokenizeImages.ts"
import type { tuneInstructions } from "../src/nodes/TrainVision.ts"
import type { EngineName } from "../src/tensor/Engine.ts"

type ParamsOf<Node extends (inputs: never, params: never) => unknown> = Parameters<Node>[1]

export interface Settings {
  /** Whose rows are tuned on where the command line names none: those that ship, or none. */
  readonly data: "example" | "yours"
  readonly engine: EngineName
  readonly shardRows: number
  readonly maxTokens: number
  /** `size` is the tower's: 336 for CLIP ViT-L/14 at 336 px. */
  readonly images: ParamsOf<typeof tokenizeImages>
  /** Run the frozen tower once for each image instead of in every step: 2.3 MiB an image at 336 px. */
  readonly features: boolean
  readonly featureLayer: number
  readonly heldOut: ParamsOf<typeof holdOut>
  readonly headBias: ParamsOf<typeof exportCheckpoint>["headBias"]
  readonly train: Omit<ParamsOf<typeof tuneInstructions>, "headBias" | "trains"> & {
    readonly trains: NonNullable<ParamsOf<typeof tuneInstructions>["trains"]>
  }
  readonly questions: Omit<ParamsOf<typeof readQuestionLines>, "shardRows">
  readonly ask: Omit<ParamsOf<typeof answerQuestions>, "headBias" | "blind">
  /** Also ask the model that is tuned. */
  readonly asksBefore: boolean
  readonly export: ParamsOf<typeof exportCheckpoint>
}

const adam = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxGradNorm: 1 } as const

const example = {
  data: "example",
  engine: "wasm",
  shardRows: 256,
  maxTokens: 256,
  images: { size: 42, misnamed: "accept", minSide: 1, maxAspect: 1e6, fit: "pad", folder: "" },
  features: true,
  featureLayer: -2,
  heldOut: { share: 0.05, seed: 0 },
  headBias: "drop",
  train: {
    ...adam,
    trains: { projector: true, language: "all", vision: false },
    epochs: 20,
    lr: 1.5e-3,
    decay: "cosine",
    warmupRatio: 0.03,
    batch: 8,
    microBatch: 8,
    dropout: false,
    recompute: false,
    seed: 0
  },
  questions: { category: "question", instruction: null },
  ask: { maxNewTokens: 8, batch: 50 },
  asksBefore: true,
  export: { dtype: "float32", headBias: "drop", maxShardBytes: 5_000_000_000, name: "LLaVA-Phi sample, tuned" }
} as const

const lora = {
  rank: 128,
  alpha: 256,
  dropout: 0.05,
  targets: loraTargets,
  quantise: "none",
  mergeInto: "dequantised"
} as const satisfies Lora

const whole = {
  data: "yours",
  engine: "auto",
  shardRows: 4096,
  maxTokens: 2048,
  images: { size: 336, misnamed: "accept", minSide: 1, maxAspect: 1e6, fit: "pad", folder: "" },
  features: false,
  featureLayer: -2,
  heldOut: { share: 0.02, seed: 0 },
  headBias: "keep",
  train: {
    ...adam,
    trains: { projector: true, language: "all", vision: false },
    epochs: 1,
    lr: 2e-5,
    decay: "cosine",
    warmupRatio: 0.03,
    batch: 128,
    microBatch: 4,
    dropout: true,
    recompute: true,
    seed: 0
  },
  questions: { category: "question", instruction: null },
  ask: { maxNewTokens: 64, batch: 16 },
  asksBefore: false,
  export: { dtype: "bfloat16", headBias: "keep", maxShardBytes: 5_000_000_000, name: "LLaVA-Phi, tuned" }
} as const

const byLora = (adapter: Lora) => ({
  ...whole,
  train: { ...whole.train, lr: 2e-4, trains: { projector: true, language: adapter, vision: false } }
})

export const presets = {
  example,
  lora: byLora(lora),
  qlora: byLora({ ...lora, quantise: "nf4" }),
  whole
} satisfies { readonly [preset: string]: Settings }
