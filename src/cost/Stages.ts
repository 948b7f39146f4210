/**
 * A training node as numbers: what it trains, on how much, with how many operations, in how much memory.
 *
 * Knows the training nodes by their definitions, so it holds for any pipeline that uses them. Nothing is run: examples
 * are read where they are stored, shapes where there is a `config.json`.
 */
import { Effect, Stream } from "effect"
import type { Costing } from "../dag/Costing.ts"
import type { AnyNode } from "../dag/Node.ts"
import { patchCount } from "../model/clip/Config.ts"
import { clipAgain, clipFlops, loraFlops, phiAgain, phiFlops, projectorFlops, shareAgain } from "../model/Flops.ts"
import type { LlavaConfig } from "../model/llava/Config.ts"
import type { Lora } from "../model/lora/Lora.ts"
import { Examples, Features } from "../nodes/Artifacts.ts"
import { adapterOf, type Trains as ParamTrains } from "../nodes/VisionStage.ts"
import type { TrainingSettings } from "../training/Stage.ts"
import {
  type Amount,
  type Assumed,
  assumedAmount,
  type Batching,
  exactAmount,
  type Layout,
  type Lengths
} from "./Data.ts"
import { type Held, memoryOf } from "./Memory.ts"
import { modelsOf } from "./Models.ts"
import { type Trains, type Weights, weightsOf } from "./Parameters.ts"

/** What a stage is tuned by, as far as its costs depend on it. */
type Settings = TrainingSettings & {
  readonly maxTokens?: number
  readonly lora?: Lora
  readonly trains?: ParamTrains
}

/** What a stage trains, where its tower is, and how its examples are laid out. */
interface StageKind {
  readonly trains: Trains
  readonly tower: Held["tower"]
  readonly layout: Layout
  readonly lora: Lora | undefined
}

/** A tower is in memory only for images that are pixels. */
const frozenTower = (node: AnyNode): Held["tower"] =>
  node.inputs["images"]?.artifact.tag === Features.tag ? "none" : "frozen"

const text = (_: AnyNode, { lora, maxTokens }: Settings): StageKind => ({
  trains: "language",
  tower: "none",
  layout: { kind: "packed", tokens: maxTokens! },
  lora
})
const kinds: Readonly<Record<string, (node: AnyNode, settings: Settings) => StageKind>> = {
  trainLanguageModel: text,
  adaptLanguageModel: text,
  continueAdapter: text,
  trainProjector: (node) => ({
    trains: "projector",
    tower: frozenTower(node),
    layout: { kind: "shuffled" },
    lora: undefined
  }),
  // A frozen projector is counted as trained: it is less than a hundredth of what is.
  tuneInstructions: (node, { trains }) => ({
    trains: trains!.vision ? "all" : trains!.language === "none" ? "projector" : "both",
    tower: trains!.vision ? "trained" : frozenTower(node),
    layout: { kind: "grouped" },
    lora: adapterOf(trains!)
  })
}

export interface StageCost {
  readonly node: AnyNode
  readonly cached: boolean
  readonly trains: Trains
  readonly tower: Held["tower"]
  readonly settings: TrainingSettings
  readonly llava: LlavaConfig
  /** Where the models' shapes come from. */
  readonly shapes: string
  readonly weights: Weights
  readonly amount: Amount
  /** Of the products that are needed, and with those of recomputed blocks. */
  readonly flops: number
  readonly executed: number
  readonly held: Held
  readonly memory: ReturnType<typeof memoryOf>
}

/** Whether a node is a training stage that can be costed. */
export const isStage = (node: AnyNode): boolean => node.spec.id in kinds

