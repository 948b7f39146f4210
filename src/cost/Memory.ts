/**
 * Memory of one device while a stage trains: terms with names, and what they add up to.
 *
 * Weights, moments and gradients are counted exactly: float32 whatever the precision, as checkpoints hold them.
 * Activations are the tensors that gradients need, block by block, and are as good as the list below; what the
 * allocator wastes and what CUDA takes is a guess, and named so. Nothing is measured here.
 *
 * Units: bytes. e is 2 in bfloat16, else 4.
 */
import { type ClipConfig, patchCount } from "../model/clip/Config.ts"
import { layersUsed } from "../model/Flops.ts"
import type { LlavaConfig } from "../model/llava/Config.ts"
import type { Lora } from "../model/lora/Lora.ts"
import type { PhiConfig } from "../model/phi/Config.ts"
import { type Recompute, recomputes } from "../model/Recompute.ts"
import type { Weights } from "./Parameters.ts"

export interface Term {
  readonly name: string
  readonly bytes: number
  readonly guess: boolean
}

/** The largest micro-batch of a stage. */
export interface Micro {
  readonly rows: number
  /** Tokens of a row, padding and placeholders included. */
  readonly time: number
  readonly labels: number
  readonly images: number
}

export interface Held {
  readonly llava: LlavaConfig
  readonly weights: Weights
  /** Where the tower is: not on the device, run without gradients, or trained. */
  readonly tower: "none" | "frozen" | "trained"
  readonly recompute: Recompute
  /** Adapters that are trained in place of the language model. */
  readonly lora?: Lora | undefined
  /** The model's own. */
  readonly dropout: boolean
  readonly engine: string
  readonly world: number
  readonly micro: Micro
  /** Micro-batches of a step on one device. */
  readonly microBatches: number
}

export const gib = (bytes: number): number => bytes / 2 ** 30

/** Bytes of a weight in NF4 with double quantisation: four bits, a byte for each 64, a float for each 64 x 256. */
const NF4_BYTES = 1 / 2 + 1 / 64 + 4 / (64 * 256)

/** Heap of a wasm engine: 32-bit addresses. */
export const WASM_BYTES = 2 ** 32

const isNarrow = (engine: string): boolean => engine === "torch-bf16"
const isTorch = (engine: string): boolean => engine.startsWith("torch")

/** Logits that the head makes at once. */
const logitsAtOnce = (engine: string): number => (isTorch(engine) ? 2 ** 28 : 2 ** 22)

/** Blocks that keep everything, and those that keep their input alone. */
const blocks = (layers: number, policy: Recompute) => {
  const again = Array.from({ length: layers }, (_, layer) => recomputes(policy, layer)).filter(Boolean).length
  return { kept: layers - again, again }
}

/**
 * What a block of Phi keeps for its gradient, a token: its input, the norm, q, k, v, the heads (6 D), MLP before and
 * after GELU (2 F), two dropout masks of a byte an element. Engines without fused attention keep its scores.
 */
const phiBlock = (
  config: PhiConfig,
  e: number,
  { dropout, engine, lora }: Pick<Held, "dropout" | "engine" | "lora">,
  time: number
): number =>
  (6 * config.hiddenSize + 2 * config.intermediateSize) * e +
  (dropout ? 2 * config.hiddenSize * (isTorch(engine) ? 1 : 4) : 0) +
  (isTorch(engine) ? 0 : config.heads * time * 4) +
  (lora === undefined ? 0 : loraBlock(config, e, lora, engine))

/**
 * What a block's adapters keep, a token: their inputs after dropout, with its masks, and the columns between A and B.
 */
const loraBlock = (config: PhiConfig, e: number, { dropout, rank, targets }: Lora, engine: string): number => {
  const inputs = targets.reduce((sum, one) => sum + (one === "fc2" ? config.intermediateSize : config.hiddenSize), 0)
  return 2 * rank * targets.length * e + (dropout > 0 ? inputs * (e + (isTorch(engine) ? 1 : 4)) : 0)
}

/** The same of a tower's block, whose quick GELU keeps three tensors. */
const clipBlock = (config: ClipConfig, e: number, engine: string): number =>
  (7 * config.hiddenSize + 3 * config.intermediateSize) * e +
  (isTorch(engine) ? 0 : config.heads * (patchCount(config) + 1) * 4)

/** What blocks keep until their gradients are through. */
const layered = (
  layers: number,
  policy: Recompute,
  tokens: number,
  width: number,
  block: number,
  e: number
): number => {
  const { again, kept } = blocks(layers, policy)
  return tokens * (kept * block + again * width * e)
}

/** A term of a moment, or of the whole step. */
interface Timed extends Term {
  readonly when: "always" | "head" | "end"
}

