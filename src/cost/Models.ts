/**
 * The shapes of the models that a training node is wired to, before any of them is loaded.
 *
 * From the parameters of a node that makes one, from the `config.json` of a folder that is here, or as published.
 */
import { join } from "node:path"
import { Effect } from "effect"
import type { Costing } from "../dag/Costing.ts"
import type { AnyNode } from "../dag/Node.ts"
import type { ClipConfig } from "../model/clip/Config.ts"
import { decodeLlavaConfig, type LlavaConfig } from "../model/llava/Config.ts"
import { ORIGINAL_TYPES, originalFields } from "../model/llava/Original.ts"
import { clipL336, phi2 } from "../model/Published.ts"
import { decodePhiConfig, type PhiConfig } from "../model/phi/Config.ts"
import { Checkpoint, LanguageModel, OriginalLlava, TokenizerFile, VisionTower } from "../nodes/Artifacts.ts"
import type { initLanguageModel, initVisionTower } from "../nodes/InitModels.ts"
import { loadTokenizer } from "../nodes/LoadTokenizer.ts"
import { readClipConfig, readJsonFile } from "../nodes/ModelFiles.ts"

/** The hidden state that training takes where no node says one. */
const DEFAULT_LAYER = -2

export interface Found<Config> {
  readonly config: Config
  /** Where it comes from, in words. */
  readonly from: string
}

type LanguageParams = Parameters<typeof initLanguageModel>[1]
type TowerParams = Parameters<typeof initVisionTower>[1]

/** The node before this one on a model's way: what trains it, or the export that an import reads again. */
const before = (node: AnyNode, port: string): AnyNode | undefined =>
  node.inputs[port]?.node ??
  (node.spec.id === "importLlava" ? node.inputs["files"]?.node.inputs[port]?.node : undefined)

/** The node that a model comes from. */
const originOf = (node: AnyNode | undefined, port: string): AnyNode | undefined => {
  let at = node?.inputs[port]?.node
  for (let next = at; next !== undefined; next = before(next, port)) at = next
  return at
}

/**
 * What `config.json` of an imported LLaVA says; undefined where its folder is not here, or it was made by other nodes.
 */
const importedOf = Effect.fnUntraced(function* (asked: Costing, origin: AnyNode | undefined, headBias: boolean) {
  const imports = { importLlava: Checkpoint, importOriginal: OriginalLlava } as const
  const artifact = imports[origin?.spec.id as keyof typeof imports]
  if (origin === undefined || artifact === undefined) return undefined
  const tree = yield* asked.open(origin.inputs["files"], artifact)
  if (tree === undefined) return undefined
  const from = join(tree.path, "config.json")
  const json = yield* readJsonFile(from)
  if (artifact === Checkpoint) return { from, ...(yield* decodeLlavaConfig(json, { headBias })) }
  const text = yield* decodePhiConfig(json, { headBias, modelTypes: ORIGINAL_TYPES, others: originalFields })
  return { from, text, vision: undefined }
})

const languageOf = Effect.fnUntraced(function* (asked: Costing, stage: AnyNode, headBias: boolean) {
  const origin = originOf(stage, "model")
  if (origin?.spec.id === "initLanguageModel") {
    const params = origin.params as LanguageParams
    const tokenizer = yield* asked.open(origin.inputs["tokenizer"], TokenizerFile)
    const vocabSize = tokenizer === undefined ? phi2.vocabSize : (yield* loadTokenizer(tokenizer)).vocabSize
    const config: PhiConfig = {
      ...phi2,
      vocabSize,
      hiddenSize: params.hidden,
      intermediateSize: params.ffn,
      layers: params.layers,
      heads: params.heads,
      maxPositions: params.maxPositions,
      partialRotaryFactor: params.rotary,
      residualDropout: params.dropout,
      headBias
    }
    return { config, from: `${origin.id}'s parameters` }
  }
  const imported = yield* importedOf(asked, origin, headBias)
  if (imported !== undefined) return { config: imported.text, from: imported.from }
  const tree = yield* asked.open(origin?.out["files"] ?? origin?.out["model"], LanguageModel)
  if (tree === undefined) return { config: { ...phi2, headBias }, from: "Phi-2 as published" }
  const path = join(tree.path, "config.json")
  return { config: yield* decodePhiConfig(yield* readJsonFile(path), { headBias }), from: path }
})

const towerOf = Effect.fnUntraced(function* (asked: Costing, stage: AnyNode) {
  const origin = originOf(stage, "vision")
  if (origin?.spec.id === "initVisionTower") {
    const params = origin.params as TowerParams
    const config: ClipConfig = {
      ...clipL336,
      hiddenSize: params.hidden,
      intermediateSize: params.ffn,
      layers: params.layers,
      heads: params.heads,
      imageSize: params.imageSize,
      patchSize: params.patchSize
    }
    return { config, from: `${origin.id}'s parameters` }
  }
  const imported = yield* importedOf(asked, origin, false)
  if (imported?.vision !== undefined) return { config: imported.vision, from: imported.from }
  const tree = yield* asked.open(origin?.out["files"] ?? origin?.out["model"], VisionTower)
  if (tree === undefined) return { config: clipL336, from: "CLIP ViT-L/14-336 as published" }
  return { config: yield* readClipConfig(tree), from: join(tree.path, "config.json") }
})

/**
 * The hidden state that a stage sees: its own parameter, that of its features, or that of the projector it goes on
 * with.
 */
const layerOf = (stage: AnyNode): number => {
  const stated = (node: AnyNode | undefined) =>
    (node?.params as { readonly featureLayer?: number } | undefined)?.featureLayer
  const own = stated(stage) ?? stated(originOf(stage, "images"))
  const projector = originOf(stage, "projector")
  return own ?? (projector === undefined ? DEFAULT_LAYER : layerOf(projector))
}

/**
 * Shapes of the models behind a training node. A stage of text alone has the published tower, which nothing asks for.
 */
export const modelsOf = Effect.fnUntraced(function* (asked: Costing, stage: AnyNode) {
  const { headBias } = stage.params as { readonly headBias: "keep" | "drop" }
  const language = yield* languageOf(asked, stage, headBias === "keep")
  const tower =
    stage.inputs["vision"] === undefined ? { config: clipL336, from: undefined } : yield* towerOf(asked, stage)
  const config: LlavaConfig = {
    vision: tower.config,
    text: language.config,
    projectorActivation: "erf",
    imageToken: -1,
    featureLayer: layerOf(stage)
  }
  return { config, from: [language.from, ...(tower.from === undefined ? [] : [tower.from])].join(", ") }
})