/** Lengths of stored examples, in one pass. */
export const lengthsOf = Effect.fnUntraced(function* (asked: Costing, stage: AnyNode) {
  const rows = yield* asked.open(stage.inputs["data"], Examples)
  if (rows === undefined) return undefined
  const lengths = {
    tokens: new Int32Array(rows.length),
    labels: new Int32Array(rows.length),
    words: new Int32Array(rows.length),
    pictured: new Uint8Array(rows.length)
  } satisfies Lengths
  let at = 0
  yield* Stream.runForEach(rows.batches, (batch) =>
    Effect.sync(() => {
      for (const { ids, imageAt, labels, words } of batch) {
        lengths.tokens[at] = ids.length
        let count = 0
        // Nothing predicts the first token.
        for (let i = 1; i < labels.length; i++) if (labels[i]! >= 0) count++
        lengths.labels[at] = count
        lengths.words[at] = words
        lengths.pictured[at] = imageAt >= 0 ? 1 : 0
        at++
      }
    })
  )
  return lengths
})

/** Operations of a stage: needed, and executed. */
export const flopsOf = (
  llava: LlavaConfig,
  trains: Trains,
  tower: Held["tower"],
  recompute: Held["recompute"],
  amount: Pick<Amount, "tokens" | "labels" | "pairs" | "images">,
  lora?: Lora
): { readonly needed: number; readonly executed: number } => {
  const { featureLayer, text, vision } = llava
  const { images } = amount
  const needed =
    phiFlops(text, amount, trains !== "projector" && lora === undefined) +
    (lora === undefined ? 0 : 3 * loraFlops(text, lora, amount.tokens)) +
    (trains === "language" ? 0 : projectorFlops(llava, images, tower === "trained")) +
    (tower === "none" ? 0 : clipFlops(vision, featureLayer, images, tower === "trained"))
  const again =
    phiAgain(text, amount, recompute) +
    (lora === undefined ? 0 : loraFlops(text, lora, amount.tokens) * shareAgain(text, recompute)) +
    (tower === "trained" ? clipAgain(vision, featureLayer, images, recompute) : 0)
  return { needed, executed: needed + again }
}

/** Share of the data that is held out before a stage. */
const heldOutOf = (stage: AnyNode): number => {
  const params = stage.inputs["data"]?.node.params as { readonly share?: unknown } | undefined
  return typeof params?.share === "number" ? params.share : 0
}

const NOTHING: Assumed = {
  examples: 0,
  text: 0,
  labels: 0,
  pictured: 0,
  source: "unknown: its examples are not in the store, and nothing is published of them"
}

/** Costs one training node. `engine` is the one that will compute; `assumed` stands in for data that is not here. */
export const stageCost = Effect.fnUntraced(function* (
  asked: Costing,
  node: AnyNode,
  engine: string,
  assumed: Assumed | undefined
) {
  const settings = node.params as Settings
  const { layout, lora, tower, trains } = kinds[node.spec.id]!(node, settings)
  const { config: llava, from } = yield* modelsOf(asked, node)
  const batching: Batching = { ...settings, layout }
  const lengths = yield* lengthsOf(asked, node)
  const amount =
    lengths === undefined
      ? assumedAmount(assumed ?? NOTHING, batching, asked.world, {
          held: heldOutOf(node),
          longest: settings.maxTokens ?? llava.text.maxPositions,
          patches: patchCount(llava.vision)
        })
      : exactAmount(lengths, batching, asked.world)
  const weights = weightsOf(llava, trains, tower !== "none", lora)
  const { executed, needed } = flopsOf(llava, trains, tower, settings.recompute, amount, lora)
  const held: Held = {
    llava,
    weights,
    tower,
    recompute: settings.recompute,
    lora,
    dropout: settings.dropout,
    engine,
    world: asked.world,
    micro: amount.micro,
    microBatches: amount.microBatches
  }
  return {
    node,
    cached: asked.cached(node),
    trains,
    tower,
    settings,
    llava,
    shapes: from,
    weights,
    amount,
    flops: needed,
    executed,
    held,
    memory: memoryOf(held)
  } satisfies StageCost
})