const exact = (when: Timed["when"], name: string, bytes: number): Timed => ({ when, name, bytes, guess: false })
const model = (when: Timed["when"], name: string, bytes: number): Timed => ({ when, name, bytes, guess: true })

/** One process makes a micro-batch's gradient beside the sum of those before; several add each weight's as it comes. */
const stateTerms = ({ engine, microBatches, weights, world }: Held): ReadonlyArray<Timed> => {
  const { frozen, largest, quantised, trained } = weights
  return [
    exact("always", "trained weights, f32", 4 * trained),
    exact("always", world > 1 ? `moments, f32, 1/${world}` : "moments, f32", (8 * trained) / world),
    exact("always", "summed gradient, f32", world > 1 || microBatches > 1 ? 4 * trained : 0),
    exact("end", "gradient of a micro-batch, f32", 4 * (world > 1 ? largest : trained)),
    isNarrow(engine)
      ? exact("always", "frozen weights, bf16", 2 * (frozen - quantised))
      : exact("always", "frozen weights, f32", 4 * (frozen - quantised)),
    exact("always", "frozen weights, NF4", NF4_BYTES * quantised)
  ]
}

/** Terms of the language model's pass. */
const passTerms = ({ dropout, engine, llava, lora, micro, recompute, weights }: Held): ReadonlyArray<Timed> => {
  const { text } = llava
  const e = isNarrow(engine) ? 2 : 4
  const tokens = micro.rows * micro.time
  const block = phiBlock(text, e, { dropout, engine, lora }, micro.time)
  const { again } = blocks(text.layers, recompute)
  const logits = Math.min(micro.labels * text.vocabSize, logitsAtOnce(engine))
  const largest = 2 * Math.min(weights.trained, weights.largest)
  const copies = again === text.layers ? largest : 2 * weights.trained
  return [
    // Its values in f32, and as long as they are made the codes in 32 bits or the values in bf16.
    model("always", "one matrix out of NF4", 6 * weights.largestQuantised),
    model("head", "bf16 copies of trained weights", isNarrow(engine) ? copies : 0),
    model("end", "bf16 copies of trained weights", isNarrow(engine) ? largest : 0),
    model(
      "head",
      "activations of the language model",
      layered(text.layers, recompute, tokens, text.hiddenSize, block, e)
    ),
    model("end", "one block's activations", tokens * (block + (2 * text.intermediateSize + 4 * text.hiddenSize) * e)),
    model("head", "logits at once, and their rows", logits * (8 + 2 * e) + micro.labels * text.hiddenSize * 2 * e)
  ]
}

const imageTerms = ({ engine, llava, micro, recompute, tower }: Held): ReadonlyArray<Timed> => {
  const { text, vision } = llava
  const e = isNarrow(engine) ? 2 : 4
  const tokens = micro.images * (patchCount(vision) + 1)
  const block = clipBlock(vision, e, engine)
  const layers = layersUsed(vision, llava.featureLayer)
  const pixels = tower === "none" ? 0 : vision.channels * vision.imageSize ** 2 * 4
  const kept = tower === "trained" ? layered(layers, recompute, tokens, vision.hiddenSize, block, e) : 0
  return [
    // A frozen tower runs before the language model, which is larger.
    model("always", "activations of the tower", kept),
    model(
      "always",
      "pixels, features and the projector",
      micro.images * (pixels + patchCount(vision) * (vision.hiddenSize + 3 * text.hiddenSize) * e)
    )
  ]
}

/**
 * The terms of a device when it holds the most, and their sum: either the head is reached and all activations are
 * there, or the pass is at its end and the gradient is whole. In between one grows as the other goes.
 *
 * @example memoryOf(held).bytes / 2 ** 30 // 55.3
 */
export const memoryOf = (held: Held): { readonly terms: ReadonlyArray<Term>; readonly bytes: number } => {
  const all = [...stateTerms(held), ...passTerms(held), ...imageTerms(held)]
  const sum = (some: ReadonlyArray<Term>) => some.reduce((total, { bytes }) => total + bytes, 0)
  const at = (moment: Timed["when"]) =>
    all.filter(({ bytes, when }) => bytes > 0 && (when === "always" || when === moment))
  const [head, end] = [at("head"), at("end")]
  const most = sum(head) >= sum(end) ? head : end
  const spare = isTorch(held.engine) ? 2 ** 30 + 0.05 * sum(most) : 0
  const terms = [...most, ...(spare > 0 ? [model("always", "allocator and CUDA", spare)] : [])].map(
    ({ bytes, guess, name }) => ({ name, bytes, guess })
  )
  return { terms, bytes: sum(terms) }
}
