/**
 * The numbers of LLaVA-Phi: the presets `sample`, `paper` and `authors`, each a literal table of `Settings`.
 *
 * Not the wiring (`llava-phi.ts`) and not where data lies (`llava-phi-sources.ts`). Numbers of `paper` are those of Zhu
 * et al., "LLaVA-Phi" (2024); where the authors' scripts differ, they are the preset `authors`. docs/presets.md says
 * where each stands.
 */
import type { Lora } from "../src/model/lora/Lora.ts"
import type { cleanShareGpt } from "../src/nodes/CleanShareGpt.ts"
import type { evaluate } from "../src/nodes/Evaluate.ts"
import type { exportCheckpoint } from "../src/nodes/ExportCheckpoint.ts"
import type { filterCaptions } from "../src/nodes/FilterCaptions.ts"
import type { holdOut } from "../src/nodes/HoldOut.ts"
import type { dropRepeatedDigits } from "../src/nodes/KeepFormat.ts"
import type { keepLanguages } from "../src/nodes/KeepLanguages.ts"
import type { readCaptions } from "../src/nodes/ReadLlava.ts"
import type { readShareGpt } from "../src/nodes/ReadShareGpt.ts"
import type { splitConversations } from "../src/nodes/SplitConversations.ts"
import type { tokenizeImages } from "../src/nodes/TokenizeImages.ts"
import type { trainLanguageModel } from "../src/nodes/TrainLanguageModel.ts"
import type { tuneInstructions } from "../src/nodes/TrainVision.ts"
import type { EngineName } from "../src/tensor/Engine.ts"

/** The parameters of a node, as it takes them. */
type ParamsOf<Node extends (inputs: never, params: never) => unknown> = Parameters<Node>[1]
type Stage = Omit<ParamsOf<typeof trainLanguageModel>, "maxTokens" | "headBias">

/**
 * Every number of the recipe that a preset chooses; a preset is one such table, and a table of your own fits as well.
 */
export interface Settings {
  /** Whose sources `run` wires to it; a caller of `llavaPhi` brings its own. */
  readonly data: "sample" | "paper" | "authors"
  /** What computes where `--engine` says nothing. */
  readonly engine: EngineName
  readonly text: Required<ParamsOf<typeof cleanShareGpt>> &
    ParamsOf<typeof keepLanguages> &
    ParamsOf<typeof dropRepeatedDigits> &
    ParamsOf<typeof splitConversations> &
    ParamsOf<typeof readShareGpt> &
    Required<Pick<ParamsOf<typeof readShareGpt>, "group">>
  readonly captions: ParamsOf<typeof readCaptions> & ParamsOf<typeof filterCaptions>
  /** `features`: run the frozen tower once instead of in every step. */
  readonly images: Omit<ParamsOf<typeof tokenizeImages>, "fit" | "folder"> & {
    readonly features: boolean
    /** Which hidden state of the tower is seen; the projector and the exported model remember it. */
    readonly featureLayer: number
  }
  /** Folder inside each archive before every name. */
  readonly folders: { readonly captions: string; readonly instructions: string; readonly questions: string }
  readonly heldOut: ParamsOf<typeof holdOut>
  readonly headBias: ParamsOf<typeof trainLanguageModel>["headBias"]
  /** `lora`: adapters are trained beside the language model in place of all of its weights. */
  readonly sft: Stage & { readonly lora: Lora | null }
  readonly pretrain: Stage
  /** `trains`: what learns. With the vision tower among it, features are computed in each step. */
  readonly instruct: Stage & Required<Pick<ParamsOf<typeof tuneInstructions>, "trains">>
  readonly evaluate: Omit<ParamsOf<typeof evaluate>, "headBias">
  readonly export: Omit<ParamsOf<typeof exportCheckpoint>, "headBias">
}

/** The optimiser of the paper: Adam, betas 0.9 / 0.98, eps 1e-7, weight decay 0.1, nothing clipped. */
const adam = { beta1: 0.9, beta2: 0.98, eps: 1e-7, weightDecay: 0.1, maxGradNorm: null } as const

/** What the cleaner takes out and refuses: FastChat's rules, and what would break the tokenizer's special tokens. */
const cleaning = {
  bannedWords: ["openai", "chatgpt"],
  notices: ["Too many requests in 1 hour. Try again later.", "!Too many requests in 1 hour. Try again later."],
  minCharacters: 16,
  specialTokens: ["<|endoftext|>", "<image>", "<pad>"]
} as const

