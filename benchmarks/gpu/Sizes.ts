/**
 * Shapes of `bench -- gpu`: the paper's models and batches, or tiny ones that walk the same code anywhere.
 *
 * Rows a stage's epoch has are stated here, since the projected hours are nothing but their number over a measured
 * rate.
 */
import type { LlavaConfig } from "../../src/model/llava/Config.ts"
import { clipL336, phi2 } from "../../src/model/Published.ts"
import { phiOf } from "../work/TrainSteps.ts"

/** How a stage is tried: rows at once, and whether blocks are computed again. The first that fits the memory counts. */
export interface Attempt {
  readonly microBatch: number
  readonly recompute: boolean
}

/** A stage's step. Rows of one image each but in SFT, whose rows are packed from `parts`. */
export interface StageSizes {
  /** Rows of a step. */
  readonly batch: number
  /** Tokens of a row, patches counted. */
  readonly time: number
  /** Tokens with a loss in a row. */
  readonly labels: number
  /** Lengths of the conversations in a row. */
  readonly parts: ReadonlyArray<number>
  readonly attempts: ReadonlyArray<Attempt>
  /** Rows of the whole stage, all epochs. */
  readonly rows: number
  /** Where that number comes from. */
  readonly source: string
}

export interface Sizes {
  readonly llava: LlavaConfig
  /** Tokens of a row beside the peer, and rows at once, the most first. */
  readonly time: number
  readonly microBatches: ReadonlyArray<number>
  /** Steps of a round, rounds. */
  readonly steps: number
  readonly rounds: number
  /** Model and rows of the comparison of gradients. */
  readonly parity: { readonly hidden: number; readonly layers: number; readonly heads: number; readonly time: number }
  readonly sft: StageSizes
  readonly pretrain: StageSizes
  readonly instruct: StageSizes
}

const tower = { projectorActivation: "erf", featureLayer: -2 } as const

/** Rows at once, most first; blocks are computed again only where nothing else fits. */
const attempts = (...microBatches: ReadonlyArray<number>): ReadonlyArray<Attempt> => [
  ...microBatches.map((microBatch) => ({ microBatch, recompute: false })),
  ...microBatches.map((microBatch) => ({ microBatch, recompute: true }))
]

/** Phi-2 and CLIP ViT-L/14-336 with the batches of the preset `paper`. */
export const paper: Sizes = {
  llava: {
    ...tower,
    vision: clipL336,
    text: phi2,
    imageToken: 50_295
  },
  time: 2048,
  microBatches: [8, 4, 2, 1],
  steps: 3,
  rounds: 3,
  parity: { hidden: 640, layers: 4, heads: 8, time: 512 },
  sft: {
    batch: 128,
    time: 2048,
    labels: 1400,
    parts: [1320, 728],
    attempts: attempts(8, 4, 2),
    rows: 150_000,
    source: "assumed: ShareGPT's English part as 75,000 packed rows (150 M tokens), 2 epochs"
  },
  pretrain: {
    batch: 256,
    time: 608,
    labels: 24,
    parts: [608],
    attempts: attempts(32, 16, 8),
    rows: 595_375,
    source: "all of CC-595K, 1 epoch"
  },
  instruct: {
    batch: 256,
    time: 832,
    labels: 150,
    parts: [832],
    attempts: attempts(16, 8, 4),
    rows: 157_712,
    source: "all of LLaVA-Instruct-150K, 1 epoch, 256 tokens of text a row assumed"
  }
}

/** The same code in seconds on any CPU. */
export const tiny: Sizes = {
  llava: {
    ...tower,
    vision: {
      ...clipL336,
      hiddenSize: 32,
      intermediateSize: 64,
      layers: 3,
      heads: 2,
      imageSize: 42,
      projectionDim: 32
    },
    text: { ...phiOf({ hiddenSize: 160, layers: 2, heads: 2, vocabSize: 512, rotary: 0.4 }), residualDropout: 0.1 },
    imageToken: 500
  },
  time: 64,
  microBatches: [2, 1],
  steps: 2,
  rounds: 2,
  parity: { hidden: 160, layers: 2, heads: 2, time: 48 },
  sft: {
    batch: 4,
    time: 64,
    labels: 40,
    parts: [40, 24],
    attempts: attempts(2, 1),
    rows: 100,
    source: "made up"
  },
  pretrain: {
    batch: 4,
    time: 24,
    labels: 6,
    parts: [24],
    attempts: attempts(2, 1),
    rows: 100,
    source: "made up"
  },
  instruct: {
    batch: 4,
    time: 32,
    labels: 10,
    parts: [32],
    attempts: attempts(2, 1),
    rows: 100,
    source: "made up"
  }
}
