/**
 * What a run writes to the store: images, tokens, models, checkpoints, the export.
 *
 * Tensors are counted exactly. Headers, ids and manifests are left out, and so are the rows of text before tokens,
 * whose size depends on the text: a plan's table has the bytes of those that are stored.
 */
import type { AnyNode } from "../dag/Node.ts"
import { patchCount } from "../model/clip/Config.ts"
import { clipShapes } from "../model/clip/Names.ts"
import { projectorOf } from "../model/llava/Config.ts"
import { phiShapes } from "../model/phi/Names.ts"
import { projectorShapes } from "../model/projector/Names.ts"
import { countOf } from "./Parameters.ts"
import type { StageCost } from "./Stages.ts"

/** Checkpoints that stay, and the one being written. */
const CHECKPOINTS = 3

export interface Written {
  /** Instance id. */
  readonly node: string
  readonly what: "pixels" | "features" | "tokens" | "model" | "checkpoints" | "export"
  readonly bytes: number
  /** Gone when the stage ends. */
  readonly passing: boolean
}

/** Bytes of a checkpoint: weights and two moments, f32, and the best weights where they are kept. */
export const checkpointBytes = ({ settings, weights }: Pick<StageCost, "settings" | "weights">): number =>
  (settings.keepBest === true ? 16 : 12) * weights.trained

/** Images of a stage, held-out ones as well. */
const imagesOf = ({ amount, node, settings }: StageCost): number => {
  const { share } = (node.inputs["data"]?.node.params ?? {}) as { readonly share?: number }
  return settings.epochs === 0 ? 0 : amount.images / settings.epochs / (1 - (share ?? 0))
}

const ofStage = (stage: StageCost): ReadonlyArray<Written> => {
  const { amount, held, llava, node, settings, trains, weights } = stage
  const { vision } = llava
  const images = imagesOf(stage)
  const input = node.inputs["images"]?.node
  const features = input?.spec.id === "computeFeatures"
  const pixels = features ? input?.inputs["pixels"]?.node : input
  const one = (from: AnyNode | undefined, what: Written["what"], bytes: number, passing = false): Array<Written> =>
    from === undefined || bytes === 0 ? [] : [{ node: from.id, what, bytes: Math.round(bytes), passing }]
  const examples = settings.epochs === 0 ? 0 : amount.tokens / settings.epochs
  const projector = countOf(projectorShapes(projectorOf(llava)))
  const language = countOf(phiShapes(llava.text))
  // With adapters the merged model is written beside them.
  const adapters = held.lora === undefined ? 0 : weights.trained - (trains === "language" ? 0 : projector)
  const model =
    node.spec.id === "trainProjector"
      ? projector
      : language + adapters + (trains === "language" ? 0 : projector + countOf(clipShapes(vision)))
  return [
    ...one(pixels, "pixels", images * vision.imageSize ** 2 * 3),
    // Beside the numbers of an image, its offset and the layer they are of.
    ...one(features ? input : undefined, "features", images * (patchCount(vision) * vision.hiddenSize * 4 + 16)),
    // Ids and labels, as made and again as split.
    ...one(node.inputs["data"]?.node, "tokens", 2 * 8 * examples),
    ...one(node, "model", 4 * model),
    ...one(node, "checkpoints", CHECKPOINTS * checkpointBytes(stage), true)
  ]
}

/** The logits of an export's two prompts, of some 40 tokens of text each beside the image's. */
const parityBytes = ({ text, vision }: StageCost["llava"]): number =>
  2 * (patchCount(vision) + 40) * text.vocabSize * 4 + 9 * vision.imageSize ** 2 * 4

const dtypeBytes: Readonly<Record<string, number>> = { float32: 4, float16: 2, bfloat16: 2 }

/** Everything that stages and the export write. */
export const written = (nodes: ReadonlyArray<AnyNode>, stages: ReadonlyArray<StageCost>): ReadonlyArray<Written> => {
  const last = stages.at(-1)
  const isExport = ({ spec }: AnyNode) => spec.id === "exportCheckpoint" || spec.id === "exportTrained"
  // A card's node writes the folder that it is given once more.
  const exports = nodes.flatMap((node) => {
    const from = node.spec.id === "writeCard" ? node.inputs["model"]?.node : node
    return from !== undefined && isExport(from) ? [{ node, from }] : []
  })
  if (last === undefined) return []
  const { llava } = last
  const all =
    countOf(phiShapes(llava.text)) + countOf(projectorShapes(projectorOf(llava))) + countOf(clipShapes(llava.vision))
  return [
    ...stages.flatMap(ofStage),
    ...exports.map(({ from, node }): Written => {
      const { dtype } = from.params as { readonly dtype: string }
      return { node: node.id, what: "export", bytes: all * dtypeBytes[dtype]! + parityBytes(llava), passing: false }
    })
  ]
}