const sample = {
  data: "sample",
  engine: "wasm",
  text: {
    values: "html",
    humanTurns: "reference",
    ...cleaning,
    perMessage: 6,
    languages: ["en"],
    repeatedDigits: 9,
    maxTokens: 384,
    group: "sharegpt",
    shardRows: 512
  },
  captions: {
    shardRows: 256,
    seed: 0,
    minWords: 3,
    maxWords: 45,
    minDistinctShare: 0.3,
    maxRun: 2,
    dropDuplicates: true,
    minCount: 3,
    perPhrase: 100
  },
  images: { size: 42, minSide: 24, maxAspect: 3, misnamed: "refuse", features: true, featureLayer: -2 },
  folders: { captions: "", instructions: "train2017/", questions: "val2017/" },
  heldOut: { share: 0.04, seed: 0 },
  headBias: "drop",
  sft: {
    ...adam,
    weightDecay: 0,
    epochs: 6,
    lr: 1e-3,
    decay: "constant",
    warmupRatio: 0.03,
    batch: 2,
    microBatch: 1,
    dropout: false,
    recompute: false,
    seed: 0,
    lora: null
  },
  pretrain: {
    ...adam,
    weightDecay: 0,
    epochs: 8,
    lr: 2e-3,
    decay: "constant",
    warmupRatio: 0.03,
    batch: 4,
    microBatch: 2,
    dropout: false,
    recompute: false,
    seed: 0
  },
  instruct: {
    ...adam,
    weightDecay: 0,
    epochs: 6,
    lr: 1.6e-3,
    decay: "linear",
    warmupRatio: 0.03,
    batch: 16,
    microBatch: 8,
    dropout: false,
    recompute: false,
    seed: 0,
    trains: { projector: true, language: "all", vision: false }
  },
  evaluate: {
    maxNewTokens: 8,
    batch: 50,
    samples: 24,
    note: "Scenes of four shapes in four colours, one shape a patch of the tower; 21 different questions, none of a scene seen in training. The vision tower is seeded and frozen, not pretrained."
  },
  export: { dtype: "float32", maxShardBytes: 5_000_000_000, name: "LLaVA-Phi sample" }
} as const

const paper = {
  data: "paper",
  engine: "auto",
  text: {
    values: "html",
    humanTurns: "reference",
    ...cleaning,
    perMessage: 6,
    languages: ["en"],
    repeatedDigits: null,
    maxTokens: 2048,
    group: "sharegpt",
    shardRows: 4096
  },
  // CC-595K is what LLaVA's balance left of CC-3M: it is taken as published. No rule takes a caption or a small image.
  captions: {
    shardRows: 4096,
    seed: 0,
    minWords: 1,
    maxWords: null,
    minDistinctShare: 0,
    maxRun: null,
    dropDuplicates: false,
    minCount: 3,
    perPhrase: null
  },
  images: { size: 336, minSide: 1, maxAspect: 1e6, misnamed: "accept", features: false, featureLayer: -2 },
  folders: { captions: "", instructions: "train2017/", questions: "" },
  heldOut: { share: 0.002, seed: 0 },
  headBias: "keep",
  sft: {
    ...adam,
    epochs: 2,
    lr: 3e-5,
    decay: "linear",
    warmupRatio: 0,
    batch: 128,
    microBatch: 4,
    dropout: true,
    recompute: true,
    seed: 0,
    lora: null
  },
  pretrain: {
    ...adam,
    epochs: 1,
    lr: 1e-3,
    decay: "linear",
    warmupRatio: 0,
    batch: 256,
    microBatch: 16,
    dropout: true,
    recompute: true,
    seed: 0
  },
  instruct: {
    ...adam,
    epochs: 1,
    lr: 2e-5,
    decay: "linear",
    warmupRatio: 0,
    batch: 256,
    microBatch: 4,
    dropout: true,
    recompute: true,
    seed: 0,
    trains: { projector: true, language: "all", vision: false }
  },
  evaluate: { maxNewTokens: 32, batch: 16, samples: 24 },
  export: { dtype: "bfloat16", maxShardBytes: 5_000_000_000, name: "LLaVA-Phi" }
} as const

/** What the authors' scripts ask of the Trainer; betas and eps are its own, as they name none. */
const scripted = { decay: "cosine", warmupRatio: 0.03, weightDecay: 0, beta2: 0.999, eps: 1e-8 } as const

/**
 * The authors' scripts: cosine with warm-up, no weight decay, the 665K mixture; batch 128 and the tower unfrozen in
 * stage 3.
 */
const authors = {
  ...paper,
  data: "authors",
  folders: { captions: "", instructions: "", questions: "" },
  sft: { ...paper.sft, ...scripted },
  pretrain: { ...paper.pretrain, ...scripted },
  instruct: { ...paper.instruct, ...scripted, batch: 128, trains: { ...paper.instruct.trains, vision: true } }
} as const

export const presets = { sample, paper, authors } satisfies { readonly [preset: string]: Settings }
